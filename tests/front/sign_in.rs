//! Signing in: the way there and back, and what goes wrong around it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::browser::{Answer, Browser, Fields, NAVIGATION, SESSION};
use crate::house::House;
use crate::provider::Canned;

/// Turns the issuer of a house.
type Fault = Box<dyn FnOnce(&House)>;

/// The event that a page's answer names.
pub fn event_of(house: &House, answer: &Answer) -> serde_json::Value {
    house.event(answer.value("x-request-id"))
}

#[test]
fn a_person_lands_on_the_deep_link_with_its_query() {
    let house = House::new();
    let mut browser = house.browser();
    let landed = browser.sign_in(&house, "app.test", "/reports/5?month=5&q=a%20b");
    assert_eq!((landed.status, landed.body.as_str()), (200, "ok"));
    let seen = house.upstream.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].line(), "GET /reports/5?month=5&q=a%20b HTTP/1.1");
    assert_eq!(seen[0].values("x-auth-request-user"), ["alice-1"]);
    assert_eq!(seen[0].values("x-auth-request-email"), ["alice@example.com"]);
}

#[test]
fn every_step_of_the_way_is_as_it_should_be() {
    let house = House::new();
    let mut browser = house.browser();
    let challenged = browser.navigate("app.test", "/reports?month=5");
    assert_eq!((challenged.status, challenged.values("set-cookie").len()), (303, 0));
    assert_eq!(challenged.value("location"), "/.portcullis/login?return=%2Freports%3Fmonth%3D5");
    assert_eq!(event_of(&house, &challenged)["kind"], "AuthorizationChallenged");
    let begun = browser.navigate("app.test", challenged.value("location"));
    assert_eq!(
        (begun.status, begun.value("referrer-policy"), begun.value("cache-control")),
        (303, "no-referrer", "no-store")
    );
    assert!(begun.value("set-cookie").ends_with("; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax"));
    let query = house.provider.approve(begun.value("location"));
    let finished = browser.navigate("app.test", &format!("/.portcullis/callback/corp?{query}"));
    assert_eq!((finished.status, finished.value("referrer-policy")), (303, "no-referrer"));
    assert_eq!(finished.value("location"), format!("{}/reports?month=5", house.origin("app.test")));
    let [session, login] = finished.values("set-cookie")[..] else { panic!("{}", finished.head) };
    assert!(session.starts_with("__Host-portcullis=") && login.contains("=; Path=/; Max-Age=0;"));
    assert!(session.contains("; Path=/; Max-Age=43200; Secure; HttpOnly; SameSite=Lax"));
    assert!(browser.logins("app.test").is_empty());
    let event = event_of(&house, &finished);
    assert_eq!((&event["kind"], &event["subject"]["sub"]), (&json!("AuthenticationSucceeded"), &json!("alice-1")));
}

#[test]
fn the_session_cookie_is_short_and_never_goes_upstream() {
    let house = House::new();
    let mut browser = house.signed_in();
    let cookie = format!("{SESSION}={}", browser.session("app.test").unwrap());
    assert!(cookie.len() <= 100, "{}", cookie.len());
    browser.plant("app.test", "theme", "dark");
    assert_eq!(browser.navigate("app.test", "/").status, 200);
    let seen = house.upstream.seen();
    assert_eq!(seen.last().unwrap().values("cookie"), ["theme=dark"]);
    assert!(seen.iter().all(|request| !request.head.contains("__Host-")));
}

#[test]
fn whoever_does_not_navigate_gets_401_and_no_cookie() {
    let house = House::new();
    let mut browser = house.browser();
    let fetch: &[_] = &[("accept", "*/*"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")];
    let old_script: &[_] = &[("accept", "text/html"), ("x-requested-with", "XMLHttpRequest")];
    let cases: [(&str, Fields<'_>, &str); 5] = [
        ("GET", &[], "%2Fapi%3Fx%3D1"),
        ("GET", fetch, "%2F"),
        ("GET", old_script, "%2F"),
        ("POST", NAVIGATION, "%2F"),
        ("OPTIONS", fetch, "%2F"),
    ];
    for (method, fields, return_to) in cases {
        let answer = house.nothing_upstream(|| browser.ask(method, "app.test", "/api?x=1", fields));
        assert_eq!((answer.status, answer.values("set-cookie").len()), (401, 0), "{method} {fields:?}");
        assert_eq!(answer.value("www-authenticate"), "Bearer realm=\"portcullis\"");
        let expected = json!({
            "error": "sign_in_required",
            "login_url": format!("{}/.portcullis/login?return={return_to}", house.origin("app.test")),
            "decision_id": answer.value("x-request-id"),
        });
        assert_eq!(answer.json(), expected);
        let event = event_of(&house, &answer);
        assert_eq!((&event["kind"], &event["reason"]), (&json!("AuthorizationChallenged"), &json!("sign_in_required")));
    }
}

#[test]
fn an_allowed_origin_may_read_the_401() {
    let house = House::new();
    let mut browser = house.browser();
    let friend = browser.get("app.test", "/", &[("origin", "https://friend.test"), ("sec-fetch-mode", "cors")]);
    assert_eq!(friend.value("access-control-allow-origin"), "https://friend.test");
    assert_eq!(friend.value("access-control-allow-credentials"), "true");
    let stranger = browser.get("app.test", "/", &[("origin", "https://evil.test"), ("sec-fetch-mode", "cors")]);
    assert_eq!((stranger.status, stranger.values("access-control-allow-origin").len()), (401, 0));
}

#[test]
fn a_script_begins_no_sign_in() {
    let house = House::new();
    let mut browser = house.browser();
    let answer = browser.get("app.test", "/.portcullis/login?return=/", &[("sec-fetch-mode", "cors")]);
    assert_eq!((answer.status, browser.jar.len()), (401, 0));
}

#[test]
fn a_return_target_of_another_site_becomes_the_front_page() {
    let house = House::new();
    let targets = [
        "//evil.test/",
        "https://evil.test/",
        "/%5C%5Cevil.test",
        "%2F%2Fevil.test",
        "/a&return=/b",
        "/.portcullis/logout",
    ];
    for target in targets {
        let mut browser = house.browser();
        let begun = browser.navigate("app.test", &format!("/.portcullis/login?return={target}"));
        let query = house.provider.approve(begun.value("location"));
        let finished = browser.navigate("app.test", &format!("/.portcullis/callback/corp?{query}"));
        let front_page = format!("{}/", house.origin("app.test"));
        let location = finished.value("location");
        assert!(location == front_page || location.starts_with(&format!("{front_page}%5C")), "{target}: {location}");
    }
}

#[test]
fn the_redirect_uri_is_of_the_public_authority_whatever_the_request_says() {
    let house = House::new();
    let mut browser = house.browser();
    let lies: &[_] =
        &[("x-forwarded-host", "evil.test"), ("x-forwarded-proto", "http"), ("forwarded", "host=evil.test")];
    let fields = [NAVIGATION, lies].concat();
    let begun = browser.get("app.test", "/.portcullis/login?return=/", &fields);
    let url = url::Url::parse(begun.value("location")).unwrap();
    let (_, redirect_uri) = url.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap();
    assert_eq!(redirect_uri, format!("{}/.portcullis/callback/corp", house.origin("app.test")));
}

#[test]
fn two_providers_on_one_host_take_turns_and_each_is_asked_once() {
    let house = House::new();
    let mut browser = house.signed_in();
    let mut replaced = browser.clone();
    for target in ["/second", "/", "/second"] {
        assert_eq!(browser.sign_in(&house, "app.test", target).status, 200, "{target}");
        assert_eq!(browser.navigate("app.test", target).status, 200, "{target}");
    }
    assert_eq!(replaced.get("app.test", "/", &[]).status, 401, "a sign-in ends the session that it replaces");
}

#[test]
fn an_issuer_that_cannot_be_used_is_503_with_a_way_to_begin_again() {
    const METADATA: &str = "/.well-known/openid-configuration";
    let cans =
        |path, answer: Canned| move |house: &House| house.provider.behave(|it| drop(it.canned.insert(path, answer)));
    let issuer = |house: &House| {
        house.provider.behave(|it| it.metadata = Arc::new(|metadata| metadata["issuer"] = json!("https://evil.test")));
    };
    let rows: [(&str, Fault); 5] = [
        ("does not answer", Box::new(|house| house.provider.stop())),
        ("answers 500", Box::new(cans(METADATA, Canned::new(500, "")))),
        ("answers with another issuer", Box::new(issuer)),
        ("answers with 10 MB", Box::new(cans(METADATA, Canned::new(200, vec![b' '; 10_000_000])))),
        ("has no keys", Box::new(cans("/jwks", Canned::new(200, r#"{"keys": []}"#)))),
    ];
    for (name, turn) in rows {
        let house = House::new();
        turn(&house);
        let mut browser = house.browser();
        let challenged = browser.navigate("app.test", "/reports");
        let answer = house.nothing_upstream(|| browser.navigate("app.test", challenged.value("location")));
        assert_eq!((answer.status, answer.value("retry-after"), browser.jar.len()), (503, "5", 0), "{name}");
        assert!(answer.body.contains("/.portcullis/login?return=%2Freports"), "{name}");
        assert_eq!(event_of(&house, &answer)["reason"], "provider_unreachable", "{name}");
    }
}

#[test]
fn who_leaves_before_anything_is_decided_leaves_a_word() {
    const METADATA: &str = "/.well-known/openid-configuration";
    let house = House::new();
    let slow = Canned { delay: Duration::from_secs(600), ..Canned::new(200, "") };
    house.provider.behave(|it| drop(it.canned.insert(METADATA, slow)));
    let at = || (house.provider.calls(METADATA) > 0).then_some(());
    house.browser().gives_up("app.test", "/.portcullis/login?return=/", at);
    let lines = house.trail.until(2);
    let (event, outcome) = (&lines[0], &lines[1]);
    assert_eq!((&event["kind"], &event["path"]), (&"Abandoned".into(), &"/.portcullis/login".into()));
    assert_eq!((&outcome["kind"], &outcome["status"]), (&"Outcome".into(), &0.into()));
}

#[test]
fn a_store_that_does_not_answer_begins_no_session() {
    let house = House::new();
    let mut browser = house.browser();
    let callback = browser.until_callback(&house, "app.test", "/");
    house.store.off(true);
    fails_with_store_off(&house, &mut browser, &callback);
    house.store.off(false);
    assert_eq!(house.browser().sign_in(&house, "app.test", "/").status, 200);
}

fn fails_with_store_off(house: &House, browser: &mut Browser, callback: &str) {
    let answer = browser.navigate("app.test", callback);
    assert_eq!((answer.status, browser.session("app.test")), (503, None), "{}", answer.body);
    assert_eq!(event_of(house, &answer)["reason"], "store_unreachable");
}

#[test]
fn login_cookies_stay_below_the_limit_of_our_own() {
    let house = House::new();
    let mut browser = house.browser();
    let long = format!("/{}", "x".repeat(1000));
    for _ in 0..8 {
        browser.until_callback(&house, "app.test", &long);
        house.wait(1);
    }
    assert_eq!(browser.sign_in(&house, "app.test", &long).status, 200);
}

#[test]
fn a_new_sign_in_gets_a_new_handle_and_ends_the_old_session() {
    let house = House::new();
    let mut browser = house.browser();
    assert_eq!(browser.sign_in(&house, "app.test", "/").status, 200);
    let mut old = browser.clone();
    let begun = browser.navigate("app.test", "/.portcullis/login?return=/");
    let query = house.provider.approve(begun.value("location"));
    assert_eq!(browser.navigate("app.test", &format!("/.portcullis/callback/corp?{query}")).status, 303);
    assert_ne!(browser.session("app.test"), old.session("app.test"));
    assert_eq!(browser.navigate("app.test", "/").status, 200);
    assert_eq!(old.get("app.test", "/", &[]).status, 401);
}

#[test]
fn a_route_without_a_provider_is_503() {
    let house = House::new();
    let answer = house.nothing_upstream(|| house.browser().navigate("lost.test", "/"));
    assert_eq!(answer.status, 503);
    assert_eq!(event_of(&house, &answer)["reason"], "no_provider");
}
