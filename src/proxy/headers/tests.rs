use std::collections::BTreeMap;

use super::super::admit::admit;
use super::super::conn::Transport;
use super::*;
use crate::budget::Limits;
use crate::host::Authority;
use crate::metrics::Metrics;
use crate::trace::Tracer;

/// The fields of a head.
fn lines(head: Lines) -> Vec<(String, String)> {
    let text = String::from_utf8(head.0).unwrap();
    let fields = text.split_terminator("\r\n").map(|line| line.split_once(": ").unwrap());
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn an_upstream_is_told_what_its_route_asks_for() {
    let rendered = IdentityHeaders {
        user: Some(HeaderValue::from_static("jane")),
        groups: Some(HeaderValue::from_static("staff,finance")),
        email: None,
        preferred_username: None,
    };
    let told = |wanted: &[IdentityHeader]| {
        let mut head = Lines(Vec::new());
        add_identity(&mut head, &rendered, wanted);
        lines(head).iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>()
    };
    let everything =
        [IdentityHeader::User, IdentityHeader::Email, IdentityHeader::Groups, IdentityHeader::PreferredUsername];
    assert_eq!(told(&everything), ["x-auth-request-user: jane", "x-auth-request-groups: staff,finance"]);
    assert_eq!(told(&[IdentityHeader::User]), ["x-auth-request-user: jane"]);
    assert_eq!(told(&[]), Vec::<String>::new());
}

#[test]
fn the_forwarded_host_has_the_public_port_where_it_is_not_the_usual_one() {
    let told = |transport: Transport, public: u16, written: &str| {
        let address = "192.0.2.7:1".parse().unwrap();
        let conn = Conn::new(address, address, transport, Pseudonym::new()).at(public);
        let Authority { host, port } = Authority::parse(written).unwrap();
        let ours = Outbound {
            conn: &conn,
            id: RequestId(1),
            authority: &HeaderValue::from_str(written).unwrap(),
            host: &host,
            port,
            framing: Framing::None,
            websocket: false,
            identity: None,
        };
        let mut head = Lines(Vec::new());
        add_forwarding(&mut head, &ours);
        let head: BTreeMap<_, _> = lines(head).into_iter().collect();
        assert!(head.keys().all(|name| told().iter().any(|(told, _)| told.as_str() == name)), "{head:?}");
        let text = |name| head[name].clone();
        (text("x-forwarded-proto"), text("x-forwarded-host"), text("x-forwarded-port"))
    };
    let expected = |proto: &str, host: &str, port: &str| (proto.to_owned(), host.to_owned(), port.to_owned());
    for written in ["app.test", "app.test:80", "app.test:8080"] {
        assert_eq!(told(Transport::Plain, 80, written), expected("http", "app.test", "80"), "{written}");
        let seen = told(Transport::Plain, 8080, written);
        assert_eq!(seen, expected("http", "app.test:8080", "8080"), "{written}");
    }
    assert_eq!(told(Transport::Plain, 443, "[::1]:1"), expected("http", "[::1]:443", "443"));
}

#[test]
fn a_client_cannot_strike_our_trace_by_listing_it() {
    let address = "192.0.2.7:1".parse().unwrap();
    let conn = Conn::new(address, address, Transport::Plain, Pseudonym::new());
    let request = http::Request::get("/").header("host", "app.test").header("connection", "traceparent");
    let parts = request.header("traceparent", "theirs").body(()).unwrap().into_parts().0;
    let mut request = admit(parts, &conn, &Limits::default()).unwrap();
    let sent = |request: &CanonicalRequest| {
        let ours = Outbound {
            conn: &conn,
            id: RequestId(1),
            authority: request.authority(),
            host: request.host(),
            port: request.port(),
            framing: Framing::None,
            websocket: false,
            identity: None,
        };
        let text = String::from_utf8(outbound(request, &ours)).unwrap();
        text.lines().filter_map(|line| line.strip_prefix("traceparent: ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(sent(&request), Vec::<String>::new());
    request.continue_trace(&Tracer::new(1.0, Metrics::new()).begin(&HeaderMap::new(), (7, [8, 9]), 0, 0));
    assert_eq!(sent(&request), [format!("00-{:032x}-{:016x}-01", 7, 9)]);
}

#[test]
fn two_processes_do_not_take_each_other_for_a_loop() {
    assert_ne!(Pseudonym::new().0, Pseudonym::new().0);
}

#[test]
fn a_name_is_reserved_from_its_beginning_on() {
    for name in ["x-forwarded-for", "x-forwarded", "x-portcullis-a", "proxy-x", "client-cert-chain", "forwarded"] {
        assert!(is_reserved(name) && !passes_upstream(name), "{name}");
    }
    for name in ["x-auth~request-groups", "x.forwarded.for", "x!real+ip", "x-auth-request'user"] {
        assert!(!passes_upstream(name), "{name}");
    }
    for name in ["x-app", "x-app~1", "forward", "x-portcullis", "accept", "early", "cookie2", "x-realm"] {
        assert!(!is_reserved(name) && passes_upstream(name), "{name}");
    }
}
