//! Refresh: who stays signed in, with what, and whose session ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis::identity::{Email, Groups, Principal};
use portcullis::oidc::{Original, RefreshError, Refreshed};
use portcullis::secret::Secret;
use serde_json::{Value, json};

use super::House;
use super::provider::{Behaviour, Canned};

/// Somebody as of the sign-in or the last refresh.
#[derive(Clone)]
struct Person {
    principal: Principal,
    original: Original,
    token: Secret<String>,
}

impl House {
    async fn refresh(&self, person: &Person) -> Result<Refreshed, RefreshError> {
        let Person { principal, original, token } = person.clone();
        self.oidc.refresh(self.settings.clone(), (principal, original), token).await
    }

    async fn person(&self) -> Person {
        let login = self.sign_in().await.unwrap();
        Person { principal: login.principal, original: login.original, token: login.refresh_token.unwrap() }
    }
}

async fn signed_in() -> (House, Person) {
    let house = House::new().await;
    let person = house.person().await;
    (house, person)
}

#[tokio::test]
async fn groups_come_from_the_new_id_token() {
    let (house, before) = signed_in().await;
    house.provider.behave(|b| b.person["groups"] = json!(["ops"]));
    let refreshed = house.refresh(&before).await.unwrap();
    assert_eq!(refreshed.principal, Principal { groups: Groups::new(["ops"]), ..before.principal });
    assert_ne!(refreshed.refresh_token, before.token);
    assert!(refreshed.access_expires.is_some() && refreshed.id_token.is_some());
    assert_eq!(house.provider.calls("/userinfo"), 0);
}

#[tokio::test]
async fn groups_come_from_userinfo_where_no_id_token_has_them() {
    let (house, before) = signed_in().await;
    house.provider.behave(|b| {
        b.tokens = Arc::new(|tokens| drop(tokens.as_object_mut().unwrap().remove("id_token")));
        b.userinfo = b.person.clone();
        b.userinfo["groups"] = json!([]);
    });
    let refreshed = house.refresh(&before).await.unwrap();
    assert_eq!(refreshed.principal, Principal { groups: Groups::default(), ..before.principal });
    assert!(refreshed.id_token.is_none());
}

#[tokio::test]
async fn nothing_changes_where_nothing_is_said() {
    let (house, before) = signed_in().await;
    house.provider.behave(|b| {
        b.tokens = Arc::new(|tokens| {
            tokens.as_object_mut().unwrap().retain(|name, _| name == "access_token" || name == "token_type");
        });
        b.canned.insert("/userinfo", Canned::new(503, ""));
    });
    let refreshed = house.refresh(&before).await.unwrap();
    assert_eq!(refreshed.principal, before.principal);
    assert_eq!(refreshed.refresh_token, before.token);
    assert_eq!(refreshed.access_expires, None);
}

#[tokio::test]
async fn what_neither_the_id_token_nor_userinfo_has_any_more_is_gone() {
    let house = House::with(|settings| settings.kept_claims = ["department".into()].into()).await;
    house.provider.behave(|b| b.person["department"] = json!("physics"));
    let before = house.person().await;
    let Principal { email, groups, claims, .. } = &before.principal;
    assert!(email.is_some() && *groups != Groups::default() && !claims.is_empty());
    house.provider.behave(|b| {
        for claim in ["groups", "email_verified", "department"] {
            b.person[claim] = Value::Null;
        }
    });
    let after = house.refresh(&before).await.unwrap().principal;
    let gone = (after.email, after.groups, after.claims);
    assert_eq!(gone, (None, Groups::default(), BTreeMap::new()));
}

/// No userinfo endpoint.
fn without_userinfo(b: &mut Behaviour) {
    b.metadata = Arc::new(|metadata| drop(metadata.as_object_mut().unwrap().remove("userinfo_endpoint")));
}

#[tokio::test]
async fn where_there_is_no_userinfo_an_id_token_says_everything() {
    let house = House::new().await;
    house.provider.behave(without_userinfo);
    let before = house.person().await;
    assert_eq!(before.principal.groups, Groups::new(["staff", "ops"]));
    house.provider.behave(|b| b.person["groups"] = Value::Null);
    assert_eq!(house.refresh(&before).await.unwrap().principal.groups, Groups::default());
}

#[tokio::test]
async fn where_there_is_neither_id_token_nor_userinfo_nothing_changes() {
    let house = House::new().await;
    house.provider.behave(without_userinfo);
    let before = house.person().await;
    house.provider.behave(|b| b.tokens = Arc::new(|tokens| drop(tokens.as_object_mut().unwrap().remove("id_token"))));
    assert_eq!(house.refresh(&before).await.unwrap().principal, before.principal);
}

#[tokio::test]
async fn an_address_that_is_no_longer_verified_is_gone() {
    let (house, before) = signed_in().await;
    assert_eq!(before.principal.email, Email::parse("alice@example.com"));
    house.provider.behave(|b| b.person["email_verified"] = json!(false));
    assert_eq!(house.refresh(&before).await.unwrap().principal.email, None);
}

#[tokio::test]
async fn an_address_stays_verified_while_userinfo_does_not_answer() {
    let house = House::with(|settings| settings.allowed_email_domains = ["example.com".into()].into()).await;
    house.provider.behave(|b| {
        b.person["email_verified"] = Value::Null;
        b.userinfo = json!({ "sub": "alice-1", "email": "alice@example.com", "email_verified": true });
    });
    let before = house.person().await;
    house.provider.behave(|b| drop(b.canned.insert("/userinfo", Canned::new(503, ""))));
    let refreshed = house.refresh(&before).await.unwrap();
    assert_eq!(refreshed.principal, before.principal);
    house.provider.behave(|b| {
        b.canned.clear();
        b.userinfo["email_verified"] = json!(false);
    });
    let verdict = house.refresh(&Person { token: refreshed.refresh_token, ..before }).await;
    assert!(matches!(verdict, Err(RefreshError::Ended(_))), "{verdict:?}");
}

type Case = (&'static str, fn(&mut Behaviour));

/// What ends a session.
const ENDINGS: &[Case] = &[
    ("invalid_grant", |b| drop(b.canned.insert("/token", Canned::new(400, r#"{"error": "invalid_grant"}"#)))),
    ("an ID token of another person", |b| b.person["sub"] = json!("bob-2")),
    ("an ID token of another sign-in", |b| b.claims = Arc::new(|c| c["nonce"] = json!("another"))),
    ("an ID token of a later sign-in", |b| {
        b.claims = Arc::new(|c| c["auth_time"] = json!(c["auth_time"].as_i64().unwrap() + 1));
    }),
    ("an ID token of another issuer", |b| b.claims = Arc::new(|c| c["iss"] = json!("https://evil.example.com"))),
    ("an ID token for another client", |b| b.claims = Arc::new(|c| c["aud"] = json!("another client"))),
    ("an expired ID token", |b| b.claims = Arc::new(|c| c["exp"] = json!(1))),
    ("userinfo of another person", |b| {
        b.person["groups"] = Value::Null;
        b.userinfo = json!({ "sub": "bob-2", "groups": ["admin"] });
    }),
    ("1,001 groups", |b| b.person["groups"] = (0..1001).map(|n| format!("g{n}")).collect()),
];

/// What does not.
const LATER: &[Case] = &[
    ("500", |b| drop(b.canned.insert("/token", Canned::new(500, "")))),
    ("429", |b| drop(b.canned.insert("/token", Canned::new(429, "")))),
    ("invalid_client", |b| drop(b.canned.insert("/token", Canned::new(401, r#"{"error": "invalid_client"}"#)))),
    ("nonsense", |b| drop(b.canned.insert("/token", Canned::new(200, "<html>")))),
];

#[tokio::test]
async fn a_session_ends_when_the_provider_says_so_or_speaks_of_somebody_else() {
    for (name, turn) in ENDINGS {
        let (house, before) = signed_in().await;
        house.provider.behave(turn);
        let verdict = house.refresh(&before).await;
        assert!(matches!(verdict, Err(RefreshError::Ended(_))), "{name}: {verdict:?}");
    }
}

#[tokio::test]
async fn a_session_goes_on_when_the_provider_does_not_answer() {
    for (name, turn) in LATER {
        let (house, before) = signed_in().await;
        house.provider.behave(turn);
        let verdict = house.refresh(&before).await;
        assert!(matches!(verdict, Err(RefreshError::Later(_))), "{name}: {verdict:?}");
    }
    let (house, before) = signed_in().await;
    house.provider.stop();
    let mut gone = (*house.settings).clone();
    gone.issuer = "http://127.0.0.1:1".to_owned().into();
    let house = House { settings: Arc::new(gone), ..house };
    let verdict = house.refresh(&before).await;
    assert!(matches!(verdict, Err(RefreshError::Later(_))), "{verdict:?}");
}

#[tokio::test]
async fn a_refresh_token_shown_twice_ends_the_session() {
    let (house, before) = signed_in().await;
    let newer = house.refresh(&before).await.unwrap().refresh_token;
    for token in [before.token.clone(), newer] {
        let shown = Person { token, ..before.clone() };
        assert!(matches!(house.refresh(&shown).await, Err(RefreshError::Ended(_))));
    }
}
