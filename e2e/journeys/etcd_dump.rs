//! No session datum rests in the clear: whoever reads etcd finds neither who is signed in nor anything to sign in with.

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use serde_json::json;

use crate::support::bed::Bed;
use crate::support::objects::INSTALLATION;
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, STAFF};
use crate::support::scene::{APP, HOST, Scene};

/// Planted in plain sight, in every spelling that is searched for.
const CANARY: &str = "canary-bird-4c1d9e77";

pub async fn journey(bed: &Bed) {
    let scene = Scene::open(bed, "etcd-dump", 300).await;
    scene.publish_for_staff().await;
    let person = scene.visitor();
    assert_eq!(person.sign_in(APP, &STAFF).await.status, 200);
    assert!(!scene.session_secrets().is_empty(), "the session rests in a Secret");
    plant(bed);

    let dump = bed.cluster.etcd_dump();
    let found = |datum: &[u8]| -> Vec<Vec<u8>> {
        let spellings = spellings(datum).into_iter();
        spellings.filter(|spelling| dump.iter().any(|file| contains(file, spelling))).collect()
    };
    assert_eq!(found(CANARY.as_bytes()), spellings(CANARY.as_bytes()), "the search finds what is there to be found");

    let cookie = person.cookies(HOST).expect("signed in");
    let cookie = cookie.split_once("__Host-portcullis=").expect("the session's").1;
    let cookie = cookie.split(';').next().expect("split gives one at least");
    let ticket = BASE64URL_NOPAD.decode(cookie.as_bytes()).expect("our cookies are base64url");
    // Its handle: after version and epoch, before the time and the MAC.
    let mut data: Vec<Vec<u8>> = vec![cookie.into(), ticket[2..34].to_vec()];
    data.extend([STAFF.email, STAFF.name].map(|text| text.as_bytes().to_vec()));
    let tokens = scene.provider.issued().await;
    assert_eq!(tokens.len(), 3, "an access token, a refresh token, an ID token");
    // A JWT is searched for part by part.
    let parts = tokens.iter().flat_map(|token| token.split('.')).filter(|part| part.len() > 16);
    data.extend(parts.map(|part| part.as_bytes().to_vec()));
    for datum in data {
        let spelling = found(&datum);
        assert!(spelling.is_empty(), "`{}` rests as {spelling:?}", String::from_utf8_lossy(&datum));
    }
    only_the_administrator_wrote_the_client(bed);
    scene.portcullis.stop().await;
}

/// Puts each spelling of the canary into an object.
fn plant(bed: &Bed) {
    let plain: Vec<_> =
        spellings(CANARY.as_bytes()).into_iter().map(|text| String::from_utf8(text).expect("text")).collect();
    bed.cluster.apply(&[json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": INSTALLATION, "name": "canary"},
        "data": {"spellings": plain.join("\n")},
    })]);
}

/// The client is in one Secret, into which the administrator wrote it, and in no other.
fn only_the_administrator_wrote_the_client(bed: &Bed) {
    let secrets = bed.cluster.read(&["secrets", "--namespace", INSTALLATION]);
    let with_client = secrets["items"].as_array().expect("a list").iter().filter(|secret| {
        let values = secret["data"].as_object().into_iter().flat_map(|data| data.values());
        let values = values.map(|value| BASE64.decode(value.as_str().expect("base64").as_bytes()).expect("base64"));
        let bytes = [secret["metadata"].to_string().into_bytes(), values.collect::<Vec<_>>().concat()].concat();
        let data = [CLIENT_ID, CLIENT_SECRET].map(|datum| spellings(datum.as_bytes())).concat();
        data.iter().any(|spelling| contains(&bytes, spelling))
    });
    let names: Vec<_> = with_client.map(|secret| secret["metadata"]["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["corp-client"]);
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

fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}
