//! The ring and its writer thread.
//!
//! A place is taken when it is reserved and free again when the line of the decision has reached the sink, so a sink that
//! is stuck or full closes the door by itself. Outcomes need none: each follows a decision, so there are never more of them
//! than requests that have one (`docs/design/data-plane.md`). Lines are encoded straight into one batch, in order of their
//! sequence numbers; the thread swaps the batch out and writes it whole. A batch that cannot be written is tried again.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use super::record::{self, OutcomeOf, Says, Stamp, Time};
use super::{Decided, Event, OutcomeEvent, RequestId};
use crate::clock::Clock;
use crate::trace::{Trace, Tracer};

/// Places in the ring, in decisions.
const PLACES: usize = 65_536;

/// Bytes of a batch from which on no more places are given.
const BATCH: usize = 64 * 1024 * 1024;

/// Bytes that an empty batch keeps hold of.
const KEPT: usize = 1024 * 1024;

/// How long the writer gathers lines before it writes a batch.
const GATHER: Duration = Duration::from_millis(5);

/// How long the writer waits before it tries a failed batch again.
const RETRY: Duration = Duration::from_millis(250);

/// How long a sink may take at the end: a stuck one must not keep the process.
const LAST: Duration = Duration::from_secs(5);

/// Where events go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sink {
    /// Standard output.
    Stdout,
    /// A file, appended.
    File(PathBuf),
}

/// The handle. Cheap to clone; the last one dropped ends the writer after its last line.
#[derive(Clone)]
pub struct Audit {
    handle: Arc<Handle>,
    tracer: Option<Tracer>,
}

/// The reserved place of a decision. Dropped unspent, it writes that the request was abandoned.
#[must_use]
pub struct Slot {
    /// Until it is spent.
    ring: Option<Arc<Ring>>,
    id: RequestId,
    trace: Option<Box<Trace>>,
}

/// The outcome that a decision owes: written when this is dropped, with what was noted until then.
#[must_use]
pub struct Outcome {
    ring: Arc<Ring>,
    id: RequestId,
    decided: Decided,
    event: OutcomeEvent,
    trace: Option<Box<Trace>>,
}

struct Handle {
    ring: Arc<Ring>,
    /// Closed when the writer has ended.
    writer: Mutex<mpsc::Receiver<()>>,
    last: Duration,
}

struct Ring {
    /// How its lines begin.
    opening: String,
    clock: Clock,
    taken: AtomicUsize,
    /// Whether the batch is as large as it may be.
    full: AtomicBool,
    batch: Mutex<Batch>,
    filled: Condvar,
}

#[derive(Default)]
struct Batch {
    lines: Vec<u8>,
    /// Places that its decisions hold.
    places: usize,
    seq: u64,
    time: Time,
    closed: bool,
}

impl Audit {
    /// Opens the sink and starts the writer thread. `boot` names this run of the process in every line.
    pub fn start(sink: &Sink, boot: RequestId, clock: Clock) -> io::Result<Self> {
        let sink: Box<dyn Write + Send> = match sink {
            Sink::Stdout => Box::new(io::stdout()),
            Sink::File(path) => Box::new(open(path)?),
        };
        Self::with_sink(sink, boot, clock)
    }

    /// Starts the writer thread over any sink.
    pub fn with_sink(sink: Box<dyn Write + Send>, boot: RequestId, clock: Clock) -> io::Result<Self> {
        Self::lasting(sink, boot, clock, LAST)
    }

    fn lasting(sink: Box<dyn Write + Send>, boot: RequestId, clock: Clock, last: Duration) -> io::Result<Self> {
        let ring = Arc::new(Ring {
            opening: record::opening(boot),
            clock,
            taken: AtomicUsize::new(0),
            full: AtomicBool::new(false),
            batch: Mutex::default(),
            filled: Condvar::new(),
        });
        let of_writer = Arc::clone(&ring);
        let (running, writer) = mpsc::channel();
        thread::Builder::new().name("audit".into()).spawn(move || {
            of_writer.write_all(sink);
            drop::<mpsc::Sender<()>>(running);
        })?;
        Ok(Self { handle: Arc::new(Handle { ring, writer: Mutex::new(writer), last }), tracer: None })
    }

    /// The same, where requests leave traces too.
    #[must_use]
    pub fn tracing(self, tracer: Option<Tracer>) -> Self {
        Self { tracer, ..self }
    }

    /// Where traces begin, where requests leave any.
    pub fn tracer(&self) -> Option<&Tracer> {
        self.tracer.as_ref()
    }

    /// Reserves the place of one request, or none where the ring is full: the request is then refused with 503.
    pub fn reserve(&self, id: RequestId) -> Option<Slot> {
        let ring = &self.handle.ring;
        ring.take().then(|| Slot { ring: Some(Arc::clone(ring)), id, trace: None })
    }
}

impl Slot {
    /// The id of the request.
    pub fn id(&self) -> RequestId {
        self.id
    }

    /// Gives it the trace of the request, which ends with the outcome.
    pub fn begin_trace(&mut self, trace: Box<Trace>) {
        self.trace = Some(trace);
    }

    /// The trace of the request, where requests leave any.
    pub fn trace(&mut self) -> Option<&mut Trace> {
        self.trace.as_deref_mut()
    }

    /// Writes what was decided; gives the outcome that it owes.
    pub fn decided(mut self, event: Event<'_>) -> Outcome {
        let ring = self.ring.take().expect("a slot is spent once");
        let decided = ring.append(self.id, &event, 1);
        let mut trace = self.trace.take();
        if let Some(trace) = &mut trace {
            trace.decided(&event.traced(&self.id.to_string()), decided.mono_ns);
        }
        Outcome { ring, id: self.id, decided, event: OutcomeEvent::default(), trace }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(ring) = self.ring.take() {
            let decided = ring.append(self.id, &Event::abandoned(), 1);
            if let Some(trace) = self.trace.take() {
                trace.end(OutcomeEvent::default().traced(), decided.mono_ns);
            }
        }
    }
}

impl Outcome {
    /// The id of the request.
    pub fn id(&self) -> RequestId {
        self.id
    }

    /// Notes what is known so far.
    pub fn note(&mut self, update: impl FnOnce(&mut OutcomeEvent)) {
        update(&mut self.event);
        if let Some(trace) = &mut self.trace
            && self.event.upstream.is_some()
        {
            trace.answered(self.ring.clock.monotonic_ns());
        }
    }

    /// What was noted so far.
    pub fn event(&self) -> &OutcomeEvent {
        &self.event
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        if self.event.status == 0 && thread::panicking() {
            self.event.status = 500;
        }
        let ended = self.ring.append(self.id, &OutcomeOf { decided: self.decided, outcome: self.event }, 0);
        if let Some(trace) = self.trace.take() {
            trace.end(self.event.traced(), ended.mono_ns);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.ring.lock().closed = true;
        self.ring.filled.notify_one();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.recv_timeout(self.last) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::error!("the audit sink took nothing to the end; its last lines are lost");
        }
    }
}

impl Ring {
    fn lock(&self) -> MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> bool {
        if self.full.load(Ordering::Relaxed) {
            return false;
        }
        let granted = self.taken.fetch_add(1, Ordering::Relaxed) < PLACES;
        if !granted {
            self.free(1);
        }
        granted
    }

    fn free(&self, places: usize) {
        self.taken.fetch_sub(places, Ordering::Relaxed);
    }

    /// Encodes a line into the batch; the places that it holds stay taken until it is written.
    fn append(&self, id: RequestId, what: &impl Says, places: usize) -> Decided {
        let mono_ns = self.clock.monotonic_ns();
        let mut batch = self.lock();
        let Batch { lines, seq: next, time, .. } = &mut *batch;
        let seq = *next;
        *next += 1;
        let was_empty = lines.is_empty();
        let stamp = Stamp { opening: &self.opening, seq, ts: time.print(&self.clock, mono_ns), mono_ns };
        record::write(lines, &stamp, id, what);
        batch.places += places;
        if batch.lines.len() >= BATCH {
            self.full.store(true, Ordering::Relaxed);
        }
        drop(batch);
        if was_empty {
            self.filled.notify_one();
        }
        Decided { seq, mono_ns }
    }

    /// The writer thread: until closed and empty.
    fn write_all(&self, mut sink: Box<dyn Write + Send>) {
        let mut lines = Vec::new();
        while let Some(places) = self.next_batch(&mut lines) {
            write_out(&mut sink, &lines);
            self.free(places);
            lines.clear();
            lines.shrink_to(KEPT);
        }
    }

    /// Waits for lines and swaps them out, with the places they hold; none when closed and empty.
    fn next_batch(&self, lines: &mut Vec<u8>) -> Option<usize> {
        let batch = self.filled.wait_while(self.lock(), |batch| batch.lines.is_empty() && !batch.closed);
        let closed = batch.unwrap_or_else(PoisonError::into_inner).closed;
        if !closed {
            thread::sleep(GATHER);
        }
        let mut batch = self.lock();
        std::mem::swap(&mut batch.lines, lines);
        self.full.store(false, Ordering::Relaxed);
        let places = std::mem::take(&mut batch.places);
        (!lines.is_empty() || !closed).then_some(places)
    }
}

/// Writes a batch whole, trying again for as long as the sink refuses: places stay taken meanwhile.
fn write_out(sink: &mut Box<dyn Write + Send>, lines: &[u8]) {
    let mut rest = lines;
    let mut told = false;
    while !rest.is_empty() {
        match sink.write(rest) {
            Ok(0) => thread::sleep(RETRY),
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                if !told {
                    tracing::error!(%error, "the audit sink refuses; requests are refused once the ring is full");
                    told = true;
                }
                thread::sleep(RETRY);
            }
        }
    }
    if let Err(error) = sink.flush() {
        tracing::error!(%error, "the audit sink does not flush");
    }
}

fn open(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Kind;
    use crate::identity::{Identity, Issuer, Subject, Told};

    struct Lines(mpsc::Sender<Vec<u8>>);

    impl Write for Lines {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.send(text.to_vec()).map_err(io::Error::other)?;
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A disk with room for so many bytes, and after so many refusals for all.
    struct Full {
        room: usize,
        refusals: usize,
        lines: Lines,
    }

    impl Write for Full {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            if self.refusals == 0 {
                return self.lines.write(text);
            }
            if self.room == 0 {
                self.refusals -= 1;
                return Err(io::ErrorKind::StorageFull.into());
            }
            let fits = self.lines.write(&text[..text.len().min(self.room)])?;
            self.room -= fits;
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Accepts nothing until the test lets go of it.
    struct Stuck(mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn clock() -> Clock {
        Clock::manual("2026-01-02T03:04:05Z".parse().unwrap())
    }

    fn event(identity: &Told) -> Event<'_> {
        Event {
            kind: Kind::AuthorizationAllowed,
            reason: "rule_allows",
            rule: Some("shop/backoffice:staff"),
            subject: Some(identity),
            method: "GET",
            host: "shop.example.com",
            path: "/reports\u{1b}[2K\u{2028}",
            ingress: Some("shop/backoffice"),
            peer: Some("192.0.2.7".parse().unwrap()),
            generation: 7,
        }
    }

    fn identity() -> Told {
        Identity { issuer: Issuer("https://op.example.com".into()), subject: Subject("al\"ice".into()) }.told()
    }

    fn written(lines: &mpsc::Receiver<Vec<u8>>) -> Vec<serde_json::Value> {
        let text = lines.iter().flatten().collect::<Vec<_>>();
        String::from_utf8(text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_request_leaves_its_decision_and_its_outcome() {
        let (sender, lines) = mpsc::channel();
        let clock = clock();
        let audit = Audit::with_sink(Box::new(Lines(sender)), RequestId(1), clock.clone()).unwrap();
        let identity = identity();
        let mut outcome = audit.reserve(RequestId(0xabc)).unwrap().decided(event(&identity));
        clock.advance(jiff::SignedDuration::from_millis(3));
        outcome.note(|outcome| outcome.status = 200);
        drop(outcome);
        drop(audit);
        let lines = written(&lines);
        assert_eq!(
            lines[0],
            serde_json::json!({
                "v": 1, "boot": "00000000000000000000000000000001", "seq": 0, "ts": "2026-01-02T03:04:05.000000Z", "mono_ns": 1_767_323_045_000_000_000_u64,
                "id": "00000000000000000000000000000abc", "kind": "AuthorizationAllowed", "reason": "rule_allows",
                "rule": "shop/backoffice:staff", "subject": {"iss": "https://op.example.com", "sub": "al\"ice"}, "method": "GET",
                "host": "shop.example.com", "path": "/reports\u{1b}[2K\u{2028}", "ingress": "shop/backoffice", "peer": "192.0.2.7",
                "generation": 7
            })
        );
        assert_eq!(lines[1]["kind"], "Outcome");
        assert_eq!(
            (&lines[1]["of"], &lines[1]["status"], &lines[1]["duration_us"]),
            (&0.into(), &200.into(), &3000.into())
        );
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn a_slot_dropped_unspent_says_so_and_frees_its_place() {
        let (sender, lines) = mpsc::channel();
        let audit = Audit::with_sink(Box::new(Lines(sender)), RequestId(1), clock()).unwrap();
        drop(audit.reserve(RequestId(2)));
        let ring = Arc::clone(&audit.handle.ring);
        drop(audit);
        assert_eq!(written(&lines).iter().map(|line| line["kind"].clone()).collect::<Vec<_>>(), ["Abandoned"]);
        assert_eq!(ring.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_stuck_sink_closes_the_door_when_the_ring_is_full_and_opens_it_again() {
        let (release, gate) = mpsc::channel();
        let audit = Audit::with_sink(Box::new(Stuck(gate)), RequestId(1), clock()).unwrap();
        let identity = identity();
        let mut kept = Vec::new();
        while let Some(slot) = audit.reserve(RequestId(3)) {
            kept.push(slot.decided(event(&identity)));
        }
        assert_eq!(kept.len(), PLACES);
        kept.clear();
        assert!(audit.reserve(RequestId(4)).is_none());
        drop(release);
        let ring = Arc::clone(&audit.handle.ring);
        drop(audit);
        assert_eq!(ring.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_full_disk_costs_no_line_and_tears_none() {
        let (lines, written) = mpsc::channel();
        let disk = Full { room: 100, refusals: 3, lines: Lines(lines) };
        let audit = Audit::with_sink(Box::new(disk), RequestId(1), clock()).unwrap();
        let identity = identity();
        for id in 0..100 {
            drop(audit.reserve(RequestId(id)).unwrap().decided(event(&identity)));
        }
        let ring = Arc::clone(&audit.handle.ring);
        drop(audit);
        let text = written.iter().flatten().collect::<Vec<_>>();
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let sequence: Vec<_> =
            lines.map(|line| serde_json::from_slice::<serde_json::Value>(line).unwrap()["seq"].as_u64()).collect();
        assert_eq!(sequence, (0..200).map(Some).collect::<Vec<_>>());
        assert_eq!(ring.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn outcomes_that_are_owed_hold_no_place() {
        let audit = Audit::with_sink(Box::new(io::sink()), RequestId(1), clock()).unwrap();
        let identity = identity();
        let mut owed = Vec::new();
        while owed.len() <= PLACES {
            match audit.reserve(RequestId(6)) {
                Some(slot) => owed.push(slot.decided(event(&identity))),
                None => thread::yield_now(),
            }
        }
        let ring = Arc::clone(&audit.handle.ring);
        drop(owed);
        drop(audit);
        assert_eq!((ring.taken.load(Ordering::Relaxed), ring.lock().seq), (0, 2 * (PLACES as u64 + 1)));
    }

    #[test]
    fn a_batch_has_a_largest_size_and_gives_its_memory_back() {
        let (release, gate) = mpsc::channel();
        let audit = Audit::with_sink(Box::new(Stuck(gate)), RequestId(1), clock()).unwrap();
        let identity = identity();
        let ring = Arc::clone(&audit.handle.ring);
        let decide = || audit.reserve(RequestId(7)).map(|slot| drop(slot.decided(event(&identity))));
        decide();
        while !ring.lock().lines.is_empty() {
            thread::yield_now();
        }
        // One batch is with the writer now, the next one fills.
        ring.lock().lines = vec![b'x'; BATCH - 1];
        assert_eq!((decide(), decide()), (Some(()), None));
        drop(release);
        drop(audit);
        assert!(ring.take() && ring.lock().lines.capacity() <= KEPT);
    }

    #[test]
    fn a_panic_leaves_the_status_that_the_client_gets() {
        // Before any head was sent, and after one.
        for (sent, told) in [(0, 500), (200, 200)] {
            let (sender, lines) = mpsc::channel();
            let audit = Audit::with_sink(Box::new(Lines(sender)), RequestId(1), clock()).unwrap();
            let of_request = audit.clone();
            let request = thread::spawn(move || {
                let mut outcome = of_request.reserve(RequestId(8)).unwrap().decided(event(&identity()));
                outcome.note(|outcome| outcome.status = sent);
                panic!("a bug");
            });
            assert!(request.join().is_err());
            drop(audit);
            let outcome = &written(&lines)[1];
            assert_eq!((&outcome["status"], &outcome["complete"]), (&told.into(), &false.into()));
        }
    }

    #[test]
    fn a_sink_that_takes_nothing_does_not_keep_the_process() {
        let (_kept_shut, gate) = mpsc::channel();
        let stuck = Box::new(Stuck(gate));
        let audit = Audit::lasting(stuck, RequestId(1), clock(), Duration::from_millis(1)).unwrap();
        drop(audit.reserve(RequestId(2)));
        let ring = Arc::clone(&audit.handle.ring);
        drop(audit);
        assert_eq!(ring.taken.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn control_characters_never_break_a_line() {
        let (sender, lines) = mpsc::channel();
        let audit = Audit::with_sink(Box::new(Lines(sender)), RequestId(1), clock()).unwrap();
        let identity = identity();
        let hostile = Event { path: "/a\r\n{\"kind\":\"forged\"}\n\u{1b}]0;x\u{7}", ..event(&identity) };
        drop(audit.reserve(RequestId(5)).unwrap().decided(hostile));
        drop(audit);
        let text = lines.iter().flatten().collect::<Vec<u8>>();
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 2);
        assert!(text.iter().all(|byte| *byte >= 0x20 || *byte == b'\n'));
    }
}
