//! Who a person is: what is taken of the ID token and of userinfo, and what is refused.

use portcullis::identity::{Email, Groups};
use portcullis::oidc::{ClaimFault, LoginError};
use serde_json::{Value, json};

use super::provider::{Behaviour, Canned};
use super::{House, tamper};

/// What the person is, as the provider has it, and why that is not taken.
#[expect(clippy::type_complexity, reason = "a row of a table")]
const LYING_CLAIMS: &[(&str, fn(&mut Behaviour), ClaimFault)] = &[
    (
        "1,001 groups",
        |b| b.person["groups"] = (0..1001).map(|n| format!("g{n}")).collect(),
        ClaimFault::TooManyGroups(1001),
    ),
    ("a group that is a number", |b| b.person["groups"] = json!(["staff", 7]), ClaimFault::Groups),
    ("groups that are an object", |b| b.person["groups"] = json!({ "staff": true }), ClaimFault::Groups),
    ("an unverified address", |b| b.person["email_verified"] = json!(false), ClaimFault::EmailDomain),
    ("an address verified in words", |b| b.person["email_verified"] = json!("true"), ClaimFault::EmailDomain),
    ("an address of two", |b| b.person["email"] = json!("attacker@evil.com@example.com"), ClaimFault::EmailDomain),
    ("two addresses", |b| b.person["email"] = json!(["a@evil.com", "a@example.com"]), ClaimFault::EmailDomain),
    ("a subdomain", |b| b.person["email"] = json!("a@sub.example.com"), ClaimFault::EmailDomain),
    ("another domain", |b| b.person["email"] = json!("a@example.com.evil.com"), ClaimFault::EmailDomain),
    (
        "userinfo of somebody else",
        |b| {
            b.person["groups"] = Value::Null;
            b.userinfo = json!({ "sub": "bob-2", "groups": ["admin"] });
        },
        ClaimFault::UserinfoSubject,
    ),
    (
        "userinfo of nobody",
        |b| {
            b.person["groups"] = Value::Null;
            b.userinfo = json!({ "groups": ["admin"] });
        },
        ClaimFault::UserinfoSubject,
    ),
    (
        "userinfo that is no object",
        |b| {
            b.person["groups"] = Value::Null;
            b.userinfo = json!(["alice-1"]);
        },
        ClaimFault::Userinfo,
    ),
    (
        "an address that userinfo has verified for another",
        |b| {
            b.person["email_verified"] = Value::Null;
            b.userinfo = json!({ "sub": "alice-1", "email": "alice@evil.com", "email_verified": true });
        },
        ClaimFault::EmailDomain,
    ),
];

#[tokio::test]
async fn claims_that_cannot_be_taken_are_refused() {
    let house = House::with(|settings| settings.allowed_email_domains = ["Example.com".into()].into()).await;
    assert_eq!(house.sign_in().await.err(), None);
    let mut verdicts = Vec::new();
    for (name, lie, fault) in LYING_CLAIMS {
        house.provider.behave(|b| {
            *b = Behaviour::default();
            lie(b);
        });
        let verdict = house.sign_in().await.map(|login| login.principal);
        if verdict.as_ref() != Err(&LoginError::Claims(fault.clone())) {
            verdicts.push(format!("{name}: {verdict:?}"));
        }
    }
    assert!(verdicts.is_empty(), "{}", verdicts.join("\n"));
}

#[tokio::test]
async fn too_many_claims_of_userinfo_are_refused() {
    let house = House::new().await;
    house.provider.behave(|b| {
        b.person["groups"] = Value::Null;
        b.userinfo["more"] = json!("x".repeat(40_000));
    });
    let verdict = house.sign_in().await.err();
    assert!(matches!(verdict, Some(LoginError::Claims(ClaimFault::TooLarge(_)))), "{verdict:?}");
}

#[tokio::test]
async fn an_unverified_address_counts_for_nothing_and_the_person_may_still_sign_in() {
    let house = House::new().await;
    house.provider.behave(|b| b.person["email_verified"] = json!(false));
    assert_eq!(house.sign_in().await.unwrap().principal.email, None);
}

#[tokio::test]
async fn an_unverified_address_counts_where_the_settings_say_so() {
    let house = House::with(|settings| settings.require_verified_email = false).await;
    house.provider.behave(|b| b.person["email_verified"] = Value::Null);
    assert_eq!(house.sign_in().await.unwrap().principal.email, Email::parse("alice@example.com"));
}

#[tokio::test]
async fn userinfo_is_asked_for_what_the_id_token_lacks_and_only_then() {
    let house = House::new().await;
    house.sign_in().await.unwrap();
    assert_eq!(house.provider.calls("/userinfo"), 0);
    house.provider.behave(|b| {
        b.person = json!({ "sub": "alice-1", "name": "Alice" });
        b.userinfo = json!({
            "sub": "alice-1", "name": "Mallory", "groups": "staff", "email": "a@example.com", "email_verified": true,
        });
    });
    let principal = house.sign_in().await.unwrap().principal;
    assert_eq!(house.provider.calls("/userinfo"), 1);
    assert_eq!(principal.name.as_deref(), Some("Alice"));
    assert_eq!(principal.groups, Groups::new(["staff"]));
    assert_eq!(principal.email, Email::parse("a@example.com"));
}

#[tokio::test]
async fn a_claim_may_lie_deep_or_have_dots_in_its_name() {
    for (path, person) in [
        ("realm.roles", json!({ "realm": { "roles": ["deep"] } })),
        ("https://example.com/groups", json!({ "https://example.com/groups": ["deep"] })),
    ] {
        let house = House::with(|settings| settings.claims.groups = path.into()).await;
        house.provider.behave(|b| b.person.as_object_mut().unwrap().extend(person.as_object().unwrap().clone()));
        assert_eq!(house.sign_in().await.unwrap().principal.groups, Groups::new(["deep"]), "{path}");
    }
}

#[tokio::test]
async fn userinfo_that_does_not_answer_stops_the_sign_in_that_needs_it() {
    let house = House::new().await;
    house.provider.behave(|b| {
        b.person["groups"] = Value::Null;
        b.canned.insert("/userinfo", Canned::new(503, ""));
    });
    assert_eq!(house.sign_in().await.unwrap_err().code(), "provider_unreachable");
}

#[tokio::test]
async fn a_claim_that_only_a_policy_names_does_not_make_a_sign_in_need_userinfo() {
    let house = House::with(|settings| settings.kept_claims = ["department".to_owned()].into()).await;
    house.provider.behave(|b| drop(b.canned.insert("/userinfo", Canned::new(503, ""))));
    let principal = house.sign_in().await.unwrap().principal;
    assert_eq!((principal.claims.len(), house.provider.calls("/userinfo")), (0, 1));
}

#[tokio::test]
async fn an_access_token_that_breaks_the_line_is_not_sent() {
    let house = House::new().await;
    house.provider.behave(|b| {
        b.claims = tamper(|claims| {
            claims.as_object_mut().unwrap().retain(|name, _| name != "groups" && name != "at_hash");
        });
        b.tokens = tamper(|tokens| tokens["access_token"] = json!("a\r\nX-Evil: b"));
    });
    assert_eq!(house.sign_in().await.unwrap_err().code(), "provider_unreachable");
    assert_eq!(house.provider.calls("/userinfo"), 0);
}
