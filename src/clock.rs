//! The time, passed in: the system's, or in tests one that the test turns.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use jiff::Timestamp;

/// A source of time: of the wall, and monotonic. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` until [`Clock::advance`] turns it.
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start.as_microsecond()))))
    }

    /// The time now.
    #[expect(clippy::disallowed_methods, reason = "the one home of the system's clock")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => Timestamp::now(),
            Source::Manual(at) => Timestamp::from_microsecond(at.load(Ordering::Relaxed))
                .expect("set from a timestamp, moved by durations"),
        }
    }

    /// Nanoseconds of a clock that never steps back, for durations alone.
    #[expect(clippy::disallowed_methods, reason = "the one home of the system's clock")]
    pub fn monotonic_ns(&self) -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        match &self.0 {
            Source::System => u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX),
            Source::Manual(at) => u64::try_from(at.load(Ordering::Relaxed)).unwrap_or(0).saturating_mul(1_000),
        }
    }

    /// Turns a manual clock forward (or back); the system's stays.
    pub fn advance(&self, by: jiff::SignedDuration) {
        if let Source::Manual(at) = &self.0 {
            let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
            at.fetch_add(micros, Ordering::Relaxed);
        }
    }
}
