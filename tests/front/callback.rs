//! The callback, and every way in which it is refused.

use std::sync::Arc;

use serde_json::json;

use crate::browser::Browser;
use crate::house::House;
use crate::provider::{Behaviour, Signing};
use crate::sign_in::event_of;

/// A callback that must fail, with no session and nothing upstream.
fn fails(house: &House, browser: &mut Browser, callback: &str, status: u16, reason: &str) {
    let answer = house.nothing_upstream(|| browser.navigate("app.test", callback));
    assert_eq!((answer.status, browser.session("app.test")), (status, None), "{}", answer.body);
    assert!(
        answer.body.contains("Start again") && answer.body.contains("/.portcullis/login?return="),
        "{}",
        answer.body
    );
    assert!(answer.body.contains(answer.value("x-request-id")));
    let event = event_of(house, &answer);
    assert_eq!((&event["kind"], &event["reason"]), (&json!("AuthenticationFailed"), &json!(reason)));
}

#[test]
fn a_callback_without_a_state_is_refused() {
    let house = House::new();
    let mut browser = house.browser();
    browser.until_callback(&house, "app.test", "/");
    fails(&house, &mut browser, "/.portcullis/callback/corp?code=code-1", 400, "state_missing");
}

#[test]
fn a_callback_with_a_wrong_state_is_refused() {
    let house = House::new();
    let mut browser = house.browser();
    let callback = browser.until_callback(&house, "app.test", "/");
    let wrong = callback.replace("state=", "state=x");
    fails(&house, &mut browser, &wrong, 400, "state_foreign");
}

#[test]
fn a_callback_of_another_browser_is_refused() {
    let house = House::new();
    let callback = house.browser().until_callback(&house, "app.test", "/");
    let mut victim = house.browser();
    fails(&house, &mut victim, &callback, 400, "state_foreign");
    victim.until_callback(&house, "app.test", "/");
    fails(&house, &mut victim, &callback, 400, "state_foreign");
}

#[test]
fn a_state_is_good_once() {
    let house = House::new();
    let mut browser = house.browser();
    let callback = browser.until_callback(&house, "app.test", "/");
    let mut replay = browser.clone();
    assert_eq!(browser.navigate("app.test", &callback).status, 303);
    let calls = house.provider.calls("/token");
    fails(&house, &mut replay, &callback, 400, "state_reused");
    assert_eq!(house.provider.calls("/token"), calls);
}

#[test]
fn a_replayed_code_is_refused() {
    let house = House::new();
    let mut browser = house.browser();
    let callback = browser.until_callback(&house, "app.test", "/");
    assert_eq!(browser.navigate("app.test", &callback).status, 303);
    let code = callback.split_once("code=").unwrap().1.split('&').next().unwrap();
    let mut other = house.browser();
    let fresh = other.until_callback(&house, "app.test", "/");
    let of_fresh = fresh.split_once("code=").unwrap().1.split('&').next().unwrap();
    fails(&house, &mut other, &fresh.replace(of_fresh, code), 400, "code_refused");
}

#[test]
fn a_login_cookie_of_another_host_is_no_attempt() {
    let house = House::new();
    let mut browser = house.browser();
    let callback = browser.until_callback(&house, "other.test", "/");
    for ((_, name), value) in browser.jar.clone() {
        browser.plant("app.test", &name, &value);
    }
    fails(&house, &mut browser, &callback, 400, "state_foreign");
}

#[test]
fn an_attempt_ends_after_ten_minutes() {
    let house = House::new();
    let mut browser = house.browser();
    let callback = browser.until_callback(&house, "app.test", "/");
    house.wait(601);
    fails(&house, &mut browser, &callback, 400, "state_foreign");
}

#[test]
fn parameters_that_come_twice_are_refused() {
    let house = House::new();
    for name in ["code", "state", "iss", "error"] {
        let mut browser = house.browser();
        let callback = browser.until_callback(&house, "app.test", "/");
        let twice = format!("{callback}&{name}=x&{name}=x");
        fails(&house, &mut browser, &twice, 400, "callback_malformed");
    }
}

#[test]
fn a_callback_for_an_unknown_provider_is_not_found() {
    let house = House::new();
    let mut browser = house.browser();
    let callback = browser.until_callback(&house, "app.test", "/").replace("/corp?", "/other?");
    assert_eq!(browser.navigate("app.test", &callback).status, 404);
}

#[test]
fn a_person_who_declines_is_told_how_to_begin_again() {
    let house = House::new();
    house.provider.behave(|behaviour| {
        behaviour.callback = Arc::new(|parameters| {
            parameters.as_object_mut().unwrap().remove("code");
            parameters["error"] = json!("access_denied");
        });
    });
    let mut browser = house.browser();
    let callback = browser.until_callback(&house, "app.test", "/reports?month=5");
    let answer = browser.navigate("app.test", &callback);
    assert_eq!((answer.status, event_of(&house, &answer)["reason"].as_str()), (403, Some("access_denied")));
    assert!(answer.body.contains("/.portcullis/login?return=%2Freports%3Fmonth%3D5"), "{}", answer.body);
    assert!(browser.jar.is_empty());
}

#[test]
fn an_id_token_that_lies_begins_no_session() {
    let house = House::new();
    let fails_as = |reason| {
        let mut browser = house.browser();
        let callback = browser.until_callback(&house, "app.test", "/");
        fails(&house, &mut browser, &callback, 403, reason);
    };
    let now = house.clock.now().as_second();
    for (name, value, reason) in [
        ("iss", json!("https://evil.test"), "id_token_issuer"),
        ("aud", json!("another"), "id_token_audience"),
        ("azp", json!("another"), "id_token_authorized_party"),
        ("nonce", json!("another"), "id_token_nonce"),
        ("exp", json!(now - 61), "id_token_expired"),
        ("iat", json!(now + 61), "id_token_early"),
    ] {
        house.provider.behave(|behaviour| {
            behaviour.claims = Arc::new(move |claims| claims[name] = value.clone());
        });
        fails_as(reason);
    }
    let public = house.provider.key().public;
    for (signing, reason) in [(Signing::Nobody, "id_token_malformed"), (Signing::Secret(public), "id_token_algorithm")]
    {
        house.provider.behave(|behaviour| *behaviour = Behaviour { signing, ..Behaviour::default() });
        fails_as(reason);
    }
}

#[test]
fn five_attempts_at_once_and_the_oldest_goes() {
    let house = House::new();
    let mut browser = house.browser();
    let mut callbacks = Vec::new();
    for page in 0..6 {
        callbacks.push(browser.until_callback(&house, "app.test", &format!("/{page}")));
        house.wait(1);
        assert_eq!(browser.logins("app.test").len(), (page + 1).min(5));
    }
    fails(&house, &mut browser.clone(), &callbacks[0], 400, "state_foreign");
    for callback in &callbacks[1..] {
        assert_eq!(browser.navigate("app.test", callback).status, 303);
    }
}
