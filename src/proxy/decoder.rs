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
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data and trailers of bytes that come in pieces, and what is left behind the body.
    fn decode(mut decoder: Decoder, pieces: &[&[u8]]) -> Result<(Vec<u8>, HeaderMap, Vec<u8>), Malformed> {
        let (mut received, mut data, mut trailers) = (BytesMut::new(), Vec::new(), HeaderMap::new());
        for piece in pieces {
            received.extend_from_slice(piece);
            while let Some(frame) = decoder.take(&mut received)? {
                match frame.into_data() {
                    Ok(bytes) => {
                        assert!(!bytes.is_empty());
                        data.extend_from_slice(&bytes);
                    }
                    Err(frame) => trailers = frame.into_trailers().unwrap(),
                }
            }
        }
        if !decoder.is_done() {
            decoder.close()?;
        }
        assert_eq!(decoder.exact(), Some(0));
        Ok((data, trailers, received.to_vec()))
    }

    fn chunked() -> Decoder {
        Decoder::Chunked(Chunked::default())
    }

    #[test]
    fn the_end_of_a_body_is_seen_with_its_last_byte() {
        let mut received = BytesMut::from(&b"3\r\nabc\r\n0\r\n\r\n"[..]);
        let mut decoder = chunked();
        assert!(decoder.take(&mut received).unwrap().is_some() && decoder.is_done() && received.is_empty());
    }

    #[test]
    fn a_length_takes_no_more_than_its_own() {
        let (data, _, rest) = decode(Decoder::Length(3), &[b"ab", b"cd"]).unwrap();
        assert_eq!((&*data, &*rest), (&b"abc"[..], &b"d"[..]));
        assert!(matches!(decode(Decoder::Length(3), &[b"ab"]), Err(Malformed::Truncated)));
    }

    #[test]
    fn without_a_length_all_is_data() {
        assert_eq!(decode(Decoder::UntilClose, &[b"a", b"", b"b"]).unwrap().0, b"ab");
    }

    #[test]
    fn trailers_come_behind_the_data() {
        let (data, trailers, rest) = decode(chunked(), &[b"1\r\na\r\n0\r\nx-sum: 7\r\nX-b:c\r\n\r\nrest"]).unwrap();
        assert_eq!((&*data, &*rest), (&b"a"[..], &b"rest"[..]));
        assert_eq!((&trailers["x-sum"], &trailers["x-b"]), (&"7".parse().unwrap(), &"c".parse().unwrap()));
    }

    #[test]
    fn what_is_no_chunk_breaks_the_body() {
        let long = format!("1;{}", "x".repeat(LINE_BYTES));
        let many = format!("1;{}\r\na\r\n", "x".repeat(4000)).repeat(5);
        let trailers = format!("0\r\nx: {}", "x".repeat(TRAILER_BYTES));
        let whole = format!("{trailers}\r\n\r\n");
        for broken in [
            "g\r\n",
            "-1\r\n",
            "+1\r\na",
            "0x1\r\n",
            "\r\n",
            "1\na\r\n",
            "1\r\nab",
            "1\r\na\n0",
            "1;a\nb\r\na\r\n",
            "11111111111111111\r\n",
            "1 1\r\n",
            "0\r\n\nno field\r\n\r\n",
            "0\r\nno field\r\n\r\n",
            "0\r\nx: y\n\n",
            "0\r\nx: y\r\n\n",
            "0\r\nx: y\nz: a\r\n\r\n",
            "0\r\na b: c\r\n\r\n",
            &long,
            &many,
            &trailers,
            &whole,
        ] {
            let fault = decode(chunked(), &[broken.as_bytes()]).unwrap_err();
            assert!(matches!(fault, Malformed::Garbage | Malformed::TooLarge), "{broken:.40}: {fault:?}");
        }
        for truncated in ["", "1", "1\r\n", "1\r\na", "1\r\na\r\n", "1\r\na\r\n0\r\n", "0\r\nx: y\r\n"] {
            let fault = decode(chunked(), &[truncated.as_bytes()]).unwrap_err();
            assert!(matches!(fault, Malformed::Truncated), "{truncated}: {fault:?}");
        }
    }

    proptest! {
        #[test]
        fn chunks_give_what_was_cut_however_it_arrives(
            chunks in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..40), "(;[a-z=]{0,9})?"), 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
            rest in "[a-z]{0,5}",
        ) {
            let mut wire = Vec::new();
            for (data, extension) in &chunks {
                wire.extend_from_slice(format!("{:X}{extension}\r\n", data.len()).as_bytes());
                wire.extend_from_slice(data);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            wire.extend_from_slice(rest.as_bytes());
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
            cuts.extend([0, wire.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &wire[cut[0]..cut[1]]).collect();
            let (data, _, left) = decode(chunked(), &pieces).unwrap();
            prop_assert_eq!(data, chunks.into_iter().flat_map(|(data, _)| data).collect::<Vec<_>>());
            prop_assert_eq!(left, rest.into_bytes());
        }

        #[test]
        fn whatever_comes_is_decoded_alike_whole_and_byte_by_byte(wire in "[0-9a-f]?(\r\n|\n)?[ -~]{0,6}(\r\n)?[0-2]?\r?\n?[a-z: ]{0,4}(\r\n){0,3}") {
            let bytes: Vec<_> = wire.as_bytes().chunks(1).collect();
            let (whole, single) = (decode(chunked(), &[wire.as_bytes()]), decode(chunked(), &bytes));
            match (whole, single) {
                (Ok(whole), Ok(single)) => prop_assert_eq!(whole, single),
                (whole, single) => prop_assert!(whole.is_err() && single.is_err()),
            }
        }
    }

    #[test]
    fn a_name_that_is_known_is_the_one_that_is_parsed() {
        for name in [
            "accept",
            "accept-encoding",
            "accept-language",
            "accept-ranges",
            "cache-control",
            "connection",
            "content-length",
            "content-type",
            "cookie",
            "date",
            "etag",
            "expect",
            "host",
            "last-modified",
            "referer",
            "server",
            "set-cookie",
            "te",
            "transfer-encoding",
            "upgrade",
            "user-agent",
            "vary",
            "via",
            "x-own",
        ] {
            let title =
                name.split('-').map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect::<Vec<_>>().join("-");
            for spelt in [name.to_owned(), title, name.to_ascii_uppercase(), name.replacen("et", "ET", 1)] {
                assert_eq!(name_of(&spelt).ok(), HeaderName::from_bytes(spelt.as_bytes()).ok(), "{spelt}");
            }
        }
        assert!(name_of("a b").is_err() && name_of("").is_err());
    }
}
