//! WebSocket to a guarded route: a session, and a page that may.

use crate::house::House;

const UPGRADE: &[(&str, &str)] = &[
    ("upgrade", "websocket"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-version", "13"),
    ("sec-fetch-mode", "websocket"),
];

#[test]
fn an_open_socket_ends_when_its_person_signs_out_and_no_other_does() {
    let house = House::echoing();
    let (mut browser, neighbour) = (house.signed_in(), house.signed_in());
    let mut sockets = [&browser, &neighbour].map(|browser| browser.socket("app.test", "/ws", UPGRADE));
    assert!(sockets.iter_mut().all(|socket| socket.echoes("hello")));
    let signed_out = browser.ask("POST", "app.test", "/.portcullis/logout", &[("sec-fetch-site", "same-origin")]);
    assert_eq!(signed_out.status, 303);
    let [own, mut other] = sockets;
    assert!(own.ends());
    assert!(other.echoes("still here"));
}

#[test]
fn an_open_socket_ends_with_the_lifetime_of_its_route() {
    let house = House::echoing();
    let mut browser = house.signed_in();
    for _ in 0..5 {
        house.wait(100);
        assert_eq!(browser.get("app.test", "/strict", &[]).status, 200);
    }
    let mut other = browser.socket("app.test", "/ws", UPGRADE);
    // Five seconds are left of the ten minutes that the route grants, and hours of the session.
    house.wait(95);
    let mut strict = browser.socket("app.test", "/strict", UPGRADE);
    assert!(strict.echoes("hello") && other.echoes("hello"));
    assert!(strict.ends());
    assert!(other.echoes("still here"));
}

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
