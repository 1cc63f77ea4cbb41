//! Session cookies that are none: nobody is let in by one, and nothing reaches the upstream.

use portcullis::host::Host;
use portcullis::seal::KeyRing;
use portcullis::session::Ticket;

use crate::browser::{Browser, SESSION};
use crate::house::House;

/// Is refused as anonymous, under this name in the trail.
fn refused(house: &House, browser: &mut Browser, reason: &str) {
    let answer = house.nothing_upstream(|| browser.get("app.test", "/", &[]));
    assert_eq!((answer.status, answer.values("set-cookie").len()), (401, 0));
    assert_eq!(house.event(answer.value("x-request-id"))["reason"], reason);
}

#[test]
fn forged_cookies_are_worth_nothing() {
    let house = House::new();
    let good = house.signed_in().session("app.test").unwrap();
    let mut flipped = good.clone().into_bytes();
    flipped[20] = if flipped[20] == b'A' { b'B' } else { b'A' };
    let values = [
        String::new(),
        good[..good.len() - 1].to_owned(),
        format!("{good}A"),
        String::from_utf8(flipped).unwrap(),
        "A".repeat(72),
        format!("\"{good}\""),
        "x".repeat(4000),
    ];
    for value in values {
        let mut browser = house.browser();
        browser.plant("app.test", SESSION, &value);
        refused(&house, &mut browser, "forged_session_cookie");
    }
}

#[test]
fn forged_cookies_ask_no_store() {
    let house = House::doubtful();
    let mut real = house.signed_in();
    house.store.off(true);
    assert_eq!(real.get("app.test", "/", &[]).status, 503, "whoever has a session is asked for in the store");
    let mut forged = house.browser();
    forged.plant("app.test", SESSION, &"A".repeat(72));
    refused(&house, &mut forged, "forged_session_cookie");
}

#[test]
fn names_that_only_look_like_ours_are_not_seen() {
    let house = House::new();
    let good = house.signed_in().session("app.test").unwrap();
    for name in [
        "__host-portcullis",
        "\"__Host-portcullis\"",
        "__Host-portcullis ",
        "$Version=1; portcullis",
        "__Host-portcullisx",
    ] {
        let mut browser = house.browser();
        browser.plant("app.test", name, &good);
        refused(&house, &mut browser, "sign_in_required");
    }
}

#[test]
fn a_cookie_of_another_host_is_worth_nothing() {
    let house = House::new();
    let good = house.signed_in().session("app.test").unwrap();
    let mut browser = house.browser();
    browser.plant("other.test", SESSION, &good);
    let answer = house.nothing_upstream(|| browser.get("other.test", "/", &[]));
    assert_eq!(answer.status, 401);
}

#[test]
fn a_cookie_of_another_installation_is_worth_nothing() {
    let house = House::new();
    let stranger = House::new().signed_in().session("app.test").unwrap();
    let mut browser = house.browser();
    browser.plant("app.test", SESSION, &stranger);
    refused(&house, &mut browser, "forged_session_cookie");
}

#[test]
fn a_cookie_of_another_epoch_is_worth_nothing() {
    let house = House::new();
    let (host, good) = (Host::parse("app.test").unwrap(), house.signed_in().session("app.test").unwrap());
    let ticket = Ticket::parse(&house.ring, &host, good.as_bytes()).unwrap();
    let mut form: serde_json::Value = serde_json::from_slice(house.ring.serialize().expose()).unwrap();
    form["mac"][0]["id"] = 2.into();
    let foreign = KeyRing::parse(form.to_string().as_bytes()).unwrap();
    let mut browser = house.browser();
    browser.plant("app.test", SESSION, &ticket.encode(&foreign, &host));
    refused(&house, &mut browser, "forged_session_cookie");
}

#[test]
fn a_stored_session_that_was_edited_or_swapped_is_worth_nothing() {
    let house = House::doubtful();
    let [mut edited, mut mine, mut theirs, mut neighbour] = [(); 4].map(|()| house.signed_in());
    let [first, second, third, _] = house.store.keys()[..] else { panic!("a record each") };
    house.block_on(async {
        let [mut blob, my_blob, their_blob] =
            [house.store.sealed(first).await, house.store.sealed(second).await, house.store.sealed(third).await];
        *blob.last_mut().unwrap() ^= 1;
        house.store.overwrite(first, blob).await;
        house.store.overwrite(second, their_blob).await;
        house.store.overwrite(third, my_blob).await;
    });
    for browser in [&mut edited, &mut mine, &mut theirs] {
        refused(&house, browser, "session_ended");
    }
    assert_eq!(neighbour.get("app.test", "/", &[]).status, 200, "others go on");
}

#[test]
fn while_the_key_ring_cannot_be_read_people_go_on_and_nobody_signs_in() {
    let house = House::new();
    let (mut browser, mut visitor) = (house.signed_in(), house.browser());
    let callback = visitor.until_callback(&house, "app.test", "/");
    house.sessions.lose_keys();
    for target in ["/.portcullis/login?return=/", &callback] {
        let answer = house.nothing_upstream(|| visitor.navigate("app.test", target));
        assert_eq!((answer.status, visitor.session("app.test")), (503, None));
        assert_eq!(house.event(answer.value("x-request-id"))["reason"], "store_unreachable");
    }
    assert_eq!(browser.get("app.test", "/", &[]).status, 200);
    house.sessions.learn(house.ring.clone());
    assert_eq!(visitor.navigate("app.test", &callback).status, 303, "the attempt is still good");
}

#[test]
fn where_no_key_ring_was_ever_read_nobody_with_a_cookie_is_anonymous() {
    let (house, other) = (House::without_keys(), House::new());
    let mut browser = house.browser();
    browser.plant("app.test", SESSION, &other.signed_in().session("app.test").unwrap());
    for (method, target) in [("GET", "/"), ("GET", "/.portcullis/"), ("POST", "/.portcullis/logout")] {
        let answer = house.nothing_upstream(|| browser.ask(method, "app.test", target, &[]));
        assert_eq!((answer.status, answer.values("set-cookie").len()), (503, 0), "{target}");
    }
    assert_eq!(house.browser().get("app.test", "/", &[]).status, 401);
    house.sessions.learn(other.ring.clone());
    assert_eq!(browser.get("app.test", "/", &[]).status, 401, "it can be read now, and is nobody's here");
}

#[test]
fn two_session_cookies_are_none() {
    let house = House::new();
    let mut browser = house.signed_in();
    let good = browser.session("app.test").unwrap();
    // The jar sends this as one pair more.
    browser.plant("app.test", "a", &format!("b; {SESSION}={good}"));
    refused(&house, &mut browser, "duplicate_session_cookie");
}

#[test]
fn a_session_ends_when_it_idles_and_at_its_absolute_end() {
    let house = House::new();
    let mut idle = house.signed_in();
    house.wait(3599);
    assert_eq!(idle.clone().get("app.test", "/", &[]).status, 200);
    house.wait(120);
    refused(&house, &mut idle, "session_ended");
    let mut busy = house.signed_in();
    for _ in 0..24 {
        house.wait(1790);
        assert_eq!(busy.get("app.test", "/", &[]).status, 200);
    }
    house.wait(300);
    refused(&house, &mut busy, "session_ended");
}

#[test]
fn the_cookie_is_issued_anew_every_five_minutes_and_stays_out_of_shared_caches() {
    let house = House::new();
    let mut browser = house.signed_in();
    house.wait(200);
    let early = browser.get("app.test", "/", &[]);
    assert_eq!((early.values("set-cookie").len(), early.values("cache-control").len()), (0, 0));
    house.wait(200);
    let late = browser.get("app.test", "/", &[]);
    assert!(late.value("set-cookie").starts_with("__Host-portcullis="));
    assert_eq!(late.value("cache-control"), "private");
    assert!(browser.get("app.test", "/", &[]).values("set-cookie").is_empty());
}

#[test]
fn a_store_that_does_not_answer_is_503_and_nobody_is_anonymous_for_it() {
    let house = House::doubtful();
    let mut browser = house.signed_in();
    house.store.off(true);
    let answer = house.nothing_upstream(|| browser.navigate("app.test", "/"));
    assert_eq!((answer.status, answer.value("retry-after")), (503, "5"));
    assert_eq!(house.event(answer.value("x-request-id"))["reason"], "store_unreachable");
    house.store.off(false);
    assert_eq!(browser.navigate("app.test", "/").status, 200);
}
