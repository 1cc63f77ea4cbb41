//! One connection to an endpoint, and one exchange at a time on it (RFC 9112).
//!
//! It is polled by whoever waits for the response: no task of its own, no channel. Only a request's body is sent by a
//! task, since a client may take nothing of the response before all of it is sent.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};
use http_body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::spawn_local;
use tokio_util::task::AbortOnDropHandle;

use crate::proxy::body::RequestBody;
use crate::proxy::decoder::Decoder;
use crate::proxy::headers::Framing;

use super::fault::Fault;
use super::response::Head;
use super::upload::{Interrupted, upload};

/// Bytes that are read at once: more where the upstream fills it, and what an idle connection keeps.
const LEAST_READ: usize = 8 * 1024;
const MOST_READ: usize = 64 * 1024;
const KEPT: usize = 16 * 1024;

/// Heads before the one that counts (RFC 9110 section 15.2).
const INTERIM: usize = 32;

/// A connection to an endpoint.
pub(super) struct Connection {
    reader: OwnedReadHalf,
    writer: Writer,
    /// What came and was not taken.
    received: BytesMut,
    /// How much is read at once.
    read: usize,
    /// What is still to come of the response.
    body: Decoder,
    /// Whether upstream means to go on behind it.
    keeps: bool,
}

/// Where the socket's other half is.
enum Writer {
    Here(OwnedWriteHalf),
    /// With a request's body; dropped, it stops.
    Busy(AbortOnDropHandle<Result<OwnedWriteHalf, Interrupted>>),
    /// Nothing can be sent any more.
    Gone,
}

/// A request that got no response.
pub(in crate::proxy) struct Unanswered {
    /// Why.
    pub fault: Fault,
    /// Its body, where no byte of the request was sent.
    pub unsent: Option<RequestBody>,
}

/// A connection that left HTTP.
pub(in crate::proxy) struct Switched {
    /// What came behind the head.
    pub received: Bytes,
    /// What comes.
    pub reader: OwnedReadHalf,
    /// What goes.
    pub writer: OwnedWriteHalf,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        Ok(Self {
            reader,
            writer: Writer::Here(writer),
            received: BytesMut::new(),
            read: LEAST_READ,
            body: Decoder::Length(0),
            keeps: true,
        })
    }

    /// Sends a request and gives the head of its response; of an interim one only where it switches protocols.
    pub(super) async fn exchange(
        &mut self,
        method: &Method,
        head: &[u8],
        (body, framing): (RequestBody, Framing),
    ) -> Result<Head, Unanswered> {
        let unsent = match self.send(head).await {
            Some(0) => Some(body),
            _ => {
                self.send_body(body, framing);
                None
            }
        };
        self.head(method).await.map_err(|fault| Unanswered { fault, unsent })
    }

    /// Sends all bytes; gives how many were sent where not all of them could be, since there may be a response to that.
    async fn send(&mut self, bytes: &[u8]) -> Option<usize> {
        let Writer::Here(socket) = &mut self.writer else { return Some(0) };
        let mut left = bytes;
        while !left.is_empty() {
            match socket.write(left).await {
                Ok(count @ 1..) => left = &left[count..],
                Ok(0) | Err(_) => {
                    self.writer = Writer::Gone;
                    return Some(bytes.len() - left.len());
                }
            }
        }
        None
    }

    fn send_body(&mut self, body: RequestBody, framing: Framing) {
        if matches!(body, RequestBody::Empty) {
            return;
        }
        if let Writer::Here(socket) = std::mem::replace(&mut self.writer, Writer::Gone) {
            self.writer = Writer::Busy(AbortOnDropHandle::new(spawn_local(upload(socket, body, framing))));
        }
    }

    async fn head(&mut self, method: &Method) -> Result<Head, Fault> {
        let (mut looked, mut interim) = (0, 0);
        loop {
            while let Some(head) = Head::take(&mut self.received, &mut looked)? {
                if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                    self.body = head.body(method)?;
                    self.keeps = head.keeps() && !matches!(self.body, Decoder::UntilClose);
                    return Ok(head);
                }
                interim += 1;
                if interim > INTERIM {
                    return Err(Fault::Garbage);
                }
            }
            let begun = interim > 0 || !self.received.is_empty();
            let broken = if begun { Fault::Truncated } else { Fault::Closed };
            match std::future::poll_fn(|cx| self.poll_read(cx)).await? {
                Ok(1..) => {}
                Ok(0) => return Err(broken(None)),
                Err(error) => return Err(broken(Some(error))),
            }
        }
    }

    /// The next part of the response's body; `None` where it is whole.
    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        loop {
            if let Some(frame) = self.body.take(&mut self.received).transpose() {
                return Poll::Ready(Some(frame.map_err(Fault::from)));
            }
            if self.body.is_done() {
                return Poll::Ready(None);
            }
            let closed = match ready!(self.poll_read(cx)) {
                Ok(Ok(1..)) => Ok(()),
                Ok(Ok(0)) => self.body.close().map_err(Fault::from),
                Ok(Err(error)) => Err(Fault::Truncated(Some(error))),
                Err(fault) => Err(fault),
            };
            if let Err(fault) = closed {
                return Poll::Ready(Some(Err(fault)));
            }
        }
    }

    /// What is still to come of the response.
    pub(super) fn body(&self) -> &Decoder {
        &self.body
    }

    /// Reads what is there, and looks after the request's body: where that broke, the exchange did.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<io::Result<usize>, Fault>> {
        self.poll_upload(cx)?;
        if self.received.capacity() - self.received.len() < self.read {
            self.received.reserve(self.read);
        }
        let room = self.received.capacity() - self.received.len();
        let read = ready!(pin!(self.reader.read_buf(&mut self.received)).poll(cx));
        if read.as_ref().is_ok_and(|count| *count == room) {
            self.read = (self.read * 2).min(MOST_READ);
        }
        Poll::Ready(Ok(read))
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        let Writer::Busy(upload) = &mut self.writer else { return Ok(()) };
        let Poll::Ready(ended) = pin!(upload).poll(cx) else { return Ok(()) };
        self.writer = Writer::Gone;
        match ended {
            Ok(Ok(socket)) => self.writer = Writer::Here(socket),
            // There may be a response that says why.
            Ok(Err(Interrupted::Socket)) => {}
            Ok(Err(Interrupted::Body)) | Err(_) => return Err(Fault::Upload),
        }
        Ok(())
    }

    /// Whether another exchange can follow; it lets go of what it does not need meanwhile.
    pub(super) fn rest(&mut self) -> bool {
        let sound = self.poll_upload(&mut Context::from_waker(Waker::noop())).is_ok();
        let whole = sound && self.keeps && self.body.is_done() && self.received.is_empty();
        if self.received.capacity() > KEPT {
            (self.received, self.read) = (BytesMut::new(), LEAST_READ);
        }
        whole && matches!(self.writer, Writer::Here(_))
    }

    /// Whether the endpoint has neither closed it nor said anything unasked, as far as is known.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(self.reader.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Lets the request's body, if it is under way, be sent to its end although its response has come.
    pub(super) fn finish_upload(self) {
        if let Writer::Busy(upload) = self.writer {
            drop(upload.detach());
        }
    }

    /// Leaves HTTP behind a head that says so.
    pub(super) fn switch(self) -> Option<Switched> {
        let Writer::Here(writer) = self.writer else { return None };
        Some(Switched { received: self.received.freeze(), reader: self.reader, writer })
    }
}
