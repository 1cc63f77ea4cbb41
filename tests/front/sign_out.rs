//! Signing out: by POST from our own page alone, at once, and for whoever kept the cookie too.

use crate::browser::{Browser, NAVIGATION};
use crate::house::House;

const LOGOUT: &str = "/.portcullis/logout";
const OWN: &[(&str, &str)] = &[("sec-fetch-site", "same-origin"), ("accept", "text/html")];

fn is_signed_in(browser: &mut Browser) -> bool {
    browser.get("app.test", "/", &[]).status == 200
}

#[test]
fn signing_out_ends_the_session_also_for_a_kept_cookie() {
    let house = House::new();
    let mut browser = house.signed_in();
    let mut thief = browser.clone();
    let answer = browser.ask("POST", "app.test", LOGOUT, OWN);
    assert_eq!(
        (answer.status, answer.value("set-cookie")),
        (303, "__Host-portcullis=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax")
    );
    assert_eq!(browser.session("app.test"), None);
    let event = house.event(answer.value("x-request-id"));
    assert_eq!((event["kind"].as_str(), event["subject"]["sub"].as_str()), (Some("SessionRevoked"), Some("alice-1")));
    house.nothing_upstream(|| assert!(!is_signed_in(&mut thief)));
    assert_eq!(thief.navigate("app.test", "/").status, 303);
}

#[test]
fn signing_out_goes_on_to_the_provider() {
    let house = House::new();
    let answer = house.signed_in().ask("POST", "app.test", LOGOUT, OWN);
    let location = url::Url::parse(answer.value("location")).unwrap();
    assert!(location.as_str().starts_with(&format!("{}/logout?", house.provider.issuer())));
    let (_, back) = location.query_pairs().find(|(name, _)| name == "post_logout_redirect_uri").unwrap();
    assert_eq!(back, format!("{}/.portcullis/signed-out", house.origin("app.test")));
}

#[test]
fn signing_out_ends_here_where_the_provider_does_not_have_it() {
    let house = House::with_provider(|provider| provider.rp_initiated_logout = false);
    let mut browser = house.signed_in();
    let answer = browser.ask("POST", "app.test", LOGOUT, OWN);
    assert_eq!(answer.value("location"), format!("{}/.portcullis/signed-out", house.origin("app.test")));
    let page = browser.navigate("app.test", "/.portcullis/signed-out");
    assert!(page.status == 200 && page.body.contains("You are signed out"));
}

#[test]
fn another_site_signs_nobody_out() {
    let house = House::new();
    let mut browser = house.signed_in();
    let own = house.origin("app.test");
    let cases: [&[(&str, &str)]; 6] = [
        &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.test")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "cross-site"), ("origin", &own)],
        &[("origin", "https://evil.test")],
        &[("origin", "null")],
    ];
    for fields in cases {
        let answer = browser.ask("POST", "app.test", LOGOUT, fields);
        assert_eq!((answer.status, answer.values("set-cookie").len()), (403, 0), "{fields:?}");
        assert!(is_signed_in(&mut browser), "{fields:?}");
    }
}

#[test]
fn our_own_page_does_in_old_browsers_too() {
    let house = House::new();
    let own = house.origin("app.test");
    for fields in [&[("origin", own.as_str())][..], &[]] {
        let mut browser = house.signed_in();
        assert_eq!(browser.ask("POST", "app.test", LOGOUT, fields).status, 303);
        assert!(!is_signed_in(&mut browser));
    }
}

#[test]
fn a_link_asks_first() {
    let house = House::new();
    let mut browser = house.signed_in();
    let page = browser.ask("GET", "app.test", LOGOUT, NAVIGATION);
    assert!(page.status == 200 && page.body.contains(r#"<form method="post" action="/.portcullis/logout">"#));
    assert!(is_signed_in(&mut browser));
}

#[test]
fn without_a_session_it_looks_the_same() {
    let house = House::new();
    let answer = house.browser().ask("POST", "app.test", LOGOUT, OWN);
    assert_eq!((answer.status, answer.value("set-cookie").starts_with("__Host-portcullis=;")), (303, true));
}

#[test]
fn a_store_out_of_reach_keeps_nobody_signed_in_here() {
    let house = House::new();
    let mut browser = house.signed_in();
    let mut thief = browser.clone();
    house.store.off(true);
    assert_eq!(browser.ask("POST", "app.test", LOGOUT, OWN).status, 303);
    assert!(!is_signed_in(&mut thief));
}
