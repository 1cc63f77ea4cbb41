//! Single flight: of many who ask for the same at once, one does the work, on the control runtime, for all.

use std::sync::Arc;

use dashmap::{DashMap, Entry};
use futures_util::FutureExt;
use futures_util::future::Shared;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::RecordKey;

/// The work under way, by session.
pub(super) struct Flights<T: Clone>(Board<T>);

type Board<T> = Arc<DashMap<RecordKey, Flight<T>>>;
/// An error is an answer that never came: the work panicked, or the runtime is gone.
type Flight<T> = Shared<oneshot::Receiver<T>>;

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    pub(super) fn new() -> Self {
        Self(Arc::new(DashMap::new()))
    }

    /// Joins the flight of `key`, or starts it with `work`. It lands whether anyone waits or not.
    pub(super) fn join<F>(&self, control: &Handle, key: RecordKey, work: impl FnOnce() -> F) -> Flight<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let (answer, flight) = oneshot::channel();
        let flight = flight.shared();
        match self.0.entry(key) {
            Entry::Occupied(under_way) => return under_way.get().clone(),
            Entry::Vacant(free) => drop(free.insert(flight.clone())),
        }
        // The board is free again: a runtime that has ended drops the task, and with it the landing, within `spawn`.
        let landing = Landing { board: Arc::clone(&self.0), key };
        let work = work();
        control.spawn(async move {
            let result = work.await;
            drop(landing);
            // Nobody waits any more: the work is done all the same.
            let _ = answer.send(result);
        });
        flight
    }
}

/// Takes the flight off the board when its work is done, or dropped.
struct Landing<T: Clone> {
    board: Board<T>,
    key: RecordKey,
}

impl<T: Clone> Drop for Landing<T> {
    fn drop(&mut self) {
        self.board.remove(&self.key);
    }
}
