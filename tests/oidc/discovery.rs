//! What issuers publish: refused as a whole, told by name, read again until it is good, and kept when it turns bad.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jsonwebtoken::Algorithm;
use portcullis::clock::Clock;
use portcullis::oidc::{IssuerFailure, IssuerFault, IssuerHealth, LoginError, Oidc, Provider, TokenFault};
use serde_json::{Value, json};

use super::House;
use super::provider::{Behaviour, Canned, SigningKey, TestProvider};

const METADATA: &str = "/.well-known/openid-configuration";

/// A field of the metadata, what it is turned into (null: taken away), and how the issuer then fails.
#[expect(clippy::type_complexity, reason = "a row of a table")]
const LYING_METADATA: &[(&str, fn() -> Value, IssuerFault, &str)] = &[
    (
        "issuer",
        || json!("https://evil.example.com"),
        IssuerFault::Mismatch,
        "the metadata is of the issuer `https://evil.example.com`",
    ),
    ("issuer", || Value::Null, IssuerFault::Document, "the metadata cannot be read"),
    (
        "token_endpoint",
        || json!("http://issuer.example.com/token"),
        IssuerFault::Document,
        "`token_endpoint` of the metadata cannot be used",
    ),
    ("token_endpoint", || Value::Null, IssuerFault::Document, "the metadata cannot be read"),
    (
        "authorization_endpoint",
        || json!("javascript:alert(1)"),
        IssuerFault::Document,
        "`authorization_endpoint` of the metadata",
    ),
    ("jwks_uri", || json!("file:///etc/passwd"), IssuerFault::Document, "`jwks_uri` of the metadata cannot be used"),
    (
        "userinfo_endpoint",
        || json!("https://user@issuer.example.com/"),
        IssuerFault::Document,
        "`userinfo_endpoint` of the metadata",
    ),
    (
        "end_session_endpoint",
        || json!("/logout"),
        IssuerFault::Document,
        "`end_session_endpoint` of the metadata cannot be used",
    ),
    (
        "id_token_signing_alg_values_supported",
        || json!(["HS256", "none"]),
        IssuerFault::Unsupported,
        "no signature algorithm",
    ),
    (
        "token_endpoint_auth_methods_supported",
        || json!(["private_key_jwt"]),
        IssuerFault::Unsupported,
        "neither `client_secret_basic` nor",
    ),
    ("code_challenge_methods_supported", || json!(["plain"]), IssuerFault::Unsupported, "no PKCE with S256"),
];

#[tokio::test]
async fn metadata_that_cannot_be_used_is_refused_by_name() {
    for (field, value, fault, reason) in LYING_METADATA {
        let lie = move |b: &mut Behaviour| {
            b.metadata = Arc::new(move |metadata| match value() {
                Value::Null => drop(metadata.as_object_mut().unwrap().remove(*field)),
                value => metadata[*field] = value,
            });
        };
        assert_refused(lie, *fault, reason).await;
    }
}

#[tokio::test]
async fn documents_that_cannot_be_used_are_refused_by_name() {
    let big = Canned::new(200, vec![b' '; 10 << 20]);
    for (path, canned, fault, reason) in [
        (METADATA, big.clone(), IssuerFault::TooLarge, "the answer is larger than 1048576 bytes"),
        (METADATA, Canned::new(500, "{}"), IssuerFault::Status, "answers 500"),
        (METADATA, Canned::new(302, "{}"), IssuerFault::Status, "answers 302"),
        (METADATA, Canned::new(200, "<html>"), IssuerFault::Document, "the metadata cannot be read"),
        ("/jwks", big, IssuerFault::TooLarge, "the answer is larger than 1048576 bytes"),
        ("/jwks", Canned::new(404, "{}"), IssuerFault::Status, "answers 404"),
        ("/jwks", Canned::new(200, "[]"), IssuerFault::Document, "the key set cannot be read"),
        ("/jwks", Canned::new(200, r#"{"keys": []}"#), IssuerFault::NoUsableKeys, "no key that can verify a signature"),
        (
            "/jwks",
            Canned::new(200, r#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}"#),
            IssuerFault::NoUsableKeys,
            "no key that can verify",
        ),
    ] {
        assert_refused(|b| drop(b.canned.insert(path, canned)), fault, reason).await;
    }
}

#[tokio::test]
async fn keys_that_are_for_something_else_or_too_many_are_refused() {
    let turn = |turn: fn(&mut Value)| move |b: &mut Behaviour| b.key_set = Arc::new(turn);
    assert_refused(
        turn(|set| set["keys"][0]["use"] = json!("enc")),
        IssuerFault::NoUsableKeys,
        "no key that can verify",
    )
    .await;
    assert_refused(
        turn(|set| set["keys"][0]["key_ops"] = json!(["sign"])),
        IssuerFault::NoUsableKeys,
        "no key that can verify",
    )
    .await;
    assert_refused(
        turn(|set| set["keys"][0]["alg"] = json!("ES384")),
        IssuerFault::NoUsableKeys,
        "no key that can verify",
    )
    .await;
    let many = turn(|set| set["keys"] = vec![set["keys"][0].clone(); 101].into());
    assert_refused(many, IssuerFault::TooLarge, "101 keys, more than 100").await;
}

#[tokio::test]
async fn a_document_that_does_not_end_is_given_up_after_ten_seconds() {
    let never = Canned { delay: Duration::from_secs(3600), ..Canned::new(200, "{}") };
    let house = House::new().await;
    house.provider.behave(|b| drop(b.canned.insert(METADATA, never)));
    house.oidc.warm(&house.settings);
    let failed = |health: &IssuerHealth| matches!(health, IssuerHealth::Failed { .. });
    let IssuerHealth::Failed { failure, read_at: None } = house.health_that(failed).await else { panic!() };
    assert_eq!(failure.fault, IssuerFault::Unreachable);
    assert!(failure.detail.contains("no answer within 10 s"), "{failure:?}");
}

/// The issuer with this lie fails like this, and nobody is sent to it.
async fn assert_refused(lie: impl FnOnce(&mut Behaviour), fault: IssuerFault, reason: &str) {
    let house = House::new().await;
    house.provider.behave(lie);
    let begun = house.oidc.begin(house.settings.clone(), String::new(), "/".to_owned()).await;
    let error = begun.err().unwrap_or_else(|| panic!("not refused: {reason}"));
    assert_eq!((error.code(), error.status().as_u16()), ("provider_unreachable", 503));
    assert_eq!(house.failure(&house.settings).fault, fault, "{reason}");
    let told = house.failure(&house.settings).detail;
    assert!(told.contains(reason), "`{told}` does not say `{reason}`");
}

impl House {
    /// How the issuer of these settings failed.
    fn failure(&self, settings: &Provider) -> IssuerFailure {
        match self.oidc.health(&settings.issuer) {
            IssuerHealth::Failed { failure, read_at: None } => failure,
            health => panic!("not failed: {health:?}"),
        }
    }

    /// The health, once it is so; a bounded wait.
    async fn health_that(&self, so: impl Fn(&IssuerHealth) -> bool) -> IssuerHealth {
        let look = async {
            loop {
                let health = self.oidc.health(&self.settings.issuer);
                if so(&health) {
                    return health;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), look).await.expect("the health never was so")
    }
}

#[tokio::test]
async fn an_issuer_that_nobody_asked_for_is_unknown_and_one_that_is_let_go_is_again() {
    let house = House::new().await;
    assert_eq!(house.oidc.health(&house.settings.issuer), IssuerHealth::Unknown);
    house.sign_in().await.unwrap();
    assert!(matches!(house.oidc.health(&house.settings.issuer), IssuerHealth::Ready { .. }));
    house.oidc.retain([&*house.settings]);
    assert!(matches!(house.oidc.health(&house.settings.issuer), IssuerHealth::Ready { .. }));
    house.oidc.retain([]);
    assert_eq!(house.oidc.health(&house.settings.issuer), IssuerHealth::Unknown);
}

#[tokio::test]
async fn an_issuer_is_read_once_for_all_who_wait() {
    let house = House::new().await;
    let begun = (0..50).map(|_| house.oidc.begin(house.settings.clone(), String::new(), "/".to_owned()));
    assert!(join_all(begun).await.iter().all(Result::is_ok));
    assert_eq!((house.provider.calls(METADATA), house.provider.calls("/jwks")), (1, 1));
}

#[tokio::test]
async fn an_issuer_that_is_back_is_ready_within_seconds() {
    let house = House::new().await;
    house.provider.behave(|b| drop(b.canned.insert(METADATA, Canned::new(503, ""))));
    house.oidc.warm(&house.settings);
    house.health_that(|health| matches!(health, IssuerHealth::Failed { .. })).await;
    house.provider.behave(|b| b.canned.clear());
    house.health_that(|health| matches!(health, IssuerHealth::Ready { .. })).await;
    assert_eq!(house.sign_in().await.err(), None);
}

#[tokio::test]
async fn keys_may_change_in_the_middle_of_a_sign_in() {
    let house = House::new().await;
    let start = house.begin().await;
    let query = house.provider.approve(start.authorization_url.expose());
    house.provider.rotate_to(SigningKey::generate("key-2", Algorithm::ES256));
    assert_eq!(house.finish(start.attempt, &query).await.err(), None);
}

#[tokio::test]
async fn a_flood_of_unknown_keys_makes_one_reading() {
    let house = House::new().await;
    house.sign_in().await.unwrap();
    house.provider.behave(|b| {
        b.header = Arc::new(|header| header["kid"] = json!(format!("unknown-{header}")));
    });
    let verdicts = join_all((0..50).map(|_| house.sign_in())).await;
    assert!(verdicts.iter().all(|v| matches!(v, Err(LoginError::IdToken(TokenFault::UnknownKey)))));
    assert_eq!(house.provider.calls("/jwks"), 2);
}

#[tokio::test]
async fn what_was_read_stays_good_when_the_issuer_turns_bad() {
    let house = House::new().await;
    house.sign_in().await.unwrap();
    house.provider.behave(|b| {
        b.canned.insert(METADATA, Canned::new(500, ""));
        b.header = Arc::new(|header| header["kid"] = json!("unknown"));
    });
    assert_eq!(house.sign_in().await.err(), Some(LoginError::IdToken(TokenFault::UnknownKey)));
    let health = house.oidc.health(&house.settings.issuer);
    assert!(matches!(health, IssuerHealth::Failed { read_at: Some(_), .. }), "{health:?}");
    house.provider.behave(|b| b.header = Arc::new(|_| {}));
    assert_eq!(house.sign_in().await.err(), None);
}

#[tokio::test]
async fn an_issuer_that_is_not_there_is_failed() {
    let house = House::new().await;
    let mut settings = (*house.settings).clone();
    settings.issuer = "http://127.0.0.1:1".to_owned().into();
    let begun = house.oidc.begin(Arc::new(settings.clone()), String::new(), "/".to_owned()).await;
    assert_eq!(begun.unwrap_err().code(), "provider_unreachable");
    assert_eq!(house.failure(&settings).fault, IssuerFault::Unreachable);
}

#[tokio::test]
async fn https_is_believed_by_the_bundle_alone() {
    let clock = Clock::system();
    let provider = TestProvider::start_tls(clock.clone()).await;
    let house = House::around(provider, clock, |_| {});
    assert_eq!(house.sign_in().await.err(), None);

    let mut settings = (*house.settings).clone();
    settings.ca_bundle = None;
    let begun = house.oidc.begin(Arc::new(settings.clone()), String::new(), "/".to_owned()).await;
    let reason = begun.unwrap_err().to_string();
    assert!(reason.contains("its certificate is not trusted"), "{reason}");
    assert_eq!(house.failure(&settings).fault, IssuerFault::NotTrusted);

    house.oidc.retain([]);
    settings.ca_bundle = Some(b"no certificate".as_slice().into());
    let begun = house.oidc.begin(Arc::new(settings.clone()), String::new(), "/".to_owned()).await;
    assert!(begun.unwrap_err().to_string().contains("the CA bundle holds no usable certificate"));
    assert_eq!(house.failure(&settings).fault, IssuerFault::TrustAnchors);
}

#[tokio::test]
async fn plain_http_is_refused_where_the_settings_do_not_allow_it() {
    let house = House::with(|settings| settings.loopback_http = false).await;
    let begun = house.oidc.begin(house.settings.clone(), String::new(), "/".to_owned()).await;
    assert!(begun.unwrap_err().to_string().contains("is not `https`"));
    assert_eq!(house.failure(&house.settings).fault, IssuerFault::Identifier);
    assert_eq!(house.provider.calls(METADATA), 0);
}

#[test]
fn work_is_done_on_the_control_runtime() {
    let control = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (provider, oidc) = control.block_on(async {
        let clock = Clock::system();
        (TestProvider::start(clock.clone()).await, Oidc::new(clock, tokio::runtime::Handle::current()))
    });
    let data = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    // This runtime has no I/O: whatever connects, connects elsewhere.
    let house = House { settings: Arc::new(provider.settings()), provider, oidc };
    assert_eq!(data.block_on(house.sign_in()).err(), None);
}
