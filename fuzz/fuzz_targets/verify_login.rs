//! No text is an ID token but what the issuer signed, and of that only what says all that it must.
//! The input is the header of a token, a line feed, and its payload.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use portcullis::oidc::signer::{NOW, Signer};
use serde_json::Value;

static SIGNER: LazyLock<Signer> = LazyLock::new(Signer::new);

fuzz_target!(|input: &str| {
    assert!(SIGNER.believed(input.to_owned()).is_none());
    let Some((header, payload)) = input.split_once('\n') else { return };
    let Some(claims) = SIGNER.believed(SIGNER.sign(header, payload)) else { return };
    let header: Value = serde_json::from_str(header).expect("a header is JSON");
    assert_eq!(header["alg"], "ES256");
    assert!(header["crit"].is_null());
    let number = |name: &str| claims[name].as_i64().expect("a number");
    assert_eq!((&claims["iss"], &claims["nonce"]), (&"https://issuer.example.com".into(), &"n-1".into()));
    assert!(claims["aud"] == "us" || claims["aud"].as_array().expect("a list").iter().all(|one| one == "us"));
    assert!(claims.get("azp").is_none_or(|party| party == "us"));
    assert!(number("exp") >= NOW - 60 && (NOW - 600..=NOW + 60).contains(&number("iat")));
    assert!(claims["sub"].as_str().is_some_and(|subject| !subject.is_empty()));
});
