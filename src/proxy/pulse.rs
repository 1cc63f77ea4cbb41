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
        let idle = self.active.get() == 0 && head.is_none();
        let quiet = if idle { due(&self.quiet_since, limits.idle) } else { None };
        if [head, blocked].into_iter().flatten().any(|due| due <= now) {
            return Verdict::Stuck;
        }
        if quiet.is_some_and(|due| due <= now) {
            return Verdict::Idle;
        }
        let shortest = limits.head_deadline.min(limits.stalled).min(limits.idle);
        let next = [head, blocked, quiet].into_iter().flatten().min().unwrap_or(u64::MAX);
        let wait = (next - now).min(millis(shortest));
        Verdict::AliveUntil(Instant::now() + Duration::from_millis(wait.max(1)))
    }

    /// The time of the last beat, for what each request notes.
    fn beaten(&self) -> u64 {
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
mod tests {
    use super::*;

    fn limits() -> Limits {
        let (head_deadline, idle, stalled) =
            (Duration::from_secs(10), Duration::from_secs(60), Duration::from_secs(30));
        Limits { head_deadline, idle, stalled, ..Limits::default() }
    }

    /// What is due this many seconds after the start of a connection that did this.
    fn verdict(heads: bool, at: u64, happened: impl FnOnce(&Rc<Pulse>)) -> Verdict {
        let mut pulse = Pulse::new(heads, 1024, Places::new(0), Deadlines::default());
        happened(&pulse);
        let start = Instant::now().checked_sub(Duration::from_secs(at)).unwrap();
        // The past is made by a start that lies further back.
        Rc::get_mut(&mut pulse).expect("nothing keeps it").start = start;
        pulse.check(&limits())
    }

    #[test]
    fn a_connection_with_many_requests_leaves_half_of_the_places() {
        let places = Places::new(64);
        let granted = || {
            let pulse = Pulse::new(false, 1024, places.clone(), Deadlines::default());
            let active: Vec<_> = (0..100).map(|_| pulse.begin()).take_while(Active::is_granted).collect();
            (active.len(), active)
        };
        let ((hoarder, hoarded), (neighbour, _kept)) = (granted(), granted());
        assert_eq!((hoarder, neighbour), (1 + 32, 1 + 15));
        drop(hoarded);
        assert_eq!(granted().0, 1 + 17);
    }

    fn is_alive(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::AliveUntil(_))
    }

    #[test]
    fn a_connection_without_a_request_is_idle_in_the_end() {
        assert!(is_alive(verdict(true, 59, |_| ())));
        assert_eq!(verdict(true, 61, |_| ()), Verdict::Idle);
        assert_eq!(verdict(false, 61, |pulse| pulse.read()), Verdict::Idle);
    }

    #[test]
    fn a_head_that_does_not_end_is_stuck() {
        assert!(is_alive(verdict(true, 9, |pulse| pulse.read())));
        assert_eq!(verdict(true, 11, |pulse| pulse.read()), Verdict::Stuck);
    }

    #[test]
    fn a_request_at_work_is_neither_idle_nor_stuck() {
        let working = verdict(true, 3600, |pulse| {
            pulse.read();
            pulse.active.set(1);
            pulse.head_since.set(0);
            pulse.read();
        });
        assert!(is_alive(working));
    }

    #[test]
    fn bytes_that_nobody_takes_are_stuck() {
        let blocked = |pulse: &Rc<Pulse>| {
            pulse.active.set(1);
            pulse.wrote(Poll::Pending);
            pulse.wrote(Poll::Pending);
        };
        assert!(is_alive(verdict(true, 29, blocked)));
        assert_eq!(verdict(true, 31, blocked), Verdict::Stuck);
        let taken = verdict(true, 31, |pulse| {
            blocked(pulse);
            pulse.wrote(Poll::Ready(1));
        });
        assert!(is_alive(taken));
    }

    #[test]
    fn bytes_that_are_taken_too_slowly_are_stuck_earlier() {
        let owing = |earned: usize| {
            move |pulse: &Rc<Pulse>| {
                pulse.debt.set(25_000);
                pulse.wrote(Poll::Ready(earned));
                pulse.wrote(Poll::Pending);
            }
        };
        assert!(is_alive(verdict(false, 4, owing(0))));
        assert_eq!(verdict(false, 6, owing(0)), Verdict::Stuck);
        assert!(is_alive(verdict(false, 14, owing(10 * 1024))));
        assert_eq!(verdict(false, 16, owing(10 * 1024)), Verdict::Stuck);
        assert!(is_alive(verdict(false, 29, owing(1024 * 1024))));
    }

    #[test]
    fn the_timer_wakes_within_the_shortest_deadline() {
        let Verdict::AliveUntil(at) = verdict(true, 1, |_| ()) else { panic!("alive") };
        assert!(at <= Instant::now() + Duration::from_secs(10));
    }
}
