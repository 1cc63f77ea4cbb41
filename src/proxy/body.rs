//! Bodies in either direction, with their deadlines, limits and counts.
//!
//! A [`ProxyBody`] owes its request's outcome and holds, where it streams, the upstream connection: the outcome is
//! written and the connection given back when the body ends, or dropped with it.

mod idle;

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::audit::Outcome;
use crate::budget::owed;

use super::client_body::ClientBody;
use super::headers;
use super::upstream::{Fault, Lease};

pub(super) use idle::Idle;

/// The body of every response. It is boxed, since a response is moved more often than it is made.
pub enum ProxyBody {
    /// An answer of our own, whole.
    Own(Box<Own>),
    /// An upstream's, streamed.
    Streamed(Box<Streamed>),
}

/// An answer of our own.
pub struct Own {
    bytes: Option<Bytes>,
    outcome: Option<Outcome>,
}

/// What streams from an upstream.
pub struct Streamed {
    first: Option<Frame<Bytes>>,
    outcome: Outcome,
    upload: Option<Rc<Upload>>,
    /// As long as something is to come over it.
    lease: Option<Lease>,
    idle: Idle,
    deadline: Option<Pin<Box<Sleep>>>,
    trailers: bool,
    sent: u64,
}

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Nothing moved for too long.
    #[error("the body stood still for too long")]
    Idle,
    /// The whole exchange took longer than its route allows.
    #[error("the exchange took too long")]
    Deadline,
    /// More than the route accepts.
    #[error("the request body is too large")]
    TooLarge,
    /// The client's end is broken.
    #[error("the body broke off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The upstream's end is.
    #[error("the upstream broke off")]
    Upstream(#[source] Fault),
}

/// A request body on its way upstream.
pub(super) enum RequestBody {
    Empty,
    /// Boxed, since most requests have none, and all are moved.
    Streamed(Box<Sent>),
}

/// What a client sends.
pub(super) struct Sent {
    body: ClientBody,
    upload: Rc<Upload>,
    idle: Idle,
}

/// How far a request body has come, for those who wait for its response.
pub(super) struct Upload {
    limit: Option<u64>,
    /// Bytes a second that must come, and by how much the client is behind that.
    rate: usize,
    debt: Cell<Duration>,
    received: Cell<u64>,
    moved: Cell<Instant>,
    state: Cell<UploadState>,
}

/// What became of a request body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum UploadState {
    Running,
    Finished,
    TooLarge,
    Stalled,
    Broken,
}

/// What a streamed body needs beside its bytes.
pub(super) struct Stream {
    pub outcome: Outcome,
    pub upload: Option<Rc<Upload>>,
    pub lease: Lease,
    pub idle: Duration,
    pub deadline: Option<Instant>,
    pub trailers: bool,
}

/// Gives an answer of our own the outcome that it owes; `None` where the request had none (it was never reserved).
pub fn own(response: Response<Bytes>, mut outcome: Option<Outcome>) -> Response<ProxyBody> {
    let status = response.status().as_u16();
    if let Some(outcome) = &mut outcome {
        outcome.note(|event| event.status = status);
    }
    response.map(|bytes| ProxyBody::Own(Box::new(Own { bytes: Some(bytes), outcome })))
}

/// The body of a response that streams from an upstream.
pub(super) fn streamed(status: StatusCode, first: Option<Frame<Bytes>>, stream: Stream) -> ProxyBody {
    let Stream { mut outcome, upload, lease, idle, deadline, trailers } = stream;
    outcome.note(|event| event.status = status.as_u16());
    let deadline = deadline.map(|at| Box::pin(sleep_until(at)));
    let mut streamed = Box::new(Streamed {
        first,
        outcome,
        upload,
        lease: Some(lease),
        idle: Idle::new(idle),
        deadline,
        trailers,
        sent: 0,
    });
    streamed.notice_end();
    ProxyBody::Streamed(streamed)
}

impl Streamed {
    /// Lets go of the connection once nothing more comes over it.
    fn notice_end(&mut self) {
        if let Some(lease) = self.lease.take_if(|lease| lease.body().is_done()) {
            lease.give_back();
        }
    }

    /// Whether everything came and went on.
    fn is_done(&self) -> bool {
        self.first.is_none() && self.lease.is_none()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(self.pass(first).map(Ok));
        }
        let Some(lease) = &mut self.lease else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = lease.poll_body(cx) {
            self.idle.touch();
            self.notice_end();
            return Poll::Ready(match frame {
                Some(Ok(frame)) => self.pass(frame).map(Ok),
                Some(Err(fault)) => Some(Err(BodyError::Upstream(fault))),
                None => None,
            });
        }
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Some(Err(BodyError::Deadline)));
        }
        ready!(self.idle.poll(cx, Duration::ZERO));
        Poll::Ready(Some(Err(BodyError::Idle)))
    }

    /// Counts data and filters trailers.
    fn pass(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        if let Some(data) = frame.data_ref() {
            self.sent += data.len() as u64;
        }
        match frame.into_trailers() {
            Ok(trailers) if self.trailers => Some(Frame::trailers(headers::admitted_trailers(&trailers))),
            Ok(_) => None,
            Err(data) => Some(data),
        }
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Own(own) => Poll::Ready(own.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Streamed(streamed) => streamed.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(own) => own.bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Streamed(streamed) => streamed.is_done(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(own) => SizeHint::with_exact(own.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Streamed(streamed) => {
                let first = streamed.first.as_ref().and_then(Frame::data_ref).map_or(0, |data| data.len() as u64);
                let rest = streamed.lease.as_ref().map_or(Some(0), |lease| lease.body().exact());
                rest.map_or_else(SizeHint::default, |rest| SizeHint::with_exact(rest + first))
            }
        }
    }
}

impl ProxyBody {
    /// Takes back the end of the data that it gave last, which could not be sent: it is not told as sent.
    pub(super) fn take_back(&mut self, rest: Bytes) {
        let count = rest.len() as u64;
        match self {
            Self::Own(own) => {
                if let Some(outcome) = &mut own.outcome {
                    outcome.note(|event| event.sent = event.sent.saturating_sub(count));
                }
                own.bytes = Some(rest);
            }
            Self::Streamed(streamed) => {
                streamed.sent = streamed.sent.saturating_sub(count);
                streamed.first = Some(Frame::data(rest));
            }
        }
    }
}

impl Own {
    /// Sends nothing.
    pub(super) fn strip(&mut self) {
        self.bytes = None;
    }

    fn take(&mut self) -> Option<Bytes> {
        let bytes = self.bytes.take().filter(|bytes| !bytes.is_empty())?;
        if let Some(outcome) = &mut self.outcome {
            outcome.note(|event| event.sent = bytes.len() as u64);
        }
        Some(bytes)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let complete = self.bytes.as_ref().is_none_or(Bytes::is_empty);
        if let Some(outcome) = &mut self.outcome {
            outcome.note(|event| event.complete = complete);
        }
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        let received = self.upload.as_ref().map_or(0, |upload| upload.received.get());
        let complete = self.is_done();
        self.outcome.note(|event| {
            event.sent = self.sent;
            event.received = received;
            event.complete = complete;
        });
    }
}

impl RequestBody {
    /// A body as it comes from the client, with at most `limit` bytes, and behind its `rate` (bytes a second) for at most
    /// `idle`.
    pub(super) fn of(body: ClientBody, limit: Option<u64>, idle: Duration, rate: usize) -> (Self, Option<Rc<Upload>>) {
        if body.is_end_stream() {
            return (Self::Empty, None);
        }
        let upload = Rc::new(Upload {
            limit,
            rate,
            debt: Cell::default(),
            received: Cell::new(0),
            moved: Cell::new(Instant::now()),
            state: Cell::new(UploadState::Running),
        });
        let sent = Sent { body, upload: Rc::clone(&upload), idle: Idle::new(idle) };
        (Self::Streamed(Box::new(sent)), Some(upload))
    }

    /// A deadline for whoever takes it, as long as its own.
    pub(super) fn idle(&self) -> Idle {
        Idle::new(match self {
            Self::Empty => Duration::ZERO,
            Self::Streamed(sent) => sent.idle.limit,
        })
    }
}

impl Upload {
    pub(super) fn state(&self) -> UploadState {
        self.state.get()
    }

    /// When it last moved (or ended).
    pub(super) fn moved(&self) -> Instant {
        self.moved.get()
    }

    fn becomes(&self, state: UploadState) {
        self.moved.set(Instant::now());
        self.state.set(state);
    }

    /// Counts what came after it was waited for, where it was.
    fn count(&self, data: &Bytes, waited: Option<Instant>) -> Result<(), BodyError> {
        let received = self.received.get() + data.len() as u64;
        self.received.set(received);
        let now = Instant::now();
        self.moved.set(now);
        let waited = waited.map_or(Duration::ZERO, |since| now - since);
        self.debt.set(owed(self.debt.get(), waited, data.len(), self.rate));
        if self.limit.is_some_and(|limit| received > limit) {
            self.becomes(UploadState::TooLarge);
            return Err(BodyError::TooLarge);
        }
        Ok(())
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self::Streamed(sent) = self.get_mut() else { return Poll::Ready(None) };
        let Sent { body, upload, idle } = &mut **sent;
        let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
            ready!(idle.poll(cx, upload.debt.get()));
            upload.becomes(UploadState::Stalled);
            return Poll::Ready(Some(Err(BodyError::Idle)));
        };
        let waited = idle.touch();
        let frame = match frame {
            Some(Ok(frame)) => frame.into_data().ok(),
            Some(Err(error)) => {
                upload.becomes(UploadState::Broken);
                return Poll::Ready(Some(Err(error)));
            }
            None => None,
        };
        // Request trailers end here: no upstream needs them, and many merge them into the head.
        let Some(data) = frame else {
            upload.becomes(UploadState::Finished);
            return Poll::Ready(None);
        };
        if let Err(error) = upload.count(&data, waited) {
            return Poll::Ready(Some(Err(error)));
        }
        if body.is_end_stream() {
            upload.becomes(UploadState::Finished);
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed(sent) => sent.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streamed(sent) => sent.body.size_hint(),
        }
    }
}
