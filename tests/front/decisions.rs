//! What is decided over a request and how the answer looks: denied, closed, misdirected, redirected.

use crate::browser::NAVIGATION;
use crate::house::{House, soon};

#[test]
fn the_denied_page_says_who_you_are_and_its_id_is_in_the_trail() {
    let house = House::new();
    let mut browser = house.signed_in();
    let page = house.nothing_upstream(|| browser.navigate("app.test", "/finance/2026?q=secret"));
    assert_eq!((page.status, page.value("content-type")), (403, "text/html; charset=utf-8"));
    let id = page.value("x-request-id");
    for part in ["alice@example.com", id, "/.portcullis/logout", "ask the people who run this site"] {
        assert!(page.body.contains(part), "no `{part}` in {}", page.body);
    }
    let event = house.event(id);
    let expected = [
        ("kind", "AuthorizationDenied"),
        ("reason", "no_rule_allows"),
        ("method", "GET"),
        ("host", "app.test"),
        ("path", "/finance/2026"),
        ("ingress", "test/app.test"),
        ("peer", "127.0.0.1"),
    ];
    for (name, value) in expected {
        assert_eq!(event[name], value, "{name}");
    }
    assert_eq!(event["subject"]["sub"], "alice-1");
    assert!(!event.to_string().contains("secret") && !event.to_string().contains("alice@"));
}

#[test]
fn a_program_gets_the_denial_as_an_object() {
    let house = House::new();
    let mut browser = house.signed_in();
    let answer = browser.get("app.test", "/finance", &[("accept", "application/json")]);
    let object = answer.json();
    assert_eq!((answer.status, object["error"].as_str()), (403, Some("no_rule_allows")));
    assert_eq!(object["decision_id"], answer.value("x-request-id"));
    assert_eq!(object["signed_in_as"], "alice@example.com");
}

#[test]
fn an_anonymous_caller_is_asked_to_sign_in_before_being_denied() {
    let house = House::new();
    assert_eq!(house.browser().navigate("app.test", "/finance").status, 303);
}

#[test]
fn a_preflight_passes_where_its_route_lets_it_and_with_nothing_else_of_the_kind() {
    let house = House::new();
    let preflight = [("origin", "https://friend.test"), ("access-control-request-method", "POST")];
    let with_cookie = house.signed_in().ask("OPTIONS", "app.test", "/api", &preflight);
    assert_eq!(with_cookie.status, 403);
    let passed = house.browser().ask("OPTIONS", "app.test", "/api", &preflight);
    assert_eq!(passed.status, 200);
    let seen = house.upstream.seen().pop().unwrap();
    let event = house.event(seen.values("x-request-id")[0]);
    let told = ["kind", "reason", "subject", "rule"].map(|name| event[name].as_str());
    assert_eq!(told, [Some("AuthorizationAllowed"), Some("cors_preflight"), None, None]);
    assert_eq!((seen.line(), seen.values("origin")), ("OPTIONS /api HTTP/1.1", vec!["https://friend.test"]));
    assert!(!seen.head.contains("x-auth-request-"), "{}", seen.head);

    let with = |field| [&preflight[..], &[field]].concat();
    for (method, path, fields) in [
        ("OPTIONS", "/", preflight.to_vec()),
        ("GET", "/api", preflight.to_vec()),
        ("OPTIONS", "/api", preflight[..1].to_vec()),
        ("OPTIONS", "/api", preflight[1..].to_vec()),
        ("OPTIONS", "/api", with(preflight[0])),
        ("OPTIONS", "/api", with(("authorization", "Basic YTpi"))),
        ("OPTIONS", "/api", with(("cookie", "a=b"))),
        ("OPTIONS", "/api", with(("transfer-encoding", "chunked"))),
    ] {
        let answer = house.nothing_upstream(|| house.browser().ask(method, "app.test", path, &fields));
        assert_eq!(answer.status, 401, "{method} {path} {fields:?}");
    }
}

#[test]
fn a_closed_route_is_503_for_everyone() {
    let house = House::new();
    for mut browser in [house.browser(), house.signed_in()] {
        let answer = house.nothing_upstream(|| browser.navigate("app.test", "/closed/x"));
        assert_eq!(answer.status, 503);
        assert!(!answer.body.contains("shop/missing"));
        let event = house.event(answer.value("x-request-id"));
        assert_eq!(
            (event["kind"].as_str(), event["reason"].as_str()),
            (Some("AuthorizationDenied"), Some("route_closed"))
        );
    }
}

#[test]
fn guarded_routes_and_own_pages_speak_https_alone() {
    let house = House::new();
    let browser = house.signed_in();
    for (method, target) in [("GET", "/reports?month=5"), ("POST", "/finance"), ("GET", "/.portcullis/login?return=/")]
    {
        let answer = house.nothing_upstream(|| browser.ask_plainly(method, "app.test", target));
        assert_eq!(answer.status, 308);
        assert_eq!(answer.value("location"), format!("{}{target}", house.origin("app.test")));
        assert!(answer.values("strict-transport-security").is_empty());
    }
}

#[test]
fn an_open_route_is_open_over_both_and_sends_no_identity() {
    let house = House::new();
    let mut browser = house.signed_in();
    assert_eq!(browser.ask_plainly("GET", "open.test", "/").status, 200);
    let good = browser.session("app.test").unwrap();
    browser.plant("open.test", crate::browser::SESSION, &good);
    assert_eq!(
        browser.get("open.test", "/", &[("x-auth-request-user", "root"), ("x_auth_request_user", "root")]).status,
        200
    );
    let seen = house.upstream.seen().pop().unwrap();
    assert!(!seen.head.to_lowercase().contains("auth") && seen.values("cookie").is_empty(), "{}", seen.head);
}

#[test]
fn a_host_that_the_certificate_does_not_cover_is_misdirected() {
    let house = House::new();
    let mut browser = house.signed_in();
    let answer = house.nothing_upstream(|| browser.ask_as("app.test", "GET", "stranger.test", "/", NAVIGATION));
    assert_eq!(
        (answer.status, house.event(answer.value("x-request-id"))["reason"].as_str()),
        (421, Some("misdirected"))
    );
    // One certificate for both: a browser may share the connection.
    assert_eq!(browser.ask_as("other.test", "GET", "app.test", "/", NAVIGATION).status, 200);
}

#[test]
fn unknown_hosts_and_ambiguous_paths_are_refused() {
    let house = House::new();
    let mut browser = house.signed_in();
    let unknown = browser.ask_plainly("GET", "stranger.test", "/");
    assert_eq!(unknown.status, 404);
    let ambiguous = house.nothing_upstream(|| browser.get("app.test", "/x%2f..%2ffinance", &[]));
    assert_eq!(ambiguous.status, 400);
    let slipping = house.nothing_upstream(|| browser.get("app.test", "/finance%2fx", &[]));
    assert_eq!(slipping.status, 400);
    let malformed = house.nothing_upstream(|| browser.get("app.test", "/%zz", &[]));
    let event = house.event(malformed.value("x-request-id"));
    assert_eq!((malformed.status, event["kind"].as_str()), (400, Some("RequestRejected")));
}

#[test]
fn guarded_hosts_tell_browsers_to_stay_with_https_on_every_answer() {
    let house = House::new();
    let mut browser = house.signed_in();
    for target in ["/", "/finance", "/closed", "/.portcullis/", "/.portcullis/nothing", "/.portcullis/style.css"] {
        let answer = browser.navigate("app.test", target);
        assert_eq!(answer.value("strict-transport-security"), "max-age=31536000", "{target}");
    }
    let open = browser.get("open.test", "/", &[]);
    assert!(open.values("strict-transport-security").is_empty());
}

#[test]
fn where_nothing_can_be_recorded_nothing_is_done() {
    let house = House::new();
    let mut browser = house.signed_in();
    // The lines of the sign-in still have places, until they are written.
    let mut held = Vec::new();
    soon("full ring", || {
        held.extend(std::iter::from_fn(|| house.audit.reserve(portcullis::audit::RequestId(7))));
        (held.len() == 65_536).then_some(())
    });
    let before = house.upstream.bytes();
    let answer = browser.navigate("app.test", "/");
    assert_eq!((answer.status, answer.value("retry-after")), (503, "1"));
    assert!(answer.body.contains("recorded"));
    assert_eq!(house.upstream.bytes(), before);
    drop(held);
    soon("place in the ring", || (browser.navigate("app.test", "/").status == 200).then_some(()));
}

#[test]
fn a_full_disk_closes_every_door_and_costs_no_line() {
    let house = House::new();
    let mut browser = house.signed_in();
    house.trail.full(true);
    soon("full ring", || {
        std::iter::from_fn(|| house.audit.reserve(portcullis::audit::RequestId(7))).for_each(drop);
        (browser.get("open.test", "/", &[]).status == 503).then_some(())
    });
    let before = house.upstream.bytes();
    assert_eq!((browser.get("app.test", "/", &[]).status, house.upstream.bytes()), (503, before));

    house.trail.full(false);
    soon("place in the ring", || (browser.get("app.test", "/", &[]).status == 200).then_some(()));
    // The first batch makes room before the large one is written.
    let lines = house.trail.until(65_537);
    assert!(lines.iter().zip(0_u64..).all(|(line, seq)| line["seq"] == seq), "no line is missing");
}

#[test]
fn answers_are_counted_by_reason() {
    let house = House::new();
    let mut browser = house.signed_in();
    browser.navigate("app.test", "/finance");
    let text = house.metrics.encode();
    for line in [
        r#"portcullis_requests_total{reason="no_rule_allows",code="403"} 1"#,
        r#"portcullis_requests_total{reason="rule_allows",code="200"} 1"#,
        r#"portcullis_requests_total{reason="sign_in_required",code="303"} 1"#,
        r#"portcullis_sign_ins_total{result="success"} 1"#,
    ] {
        assert!(text.contains(line), "no `{line}` in {text}");
    }
}

#[test]
fn a_session_of_one_provider_does_not_satisfy_another_of_the_same_issuer() {
    let house = House::new();
    let mut browser = house.signed_in();
    let answer = house.nothing_upstream(|| browser.get("app.test", "/second", &[]));
    let event = house.event(answer.value("x-request-id"));
    assert_eq!((answer.status, event["reason"].as_str()), (401, Some("foreign_provider")));
}

#[test]
fn who_is_busy_does_not_idle_out_at_a_route_with_a_short_idle_time() {
    let house = House::new();
    let mut browser = house.signed_in();
    for _ in 0..5 {
        house.wait(110);
        assert_eq!(browser.get("app.test", "/strict", &[]).status, 200);
    }
}

#[test]
fn a_session_is_held_against_the_limits_of_each_route() {
    let idle = House::new();
    let mut browser = idle.signed_in();
    assert_eq!(browser.get("app.test", "/strict", &[]).status, 200);
    idle.wait(121);
    let answer = idle.nothing_upstream(|| browser.get("app.test", "/strict", &[]));
    let event = idle.event(answer.value("x-request-id"));
    assert_eq!((answer.status, event["reason"].as_str()), (401, Some("session_ended")));
    assert_eq!(browser.get("app.test", "/", &[]).status, 200);

    let old = House::new();
    let mut browser = old.signed_in();
    old.wait(600);
    assert_eq!(browser.get("app.test", "/", &[]).status, 200, "which issues the cookie anew");
    assert_eq!(old.nothing_upstream(|| browser.get("app.test", "/strict", &[])).status, 401);
}
