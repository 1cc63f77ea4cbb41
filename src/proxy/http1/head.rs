//! The head of a request, and what it says of its body and its connection (RFC 9112). What it says of anything else, `admit`
//! reads.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request, Uri, Version, request};
use httparse::{ParserConfig, Status};

use crate::proxy::decoder::{Chunked, Decoder, field};
use crate::proxy::headers::tokens;
use crate::proxy::rejection::Refusal;

/// Lines of a head that are parsed; how many are served is said by the limits.
const LINES: usize = 128;

/// The head of a request.
pub(super) struct Head {
    /// Method, target and fields as they came, equal lengths once.
    pub parts: request::Parts,
    /// How its body is delimited.
    pub body: Decoder,
    /// Whether the client means to go on behind it.
    pub keeps: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects: bool,
}

impl Head {
    /// Parses a whole head; 400 where it is none, or can be read in two ways.
    pub(super) fn parse(bytes: &Bytes) -> Result<Self, Refusal> {
        let mut room = [const { MaybeUninit::uninit() }; LINES];
        let mut parsed = httparse::Request::new(&mut []);
        match ParserConfig::default().parse_request_with_uninit_headers(&mut parsed, bytes, &mut room) {
            Ok(Status::Complete(count)) if count == bytes.len() => {}
            Err(httparse::Error::TooManyHeaders) => return Err(Refusal::HeadTooLarge),
            _ => return Err(Refusal::BadRequest),
        }
        let (mut parts, ()) = Request::new(()).into_parts();
        let (method, target) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
        parts.method = Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::BadRequest)?;
        parts.uri = Uri::from_maybe_shared(bytes.slice_ref(target.as_bytes())).map_err(|_| Refusal::BadRequest)?;
        parts.version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
        let mut said = Said::default();
        parts.headers = HeaderMap::with_capacity(parsed.headers.len());
        for raw in &*parsed.headers {
            let (name, value) = field(raw, |value| bytes.slice_ref(value)).map_err(|_| Refusal::BadRequest)?;
            if said.hears(&name, &value)? {
                parts.headers.append(name, value);
            }
        }
        said.of(parts)
    }
}

/// What the fields say of body and connection.
#[derive(Default)]
struct Said {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    expects: bool,
}

impl Said {
    /// Takes note of a field; whether it is kept.
    fn hears(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<bool, Refusal> {
        match *name {
            CONTENT_LENGTH => {
                let length = length_of(value).ok_or(Refusal::BadRequest)?;
                match self.length.replace(length) {
                    Some(before) if before != length => return Err(Refusal::BadRequest),
                    before => return Ok(before.is_none()),
                }
            }
            TRANSFER_ENCODING => {
                let first = !std::mem::replace(&mut self.chunked, true);
                if !first || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::BadRequest);
                }
            }
            CONNECTION => {
                for token in tokens(value) {
                    self.close |= token.eq_ignore_ascii_case("close");
                    self.keep_alive |= token.eq_ignore_ascii_case("keep-alive");
                }
            }
            EXPECT => self.expects |= value.as_bytes().eq_ignore_ascii_case(b"100-continue"),
            _ => {}
        }
        Ok(true)
    }

    /// The head that says so. A length beside chunks is overruled by them, and the connection ends behind such a message
    /// (RFC 9112 section 6.3).
    fn of(self, parts: request::Parts) -> Result<Head, Refusal> {
        let http10 = parts.version == Version::HTTP_10;
        if self.chunked && http10 {
            return Err(Refusal::BadRequest);
        }
        let body =
            if self.chunked { Decoder::Chunked(Chunked::default()) } else { Decoder::Length(self.length.unwrap_or(0)) };
        let doubtful = self.chunked && self.length.is_some();
        let keeps = !self.close && !doubtful && (self.keep_alive || !http10);
        let expects = self.expects && !http10;
        Ok(Head { parts, body, keeps, expects })
    }
}

/// A length in digits and nothing else, that whoever counts with a sign can count too.
fn length_of(value: &HeaderValue) -> Option<u64> {
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|length| i64::try_from(*length).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Head, Refusal> {
        Head::parse(&Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn a_head_is_read_as_it_came() {
        let Head { parts, body, keeps, expects } =
            head("POST /a%61?b HTTP/1.1\r\nHost: App.test\r\nX-A:  b \r\nx-a: c\r\ncontent-length: 7\r\n\r\n").unwrap();
        assert_eq!((parts.method, parts.version), (Method::POST, Version::HTTP_11));
        assert_eq!((parts.uri.to_string(), &parts.headers["host"]), ("/a%61?b".into(), &"App.test".parse().unwrap()));
        assert_eq!(parts.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["b", "c"]);
        assert!(matches!(body, Decoder::Length(7)) && keeps && !expects);
    }

    #[test]
    fn what_is_no_head_or_two_is_refused() {
        let many = "x: y\r\n".repeat(LINES + 1);
        for (text, refusal) in [
            ("GET / HTTP/1.1\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\n\r\nx", Refusal::BadRequest),
            ("GET / HTTP/2.0\r\n\r\n", Refusal::BadRequest),
            ("GET /\r\n\r\n", Refusal::BadRequest),
            ("GET  / HTTP/1.1\r\n\r\n", Refusal::BadRequest),
            ("G\u{e4}T / HTTP/1.1\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\na : b\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\na: b\r\n c\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\na: b\0\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\na: b\rc\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\ncontent-length: +1\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\ncontent-length: 1, 1\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\ncontent-length: 9223372036854775808\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\ncontent-length:\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\ntransfer-encoding: xchunked\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", Refusal::BadRequest),
            (&*format!("GET / HTTP/1.1\r\n{many}\r\n"), Refusal::HeadTooLarge),
        ] {
            assert_eq!(head(text).err(), Some(refusal), "{text:.60}");
        }
    }

    #[test]
    fn equal_lengths_are_one_and_chunks_overrule_them() {
        let twice = head("GET / HTTP/1.1\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n").unwrap();
        assert_eq!((twice.parts.headers.len(), twice.keeps), (1, true));
        assert!(matches!(twice.body, Decoder::Length(2)));
        let both = head("GET / HTTP/1.1\r\ncontent-length: 2\r\nTransfer-Encoding: Chunked\r\n\r\n").unwrap();
        assert!(matches!(both.body, Decoder::Chunked(_)) && !both.keeps);
    }

    #[test]
    fn a_connection_is_kept_by_default_or_by_word() {
        let keeps = |text: &str| head(&format!("GET / {text}\r\n\r\n")).unwrap().keeps;
        assert!(keeps("HTTP/1.1") && keeps("HTTP/1.0\r\nconnection: Keep-Alive"));
        assert!(!keeps("HTTP/1.0") && !keeps("HTTP/1.1\r\nconnection: a, Close"));
        assert!(!keeps("HTTP/1.0\r\nconnection: keep-alive\r\nconnection: close"));
    }

    #[test]
    fn only_who_speaks_http11_waits_to_be_asked_for_a_body() {
        let expects = |text: &str| head(&format!("PUT / {text}\r\n\r\n")).unwrap().expects;
        assert!(expects("HTTP/1.1\r\nexpect: 100-Continue"));
        assert!(!expects("HTTP/1.0\r\nexpect: 100-continue") && !expects("HTTP/1.1\r\nexpect: x"));
    }
}
