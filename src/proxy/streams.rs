//! HTTP/2 streams whose client takes nothing: a window may stay closed while the connection is busy with others, so each
//! stream is watched by itself and reset alone.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use hyper::rt::Executor;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

/// The streams of one connection, and the executor that hyper runs them on. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Streams(Rc<Live>);

#[derive(Default)]
struct Live {
    /// The stream that hyper is about to run: it asks the service first, then the executor, in one turn.
    announced: Cell<Option<Rc<Progress>>>,
    running: RefCell<Vec<(AbortHandle, Rc<Progress>)>>,
}

/// Since when a stream's client owes it the taking of what is there.
#[derive(Default)]
pub(super) struct Progress(Cell<Option<Instant>>);

impl Streams {
    /// A new stream, before it runs.
    pub(super) fn announce(&self) -> Rc<Progress> {
        let progress = Rc::new(Progress::default());
        self.0.announced.set(Some(Rc::clone(&progress)));
        progress
    }

    /// Resets the streams whose client took nothing for the limit.
    pub(super) fn reset_stalled(&self, limit: Duration) {
        let now = Instant::now();
        self.0.running.borrow_mut().retain(|(stream, progress)| {
            if progress.0.get().is_some_and(|since| since + limit <= now) {
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
    /// Something is there for the client.
    pub(super) fn offers(&self) {
        self.0.set(Some(Instant::now()));
    }

    /// Everything was taken; more is waited for.
    pub(super) fn waits(&self) {
        self.0.set(None);
    }
}
