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
mod tests;
