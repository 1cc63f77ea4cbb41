//! The clock steps by an hour, as after a long sleep of the machine or a wrong time server: nobody is let in for it, and when it
//! is right again everybody goes on.

use crate::house::House;

const HOUR: i64 = 3600;

#[test]
fn a_step_forward_ends_what_idled_for_it_until_the_clock_is_right_again() {
    let house = House::new();
    let mut browser = house.signed_in();
    house.wait(HOUR + 120);
    let answer = house.nothing_upstream(|| browser.clone().get("app.test", "/", &[]));
    assert_eq!(
        (answer.status, house.event(answer.value("x-request-id"))["reason"].as_str()),
        (401, Some("session_ended"))
    );
    assert_eq!(house.signed_in().get("app.test", "/", &[]).status, 200, "whoever signs in works on");
    house.wait(-HOUR - 120);
    assert_eq!(browser.get("app.test", "/", &[]).status, 200);
}

#[test]
fn a_step_back_ends_nothing_and_lengthens_no_session() {
    let house = House::new();
    let mut browser = house.signed_in();
    house.wait(-HOUR);
    assert_eq!(browser.get("app.test", "/", &[]).status, 200);
    assert_eq!(house.signed_in().get("app.test", "/", &[]).status, 200, "whoever signs in works on");
    house.wait(HOUR);
    assert_eq!(browser.get("app.test", "/", &[]).status, 200);
    // Twelve hours are the longest that a session lasts.
    for _ in 0..24 {
        house.wait(1790);
        assert_eq!(browser.get("app.test", "/", &[]).status, 200);
    }
    house.wait(300);
    assert_eq!(house.nothing_upstream(|| browser.get("app.test", "/", &[])).status, 401);
}
