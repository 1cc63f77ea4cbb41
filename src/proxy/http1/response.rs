//! Sending a response (RFC 9112 sections 4, 6 and 7).

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderMap, StatusCode, Version, response};
use http_body::{Body, Frame};

use crate::proxy::body::BodyError;
use crate::proxy::headers::has_token;
use crate::proxy::pulse::Tracked;

use super::wire::Wire;

/// Bytes of a body that are copied behind the head for one write; more is sent from where it lies.
const COPIED: usize = 4 * 1024;

/// Room for most heads and what is copied behind them.
const ROOM: usize = 2 * 1024;

/// Bytes that wait for more before they are sent.
const GATHERED: usize = 16 * 1024;

/// How a body is delimited towards the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Framing {
    /// There is none.
    None,
    /// By its length.
    Length(u64),
    /// In chunks.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// What a response answers to.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub version: Version,
    /// Whether it was `HEAD`.
    pub head: bool,
    /// Whether both sides mean to go on behind it.
    pub keeps: bool,
}

/// What follows a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Then {
    /// Another request may.
    Next,
    /// The end.
    End,
    /// Another protocol.
    Switch,
    /// The end at once: the response is not whole.
    Break,
}

impl Framing {
    fn of(head: &response::Parts, body: &Tracked, asked: Asked) -> Self {
        let none = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if asked.head || none || head.status.is_informational() {
            return Self::None;
        }
        match body.size_hint().exact() {
            Some(length) => Self::Length(length),
            None if asked.version == Version::HTTP_11 => Self::Chunked,
            None => Self::UntilClose,
        }
    }
}

/// Sends a response; its `body` is kept, with what it holds, until the request is over as well.
pub(super) async fn send(wire: &RefCell<Wire>, head: response::Parts, body: &mut Tracked, asked: Asked) -> Then {
    let framing = Framing::of(&head, body, asked);
    let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
    let closes = has_token(&head.headers, CONNECTION, "close");
    let keeps = asked.keeps && !closes && framing != Framing::UntilClose;
    let mut out = Vec::with_capacity(ROOM);
    out.extend_from_slice(wire.borrow_mut().answer(framing == Framing::UntilClose));
    write_head(&mut out, &head, framing, Asked { keeps: keeps || closes || switches, ..asked });
    let sent =
        if framing == Framing::None { flush(wire, &out).await } else { send_body(wire, out, body, framing).await };
    if sent.is_err() {
        return Then::Break;
    }
    wire.borrow_mut().answered();
    if switches {
        Then::Switch
    } else if keeps {
        Then::Next
    } else {
        Then::End
    }
}

/// The status line and the fields, which are of checked types and hold no line end.
fn write_head(out: &mut Vec<u8>, head: &response::Parts, framing: Framing, asked: Asked) {
    let reason = head.status.canonical_reason().unwrap_or_default();
    put(out, &[b"HTTP/1.1 ", head.status.as_str().as_bytes(), b" ", reason.as_bytes(), b"\r\n"]);
    for (name, value) in &head.headers {
        put(out, &[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    }
    match framing {
        Framing::Length(length) if !head.headers.contains_key(CONTENT_LENGTH) => {
            put(out, &[b"content-length: ", length.to_string().as_bytes(), b"\r\n"]);
        }
        Framing::Chunked => put(out, &[b"transfer-encoding: chunked\r\n"]),
        _ => {}
    }
    if !asked.keeps {
        put(out, &[b"connection: close\r\n"]);
    } else if asked.version == Version::HTTP_10 && !head.headers.contains_key(CONNECTION) {
        put(out, &[b"connection: keep-alive\r\n"]);
    }
    out.extend_from_slice(b"\r\n");
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

async fn send_body(wire: &RefCell<Wire>, mut out: Vec<u8>, body: &mut Tracked, mut framing: Framing) -> io::Result<()> {
    while !body.is_end_stream() {
        let Some(frame) = next_frame(wire, &mut out, body).await? else { break };
        let Ok(frame) = frame else {
            flush(wire, &out).await?;
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        match frame.into_data() {
            Ok(data) => send_data(wire, &mut out, &data, &mut framing).await?,
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                return end(wire, out, framing, &trailers).await;
            }
        }
    }
    end(wire, out, framing, &HeaderMap::new()).await
}

/// The next frame. Where none is there yet, what is ready goes on meanwhile, and it is noticed that the client goes.
async fn next_frame(
    wire: &RefCell<Wire>,
    out: &mut Vec<u8>,
    body: &mut Tracked,
) -> io::Result<Option<Result<Frame<Bytes>, BodyError>>> {
    let mut sent = 0;
    let frame = poll_fn(|cx| {
        if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
            return Poll::Ready(Ok(frame));
        }
        let wire = &mut *wire.borrow_mut();
        let mut parts = [&out[sent..], &[], &[]];
        let flushed = wire.poll_send(cx, &mut parts);
        sent = out.len() - parts[0].len();
        if let Poll::Ready(flushed) = flushed {
            flushed?;
            if let Poll::Ready(flushed) = wire.poll_flush(cx) {
                flushed?;
            }
        }
        ready!(wire.poll_gone(cx));
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    })
    .await;
    out.drain(..sent);
    frame
}

/// Sends data, behind what waits in `out`; a little of it may wait there.
async fn send_data(wire: &RefCell<Wire>, out: &mut Vec<u8>, data: &Bytes, framing: &mut Framing) -> io::Result<()> {
    if data.is_empty() {
        return Ok(());
    }
    let mut tail: &[u8] = b"";
    match framing {
        Framing::Length(left) => {
            *left = left.checked_sub(data.len() as u64).ok_or(io::ErrorKind::InvalidData)?;
        }
        Framing::Chunked => {
            put(out, &[format!("{:x}\r\n", data.len()).as_bytes()]);
            tail = b"\r\n";
        }
        Framing::None | Framing::UntilClose => {}
    }
    if data.len() <= COPIED && out.len() < GATHERED {
        put(out, &[data, tail]);
        return Ok(());
    }
    let mut parts = [&**out, data, tail];
    poll_fn(|cx| wire.borrow_mut().poll_send(cx, &mut parts)).await?;
    out.clear();
    Ok(())
}

/// Ends a body, which may be broken.
async fn end(wire: &RefCell<Wire>, mut out: Vec<u8>, framing: Framing, trailers: &HeaderMap) -> io::Result<()> {
    match framing {
        Framing::Length(1..) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Framing::Chunked => {
            put(&mut out, &[b"0\r\n"]);
            for (name, value) in trailers {
                put(&mut out, &[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
            }
            put(&mut out, &[b"\r\n"]);
        }
        _ => {}
    }
    flush(wire, &out).await
}

async fn flush(wire: &RefCell<Wire>, out: &[u8]) -> io::Result<()> {
    let mut parts = [out, &[], &[]];
    poll_fn(|cx| {
        let wire = &mut *wire.borrow_mut();
        ready!(wire.poll_send(cx, &mut parts))?;
        wire.poll_flush(cx)
    })
    .await
}
