//! The ring and its writer thread: a slot is reserved before the decision, so that no request ends without its record.

use std::path::PathBuf;

use crate::clock::Clock;

use super::{DecisionEvent, OutcomeEvent};

/// Where events go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sink {
    /// Standard output.
    Stdout,
    /// A file, appended.
    File(PathBuf),
}

/// The handle. Cheap to clone.
#[derive(Clone)]
pub struct Audit {}

/// Two reserved places: for a decision and its outcome. Dropped unused, it writes that the request was abandoned.
#[must_use]
pub struct Slot {}

/// The reserved place of an outcome. Dropped unfinished, it writes what was known.
#[must_use]
pub struct Outcome {}

impl Audit {
    /// Opens the sink and starts the writer thread.
    pub fn start(sink: Sink, clock: Clock) -> std::io::Result<Self> {
        let _ = (sink, clock);
        todo!()
    }

    /// Reserves both places of one request, or none where the ring is full: the request is then refused with 503.
    pub fn reserve(&self) -> Option<Slot> {
        todo!()
    }
}

impl Slot {
    /// Writes the decision; gives the place of its outcome.
    pub fn decided(self, event: DecisionEvent) -> Outcome {
        let _ = event;
        todo!()
    }
}

impl Outcome {
    /// Notes what is known so far (status, bytes); written when dropped.
    pub fn note(&mut self, update: impl FnOnce(&mut OutcomeEvent)) {
        update(&mut OutcomeEvent::default());
        todo!()
    }
}
