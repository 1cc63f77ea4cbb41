//! A head is refused, or one canonical request: its host and target are canonical, and admitted again it is the same.
//! The input is the head as HTTP/1 has it, without line ends of its own: the first line is method and target, each other
//! one a field. Its first octet says the version.

#![no_main]

use std::net::{Ipv4Addr, SocketAddr};

use http::{HeaderName, HeaderValue, Request, Version, request};
use libfuzzer_sys::fuzz_target;
use portcullis::budget::Limits;
use portcullis::host::Host;
use portcullis::path::Target;
use portcullis::proxy::admit::{CanonicalRequest, Conn, Transport, admit};
use portcullis::proxy::headers::Pseudonym;

fuzz_target!(|input: &[u8]| {
    let Some((version, head)) = input.split_first() else { return };
    let version = [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2][usize::from(version % 3)];
    let Some(request) = raw(version, head).and_then(admitted) else { return };
    let (host, target) = (request.host(), request.target());
    assert!(request.method().as_str().bytes().all(|octet| octet.is_ascii_uppercase() || octet == b'-'));
    assert!(!matches!(request.method().as_str(), "CONNECT" | "TRACE"));
    assert_eq!(Host::parse(host.as_str()).as_ref(), Ok(host));
    assert_eq!(Target::parse(&target.to_string()).as_ref(), Ok(target));
    let authority = request.port().map_or_else(|| host.to_string(), |port| format!("{host}:{port}"));
    let again = Request::builder().version(version).method(request.method()).uri(target.to_string());
    let again = again.header("host", authority).body(()).expect("what was admitted can be said again");
    let again = admitted(again.into_parts().0).expect("what was admitted once is admitted again");
    assert_eq!((again.host(), again.port(), again.target()), (host, request.port(), target));
});

fn admitted(parts: request::Parts) -> Option<CanonicalRequest> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let conn = Conn::new(address, address, Transport::Plain, Pseudonym::new());
    admit(parts, &conn, &Limits::default()).ok()
}

fn raw(version: Version, head: &[u8]) -> Option<request::Parts> {
    let mut lines = head.split(|octet| *octet == b'\n');
    let line = lines.next()?;
    let space = line.iter().position(|octet| *octet == b' ')?;
    let mut request = Request::builder().version(version).method(&line[..space]).uri(&line[space + 1..]);
    for line in lines {
        let colon = line.iter().position(|octet| *octet == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        request = request.header(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
    }
    Some(request.body(()).ok()?.into_parts().0)
}
