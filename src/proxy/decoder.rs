//! A body of HTTP/1.1, of the bytes that came over its connection (RFC 9112 sections 6 and 7): a request's from a client, a
//! response's from an upstream.

use std::sync::LazyLock;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body::Frame;
use httparse::{EMPTY_HEADER, Header, Status};
use memchr::memchr_iter;
use memchr::memmem::Finder;

/// Bytes of a line with a chunk's size, and of all trailers.
const LINE_BYTES: usize = 4 * 1024;
const TRAILER_BYTES: usize = 16 * 1024;

/// Trailer fields.
const TRAILERS: usize = 64;

/// Bytes of chunk extensions in one body; they mean nothing to us.
const EXTENSION_BYTES: usize = 16 * 1024;

/// The digits of the longest size and its line end.
const PLAIN_LINE: usize = 18;

/// How much of a body is still to come, and how it is delimited.
#[derive(Debug)]
pub(super) enum Decoder {
    /// So many bytes.
    Length(u64),
    /// All that comes until the connection is closed.
    UntilClose,
    /// Chunks.
    Chunked(Chunked),
}

/// A chunked body.
#[derive(Default, Debug)]
pub(super) struct Chunked {
    next: Next,
    extensions: usize,
}

/// Why what came is no body.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// It is not delimited as it should be.
    #[error("the body is not delimited as HTTP/1.1 has it")]
    Garbage,
    /// Its trailers have more bytes than are accepted.
    #[error("the trailers are too large")]
    TooLarge,
    /// The connection was closed before its end.
    #[error("the connection was closed in the middle of the body")]
    Truncated,
}

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Next {
    #[default]
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    Nothing,
}

impl Decoder {
    /// Whether the body is whole.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::UntilClose => false,
            Self::Chunked(chunked) => chunked.next == Next::Nothing,
        }
    }

    /// How many bytes are to come, where that is known.
    pub(super) fn exact(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::UntilClose => None,
            Self::Chunked(chunked) => (chunked.next == Next::Nothing).then_some(0),
        }
    }

    /// Takes what has come of the body, data or trailers; `None` where it is whole or more must come first.
    pub(super) fn take(&mut self, received: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Malformed> {
        match self {
            Self::Length(left) => Ok(data(received, left)),
            Self::UntilClose => Ok(data(received, &mut { u64::MAX })),
            Self::Chunked(chunked) => chunked.take(received),
        }
    }

    /// The connection was closed: that ends the body, or breaks it.
    pub(super) fn close(&mut self) -> Result<(), Malformed> {
        if let Self::UntilClose = self {
            *self = Self::Length(0);
        }
        if self.is_done() { Ok(()) } else { Err(Malformed::Truncated) }
    }
}

/// At most `left` bytes of data.
fn data(received: &mut BytesMut, left: &mut u64) -> Option<Frame<Bytes>> {
    let count = received.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
    if count == 0 {
        return None;
    }
    *left -= count as u64;
    Some(Frame::data(received.split_to(count).freeze()))
}

impl Chunked {
    fn take(&mut self, received: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Malformed> {
        self.advance(received)?;
        match &mut self.next {
            Next::Data(left) => {
                let data = data(received, left);
                if *left == 0 {
                    self.next = Next::DataEnd;
                    // Tells whether this was the last; what is wrong behind it, the next call says.
                    drop(self.advance(received));
                }
                Ok(data)
            }
            Next::Trailers => self.trailers(received),
            Next::Size | Next::DataEnd | Next::Nothing => Ok(None),
        }
    }

    /// Goes on to the next byte of data or trailers, as far as it has come. A fault leaves everything as it is.
    fn advance(&mut self, received: &mut BytesMut) -> Result<(), Malformed> {
        loop {
            let (next, count) = match self.next {
                Next::Size => match self.size(received)? {
                    Some(read) => read,
                    None => return Ok(()),
                },
                Next::DataEnd => match **received {
                    [b'\r', b'\n', ..] => (Next::Size, 2),
                    [] | [b'\r'] => return Ok(()),
                    _ => return Err(Malformed::Garbage),
                },
                Next::Trailers if received.starts_with(b"\r\n") => (Next::Nothing, 2),
                Next::Data(_) | Next::Trailers | Next::Nothing => return Ok(()),
            };
            self.next = next;
            received.advance(count);
        }
    }

    /// What follows the line with a chunk's size, and how long the line is.
    fn size(&mut self, received: &[u8]) -> Result<Option<(Next, usize)>, Malformed> {
        // To the parser, no digit at all is a size.
        if received.first().is_some_and(|first| !first.is_ascii_hexdigit()) {
            return Err(Malformed::Garbage);
        }
        let Status::Complete((count, size)) = httparse::parse_chunk_size(received).map_err(|_| Malformed::Garbage)?
        else {
            return if received.len() > LINE_BYTES { Err(Malformed::Garbage) } else { Ok(None) };
        };
        // An extension with a line feed of its own would be two lines to others.
        let extensions = self.extensions + count.saturating_sub(PLAIN_LINE);
        if received[..count - 1].contains(&b'\n') || extensions > EXTENSION_BYTES {
            return Err(Malformed::Garbage);
        }
        self.extensions = extensions;
        Ok(Some((if size == 0 { Next::Trailers } else { Next::Data(size) }, count)))
    }

    fn trailers(&mut self, received: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Malformed> {
        let mut fields = [EMPTY_HEADER; TRAILERS];
        let Status::Complete((count, fields)) =
            httparse::parse_headers(received, &mut fields).map_err(|_| Malformed::Garbage)?
        else {
            return if received.len() > TRAILER_BYTES { Err(Malformed::TooLarge) } else { Ok(None) };
        };
        if count > TRAILER_BYTES {
            return Err(Malformed::TooLarge);
        }
        // To the parser, a line feed alone ends a line, and to others it is a part of a field.
        let lines = &received[..count];
        if memchr_iter(b'\n', lines).any(|at| at == 0 || lines[at - 1] != b'\r') {
            return Err(Malformed::Garbage);
        }
        let mut trailers = HeaderMap::with_capacity(fields.len());
        for field in fields.iter() {
            let (name, value) = self::field(field, Bytes::copy_from_slice)?;
            trailers.append(name, value);
        }
        received.advance(count);
        self.next = Next::Nothing;
        Ok(Some(Frame::trailers(trailers)))
    }
}

/// A field as it was parsed, its value taken by `keep`.
pub(super) fn field<'a>(
    raw: &Header<'a>,
    keep: impl Fn(&'a [u8]) -> Bytes,
) -> Result<(HeaderName, HeaderValue), Malformed> {
    let name = name_of(raw.name)?;
    let value = HeaderValue::from_maybe_shared(keep(raw.value)).map_err(|_| Malformed::Garbage)?;
    Ok((name, value))
}

/// A field's name. Those that most messages have, as most write them, are known without the parser, which looks at each letter.
fn name_of(name: &str) -> Result<HeaderName, Malformed> {
    Ok(match name {
        "Accept" | "accept" => header::ACCEPT,
        "Accept-Encoding" | "accept-encoding" => header::ACCEPT_ENCODING,
        "Accept-Language" | "accept-language" => header::ACCEPT_LANGUAGE,
        "Cache-Control" | "cache-control" => header::CACHE_CONTROL,
        "Connection" | "connection" => header::CONNECTION,
        "Content-Length" | "content-length" => header::CONTENT_LENGTH,
        "Content-Type" | "content-type" => header::CONTENT_TYPE,
        "Cookie" | "cookie" => header::COOKIE,
        "Date" | "date" => header::DATE,
        "ETag" | "Etag" | "etag" => header::ETAG,
        "Host" | "host" => header::HOST,
        "Last-Modified" | "last-modified" => header::LAST_MODIFIED,
        "Referer" | "referer" => header::REFERER,
        "Server" | "server" => header::SERVER,
        "Transfer-Encoding" | "transfer-encoding" => header::TRANSFER_ENCODING,
        "User-Agent" | "user-agent" => header::USER_AGENT,
        "Vary" | "vary" => header::VARY,
        _ => HeaderName::from_bytes(name.as_bytes()).map_err(|_| Malformed::Garbage)?,
    })
}

/// Behind the first empty line, where it has come; line ends may lack their carriage return (RFC 9112 section 2.2).
pub(super) fn end_of_head(received: &[u8], from: usize) -> Option<usize> {
    /// Made once: making one costs as much as looking for it.
    static EMPTY_LINES: LazyLock<[Finder<'_>; 2]> = LazyLock::new(|| [Finder::new("\n\r\n"), Finder::new("\n\n")]);
    let [usual, bare] = &*EMPTY_LINES;
    let new = &received[from..];
    let end = usual.find(new).map(|at| at + 3);
    let bare = bare.find(&new[..end.unwrap_or(new.len())]).map(|at| at + 2);
    bare.or(end).map(|end| from + end)
}

#[cfg(test)]
mod tests;
