use std::net::{Ipv4Addr, SocketAddr};

use http::Request;

use super::super::headers::Pseudonym;
use super::*;

fn conn() -> Conn {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    Conn::new(address, address, Transport::Plain, Pseudonym::new())
}

/// Admits a request of a version with a target and fields.
fn admitted(version: Version, target: &str, fields: &[(&str, &str)]) -> Result<CanonicalRequest, BadRequest> {
    let mut request = Request::builder().version(version).uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    admit(request.body(()).unwrap().into_parts().0, &conn(), &Limits::default())
}

#[test]
fn an_authority_is_kept_as_it_is_matched() {
    for (written, host, sent, port) in [
        ("app.test", "app.test", "app.test", None),
        ("APP.test", "app.test", "app.test", None),
        ("app.test.", "app.test", "app.test", None),
        ("app.test:8080", "app.test", "app.test:8080", Some(8080)),
        ("App.Test.:8080", "app.test", "app.test:8080", Some(8080)),
    ] {
        let request = admitted(Version::HTTP_11, "/", &[("host", written)]).unwrap();
        assert_eq!((request.host().as_str(), request.port()), (host, port), "{written}");
        assert_eq!(request.authority(), sent, "{written}");
    }
}

#[test]
fn http2_names_its_host_in_the_target() {
    let request = admitted(Version::HTTP_2, "https://app.test:444/a?b", &[]).unwrap();
    assert_eq!((request.host().as_str(), request.authority().as_bytes()), ("app.test", &b"app.test:444"[..]));
    assert_eq!(request.wire_target(), "/a?b");
    let differs = admitted(Version::HTTP_2, "https://app.test/", &[("host", "app.test:444")]);
    assert_eq!(differs.unwrap_err(), BadRequest::HostsDiffer);
    assert_eq!(admitted(Version::HTTP_2, "/", &[]).unwrap_err(), BadRequest::NoHost);
}

#[test]
fn what_is_matched_is_what_is_sent() {
    for (raw, sent) in [("/a?b=%61", "/a?b=%61"), ("/%61", "/a"), ("/a%2fb", "/a%2Fb"), ("/", "/"), ("/a?", "/a?")] {
        let request = admitted(Version::HTTP_11, raw, &[("host", "app.test")]).unwrap();
        assert_eq!(request.wire_target().as_str(), sent);
        assert_eq!(request.target().to_string(), sent);
    }
}

#[test]
fn a_field_that_comes_twice_is_as_good_as_absent() {
    let fields = [("host", "app.test"), ("accept", "a"), ("accept", "b"), ("origin", "c")];
    let request = admitted(Version::HTTP_11, "/", &fields).unwrap();
    assert_eq!(request.header(&http::header::ACCEPT), None);
    assert_eq!(request.header(&http::header::ORIGIN), Some("c"));
}

#[test]
fn framing_on_http2_is_the_length_alone() {
    let host = ("host", "app.test");
    for field in [("transfer-encoding", "chunked"), ("content-length", "01"), ("expect", "x")] {
        assert!(admitted(Version::HTTP_2, "/", &[host, field]).is_err(), "{field:?}");
    }
    assert!(admitted(Version::HTTP_2, "/", &[host, ("content-length", "10")]).is_ok());
}

#[test]
fn a_printed_request_shows_no_cookie_no_token_and_no_query() {
    let fields = [("host", "app.test"), ("cookie", "a=hunter2"), ("authorization", "Bearer hunter2")];
    let request = admitted(Version::HTTP_11, "/x?code=hunter2", &fields).unwrap();
    let printed = format!("{request:?}");
    assert!(printed.contains("app.test") && printed.contains("\"/x\"") && !printed.contains("hunter2"), "{printed}");
}

#[test]
fn every_refusal_has_its_status() {
    for (bad, status) in [
        (BadRequest::Method, 501),
        (BadRequest::Expectation, 417),
        (BadRequest::HeadTooLarge, 431),
        (BadRequest::CookiesTooLarge, 431),
        (BadRequest::Target(BadPath::TooLong), 431),
        (BadRequest::Target(BadPath::DotSegment), 400),
        (BadRequest::Loop, 508),
        (BadRequest::NoHost, 400),
    ] {
        assert_eq!(Rejection::from(bad).notice().status, status, "{bad}");
    }
}
