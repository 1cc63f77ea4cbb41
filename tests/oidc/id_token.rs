//! ID tokens: which are believed, and each lie for which one is not.

use jsonwebtoken::Algorithm;
use portcullis::oidc::{LoginError, TokenFault};
use serde_json::{Value, json};

use super::provider::{Behaviour, CLIENT_ID, CLIENT_SECRET, Signing, SigningKey};
use super::{House, tamper};

#[tokio::test]
async fn each_algorithm_that_both_sides_use_is_believed() {
    for algorithm in [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA] {
        let house = House::new().await;
        house.provider.rotate_to(SigningKey::generate("other", algorithm));
        assert_eq!(house.sign_in().await.err(), None, "{algorithm:?}");
    }
}

/// Sets a claim of the ID token.
fn claim(b: &mut Behaviour, name: &'static str, value: Value) {
    b.claims = tamper(move |claims| claims[name] = value.clone());
}

/// Moves a time claim of the ID token to so many seconds from now.
fn time(b: &mut Behaviour, name: &'static str, from_now: i64) {
    b.claims = tamper(move |claims| claims[name] = json!(claims["auth_time"].as_i64().unwrap() + from_now));
}

fn without(b: &mut Behaviour, name: &'static str) {
    b.claims = tamper(move |claims| {
        claims.as_object_mut().unwrap().remove(name).unwrap();
    });
}

fn header(b: &mut Behaviour, name: &'static str, value: Value) {
    b.header = tamper(move |header| header[name] = value.clone());
}

type Case = (&'static str, fn(&mut Behaviour), TokenFault);

/// One lie of the provider each.
const LYING_TOKENS: &[Case] = &[
    ("another issuer", |b| claim(b, "iss", json!("https://evil.example.com")), TokenFault::Issuer),
    (
        "a slash more",
        |b| b.claims = tamper(|c| c["iss"] = json!(format!("{}/", c["iss"].as_str().unwrap()))),
        TokenFault::Issuer,
    ),
    ("no issuer", |b| without(b, "iss"), TokenFault::Issuer),
    ("an issuer that is a list", |b| b.claims = tamper(|c| c["iss"] = json!([c["iss"]])), TokenFault::Claim("iss")),
    ("another audience", |b| claim(b, "aud", json!("another client")), TokenFault::Audience),
    ("a further audience", |b| claim(b, "aud", json!([CLIENT_ID, "another"])), TokenFault::Audience),
    ("no audience", |b| without(b, "aud"), TokenFault::Claim("aud")),
    ("an empty audience", |b| claim(b, "aud", json!([])), TokenFault::Audience),
    ("an audience that is a number", |b| claim(b, "aud", json!([CLIENT_ID, 7])), TokenFault::Claim("aud")),
    ("us twice and no party", |b| claim(b, "aud", json!([CLIENT_ID, CLIENT_ID])), TokenFault::AuthorizedParty),
    ("another party", |b| claim(b, "azp", json!("another client")), TokenFault::AuthorizedParty),
    ("another nonce", |b| claim(b, "nonce", json!("another")), TokenFault::Nonce),
    ("an empty nonce", |b| claim(b, "nonce", json!("")), TokenFault::Nonce),
    ("no nonce", |b| without(b, "nonce"), TokenFault::Nonce),
    ("expired", |b| time(b, "exp", -62), TokenFault::Expired),
    ("an end in words", |b| claim(b, "exp", json!("never")), TokenFault::Claim("exp")),
    ("an end in digits", |b| claim(b, "exp", json!("99999999999")), TokenFault::Claim("exp")),
    ("an end with a fraction", |b| claim(b, "exp", json!(99_999_999_999.5)), TokenFault::Claim("exp")),
    ("an end before time", |b| claim(b, "exp", json!(-1)), TokenFault::Claim("exp")),
    ("an end after time", |b| claim(b, "exp", json!(u64::MAX)), TokenFault::Claim("exp")),
    ("an end that is null", |b| claim(b, "exp", Value::Null), TokenFault::Claim("exp")),
    ("no end", |b| without(b, "exp"), TokenFault::Claim("exp")),
    ("issued in the future", |b| time(b, "iat", 120), TokenFault::Early),
    ("issued long ago", |b| time(b, "iat", -602), TokenFault::Stale),
    ("issued in words", |b| claim(b, "iat", json!("now")), TokenFault::Claim("iat")),
    ("never issued", |b| without(b, "iat"), TokenFault::Claim("iat")),
    ("not yet valid", |b| time(b, "nbf", 120), TokenFault::Early),
    ("valid from a digit", |b| claim(b, "nbf", json!("9")), TokenFault::Claim("nbf")),
    ("another access token", |b| claim(b, "at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA")), TokenFault::AccessTokenHash),
    ("nobody", |b| claim(b, "sub", json!("")), TokenFault::Subject),
    ("a number of a person", |b| claim(b, "sub", json!(7)), TokenFault::Claim("sub")),
    ("no subject", |b| without(b, "sub"), TokenFault::Claim("sub")),
    ("a long name", |b| claim(b, "sub", json!("a".repeat(256))), TokenFault::Subject),
    ("a name with a line break", |b| claim(b, "sub", json!("alice\r\n")), TokenFault::Subject),
    ("methods that are no list", |b| claim(b, "amr", json!("pwd")), TokenFault::Claim("amr")),
    ("signed in at a word", |b| claim(b, "auth_time", json!("noon")), TokenFault::Claim("auth_time")),
    ("signed by nobody", |b| b.signing = Signing::Nobody, TokenFault::Malformed),
    ("signed by a stranger", |b| b.signing = Signing::Stranger, TokenFault::Signature),
    ("signed with the client's secret", |b| b.signing = Signing::Secret(CLIENT_SECRET.into()), TokenFault::Algorithm),
    ("an algorithm the key is not for", |b| header(b, "alg", json!("RS256")), TokenFault::UnknownKey),
    ("an algorithm we do not use", |b| header(b, "alg", json!("RS512")), TokenFault::Algorithm),
    ("an algorithm nobody knows", |b| header(b, "alg", json!("XY1")), TokenFault::Malformed),
    ("a key nobody knows", |b| header(b, "kid", json!("nobody's")), TokenFault::UnknownKey),
    ("a critical extension", |b| header(b, "crit", json!(["exp"])), TokenFault::Critical),
    ("an access token", |b| header(b, "typ", json!("at+jwt")), TokenFault::Type),
    ("a logout token", |b| header(b, "typ", json!("logout+jwt")), TokenFault::Type),
    ("too much", |b| claim(b, "more", json!("x".repeat(40_000))), TokenFault::TooLarge),
    ("none", |b| b.tokens = tamper(|t| drop(t.as_object_mut().unwrap().remove("id_token"))), TokenFault::Missing),
    ("one that is no token", |b| b.tokens = tamper(|t| t["id_token"] = json!("a.b")), TokenFault::Malformed),
    (
        "one with a part more",
        |b| b.tokens = tamper(|t| t["id_token"] = json!(format!("{}.x", t["id_token"].as_str().unwrap()))),
        TokenFault::Malformed,
    ),
];

#[tokio::test]
async fn a_lying_id_token_is_refused() {
    let house = House::new().await;
    let mut verdicts = Vec::new();
    for (name, lie, fault) in LYING_TOKENS {
        house.provider.behave(|b| {
            *b = Behaviour::default();
            lie(b);
        });
        let verdict = house.sign_in().await.map(|login| login.principal);
        if verdict != Err(LoginError::IdToken(*fault)) {
            verdicts.push(format!("{name}: {verdict:?}"));
        }
    }
    assert!(verdicts.is_empty(), "{}", verdicts.join("\n"));
    house.provider.behave(|b| *b = Behaviour::default());
    assert_eq!(house.sign_in().await.err(), None);
}

#[tokio::test]
async fn the_public_key_is_no_secret_to_sign_with() {
    for algorithm in [Algorithm::ES256, Algorithm::RS256] {
        let house = House::new().await;
        let key = SigningKey::generate("published", algorithm);
        house.provider.rotate_to(key.clone());
        let modulus = key.jwk["n"].as_str().unwrap_or_default().as_bytes().to_vec();
        for secret in [key.public.clone(), modulus, key.jwk.to_string().into_bytes()] {
            house.provider.behave(|b| b.signing = Signing::Secret(secret));
            assert_eq!(house.sign_in().await.err(), Some(LoginError::IdToken(TokenFault::Algorithm)));
        }
    }
}

#[tokio::test]
async fn a_key_that_the_token_brings_along_is_not_looked_at() {
    let house = House::new().await;
    let own = house.provider.key();
    let brought = SigningKey::generate("key-1", Algorithm::ES256);
    house.sign_in().await.unwrap();
    // The set still has the first key alone; the token is signed with the other, and says where to find it.
    house.provider.rotate_to(brought.clone());
    house.provider.behave(|b| {
        let (jwk, set) = (brought.jwk.clone(), own.jwk.clone());
        b.header = tamper(move |header| {
            header["jwk"] = jwk.clone();
            header["jku"] = json!("https://evil.example.com/jwks");
            header["x5u"] = json!("https://evil.example.com/chain");
        });
        b.key_set = tamper(move |keys| keys["keys"] = json!([set]));
    });
    assert_eq!(house.sign_in().await.err(), Some(LoginError::IdToken(TokenFault::Signature)));
}

#[tokio::test]
async fn clocks_may_differ_by_a_minute() {
    let cases: [fn(&mut Behaviour); 4] =
        [|b| time(b, "exp", -57), |b| time(b, "iat", 57), |b| time(b, "iat", -597), |b| time(b, "nbf", 57)];
    let house = House::new().await;
    for turn in cases {
        house.provider.behave(turn);
        assert_eq!(house.sign_in().await.err(), None);
    }
}
