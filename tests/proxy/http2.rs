//! The corpus over HTTP/2, frame by frame: no client library would send these. Each is refused before any byte goes
//! upstream, or reaches it as one clean message.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::plane::{Plane, certificate, open, snapshot_of};
use crate::tls::{connect, ordinary};
use crate::upstream::Upstream;

/// What comes of a request.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Then {
    /// Refused with this status.
    Status(u16),
    /// The stream, or with it the connection, is refused by an error of the protocol (RFC 9113 section 5.4).
    Broken,
    /// The upstream gets one clean message: this request line, this body.
    Clean(&'static str, &'static str),
}

use Then::{Broken, Clean, Status};

pub type Field = (&'static str, &'static str);

/// Kinds of frames (RFC 9113 section 6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;

/// A request as it should be.
pub const GOOD: [Field; 4] = [(":method", "GET"), (":scheme", "https"), (":authority", "app.test"), (":path", "/")];

/// The good request with another value of a field, or without it.
pub fn with(name: &str, value: Option<&'static str>) -> Vec<Field> {
    let other = |field: Field| if field.0 == name { value.map(|value| (field.0, value)) } else { Some(field) };
    GOOD.into_iter().filter_map(other).collect()
}

/// The good request with more fields.
fn and(more: &[Field]) -> Vec<Field> {
    [&GOOD, more].concat()
}

/// A POST with more fields.
pub fn post(more: &[Field]) -> Vec<Field> {
    [with(":method", Some("POST")), more.to_vec()].concat()
}

/// Literal fields that are not indexed (RFC 7541 section 6.2.2).
pub fn block(fields: &[Field]) -> Vec<u8> {
    let text = |text: &str| {
        // Characters beyond ASCII stand for the one octet of their number.
        let octets: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
        assert!(octets.len() < 127, "the length takes one octet");
        [vec![u8::try_from(octets.len()).unwrap()], octets].concat()
    };
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

pub fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

/// The status at the beginning of a block: indexed, or with digits in Huffman's code (RFC 7541 appendices A and B).
pub fn status(block: &[u8]) -> u16 {
    match block {
        [indexed @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)],
        [_, length, code @ ..] if length & 0x80 != 0 => {
            let bits: Vec<_> = code.iter().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1)).collect();
            let number =
                |from: usize, count| bits[from..from + count].iter().fold(0, |all, bit| all << 1 | u16::from(*bit));
            let mut at = 0;
            (0..3).fold(0, |status, _| {
                let (digit, length) = match number(at, 5) {
                    short @ 0..=2 => (short, 5),
                    _ => (number(at, 6) - 0b01_1001 + 3, 6),
                };
                at += length;
                status * 10 + digit
            })
        }
        _ => panic!("no status: {block:?}"),
    }
}

/// Sends a request over a connection of its own.
async fn ask(plane: &Plane, fields: &[Field], body: Option<&str>) -> Then {
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;
    let mut stream = connect(plane.https, "app.test", ordinary(&["h2"])).await.unwrap();
    let flags = END_HEADERS | if body.is_none() { END_STREAM } else { 0 };
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    bytes.extend(frame(HEADERS, flags, &block(fields)));
    bytes.extend(body.iter().flat_map(|body| frame(DATA, END_STREAM, body.as_bytes())));
    stream.write_all(&bytes).await.unwrap();
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return Broken;
        }
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).await.unwrap();
        match head[3] {
            HEADERS => return Status(status(&payload)),
            RST_STREAM | GOAWAY => return Broken,
            _ => {}
        }
    }
}

/// Runs rows, each followed by a control request that must arrive.
fn run(rows: &[(&str, Vec<Field>, Option<&str>, Then)]) {
    let upstream = Upstream::ok();
    let snapshot = snapshot_of(vec![open("app.test", &[upstream.address])], &[certificate(&["app.test"])]);
    let plane = Plane::start(snapshot, portcullis::budget::Limits::default());
    for (name, fields, body, then) in rows {
        let (before, bytes) = (upstream.seen().len(), upstream.bytes());
        let answer = plane.block_on(ask(&plane, fields, *body));
        match then {
            Status(_) | Broken => {
                assert_eq!((answer, upstream.bytes()), (*then, bytes), "{name}");
            }
            Clean(line, body) => {
                let seen = upstream.seen().split_off(before);
                assert_eq!((answer, seen.len()), (Status(200), 1), "{name}: {seen:#?}");
                let seen = &seen[0];
                let framed = seen.values("transfer-encoding").len() + seen.values("content-length").len();
                assert_eq!((seen.line(), seen.body.as_slice()), (*line, body.as_bytes()), "{name}");
                assert_eq!(framed, usize::from(!body.is_empty()), "{name}: {}", seen.head);
                assert_eq!(seen.values("host"), ["app.test"], "{name}");
                for ours in ["expect", "connection", "x_forwarded_user", "x-forwarded-user", "x-a"] {
                    assert_eq!(seen.values(ours), Vec::<&str>::new(), "{name}");
                }
            }
        }
        let control = plane.block_on(ask(&plane, &GOOD, None));
        assert_eq!(control, Status(200), "control after {name}");
    }
}

#[test]
fn pseudo_fields_are_whole_and_agree() {
    run(&[
        ("as it should be", GOOD.to_vec(), None, Clean("GET / HTTP/1.1", "")),
        ("no path", with(":path", None), None, Broken),
        ("empty path", with(":path", Some("")), None, Broken),
        ("path without a slash", with(":path", Some("admin")), None, Broken),
        ("asterisk", with(":path", Some("*")), None, Status(400)),
        ("a URL as path", with(":path", Some("http://evil.test/")), None, Broken),
        ("two paths", and(&[(":path", "/x")]), None, Broken),
        ("line end in the path", with(":path", Some("/a HTTP/1.1\r\nx: y")), None, Broken),
        ("octets beyond ASCII in the path", with(":path", Some("/\u{e4}")), None, Broken),
        ("dots", with(":path", Some("/a/%2E%2e/b")), None, Status(400)),
        ("backslash", with(":path", Some("/a\\..\\b")), None, Status(400)),
        ("encoded NUL", with(":path", Some("/%00")), None, Status(400)),
        ("two slashes", with(":path", Some("//x")), None, Clean("GET //x HTTP/1.1", "")),
        ("no host", with(":authority", None), None, Status(400)),
        (
            "`Host` alone",
            [with(":authority", None), vec![("host", "app.test")]].concat(),
            None,
            Clean("GET / HTTP/1.1", ""),
        ),
        ("another `Host`", and(&[("host", "other.test")]), None, Status(400)),
        ("two `Host`", and(&[("host", "app.test"), ("host", "app.test")]), None, Status(400)),
        ("user information", with(":authority", Some("u@app.test")), None, Status(400)),
        ("upper case", with(":authority", Some("APP.test")), None, Clean("GET / HTTP/1.1", "")),
        ("another scheme", with(":scheme", Some("ftp")), None, Status(400)),
        ("a scheme that is none", with(":scheme", Some("https://evil.test/?")), None, Broken),
        ("lower case method", with(":method", Some("get")), None, Status(501)),
        ("a request line as method", with(":method", Some("GET / HTTP/1.1\r\nx:")), None, Broken),
        ("TRACE", with(":method", Some("TRACE")), None, Status(501)),
        ("CONNECT", vec![(":method", "CONNECT"), (":authority", "app.test:443")], None, Status(501)),
        (
            "extended CONNECT",
            [with(":method", Some("CONNECT")), vec![(":protocol", "websocket")]].concat(),
            None,
            Broken,
        ),
        ("a pseudo-field behind a field", [&GOOD[..3], &[("x-a", "b")], &GOOD[3..]].concat(), None, Broken),
        ("a pseudo-field of responses", and(&[(":status", "200")]), None, Broken),
        ("a pseudo-field that is none", and(&[(":a", "b")]), None, Broken),
    ]);
}

#[test]
fn framing_is_that_of_the_stream() {
    run(&[
        ("a body", post(&[]), Some("he"), Clean("POST / HTTP/1.1", "he")),
        ("one length", post(&[("content-length", "2")]), Some("he"), Clean("POST / HTTP/1.1", "he")),
        ("length with zeros", post(&[("content-length", "002")]), Some("he"), Status(400)),
        ("two lengths", post(&[("content-length", "2"), ("content-length", "3")]), Some("he"), Broken),
        ("a length and no body", post(&[("content-length", "2")]), None, Broken),
        ("chunked", post(&[("transfer-encoding", "chunked")]), Some("0\r\n\r\n"), Broken),
        ("`Connection`", and(&[("connection", "x-a")]), None, Broken),
        ("`Upgrade`", and(&[("upgrade", "websocket")]), None, Broken),
        ("`TE` of more than trailers", and(&[("te", "gzip")]), None, Broken),
        ("`Expect`", post(&[("expect", "100-continue")]), Some("he"), Clean("POST / HTTP/1.1", "he")),
        ("another expectation", post(&[("expect", "y 100-continue")]), Some("he"), Status(417)),
        ("line end in a value", and(&[("x-b", "b\r\nc: d")]), None, Broken),
        ("line feed in a value", and(&[("x-b", "b\nc: d")]), None, Broken),
        ("NUL in a value", and(&[("x-b", "b\0c")]), None, Broken),
        ("colon in a name", and(&[("x-b: c\r\nd", "e")]), None, Broken),
        ("upper case in a name", and(&[("X-B", "c")]), None, Broken),
        ("no name", and(&[("", "b")]), None, Broken),
        (
            "names that others read as ours",
            and(&[("x_forwarded_user", "a"), ("x-forwarded-user", "a")]),
            None,
            Clean("GET / HTTP/1.1", ""),
        ),
    ]);
}
