//! Header fields in both directions: what a peer may not say, what we say, what passes.

use http::Request;
use http_body_util::Full;
use portcullis::budget::Limits;
use portcullis::route::RouteSettings;

use crate::plane::{Plane, certificate, open_with, snapshot_of};
use crate::tls::h2;
use crate::upstream::{Reply, Seen, Upstream};

fn ask(plane: &Plane, fields: &str) -> u16 {
    plane.client().ask(format!("GET / HTTP/1.1\r\nhost: app.test\r\n{fields}\r\n")).status
}

/// What an upstream sees of these fields.
fn forwarded(fields: &str) -> Seen {
    let upstream = Upstream::ok();
    let plane = Plane::of(&[upstream.address]);
    assert_eq!(ask(&plane, fields), 200);
    upstream.seen().remove(0)
}

#[test]
fn every_spelling_of_a_reserved_name_is_gone() {
    let reserved = [
        "x-auth-request-user",
        "x-auth-request-email",
        "x-auth-request-groups",
        "x-portcullis-groups",
        "x-forwarded-user",
        "x-forwarded-prefix",
        "x-forwarded-for",
        "forwarded",
        "x-real-ip",
        "x-original-url",
        "x-rewrite-url",
        "x-envoy-original-path",
        "x-http-method-override",
        "x-request-id",
        "early-data",
        "http2-settings",
        "proxy",
        "proxy-authorization",
        "proxy-connection",
        "ssl-client-cert",
        "client-cert",
        "true-client-ip",
    ];
    let mut fields = String::new();
    for name in reserved {
        let title = name.split('-').map(|part| part[..1].to_uppercase() + &part[1..]).collect::<Vec<_>>().join("-");
        for spelling in
            [name.to_owned(), title, name.replace('-', "_"), name.replace('-', "."), name.replacen('-', "_", 1)]
        {
            fields += &format!("{spelling}: forged\r\n");
        }
    }
    // The head may have a hundred lines, so the spellings go in portions.
    for portion in fields.lines().collect::<Vec<_>>().chunks(50) {
        let seen = forwarded(&portion.iter().map(|line| format!("{line}\r\n")).collect::<String>());
        assert!(!seen.head.contains("forged"), "{}", seen.head);
    }
}

#[test]
fn forwarding_fields_are_ours() {
    let seen = forwarded("x-forwarded-for: 1.2.3.4\r\nx-forwarded-proto: https\r\nvia: 1.1 other\r\n");
    assert_eq!(seen.values("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.values("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.values("host"), ["app.test"]);
    let id = seen.values("x-request-id");
    assert!(id.len() == 1 && id[0].len() == 32 && id[0].bytes().all(|byte| byte.is_ascii_hexdigit()), "{id:?}");
    let via = seen.values("via");
    assert!(via.len() == 2 && via[0] == "1.1 other" && via[1].starts_with("1.1 portcullis-"), "{via:?}");
}

#[test]
fn the_public_authority_is_told_whatever_port_the_client_writes() {
    let upstream = Upstream::ok();
    let plane = Plane::of(&[upstream.address]);
    let public = plane.http.port();
    for host in ["app.test".to_owned(), "App.test:8080".to_owned(), format!("app.test:{public}")] {
        assert_eq!(plane.client().ask(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n")).status, 200);
        let seen = upstream.seen().pop().unwrap();
        assert_eq!(seen.values("host"), [host.to_lowercase()]);
        assert_eq!(seen.values("x-forwarded-host"), [format!("app.test:{public}")]);
        assert_eq!(seen.values("x-forwarded-port"), [public.to_string()]);
    }
}

#[test]
fn a_client_cannot_strike_our_fields_by_listing_them() {
    let seen = forwarded("connection: x-forwarded-for, x-request-id, host, X-Mine\r\nx-mine: 1\r\nx-other: 2\r\n");
    assert_eq!(seen.values("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.values("host"), ["app.test"]);
    assert_eq!(seen.values("x-request-id").len(), 1);
    assert_eq!((seen.values("x-mine"), seen.values("x-other")), (vec![], vec!["2"]));
}

#[test]
fn end_to_end_fields_pass_in_order() {
    let seen = forwarded("accept: a\r\naccept: b\r\nauthorization: Basic eA==\r\nuser-agent: x\r\nx.dotted: 1\r\n");
    assert_eq!(seen.values("accept"), ["a", "b"]);
    assert_eq!(seen.values("authorization"), ["Basic eA=="]);
    assert_eq!(seen.values("user-agent"), ["x"]);
    assert_eq!(seen.values("x.dotted"), ["1"]);
}

#[test]
fn our_cookies_stay_with_us() {
    let seen =
        forwarded("cookie: a=b; __Host-portcullis=secret; c=\"d\"\r\ncookie: __Host-portcullis-login=secret;e=f\r\n");
    assert_eq!(seen.values("cookie"), ["a=b; c=\"d\"; e=f"]);
    let seen = forwarded("cookie: __Host-portcullis=secret\r\n");
    assert_eq!(seen.values("cookie"), Vec::<&str>::new());
    let seen = forwarded("cookie: a=b;  c=d\r\n");
    assert_eq!(seen.values("cookie"), ["a=b;  c=d"]);
}

#[test]
fn a_request_that_comes_back_to_us_is_a_loop() {
    let recorder = Upstream::ok();
    let plane = Plane::of(&[recorder.address]);
    assert_eq!(ask(&plane, ""), 200);
    let via = recorder.seen()[0].values("via")[0].to_owned();
    assert_eq!(ask(&plane, &format!("via: {via}\r\n")), 508);
    assert_eq!(recorder.seen().len(), 1);
}

#[test]
fn an_upstream_cannot_speak_for_us() {
    let upstream = Upstream::scripted(|_| {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nset-cookie: __Host-portcullis=stolen; Path=/\r\n\
            set-cookie: app=1\r\nset-cookie: __Host-portcullis-login=stolen\r\nalt-svc: h3=\":443\"\r\n\
            x-portcullis-user: a\r\nx-auth-request-user: a\r\nproxy-authenticate: Basic\r\nconnection: x-hop\r\n\
            x-hop: 1\r\nkeep-alive: timeout=5\r\nx-app: 1\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\nok";
        Reply::Send(head.into())
    });
    let plane = Plane::of(&[upstream.address]);
    let answer = plane.client().ask("GET / HTTP/1.1\r\nhost: app.test\r\n\r\n");
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]));
    assert_eq!(answer.values("set-cookie"), ["app=1"]);
    assert_eq!(answer.values("x-app"), ["1"]);
    assert_eq!(answer.values("date"), ["Mon, 01 Jan 2024 00:00:00 GMT"]);
    assert_eq!(answer.values("content-length"), ["2"]);
    for name in ["alt-svc", "x-portcullis-user", "x-auth-request-user", "proxy-authenticate", "x-hop", "keep-alive"] {
        assert_eq!(answer.values(name), Vec::<&str>::new(), "{name}");
    }
}

#[test]
fn strict_transport_security_is_ours_over_tls() {
    let upstream = Upstream::scripted(|_| {
        Reply::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nstrict-transport-security: max-age=1\r\n\r\n".to_vec())
    });
    let settings = RouteSettings {
        hsts: Some(http::HeaderValue::from_static("max-age=31536000")),
        ssl_redirect: false,
        ..RouteSettings::default()
    };
    let route = open_with("app.test", &[upstream.address], settings);
    let plane = Plane::start(snapshot_of(vec![route], &[certificate(&["app.test"])]), Limits::default());
    plane.block_on(async {
        let mut sender = h2(plane.https, "app.test").await;
        let request = Request::get("https://app.test/").body(Full::default()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let values: Vec<_> = response.headers().get_all("strict-transport-security").iter().collect();
        assert_eq!(values, ["max-age=31536000"]);
    });
}

#[test]
fn trailers_pass_to_who_takes_them() {
    let upstream = Upstream::scripted(|_| {
        let message = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum, set-cookie, x-portcullis-a\r\n\r\n\
            2\r\nok\r\n0\r\nx-sum: 1\r\nset-cookie: a=b\r\nx-portcullis-a: 1\r\n\r\n";
        Reply::Send(message.into())
    });
    let plane = Plane::of(&[upstream.address]);
    let mut client = plane.client();
    client.send("GET / HTTP/1.1\r\nhost: app.test\r\nte: trailers\r\nconnection: te, close\r\n\r\n");
    let text = String::from_utf8(client.rest()).unwrap();
    assert!(text.contains("x-sum: 1"), "{text}");
    assert!(!text.contains("a=b") && !text.contains("x-portcullis-a: 1"), "{text}");
    assert_eq!(upstream.seen()[0].values("te"), ["trailers"]);
    let mut client = plane.client();
    client.send("GET / HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\n\r\n");
    let text = String::from_utf8(client.rest()).unwrap();
    assert!(!text.contains("x-sum"), "{text}");
}
