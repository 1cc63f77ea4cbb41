//! Our own pages: on guarded hosts, never forwarded, in the form that was asked for.

use serde_json::json;

use crate::browser::NAVIGATION;
use crate::house::House;

#[test]
fn who_am_i_in_every_form() {
    let house = House::new();
    let mut browser = house.signed_in();
    let page = browser.navigate("app.test", "/.portcullis/");
    assert!(page.status == 200 && page.body.contains("alice@example.com") && page.body.contains("Sign out"));
    assert_eq!((page.value("cache-control"), page.value("vary")), ("no-store", "accept, cookie"));
    let object = browser.get("app.test", "/.portcullis/", &[("accept", "application/json")]).json();
    let id = object["decision_id"].clone();
    let expected = json!({
        "signed_in": true, "subject": "alice-1", "email": "alice@example.com", "name": "Alice",
        "preferred_username": "alice", "groups": ["staff", "ops"], "issuer": house.provider.issuer(),
        "expires": "2026-03-02T00:00:00Z", "decision_id": id,
    });
    assert_eq!(object, expected);
    let text = browser.get("app.test", "/.portcullis/", &[]).body;
    assert!(text.starts_with("You are signed in\n") && text.contains("E-mail: alice@example.com\n"));
    let nobody = house.browser().get("app.test", "/.portcullis/", &[("accept", "application/json")]).json();
    assert_eq!(nobody["signed_in"], false);
}

#[test]
fn no_token_and_no_secret_is_on_any_page() {
    let house = House::new();
    let mut browser = house.signed_in();
    let cookie = browser.session("app.test").unwrap();
    for accept in ["text/html", "application/json", "text/plain"] {
        let page = browser.get("app.test", "/.portcullis/", &[("accept", accept)]);
        for secret in ["access-", "refresh-", "code-", "eyJ", cookie.as_str(), crate::provider::CLIENT_SECRET] {
            assert!(!page.body.contains(secret) && !page.head.contains(secret), "{secret} in {}", page.body);
        }
    }
}

#[test]
fn each_endpoint_knows_its_methods() {
    let house = House::new();
    let mut browser = house.signed_in();
    for (method, target, allow) in [
        ("POST", "/.portcullis/", "GET, HEAD"),
        ("POST", "/.portcullis/login", "GET"),
        ("HEAD", "/.portcullis/login", "GET"),
        ("HEAD", "/.portcullis/callback/corp", "GET"),
        ("DELETE", "/.portcullis/callback/corp", "GET"),
        ("PUT", "/.portcullis/logout", "GET, HEAD, POST"),
    ] {
        let answer = house.nothing_upstream(|| browser.ask(method, "app.test", target, NAVIGATION));
        assert_eq!((answer.status, answer.value("allow")), (405, allow), "{method} {target}");
        assert_eq!(house.event(answer.value("x-request-id"))["reason"], "method_not_allowed");
    }
}

#[test]
fn reserved_paths_never_reach_an_upstream() {
    let house = House::new();
    let mut browser = house.signed_in();
    for (host, target, status) in [
        ("app.test", "/.portcullis/nothing", 404),
        ("app.test", "/.portcullis/login/x", 404),
        ("app.test", "/.well-known/portcullis/jwks.json", 404),
        ("app.test", "/%2Eportcullis/nothing", 404),
        ("open.test", "/.portcullis/", 404),
        ("open.test", "/.portcullis/login", 404),
        // What an upstream could take for one of them.
        ("app.test", "//.portcullis/login", 400),
        ("app.test", "/.portcullis%2Flogin", 400),
        ("app.test", "/.portcullis;x/login", 400),
        ("open.test", "/.well-known%5Cportcullis/jwks.json", 400),
    ] {
        let answer = house.nothing_upstream(|| browser.navigate(host, target));
        assert_eq!(answer.status, status, "{host}{target}");
    }
}

#[test]
fn the_stylesheet_is_the_one_that_pages_name_and_may_be_kept() {
    let house = House::new();
    let mut browser = house.browser();
    let page = browser.navigate("app.test", "/.portcullis/");
    let href = page.body.split_once(r#"rel="stylesheet" href=""#).unwrap().1.split('"').next().unwrap();
    let style = browser.get("app.test", href, &[]);
    assert_eq!((style.status, style.value("content-type")), (200, "text/css; charset=utf-8"));
    assert_eq!(style.value("cache-control"), "public, max-age=31536000, immutable");
    assert!(style.body.contains("prefers-color-scheme: dark"));
}

#[test]
fn head_gets_the_head_alone() {
    let house = House::new();
    let mut browser = house.signed_in();
    let page = browser.ask("HEAD", "app.test", "/.portcullis/", NAVIGATION);
    assert_eq!((page.status, page.body.as_str()), (200, ""));
    assert!(page.value("content-length").parse::<usize>().unwrap() > 500);
}

#[test]
fn a_body_that_is_too_large_is_refused() {
    let house = House::new();
    let mut browser = house.signed_in();
    let fields = [("sec-fetch-site", "same-origin"), ("content-length", "65537")];
    let answer = browser.post("app.test", "/.portcullis/logout", &fields, &"x".repeat(65537));
    assert_eq!(answer.status, 413);
    assert_eq!(browser.get("app.test", "/", &[]).status, 200);
}
