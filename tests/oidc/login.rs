//! The code flow: what a good sign-in gives, and each way in which one is refused.

use std::sync::Arc;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::Algorithm;
use portcullis::clock::Clock;
use portcullis::identity::{Email, Groups, Identity, Issuer, Principal, Subject};
use portcullis::oidc::{Callback, ClaimFault, LoginAttempt, LoginError, TokenFault};
use serde_json::{Value, json};

use super::House;
use super::provider::{Behaviour, CLIENT_ID, CLIENT_SECRET, Canned, Signing, SigningKey, Tamper, TestProvider};

#[tokio::test]
async fn a_good_sign_in_gives_the_person() {
    let house =
        House::with(|settings| settings.kept_claims = ["address.country", "absent"].map(str::to_owned).into()).await;
    house.provider.behave(|b| {
        b.person["address"] = json!({ "country": "NO" });
        b.person["sid"] = json!("session-9");
        b.person["acr"] = json!("mfa");
        b.person["amr"] = json!(["pwd", "otp"]);
    });
    let login = house.sign_in().await.unwrap();
    let expected = Principal {
        identity: Identity { issuer: Issuer(house.provider.issuer().into()), subject: Subject("alice-1".into()) },
        email: Email::parse("alice@example.com"),
        name: Some("Alice".into()),
        preferred_username: Some("alice".into()),
        groups: Groups::new(["staff", "ops"]),
        claims: [("address.country".to_owned(), json!("NO"))].into(),
    };
    assert_eq!(login.principal, expected);
    assert_eq!((login.sid.as_deref(), login.acr.as_deref()), (Some("session-9"), Some("mfa")));
    assert_eq!(login.amr, ["pwd", "otp"]);
    assert!(login.original.auth_time.is_some() && login.access_expires.is_some());
    assert!(login.refresh_token.is_some() && login.id_token.is_some());
}

#[tokio::test]
async fn each_algorithm_that_both_sides_use_is_believed() {
    for algorithm in [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA] {
        let house = House::new().await;
        house.provider.rotate_to(SigningKey::generate("other", algorithm));
        assert_eq!(house.sign_in().await.err(), None, "{algorithm:?}");
    }
}

#[tokio::test]
async fn the_client_shows_itself_in_the_body_where_the_issuer_wants_it_there() {
    let house = House::new().await;
    house.provider.behave(|b| {
        b.metadata = tamper(|m| m["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]));
    });
    assert_eq!(house.sign_in().await.err(), None);
}

/// A tamper of one thing.
fn tamper(turn: impl Fn(&mut Value) + Send + Sync + 'static) -> Tamper {
    Arc::new(turn)
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
async fn a_callback_of_another_state_reaches_no_endpoint() {
    let house = House::new().await;
    let (start, other) = (house.begin().await, house.begin().await);
    let query = house.provider.approve(start.authorization_url.expose());
    let stateless = query.split('&').filter(|pair| !pair.starts_with("state=")).collect::<Vec<_>>().join("&");
    for (attempt, query, error) in [
        (&other.attempt, query.clone(), LoginError::StateForeign),
        (&start.attempt, stateless.clone(), LoginError::StateMissing),
        (&start.attempt, format!("{stateless}&state="), LoginError::StateMissing),
        (&start.attempt, format!("{stateless}&state=wrong"), LoginError::StateForeign),
        (&start.attempt, format!("{query}&state=twice"), LoginError::Parameter("state")),
        (&start.attempt, format!("{query}&%63ode=twice"), LoginError::Parameter("code")),
        (&start.attempt, format!("{stateless}&state=%FF"), LoginError::Parameter("state")),
        (&start.attempt, format!("{stateless}&state={}", "a".repeat(300)), LoginError::Parameter("state")),
    ] {
        assert_eq!(house.finish(attempt.clone(), &query).await.err(), Some(error), "{query}");
    }
    assert_eq!(house.provider.calls("/token"), 0);
    assert_eq!(house.finish(start.attempt, &query).await.err(), None);
}

#[tokio::test]
async fn a_state_is_good_once() {
    let house = House::new().await;
    let start = house.begin().await;
    let query = house.provider.approve(start.authorization_url.expose());
    house.finish(start.attempt.clone(), &query).await.unwrap();
    assert_eq!(house.finish(start.attempt, &query).await.err(), Some(LoginError::StateReused));
    assert_eq!(house.provider.calls("/token"), 1);
}

#[tokio::test]
async fn a_code_is_good_once_and_for_its_own_attempt() {
    let house = House::new().await;
    let (first, second, third) = (house.begin().await, house.begin().await, house.begin().await);
    let query = house.provider.approve(first.authorization_url.expose());
    let with_state_of = |attempt: &LoginAttempt| {
        let code = query.split('&').find(|pair| pair.starts_with("code=")).unwrap();
        let issuer = query.split('&').find(|pair| pair.starts_with("iss=")).unwrap();
        format!("{code}&{issuer}&state={}", attempt.state.expose())
    };
    let injected = with_state_of(&second.attempt);
    assert_eq!(house.finish(second.attempt, &injected).await.err(), Some(LoginError::CodeRefused));
    let replayed = with_state_of(&third.attempt);
    assert_eq!(house.finish(third.attempt, &replayed).await.err(), Some(LoginError::CodeRefused));
}

#[tokio::test]
async fn a_callback_of_another_issuer_reaches_no_endpoint() {
    let house = House::new().await;
    for (issuer, error) in [
        (json!("https://evil.example.com"), LoginError::IssuerForeign),
        (json!(format!("{}/", house.provider.issuer())), LoginError::IssuerForeign),
        (Value::Null, LoginError::IssuerMissing),
    ] {
        house.provider.behave(|b| {
            b.callback = tamper(move |callback| match &issuer {
                Value::Null => drop(callback.as_object_mut().unwrap().remove("iss")),
                issuer => callback["iss"] = issuer.clone(),
            });
        });
        assert_eq!(house.sign_in().await.err(), Some(error));
    }
    assert_eq!(house.provider.calls("/token"), 0);
}

#[tokio::test]
async fn an_issuer_that_promises_no_iss_may_leave_it_out_but_not_name_another() {
    let house = House::new().await;
    house.provider.behave(|b| {
        b.metadata = tamper(|m| m["authorization_response_iss_parameter_supported"] = json!(false));
        b.callback = tamper(|callback| drop(callback.as_object_mut().unwrap().remove("iss")));
    });
    assert_eq!(house.sign_in().await.err(), None);
    house.provider.behave(|b| b.callback = tamper(|callback| callback["iss"] = json!("https://evil.example.com")));
    assert_eq!(house.sign_in().await.err(), Some(LoginError::IssuerForeign));
}

#[tokio::test]
async fn an_attempt_ends_with_its_provider_and_after_ten_minutes() {
    let clock = Clock::manual(Timestamp::from_second(1_800_000_000).unwrap());
    let house = House::around(TestProvider::start(clock.clone()).await, clock.clone(), |_| {});
    let start = house.begin().await;
    let query = house.provider.approve(start.authorization_url.expose());
    let foreign = LoginAttempt { provider: "partner".to_owned(), ..start.attempt.clone() };
    assert_eq!(house.finish(foreign, &query).await.err(), Some(LoginError::AttemptForeign("partner".to_owned())));
    let early = LoginAttempt { begun: clock.now() + SignedDuration::from_secs(61), ..start.attempt.clone() };
    assert_eq!(house.finish(early, &query).await.err(), Some(LoginError::AttemptExpired));
    clock.advance(SignedDuration::from_secs(601));
    assert_eq!(house.finish(start.attempt.clone(), &query).await.err(), Some(LoginError::AttemptExpired));
    clock.advance(SignedDuration::from_secs(-1));
    assert_eq!(house.finish(start.attempt, &query).await.err(), None);
}

#[tokio::test]
async fn the_providers_no_is_told_as_it_is() {
    let house = House::new().await;
    for (error, expected) in [
        ("access_denied", LoginError::AccessDenied),
        ("server_error", LoginError::Refused("server_error".to_owned())),
        ("<b>\r\nbold</b>", LoginError::Refused("<b>bold</b>".to_owned())),
    ] {
        house.provider.behave(|b| {
            b.callback = tamper(move |callback| {
                callback.as_object_mut().unwrap().remove("code");
                callback["error"] = json!(error);
            });
        });
        assert_eq!(house.sign_in().await.err(), Some(expected));
    }
    house.provider.behave(|b| b.callback = tamper(|callback| drop(callback.as_object_mut().unwrap().remove("code"))));
    assert_eq!(house.sign_in().await.err(), Some(LoginError::CodeMissing));
    assert_eq!(house.provider.calls("/token"), 0);
}

#[tokio::test]
async fn an_answer_of_the_token_endpoint_that_makes_no_sense_is_refused() {
    let house = House::new().await;
    for (canned, code) in [
        (Canned::new(500, "{}"), "provider_unreachable"),
        (Canned::new(429, "{}"), "provider_unreachable"),
        (Canned::new(200, vec![b' '; 2 << 20]), "provider_unreachable"),
        (Canned::new(302, ""), "provider_answer_malformed"),
        (Canned::new(404, "<html>"), "provider_answer_malformed"),
        (Canned::new(200, "<html>"), "provider_answer_malformed"),
        (Canned::new(200, r#"{"access_token": "a"}"#), "provider_answer_malformed"),
        (Canned::new(200, r#"{"access_token": "a", "token_type": "DPoP"}"#), "provider_answer_malformed"),
        (Canned::new(401, r#"{"error": "invalid_client"}"#), "client_refused"),
        (Canned::new(400, r#"{"error": "invalid_grant"}"#), "code_refused"),
    ] {
        let text = String::from_utf8_lossy(&canned.body[..canned.body.len().min(40)]).into_owned();
        house.provider.behave(|b| drop(b.canned.insert("/token", canned)));
        assert_eq!(house.sign_in().await.unwrap_err().code(), code, "{text}");
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

#[tokio::test]
async fn so_many_sign_ins_wait_for_a_provider_and_no_more() {
    let house = House::new().await;
    house.provider.behave(|b| b.token_delay = std::time::Duration::from_millis(500));
    let mut attempts = Vec::new();
    for _ in 0..260 {
        let start = house.begin().await;
        attempts.push((house.provider.approve(start.authorization_url.expose()), start.attempt));
    }
    let verdicts = join_all(attempts.iter().map(|(query, attempt)| house.finish(attempt.clone(), query))).await;
    let busy = |verdict: &Result<_, _>| matches!(verdict, Err(LoginError::Busy));
    let fine = verdicts.iter().filter(|verdict| verdict.is_ok()).count();
    assert_eq!((fine, verdicts.iter().filter(|verdict| busy(verdict)).count()), (256, 4));
    let (at, _) = verdicts.iter().enumerate().find(|(_, verdict)| busy(verdict)).unwrap();
    let (query, attempt) = attempts.swap_remove(at);
    assert_eq!(house.finish(attempt, &query).await.err(), None, "an attempt that found no place is still good");
}

#[tokio::test]
async fn a_provider_with_too_many_sign_ins_keeps_nobody_from_another() {
    let slow = House::new().await;
    let other = TestProvider::start(Clock::system()).await;
    let other = House { settings: Arc::new(other.settings()), provider: other, oidc: slow.oidc.clone() };
    slow.provider.behave(|b| b.token_delay = std::time::Duration::from_millis(500));
    let (waiting, elsewhere) = tokio::join!(join_all((0..260).map(|_| slow.sign_in())), other.sign_in());
    assert_eq!(waiting.iter().filter(|verdict| matches!(verdict, Err(LoginError::Busy))).count(), 4);
    assert_eq!(elsewhere.err(), None);
}

#[tokio::test]
async fn no_error_tells_a_secret() {
    let house = House::new().await;
    let start = house.begin().await;
    let query = house.provider.approve(start.authorization_url.expose());
    house.provider.behave(|b| {
        b.tokens = tamper(|tokens| {
            tokens["access_token"] = json!("CANARY");
            tokens["refresh_token"] = json!(7);
        });
    });
    let error = house.finish(start.attempt.clone(), &query).await.unwrap_err();
    let told = format!("{error} {error:?} {:?} {start:?} {:?}", start.attempt, Callback::parse(&query).unwrap());
    let attempt = &start.attempt;
    for secret in [&attempt.nonce, &attempt.verifier].map(|secret| secret.expose().as_str()) {
        let url = start.authorization_url.expose().as_str();
        assert!(!told.replace(url, "").contains(secret), "{told}");
    }
    assert!(!told.contains("CANARY") && !told.contains(CLIENT_SECRET), "{told}");
}

#[tokio::test]
async fn sign_out_goes_on_to_the_provider_where_it_has_it_and_the_settings_want_it() {
    let house = House::new().await;
    let id_token = house.sign_in().await.unwrap().id_token.unwrap();
    let back = "https://app.example.com/.portcullis/signed-out".to_owned();
    let hint = id_token.expose().clone();
    let url = house.oidc.logout_url(house.settings.clone(), Some(id_token), back.clone()).await;
    let encoded = "https%3A%2F%2Fapp.example.com%2F.portcullis%2Fsigned-out";
    let expected = format!(
        "{}/logout?client_id=the+client&post_logout_redirect_uri={encoded}&id_token_hint={hint}",
        house.provider.issuer()
    );
    assert_eq!(url, Some(expected));

    let house = House::with(|settings| settings.rp_initiated_logout = false).await;
    assert!(house.sign_in().await.unwrap().id_token.is_none());
    assert_eq!(house.oidc.logout_url(house.settings.clone(), None, back.clone()).await, None);

    let house = House::new().await;
    house.provider.behave(|b| b.metadata = tamper(|m| drop(m.as_object_mut().unwrap().remove("end_session_endpoint"))));
    assert_eq!(house.oidc.logout_url(house.settings.clone(), None, back).await, None);
}
