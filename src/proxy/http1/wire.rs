//! A client's connection while it speaks HTTP/1: its socket, what came over it and was not taken, and the body that a
//! request is sending. The connection's task and whoever reads the body share it; neither holds it while it waits.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use tokio::io::AsyncWrite;
use tokio::sync::oneshot;
use tokio_util::io::poll_read_buf;

use crate::proxy::body::BodyError;
use crate::proxy::decoder::{Decoder, Malformed, end_of_head};
use crate::proxy::pulse::Watched;
use crate::proxy::rejection::Refusal;

use super::socket::Socket;

/// Bytes that are read at once: more where the client fills it.
const LEAST_READ: usize = 8 * 1024;
const MOST_READ: usize = 64 * 1024;

/// What asks for a body that was announced (RFC 9110 section 10.1.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The connection.
pub(super) struct Wire {
    /// Until the connection has ended.
    socket: Option<Watched<Socket>>,
    /// What came and was not taken.
    received: BytesMut,
    /// How much of it was searched for the end of a head.
    looked: usize,
    /// How much is read at once.
    read: usize,
    /// What is still to come of the request.
    body: Decoder,
    /// What is still to be sent before the body comes; empty while it is on its way.
    asking: Option<&'static [u8]>,
    /// Whether somebody may read the body.
    held: bool,
    broken: bool,
    /// Who reads the body, and who waits until it was read.
    reader: Option<Waker>,
    settler: Option<Waker>,
    handover: Option<oneshot::Sender<Client>>,
    /// Whether a response is under way whose end only the end of the connection tells.
    unended: bool,
}

/// A client that left HTTP.
pub(in crate::proxy) struct Client {
    /// What came behind its request.
    pub received: Bytes,
    /// Its socket.
    pub socket: Socket,
}

/// The body of a request. It is read over its connection by whoever polls it.
pub struct Body(Rc<RefCell<Wire>>);

impl Wire {
    pub(super) fn new(socket: Watched<Socket>) -> Self {
        Self {
            socket: Some(socket),
            received: BytesMut::new(),
            looked: 0,
            read: LEAST_READ,
            body: Decoder::Length(0),
            asking: None,
            held: false,
            broken: false,
            reader: None,
            settler: None,
            handover: None,
            unended: false,
        }
    }

    /// The next head, of at most so many bytes; none where the client ends the connection.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<Option<Result<Bytes, Refusal>>> {
        loop {
            self.skip_empty_lines();
            let end = end_of_head(&self.received, self.looked.saturating_sub(3));
            if end.unwrap_or(self.received.len()) > most {
                return Poll::Ready(Some(Err(Refusal::HeadTooLarge)));
            }
            if let Some(end) = end {
                self.looked = 0;
                return Poll::Ready(Some(Ok(self.received.split_to(end).freeze())));
            }
            self.looked = self.received.len();
            ready!(self.poll_readable(cx));
            if !matches!(ready!(self.poll_read(cx)), Ok(1..)) {
                return Poll::Ready(None);
            }
        }
    }

    /// Empty lines before a request mean nothing (RFC 9112 section 2.2), nor does one under way: the connection stays idle.
    fn skip_empty_lines(&mut self) {
        loop {
            let line = match *self.received {
                [b'\n', ..] => 1,
                [b'\r', b'\n', ..] => 2,
                [b'\r'] => 0,
                _ => return,
            };
            self.received.advance(line);
            self.looked = 0;
            if line == 0 || self.received.is_empty() {
                if let Some(socket) = &self.socket {
                    socket.pulse.read_nothing();
                }
                return self.rest();
            }
        }
    }

    /// Whether nothing came of a next request.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(*self.received, [] | [b'\r'])
    }

    /// Begins a request that is followed by this body.
    pub(super) fn begin(&mut self, body: Decoder, expects: bool) {
        self.asking = (expects && self.received.is_empty() && !body.is_done()).then_some(CONTINUE);
        self.body = body;
    }

    /// The body of the request, to be read by another.
    pub(super) fn hold(wire: &Rc<RefCell<Self>>) -> Body {
        wire.borrow_mut().held = true;
        Body(Rc::clone(wire))
    }

    /// Whether a body is still to come.
    pub(super) fn has_body(&self) -> bool {
        !self.body.is_done()
    }

    /// Begins a response, maybe one that only the end of the connection ends: a body is not asked for any more. Gives what
    /// must be sent before it.
    pub(super) fn answer(&mut self, until_close: bool) -> &'static [u8] {
        self.unended = until_close;
        let begun = self.asking.take();
        if begun.is_some() {
            // It waited to write, maybe, and its body may come all the same.
            wake(&mut self.reader);
        }
        begun.filter(|left| left.len() < CONTINUE.len()).unwrap_or_default()
    }

    /// The response is whole.
    pub(super) fn answered(&mut self) {
        self.unended = false;
    }

    /// Ready when the client has gone while it was waiting for us.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.held && self.has_body() {
            // Until then, whoever reads it sees the end.
            self.settler = Some(cx.waker().clone());
            return Poll::Pending;
        }
        // An end behind more than that is seen when its turn comes.
        while !self.broken && self.received.len() < LEAST_READ {
            ready!(self.poll_readable(cx));
            if !matches!(ready!(self.poll_read(cx)), Ok(1..)) {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    /// Ready when nobody reads the request any more, who would read the next one else: then what came of it is dropped.
    /// Whether another request may follow.
    pub(super) fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.held && !self.broken {
            self.settler = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(self.is_over())
    }

    /// Whether another request may follow, once what came of a body that nobody reads is dropped. A client that was not
    /// asked for its body sends it or not.
    pub(super) fn is_over(&mut self) -> bool {
        while !self.held && !self.broken && matches!(self.body.take(&mut self.received), Ok(Some(_))) {}
        let unasked = self.asking == Some(CONTINUE);
        !self.broken && !unasked && (self.held || !self.has_body())
    }

    /// Sends these parts, in one write where they are taken together.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, parts: &mut [&[u8]; 3]) -> Poll<io::Result<()>> {
        let socket = Self::open(&mut self.socket)?;
        while parts.iter().any(|part| !part.is_empty()) {
            let mut sent = match *parts {
                [only, [], []] => ready!(Pin::new(&mut *socket).poll_write(cx, only))?,
                _ => ready!(Pin::new(&mut *socket).poll_write_vectored(cx, &parts.map(IoSlice::new)))?,
            };
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            for part in &mut *parts {
                let of_it = sent.min(part.len());
                *part = &part[of_it..];
                sent -= of_it;
            }
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(Self::open(&mut self.socket)?).poll_flush(cx)
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(Self::open(&mut self.socket)?).poll_shutdown(cx)
    }

    /// Drops what comes, until the client has gone or sent so many bytes.
    pub(super) fn poll_discard(&mut self, cx: &mut Context<'_>, left: &mut usize) -> Poll<()> {
        while *left > 0 {
            self.received.clear();
            match ready!(self.poll_read(cx)) {
                Ok(count @ 1..) => *left = left.saturating_sub(count),
                Ok(0) | Err(_) => break,
            }
        }
        Poll::Ready(())
    }

    /// A head, or a part of one, that came early begins now.
    pub(super) fn next(&mut self) {
        if self.received.is_empty() {
            return self.rest();
        }
        if let Some(socket) = &self.socket {
            socket.pulse.read();
        }
        self.skip_empty_lines();
    }

    /// What is idle keeps no large buffer.
    fn rest(&mut self) {
        if self.received.is_empty() && self.read > LEAST_READ {
            (self.received, self.read) = (BytesMut::new(), LEAST_READ);
        }
    }

    /// Hands the client over to whoever asked for it.
    pub(super) fn hand_over(&mut self) {
        if let (Some(asked), Some(Watched { stream: socket, .. })) = (self.handover.take(), self.socket.take()) {
            // Whoever asked may have gone meanwhile, and the client with it.
            drop(asked.send(Client { received: self.received.split().freeze(), socket }));
        }
    }

    /// Ends the connection, whoever reads a body over it, and so that the client takes nothing for whole that is not.
    pub(super) fn end(&mut self) {
        if let Some(socket) = self.socket.take()
            && self.unended
        {
            socket.stream.abort();
        }
        self.broken = true;
        wake(&mut self.reader);
    }

    fn open(socket: &mut Option<Watched<Socket>>) -> io::Result<&mut Watched<Socket>> {
        socket.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.as_ref().map_or(Poll::Ready(()), |socket| socket.stream.poll_readable(cx))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.received.capacity() - self.received.len() < self.read {
            self.received.reserve(self.read);
        }
        let room = self.received.capacity() - self.received.len();
        let read = ready!(poll_read_buf(Pin::new(Self::open(&mut self.socket)?), cx, &mut self.received));
        if read.as_ref().is_ok_and(|count| *count == room) {
            self.read = (self.read * 2).min(MOST_READ);
        }
        Poll::Ready(read)
    }

    /// The next part of the request's body; `None` where it is whole.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if self.broken {
                return Poll::Ready(Some(Err(broken(Malformed::Truncated))));
            }
            let taken = self.body.take(&mut self.received);
            if self.body.is_done() {
                wake(&mut self.settler);
            }
            match taken.map(|frame| frame.filter(Frame::is_data)) {
                Ok(Some(data)) => return Poll::Ready(Some(Ok(data))),
                Ok(None) if self.body.is_done() => return Poll::Ready(None),
                Ok(None) => {}
                Err(malformed) => return Poll::Ready(Some(Err(self.breaks(malformed)))),
            }
            let read = match self.poll_ask(cx) {
                Poll::Ready(Ok(())) => self.poll_read(cx),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            };
            if read.is_pending() {
                self.reader = Some(cx.waker().clone());
            }
            match ready!(read) {
                Ok(1..) => {}
                Ok(0) => return Poll::Ready(Some(Err(self.breaks(Malformed::Truncated)))),
                Err(error) => return Poll::Ready(Some(Err(self.breaks(error)))),
            }
        }
    }

    /// Asks for a body whose client waits for that.
    fn poll_ask(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(left) = self.asking else { return Poll::Ready(Ok(())) };
        let mut parts = [left, &[], &[]];
        let sent = self.poll_send(cx, &mut parts);
        self.asking = Some(parts[0]);
        ready!(sent)?;
        ready!(self.poll_flush(cx))?;
        self.asking = None;
        Poll::Ready(Ok(()))
    }

    fn breaks(&mut self, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> BodyError {
        self.broken = true;
        wake(&mut self.settler);
        broken(why)
    }
}

fn broken(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> BodyError {
    BodyError::Broken(why.into())
}

fn wake(waiting: &mut Option<Waker>) {
    if let Some(waker) = waiting.take() {
        waker.wake();
    }
}

impl Body {
    /// The client itself, once it was told that it leaves HTTP.
    pub(in crate::proxy) fn hand_over(&self) -> oneshot::Receiver<Client> {
        let (sender, receiver) = oneshot::channel();
        self.0.borrow_mut().handover = Some(sender);
        receiver
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.borrow_mut().poll_body(cx)
    }

    fn is_end_stream(&self) -> bool {
        !self.0.borrow().has_body()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.borrow().body.exact().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let mut wire = self.0.borrow_mut();
        wire.held = false;
        wake(&mut wire.settler);
    }
}
