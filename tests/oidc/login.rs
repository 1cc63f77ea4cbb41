//! The code flow: what a good sign-in gives, and each way in which the way there and back is refused.

use std::sync::Arc;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use portcullis::clock::Clock;
use portcullis::identity::{Email, Groups, Identity, Issuer, Principal, Subject};
use portcullis::oidc::{Callback, LoginAttempt, LoginError};
use serde_json::{Value, json};

use super::provider::{CLIENT_SECRET, Canned, TestProvider};
use super::{House, tamper};

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
async fn the_client_shows_itself_in_the_body_where_the_issuer_wants_it_there() {
    let house = House::new().await;
    house.provider.behave(|b| {
        b.metadata = tamper(|m| m["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]));
    });
    assert_eq!(house.sign_in().await.err(), None);
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
