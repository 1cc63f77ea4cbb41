//! The head of a response, read once: what goes on to the client, and what it says of its body and its connection.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Method, StatusCode};
use httparse::{ParserConfig, Response, Status};

use crate::proxy::decoder::{Chunked, Decoder, end_of_head, field};
use crate::proxy::headers::{passes_downstream, tokens};

use super::fault::Fault;

/// Bytes and fields of a head: larger heads are a broken upstream.
const HEAD_BYTES: usize = 64 * 1024;
const FIELDS: usize = 128;

/// The head of a response.
#[derive(Debug)]
pub(in crate::proxy) struct Head {
    /// Its status.
    pub status: StatusCode,
    /// The fields that go on to the client: end-to-end ones, and none of those that are ours to make.
    pub fields: HeaderMap,
    /// `Content-Length`, whether or not such a body comes.
    pub length: Option<u64>,
    /// `Trailer`.
    pub trailers: Vec<HeaderValue>,
    http10: bool,
    encodings: Vec<HeaderValue>,
    upgrades: Vec<HeaderValue>,
    close: bool,
    keep_alive: bool,
}

impl Head {
    /// Takes a head that has come whole, of which `looked` bytes were looked at before.
    pub(super) fn take(received: &mut BytesMut, looked: &mut usize) -> Result<Option<Self>, Fault> {
        let end = end_of_head(received, looked.saturating_sub(3));
        if end.unwrap_or(received.len()) > HEAD_BYTES {
            return Err(Fault::TooLarge);
        }
        let Some(end) = end else {
            *looked = received.len();
            return Ok(None);
        };
        *looked = 0;
        Self::parse(&received.split_to(end).freeze()).map(Some)
    }

    fn parse(bytes: &Bytes) -> Result<Self, Fault> {
        let mut room = [const { MaybeUninit::uninit() }; FIELDS];
        let mut parsed = Response::new(&mut []);
        let config = ParserConfig::default();
        match config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut room) {
            Ok(Status::Complete(count)) if count == bytes.len() => {}
            Err(httparse::Error::TooManyHeaders) => return Err(Fault::TooLarge),
            _ => return Err(Fault::Garbage),
        }
        let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Fault::Garbage)?;
        let mut head = Self {
            status,
            fields: HeaderMap::with_capacity(parsed.headers.len() + 4),
            length: None,
            trailers: Vec::new(),
            http10: parsed.version != Some(1),
            encodings: Vec::new(),
            upgrades: Vec::new(),
            close: false,
            keep_alive: false,
        };
        let mut listed = Vec::new();
        for raw in &*parsed.headers {
            let (name, value) = field(raw, |value| bytes.slice_ref(value))?;
            head.add(name, value, &mut listed)?;
        }
        for name in listed {
            head.fields.remove(name);
        }
        Ok(head)
    }

    /// Takes a field in; names that `Connection` lists go to `listed`.
    fn add(&mut self, name: HeaderName, value: HeaderValue, listed: &mut Vec<HeaderName>) -> Result<(), Fault> {
        match name {
            CONTENT_LENGTH => self.length = Some(length_of(&value, self.length)?),
            TRANSFER_ENCODING => self.encodings.push(value),
            UPGRADE => self.upgrades.push(value),
            TRAILER => self.trailers.push(value),
            CONNECTION => {
                for token in tokens(&value) {
                    match token {
                        _ if token.eq_ignore_ascii_case("close") => self.close = true,
                        _ if token.eq_ignore_ascii_case("keep-alive") => self.keep_alive = true,
                        _ => listed.extend(HeaderName::from_bytes(token.as_bytes())),
                    }
                }
            }
            _ if passes_downstream(&name, &value) => {
                self.fields.append(name, value);
            }
            _ => {}
        }
        Ok(())
    }

    /// How the body of a response to `method` is delimited (RFC 9112 section 6.3).
    pub(super) fn body(&self, method: &Method) -> Result<Decoder, Fault> {
        let chunked = match &*self.encodings {
            [] => false,
            [only] if !self.http10 && self.length.is_none() && only.as_bytes().eq_ignore_ascii_case(b"chunked") => true,
            _ => return Err(Fault::Ambiguous),
        };
        let none = matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        Ok(if *method == Method::HEAD || none || self.status.is_informational() {
            Decoder::Length(0)
        } else if chunked {
            Decoder::Chunked(Chunked::default())
        } else {
            self.length.map_or(Decoder::UntilClose, Decoder::Length)
        })
    }

    /// Whether the connection can be used again behind the body.
    pub(super) fn keeps(&self) -> bool {
        !self.close && (self.keep_alive || !self.http10)
    }

    /// Whether the upstream switches to WebSocket and to nothing else.
    pub(in crate::proxy) fn grants_websocket(&self) -> bool {
        self.status == StatusCode::SWITCHING_PROTOCOLS
            && matches!(&*self.upgrades, [only] if only.as_bytes().eq_ignore_ascii_case(b"websocket"))
    }
}

/// The one length that a field says, and that others said before (RFC 9112 section 6.3).
fn length_of(value: &HeaderValue, before: Option<u64>) -> Result<u64, Fault> {
    let mut length = before;
    for text in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        let digits = str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let said = digits.and_then(|digits| digits.parse().ok()).ok_or(Fault::Garbage)?;
        if *length.get_or_insert(said) != said {
            return Err(Fault::Ambiguous);
        }
    }
    length.ok_or(Fault::Garbage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Head, Fault> {
        Head::take(&mut BytesMut::from(text), &mut 0).map(|head| head.expect("it is whole"))
    }

    fn body(method: &Method, text: &str) -> Result<Decoder, Fault> {
        head(&format!("{text}\r\n\r\n"))?.body(method)
    }

    #[test]
    fn a_head_is_taken_when_it_is_whole_and_nothing_behind_it() {
        let wire = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nhi";
        let (mut received, mut looked) = (BytesMut::new(), 0);
        for byte in &wire[..wire.len() - 3] {
            received.extend_from_slice(&[*byte]);
            assert!(Head::take(&mut received, &mut looked).unwrap().is_none());
        }
        received.extend_from_slice(&wire[wire.len() - 3..]);
        let head = Head::take(&mut received, &mut looked).unwrap().unwrap();
        assert_eq!((head.status, head.length, &*received), (StatusCode::OK, Some(2), &b"hi"[..]));
        assert_eq!(head.fields.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["x-a"]);
    }

    #[test]
    fn lines_may_end_without_a_carriage_return() {
        for text in ["HTTP/1.1 200 OK\nx-a: b\n\n\r\n\r\n", "HTTP/1.1 200 OK\r\nx-a: b\n\r\n\n\n"] {
            let mut received = BytesMut::from(text);
            let head = Head::take(&mut received, &mut 0).unwrap().unwrap();
            assert_eq!((&head.fields["x-a"], received.is_empty()), (&"b".parse::<HeaderValue>().unwrap(), false));
        }
    }

    #[test]
    fn fields_of_the_connection_and_those_that_it_lists_stay() {
        let head = head(
            "HTTP/1.1 200 OK\r\nConnection: x-own, Keep-Alive\r\nX-Own: 1\r\nKeep-Alive: 5\r\nX-End: 2\r\nProxy-A: 3\r\n\
             x-auth-request-user: eve\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n",
        )
        .unwrap();
        assert_eq!(head.fields.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-end"]);
        assert_eq!(head.trailers, ["x-sum"]);
    }

    #[test]
    fn what_is_no_head_is_refused() {
        let large = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(HEAD_BYTES));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(FIELDS + 1));
        for text in [&*large, &large[..large.len() - 4], &many] {
            let fault = Head::take(&mut BytesMut::from(text), &mut 0).unwrap_err();
            assert!(matches!(fault, Fault::TooLarge), "{fault:?}");
        }
        for text in [
            "\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\na b: c\r\n\r\n",
            "HTTP/1.1 200 OK\r\na : c\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
        ] {
            assert!(matches!(head(text), Err(Fault::Garbage)), "{text}");
        }
    }

    #[test]
    fn a_body_is_delimited_in_one_way() {
        let get = |text: &str| body(&Method::GET, &format!("HTTP/1.1 200 OK\r\n{text}"));
        assert!(matches!(get("a: b"), Ok(Decoder::UntilClose)));
        assert!(matches!(get("content-length: 3"), Ok(Decoder::Length(3))));
        assert!(matches!(get("content-length: 3, 3\r\ncontent-length: 3"), Ok(Decoder::Length(3))));
        assert!(matches!(get("transfer-encoding: Chunked"), Ok(Decoder::Chunked(_))));
        for two in [
            "content-length: 3\r\ncontent-length: 4",
            "content-length: 3, 4",
            "content-length: 3\r\ntransfer-encoding: chunked",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
            "transfer-encoding: gzip, chunked",
            "transfer-encoding: identity",
            "transfer-encoding: xchunked",
        ] {
            assert!(matches!(get(two), Err(Fault::Ambiguous)), "{two}");
        }
        let old = body(&Method::GET, "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked");
        assert!(matches!(old, Err(Fault::Ambiguous)));
    }

    #[test]
    fn some_responses_have_no_body_whatever_they_say() {
        for (method, status) in [(Method::HEAD, 200), (Method::GET, 204), (Method::GET, 304), (Method::GET, 101)] {
            let text = format!("HTTP/1.1 {status} X\r\ncontent-length: 3");
            assert!(matches!(body(&method, &text), Ok(Decoder::Length(0))), "{method} {status}");
        }
    }

    #[test]
    fn a_connection_is_kept_by_default_or_by_word() {
        let keeps = |text: &str| head(&format!("{text}\r\n\r\n")).unwrap().keeps();
        assert!(keeps("HTTP/1.1 200 OK") && keeps("HTTP/1.0 200 OK\r\nconnection: Keep-Alive"));
        assert!(!keeps("HTTP/1.0 200 OK") && !keeps("HTTP/1.1 200 OK\r\nconnection: a, Close"));
        assert!(!keeps("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\nconnection: close"));
    }

    #[test]
    fn websocket_is_granted_by_its_name_alone() {
        let grants = |text: &str| head(&format!("HTTP/1.1 {text}\r\n\r\n")).unwrap().grants_websocket();
        assert!(grants("101 X\r\nupgrade: WebSocket"));
        for not in
            ["101 X", "200 OK\r\nupgrade: websocket", "101 X\r\nupgrade: h2c", "101 X\r\nupgrade: websocket, h2c"]
        {
            assert!(!grants(not), "{not}");
        }
    }
}
