//! Refresh: once for many who ask, and nobody is thrown out because a provider is slow or gone.

use std::time::Duration;

use jsonwebtoken::Algorithm;

use crate::browser::Browser;
use crate::house::House;
use crate::provider::{Canned, SigningKey};

/// Signs in, and waits until the access token has ended.
fn due(house: &House) -> Browser {
    let browser = house.signed_in();
    house.wait(301);
    browser
}

#[test]
fn fifty_requests_at_the_moment_of_refresh_cost_one_and_none_fails() {
    let house = House::new();
    let browser = due(&house);
    house.provider.behave(|behaviour| behaviour.token_delay = Duration::from_secs(2));
    let calls = house.provider.calls("/token");
    let statuses: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..50)
            .map(|page| {
                let mut browser = browser.clone();
                scope.spawn(move || browser.get("app.test", &format!("/{page}"), &[]).status)
            })
            .collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert_eq!(statuses, [200; 50]);
    assert_eq!(house.provider.calls("/token") - calls, 1);
    assert_eq!(browser.clone().get("app.test", "/", &[]).status, 200);
}

#[test]
fn a_refresh_brings_the_groups_of_now() {
    let house = House::new();
    let mut browser = house.signed_in();
    assert_eq!(browser.get("app.test", "/finance", &[]).status, 403);
    house.provider.behave(|behaviour| behaviour.person["groups"] = serde_json::json!(["finance"]));
    house.wait(301);
    assert_eq!(browser.get("app.test", "/finance", &[]).status, 200);
}

#[test]
fn a_provider_that_ends_the_session_ends_it() {
    let house = House::new();
    let mut browser = due(&house);
    house.provider.behave(|behaviour| {
        behaviour.canned.insert("/token", Canned::new(400, r#"{"error":"invalid_grant"}"#));
    });
    let answer = house.nothing_upstream(|| browser.get("app.test", "/", &[]));
    assert_eq!(
        (answer.status, house.event(answer.value("x-request-id"))["reason"].as_str()),
        (401, Some("session_ended"))
    );
}

#[test]
fn a_provider_that_does_not_answer_ends_nothing() {
    for status in [500, 503] {
        let house = House::new();
        let mut browser = due(&house);
        house.provider.behave(|behaviour| {
            behaviour.canned.insert("/token", Canned::new(status, ""));
        });
        assert_eq!(browser.get("app.test", "/", &[]).status, 200);
        assert!(house.metrics.encode().contains(r#"portcullis_session_refreshes_total{result="later"} 1"#));
        // It is tried again after half a minute.
        house.provider.behave(|behaviour| behaviour.canned.clear());
        house.wait(31);
        assert_eq!(browser.get("app.test", "/", &[]).status, 200);
        assert!(house.metrics.encode().contains(r#"portcullis_session_refreshes_total{result="success"} 1"#));
    }
}

#[test]
fn a_provider_that_rotates_its_keys_signs_nobody_out_and_lets_people_in() {
    let house = House::new();
    let mut browser = due(&house);
    house.provider.rotate_to(SigningKey::generate("key-2", Algorithm::ES256));
    assert_eq!(browser.get("app.test", "/", &[]).status, 200);
    assert!(house.metrics.encode().contains(r#"portcullis_session_refreshes_total{result="success"} 1"#));
    assert_eq!(house.signed_in().get("app.test", "/", &[]).status, 200);
}
