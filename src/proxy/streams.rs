//! HTTP/2 streams whose client takes nothing: a window may stay closed while the connection is busy with others, so each
//! stream is watched by itself and reset alone. One that takes too slowly uses up its time (`budget::owed`).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use hyper::rt::Executor;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

use crate::budget::owed;

/// The streams of one connection, and the executor that hyper runs them on. Cheap to clone.
#[derive(Clone)]
pub(super) struct Streams(Rc<Live>);

struct Live {
    /// Bytes a second that a client must take.
    rate: usize,
    /// The stream that hyper is about to run: it asks the service first, then the executor, in one turn.
    announced: Cell<Option<Rc<Progress>>>,
    running: RefCell<Vec<(AbortHandle, Rc<Progress>)>>,
}

/// How a stream's client takes what is there.
pub(super) struct Progress {
    rate: usize,
    /// Since when it owes the taking of what was offered last.
    since: Cell<Option<Instant>>,
    offered: Cell<usize>,
    /// By how much it is behind the rate.
    debt: Cell<Duration>,
}

impl Streams {
    /// None yet; each client must take so many bytes a second.
    pub(super) fn new(rate: usize) -> Self {
        Self(Rc::new(Live { rate, announced: Cell::default(), running: RefCell::default() }))
    }

    /// A new stream, before it runs.
    pub(super) fn announce(&self) -> Rc<Progress> {
        let progress = Rc::new(Progress {
            rate: self.0.rate,
            since: Cell::default(),
            offered: Cell::default(),
            debt: Cell::default(),
        });
        self.0.announced.set(Some(Rc::clone(&progress)));
        progress
    }

    /// Resets the streams whose client took nothing for the limit, less what it owes.
    pub(super) fn reset_stalled(&self, limit: Duration) {
        let now = Instant::now();
        self.0.running.borrow_mut().retain(|(stream, progress)| {
            let limit = limit.saturating_sub(progress.debt.get());
            if progress.since.get().is_some_and(|since| since + limit <= now) {
                stream.abort();
            }
            !stream.is_finished()
        });
    }
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let handle = spawn_local(stream).abort_handle();
        let Some(progress) = self.0.announced.take() else { return };
        let mut running = self.0.running.borrow_mut();
        if running.len() == running.capacity() {
            running.retain(|(stream, _)| !stream.is_finished());
        }
        running.push((handle, progress));
    }
}

impl Progress {
    /// So many bytes are there for the client, which took what was there before.
    pub(super) fn offers(&self, bytes: usize) {
        let now = Instant::now();
        self.took(now);
        self.since.set(Some(now));
        self.offered.set(bytes);
    }

    /// Everything was taken; more is waited for.
    pub(super) fn waits(&self) {
        if self.since.get().is_some() {
            self.took(Instant::now());
        }
    }

    fn took(&self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.debt.set(owed(self.debt.get(), now - since, self.offered.get(), self.rate));
        }
    }
}
