//! What a reader of a store would find: a search for data in every spelling in which they may rest there.

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use serde_json::json;

use super::client::Client;
use super::provider::{CLIENT_ID, CLIENT_SECRET, Person, STRANGER};
use super::scene::{NEIGHBOUR, NEIGHBOUR_APP, Scene};

/// To be planted in plain sight, in every spelling that is searched for.
pub const CANARY: &str = "canary-bird-4c1d9e77";

/// A stranger signs in at an app that lets everybody pass who is signed in.
pub async fn stranger(scene: &Scene<'_>) -> Client {
    scene.publish("other", NEIGHBOUR, json!({"portcullis.dev/access": "authenticated"})).await;
    scene.signed_in(NEIGHBOUR_APP, &STRANGER).await
}

/// Searches files for all that the session of the stranger must not show, once it has found a planted canary.
pub async fn shows_nothing(dump: &[Vec<u8>], scene: &Scene<'_>, stranger: &Client) {
    let found = |datum: &[u8]| -> Vec<Vec<u8>> {
        let spellings = spellings(datum).into_iter();
        spellings.filter(|spelling| dump.iter().any(|file| contains(file, spelling))).collect()
    };
    assert_eq!(found(CANARY.as_bytes()), spellings(CANARY.as_bytes()), "the search finds what is there to be found");

    let cookie = stranger.cookies(NEIGHBOUR).expect("signed in");
    let cookie = cookie.split_once("__Host-portcullis=").expect("the session's").1;
    let cookie = cookie.split(';').next().expect("split gives one at least");
    let ticket = BASE64URL_NOPAD.decode(cookie.as_bytes()).expect("our cookies are base64url");
    // Its handle: after version and epoch, before the time and the MAC.
    let mut data: Vec<Vec<u8>> = vec![cookie.into(), ticket[2..34].to_vec()];
    let Person { login, email, name, group } = STRANGER;
    data.extend([login, email, name, group].map(|text| text.as_bytes().to_vec()));
    let tokens = scene.provider.issued().await;
    assert!(!tokens.is_empty() && tokens.len() % 3 == 0, "an access token, a refresh token, an ID token");
    // A JWT is searched for part by part.
    let parts = tokens.iter().flat_map(|token| token.split('.')).filter(|part| part.len() > 16);
    data.extend(parts.map(|part| part.as_bytes().to_vec()));
    for datum in data {
        let spelling = found(&datum);
        assert!(spelling.is_empty(), "`{}` rests as {spelling:?}", String::from_utf8_lossy(&datum));
    }
}

/// Whether a text names the client at the provider, or its secret, in any spelling.
pub fn names_the_client(text: &[u8]) -> bool {
    [CLIENT_ID, CLIENT_SECRET].iter().flat_map(|datum| spellings(datum.as_bytes())).any(|one| contains(text, &one))
}

/// The canary in each spelling, a line each.
pub fn canary() -> String {
    let plain = spellings(CANARY.as_bytes()).into_iter().map(|text| String::from_utf8(text).expect("text"));
    plain.collect::<Vec<_>>().join("\n")
}

/// A datum as it is, in hex, and in base64 at each of the three places where it can begin in a longer text.
fn spellings(datum: &[u8]) -> Vec<Vec<u8>> {
    let mut spellings = vec![datum.to_vec(), HEXLOWER.encode(datum).into_bytes()];
    for before in 0..3_usize {
        let text = BASE64.encode(&[&vec![0; before], datum].concat());
        // The characters at both ends hold bits of what stands before and after.
        let from = (before * 8).div_ceil(6);
        let to = (before + datum.len()) * 8 / 6;
        spellings.push(text.as_bytes()[from..to].to_vec());
    }
    spellings
}

pub fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}
