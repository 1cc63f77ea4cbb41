//! The deadlines of a client's connection: to send a head, to be idle, to take what is sent to it.
//!
//! Requests and the socket only note what happens; one lazy timer a connection (`connection.rs`) reads it. It wakes at
//! least as often as the shortest deadline lasts, so no deadline passes unseen, and no request sets a timer of its own.
//! A client that takes too slowly uses up the time in which it may take nothing (`budget::owed`).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::budget::{Limits, Places, owed};

use super::body::{BodyError, ProxyBody};

/// What a connection does at the moment. Times are milliseconds since its start, plus one; zero is "not now".
pub(super) struct Pulse {
    start: Instant,
    /// Whether bytes from the client begin a head (HTTP/1) or may be anything (HTTP/2).
    heads: bool,
    head_since: AtomicU64,
    quiet_since: AtomicU64,
    blocked_since: AtomicU64,
    /// By how much the client is behind the least rate.
    debt: AtomicU64,
    rate: usize,
    active: AtomicU32,
    requests: AtomicU64,
    exchanges: Places,
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
    pub(super) fn new(heads: bool, rate: usize, exchanges: Places) -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            heads,
            head_since: AtomicU64::new(0),
            quiet_since: AtomicU64::new(1),
            blocked_since: AtomicU64::new(0),
            debt: AtomicU64::new(0),
            rate,
            active: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            exchanges,
        })
    }

    /// A request's head is complete; its place is given back with its body.
    pub(super) fn begin(self: &Arc<Self>) -> Active {
        self.head_since.store(0, Relaxed);
        self.requests.fetch_add(1, Relaxed);
        let place = match self.active.fetch_add(1, Relaxed) {
            0 => Place::First,
            others if self.exchanges.take(if others < MANY { 1 } else { 2 }) => Place::Counted,
            _ => Place::None,
        };
        Active { pulse: Arc::clone(self), place }
    }

    /// Whether any request came yet.
    pub(super) fn served(&self) -> bool {
        self.requests.load(Relaxed) > 0
    }

    /// Looks at the deadlines.
    pub(super) fn check(&self, limits: &Limits) -> Verdict {
        let now = self.now();
        let head = due(&self.head_since, limits.head_deadline);
        let debt = Duration::from_millis(self.debt.load(Relaxed));
        let blocked = due(&self.blocked_since, limits.stalled.saturating_sub(debt));
        let idle = self.active.load(Relaxed) == 0 && head.is_none();
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

    fn now(&self) -> u64 {
        millis(self.start.elapsed()) + 1
    }

    /// Bytes came, or wait since the last request.
    pub(super) fn read(&self) {
        if self.heads && self.active.load(Relaxed) == 0 && self.head_since.load(Relaxed) == 0 {
            self.head_since.store(self.now(), Relaxed);
        }
    }

    /// So many bytes were taken, or none can be now.
    fn wrote(&self, bytes: Poll<usize>) {
        let since = self.blocked_since.load(Relaxed);
        match bytes {
            Poll::Pending if since == 0 => self.blocked_since.store(self.now(), Relaxed),
            Poll::Pending => {}
            Poll::Ready(bytes) => {
                let debt = self.debt.load(Relaxed);
                if since != 0 || debt != 0 {
                    let waited = if since == 0 { 0 } else { self.now() - since };
                    let [debt, waited] = [debt, waited].map(Duration::from_millis);
                    self.debt.store(millis(owed(debt, waited, bytes, self.rate)), Relaxed);
                    self.blocked_since.store(0, Relaxed);
                }
            }
        }
    }
}

fn due(since: &AtomicU64, limit: Duration) -> Option<u64> {
    match since.load(Relaxed) {
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
    pulse: Arc<Pulse>,
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
        if self.pulse.active.fetch_sub(1, Relaxed) == 1 {
            self.pulse.quiet_since.store(self.pulse.now(), Relaxed);
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
    pub pulse: Arc<Pulse>,
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
    fn verdict(heads: bool, at: u64, happened: impl FnOnce(&Arc<Pulse>)) -> Verdict {
        let mut pulse = Pulse::new(heads, 1024, Places::new(0));
        happened(&pulse);
        let start = Instant::now().checked_sub(Duration::from_secs(at)).unwrap();
        // The past is made by a start that lies further back.
        Arc::get_mut(&mut pulse).expect("nothing keeps it").start = start;
        pulse.check(&limits())
    }

    #[test]
    fn a_connection_with_many_requests_leaves_half_of_the_places() {
        let places = Places::new(64);
        let granted = || {
            let pulse = Pulse::new(false, 1024, places.clone());
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
            pulse.active.store(1, Relaxed);
            pulse.head_since.store(0, Relaxed);
            pulse.read();
        });
        assert!(is_alive(working));
    }

    #[test]
    fn bytes_that_nobody_takes_are_stuck() {
        let blocked = |pulse: &Arc<Pulse>| {
            pulse.active.store(1, Relaxed);
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
            move |pulse: &Arc<Pulse>| {
                pulse.debt.store(25_000, Relaxed);
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
