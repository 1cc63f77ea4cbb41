//! WebSocket to a guarded route: a session, and a page that may.

use crate::house::House;

const UPGRADE: &[(&str, &str)] = &[
    ("upgrade", "websocket"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-version", "13"),
    ("sec-fetch-mode", "websocket"),
];

#[test]
fn without_a_session_nothing_is_opened() {
    let house = House::new();
    let answer = house.nothing_upstream(|| house.browser().upgrade("app.test", "/ws", UPGRADE));
    assert_eq!((answer.status, answer.values("set-cookie").len()), (401, 0));
}

#[test]
fn a_page_of_another_origin_opens_nothing() {
    let house = House::new();
    let mut browser = house.signed_in();
    for origin in ["https://evil.test", "null", "https://app.test.evil.test", "https://other.test"] {
        let fields = [UPGRADE, &[("origin", origin)]].concat();
        let answer = house.nothing_upstream(|| browser.upgrade("app.test", "/ws", &fields));
        assert_eq!(answer.status, 403, "{origin}");
        assert_eq!(house.event(answer.value("x-request-id"))["reason"], "origin_mismatch");
    }
}

#[test]
fn our_own_page_and_an_allowed_one_reach_the_upstream() {
    let house = House::new();
    let mut browser = house.signed_in();
    for origin in [house.origin("app.test").as_str(), "https://friend.test"] {
        let before = house.upstream.seen().len();
        let fields = [UPGRADE, &[("origin", origin)]].concat();
        // The upstream does not speak WebSocket, and says so with 200.
        assert_eq!(browser.upgrade("app.test", "/ws", &fields).status, 200, "{origin}");
        assert_eq!(house.upstream.seen()[before].values("upgrade"), ["websocket"]);
    }
}
