use proptest::prelude::*;
use serde_json::json;

use super::signer::{NOW, Signer};
use super::*;

impl Signer {
    fn claims(&self) -> Map<String, Value> {
        let claims = json!({
            "iss": "https://issuer.example.com", "aud": "us", "azp": "us", "sub": "alice", "nonce": "n-1",
            "iat": NOW, "nbf": NOW, "exp": NOW + 300, "at_hash": access_token_hash(Algorithm::ES256, &self.access_token),
        });
        serde_json::from_value(claims).unwrap()
    }

    fn sign_payload(&self, payload: &str) -> String {
        self.sign(r#"{"alg":"ES256","kid":"a"}"#, payload)
    }

    fn verify(&self, token: String) -> Result<IdToken, TokenFault> {
        self.verify_of(token, SignIn::New(&self.nonce))
    }

    fn verdict(&self, claims: &Map<String, Value>) -> Result<IdToken, TokenFault> {
        self.verify(self.sign_payload(&Value::from(claims.clone()).to_string()))
    }

    /// The verdict on the token of a refresh.
    fn refresh_verdict(&self, claims: &Map<String, Value>, original: &Original) -> Result<(), TokenFault> {
        let token = self.sign_payload(&Value::from(claims.clone()).to_string());
        self.verify_of(token, SignIn::Earlier(original)).map(|_| ())
    }
}

#[test]
fn a_refresh_contradicts_nothing_that_the_sign_in_said() {
    let signer = Signer::new();
    let at = |second| Some(Timestamp::from_second(second).unwrap());
    let original = |auth_time| Original { nonce: signer.nonce.clone(), auth_time };
    let verdict = |name: &str, value: Value, auth_time| {
        let mut claims = signer.claims();
        claims.insert(name.to_owned(), value);
        claims.retain(|_, value| !value.is_null());
        signer.refresh_verdict(&claims, &original(auth_time))
    };
    assert_eq!(verdict("nonce", json!("n-1"), None), Ok(()));
    assert_eq!(verdict("nonce", Value::Null, None), Ok(()), "it may be left out");
    assert_eq!(verdict("nonce", json!("n-2"), None), Err(TokenFault::Nonce));
    assert_eq!(verdict("auth_time", json!(NOW - 5), at(NOW - 5)), Ok(()));
    assert_eq!(verdict("auth_time", Value::Null, at(NOW - 5)), Ok(()), "it may be left out");
    assert_eq!(verdict("auth_time", json!(NOW - 5), None), Ok(()), "there is nothing to contradict");
    assert_eq!(verdict("auth_time", json!(NOW), at(NOW - 5)), Err(TokenFault::AuthTime));
}

#[test]
fn a_token_as_it_should_be_gives_its_claims() {
    let signer = Signer::new();
    let expected = IdToken {
        subject: Subject("alice".into()),
        sid: None,
        acr: None,
        amr: Vec::new(),
        auth_time: None,
        claims: signer.claims(),
    };
    assert_eq!(signer.verdict(&signer.claims()), Ok(expected));
}

#[test]
fn the_leeway_is_a_minute_to_the_second() {
    let signer = Signer::new();
    for (claim, at, fault) in [
        ("exp", NOW - 60, None),
        ("exp", NOW - 61, Some(TokenFault::Expired)),
        ("iat", NOW + 60, None),
        ("iat", NOW + 61, Some(TokenFault::Early)),
        ("nbf", NOW + 60, None),
        ("nbf", NOW + 61, Some(TokenFault::Early)),
        ("iat", NOW - 600, None),
        ("iat", NOW - 601, Some(TokenFault::Stale)),
    ] {
        let mut claims = signer.claims();
        claims[claim] = json!(at);
        assert_eq!(signer.verdict(&claims).err(), fault, "{claim} {at}");
    }
}

#[test]
fn what_is_no_json_object_of_sane_depth_is_malformed() {
    let signer = Signer::new();
    let deep = format!("{{\"a\": {}{}}}", "[".repeat(200), "]".repeat(200));
    for payload in ["", "[]", "null", "{", r#"{"exp": 1e400}"#, &deep] {
        assert_eq!(signer.verify(signer.sign_payload(payload)), Err(TokenFault::Malformed), "{payload}");
    }
}

#[test]
fn text_that_is_no_token_is_malformed() {
    let signer = Signer::new();
    let token = signer.sign_payload(&Value::from(signer.claims()).to_string());
    let (message, _) = token.rsplit_once('.').unwrap();
    for text in ["", ".", "..", "a.b.c", "{}", message, &format!(" {token}"), &format!("{token}.")] {
        assert_eq!(signer.verify(text.to_owned()), Err(TokenFault::Malformed), "{text}");
    }
    assert_eq!(signer.verify(format!("{message}.")), Err(TokenFault::Signature));
}

/// Any JSON, not deep.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![Just("us".to_owned()), Just("n-1".to_owned()), "\\PC{0,20}"].prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,3}", inner, 0..3).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Whether a claim may have this value beside the others, said without the code under test.
fn is_fine(claim: &str, value: Option<&Value>, ordinary: &Value) -> bool {
    let within = |low: i64, high: i64| value.and_then(Value::as_i64).is_some_and(|at| (low..=high).contains(&at));
    match claim {
        "iss" | "nonce" => value == Some(ordinary),
        "aud" => {
            value == Some(ordinary)
                || value
                    .and_then(Value::as_array)
                    .is_some_and(|all| !all.is_empty() && all.iter().all(|one| one == "us"))
        }
        "azp" | "at_hash" => value.is_none_or(|value| value == ordinary),
        "exp" => within(NOW - 60, 253_402_300_799),
        "iat" => within(NOW - 600, NOW + 60),
        "nbf" => value.is_none() || within(0, NOW + 60),
        "sub" => value.and_then(Value::as_str).is_some_and(|sub| {
            !sub.is_empty() && sub.len() < 256 && sub.chars().all(|c| c == ' ' || c.is_ascii_graphic())
        }),
        _ => unreachable!("no such claim"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn a_changed_claim_passes_only_where_the_change_is_fine(
        claim in prop::sample::select(&["iss", "aud", "azp", "sub", "nonce", "iat", "nbf", "exp", "at_hash"][..]),
        value in prop::option::weighted(0.95, any_value()),
    ) {
        let signer = Signer::new();
        let mut claims = signer.claims();
        let ordinary = claims[claim].clone();
        match value.clone() {
            Some(value) => claims.insert(claim.to_owned(), value),
            None => claims.remove(claim),
        };
        prop_assert_eq!(signer.verdict(&claims).is_ok(), is_fine(claim, value.as_ref(), &ordinary));
    }

    #[test]
    fn a_token_with_one_byte_changed_never_passes(at in any::<prop::sample::Index>(), byte in b' '..=b'~') {
        let signer = Signer::new();
        let mut token = signer.sign_payload(&Value::from(signer.claims()).to_string()).into_bytes();
        let at = at.index(token.len());
        prop_assume!(token[at] != byte);
        token[at] = byte;
        prop_assert!(signer.verify(String::from_utf8(token).unwrap()).is_err());
    }

    #[test]
    fn no_text_is_a_token(text in "\\PC{0,200}") {
        prop_assert_eq!(Signer::new().believed(text), None);
    }
}
