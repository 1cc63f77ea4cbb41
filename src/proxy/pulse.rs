//! The deadlines of a client's connection: to send a head, to be idle, to take what is sent to it.
//!
//! Requests and the socket only note what happens; one lazy timer a connection (`connection.rs`) reads it. It wakes at
//! least as often as the shortest deadline lasts, so no deadline passes unseen, and no request sets a timer of its own.
//! A client that takes too slowly uses up the time in which it may take nothing (`budget::owed`).

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::budget::{Limits, Places, owed};

use super::body::{BodyError, ProxyBody};
use super::deadlines::Deadlines;

/// What a connection does at the moment. Times are milliseconds since its start, plus one; zero is "not now".
pub(super) struct Pulse {
    start: Instant,
    /// Whether bytes from the client begin a head (HTTP/1) or may be anything (HTTP/2).
    heads: bool,
    head_since: Cell<u64>,
    quiet_since: Cell<u64>,
    blocked_since: Cell<u64>,
    /// Pieces of responses that `h2` was handed and has not written.
    unwritten: Cell<usize>,
    withheld_since: Cell<u64>,
    /// By how much the client is behind the least rate.
    debt: Cell<u64>,
    rate: usize,
    active: Cell<u32>,
    requests: Cell<u64>,
    exchanges: Places,
    deadlines: Deadlines,
}

/// Requests of one connection from which on it leaves half of all places to others.
const MANY: u32 = 16;

/// What the timer does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Nothing is due before.
    AliveUntil(Instant),
    /// It was idle for too long: say goodbye.
    Idle,
    /// It holds us up: close it.
    Stuck,
}

impl Pulse {
    pub(super) fn new(heads: bool, rate: usize, exchanges: Places, deadlines: Deadlines) -> Rc<Self> {
        Rc::new(Self {
            start: Instant::now(),
            heads,
            head_since: Cell::new(0),
            quiet_since: Cell::new(1),
            blocked_since: Cell::new(0),
            unwritten: Cell::new(0),
            withheld_since: Cell::new(0),
            debt: Cell::new(0),
            rate,
            active: Cell::new(0),
            requests: Cell::new(0),
            exchanges,
            deadlines,
        })
    }

    /// A request's head is complete; its place is given back with its body.
    pub(super) fn begin(self: &Rc<Self>) -> Active {
        self.head_since.set(0);
        self.requests.set(self.requests.get() + 1);
        let place = match self.active.replace(self.active.get() + 1) {
            0 => Place::First,
            others if self.exchanges.take(if others < MANY { 1 } else { 2 }) => Place::Counted,
            _ => Place::None,
        };
        Active { pulse: Rc::clone(self), place }
    }

    /// Whether any request came yet.
    pub(super) fn served(&self) -> bool {
        self.requests.get() > 0
    }

    /// Looks at the deadlines.
    pub(super) fn check(&self, limits: &Limits) -> Verdict {
        let now = self.now();
        let head = due(&self.head_since, limits.head_deadline);
        let debt = Duration::from_millis(self.debt.get());
        let blocked = due(&self.blocked_since, limits.stalled.saturating_sub(debt));
        // Streams that have more to send are reset before that, each alone.
        let withheld = due(&self.withheld_since, 2 * limits.stalled);
        let idle = self.active.get() == 0 && head.is_none();
        let quiet = if idle { due(&self.quiet_since, limits.idle) } else { None };
        if [head, blocked, withheld].into_iter().flatten().any(|due| due <= now) {
            return Verdict::Stuck;
        }
        if quiet.is_some_and(|due| due <= now) {
            return Verdict::Idle;
        }
        let shortest = limits.head_deadline.min(limits.stalled).min(limits.idle);
        let next = [head, blocked, withheld, quiet].into_iter().flatten().min().unwrap_or(u64::MAX);
        let wait = (next - now).min(millis(shortest));
        Verdict::AliveUntil(Instant::now() + Duration::from_millis(wait.max(1)))
    }

    /// The time of the last beat, for what each request notes: in milliseconds since the connection began.
    pub(super) fn beaten(&self) -> u64 {
        millis(self.deadlines.now().saturating_duration_since(self.start)) + 1
    }

    fn now(&self) -> u64 {
        millis(self.start.elapsed()) + 1
    }

    /// Bytes came, or wait since the last request.
    pub(super) fn read(&self) {
        if self.heads && self.active.get() == 0 && self.head_since.get() == 0 {
            self.head_since.set(self.beaten());
        }
    }

    /// Those bytes begin no head.
    pub(super) fn read_nothing(&self) {
        self.head_since.set(0);
    }

    /// A piece of a response was handed over to be written.
    pub(super) fn handed_over(&self) {
        self.unwritten.set(self.unwritten.get() + 1);
    }

    /// Such a piece was written, or dropped with its stream.
    pub(super) fn let_go(&self) {
        self.unwritten.set(self.unwritten.get() - 1);
    }

    /// All was written that may be, or the socket is full. Each piece had its window when it was handed over, so what is left
    /// of them where all was written lost it since.
    pub(super) fn drained(&self, all: bool) {
        if !all || self.unwritten.get() == 0 {
            self.withheld_since.set(0);
        } else if self.withheld_since.get() == 0 {
            self.withheld_since.set(self.now());
        }
    }

    /// So many bytes were taken, or none can be now.
    fn wrote(&self, bytes: Poll<usize>) {
        let since = self.blocked_since.get();
        match bytes {
            Poll::Pending if since == 0 => self.blocked_since.set(self.now()),
            Poll::Pending => {}
            Poll::Ready(bytes) => {
                let debt = self.debt.get();
                if since != 0 || debt != 0 {
                    let waited = if since == 0 { 0 } else { self.now() - since };
                    let [debt, waited] = [debt, waited].map(Duration::from_millis);
                    self.debt.set(millis(owed(debt, waited, bytes, self.rate)));
                    self.blocked_since.set(0);
                }
            }
        }
    }
}

fn due(since: &Cell<u64>, limit: Duration) -> Option<u64> {
    match since.get() {
        0 => None,
        since => Some(since + millis(limit)),
    }
}

/// How many bytes a write moved.
fn moved(wrote: &Poll<io::Result<usize>>) -> Poll<usize> {
    match wrote {
        Poll::Ready(wrote) => Poll::Ready(*wrote.as_ref().unwrap_or(&0)),
        Poll::Pending => Poll::Pending,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}

/// One request at work on its connection.
pub(super) struct Active {
    pulse: Rc<Pulse>,
    place: Place,
}

/// The place of a request among those of the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// The only one of its connection needs none.
    First,
    Counted,
    /// None was free.
    None,
}

impl Active {
    /// Whether the request may go on.
    pub(super) fn is_granted(&self) -> bool {
        self.place != Place::None
    }

    /// What its connection does.
    pub(super) fn pulse(&self) -> &Rc<Pulse> {
        &self.pulse
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        if self.place == Place::Counted {
            self.pulse.exchanges.give_back();
        }
        if self.pulse.active.replace(self.pulse.active.get() - 1) == 1 {
            self.pulse.quiet_since.set(self.pulse.beaten());
        }
    }
}

/// A response body that keeps its request's place.
pub(super) struct Tracked {
    body: ProxyBody,
    _active: Active,
}

impl Tracked {
    pub(super) fn new(body: ProxyBody, active: Active) -> Self {
        Self { body, _active: active }
    }
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket that notes when bytes come, and when nobody takes ours.
pub(super) struct Watched<S> {
    pub stream: S,
    pub pulse: Rc<Pulse>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.pulse.read();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.pulse.wrote(moved(&wrote));
        wrote
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.pulse.wrote(moved(&wrote));
        wrote
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.pulse.wrote(if flushed.is_pending() { Poll::Pending } else { Poll::Ready(0) });
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
