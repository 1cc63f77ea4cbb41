//! How old what is served may be. The control plane says when it loses sight of something and when it sees it again; the
//! data plane asks, with each request, whether that has lasted too long.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Clock;

/// The limit, and what is out of sight. Cheap to clone; asking costs nothing where there is no limit.
#[derive(Clone, Debug, Default)]
pub struct Freshness(Option<Arc<Sights>>);

/// One thing that has to be in sight. Without a limit it is nobody's concern.
#[derive(Clone, Debug, Default)]
pub struct Sight(Option<(Arc<Sights>, usize)>);

#[derive(Debug)]
struct Sights {
    limit: Duration,
    clock: Clock,
    /// Since when each is out of sight, by the monotonic clock.
    lost: Mutex<Vec<Option<u64>>>,
    /// The first of them.
    first: AtomicU64,
}

/// Nothing is out of sight.
const NEVER: u64 = u64::MAX;

impl Freshness {
    /// What is served may be as old as it is.
    pub fn unlimited() -> Self {
        Self::default()
    }

    /// Nothing may be out of sight for longer than `limit`.
    pub fn limited(limit: Duration, clock: Clock) -> Self {
        Self(Some(Arc::new(Sights { limit, clock, lost: Mutex::default(), first: NEVER.into() })))
    }

    /// The limit, where there is one.
    pub fn limit(&self) -> Option<Duration> {
        self.0.as_ref().map(|sights| sights.limit)
    }

    /// One more thing that has to be in sight, as it is now.
    pub fn sight(&self) -> Sight {
        Sight(self.0.as_ref().map(|sights| {
            let mut lost = sights.lost.lock().unwrap_or_else(PoisonError::into_inner);
            lost.push(None);
            (Arc::clone(sights), lost.len() - 1)
        }))
    }

    /// Whether something has been out of sight for too long.
    pub fn is_stale(&self) -> bool {
        let Some(sights) = &self.0 else { return false };
        let first = sights.first.load(Ordering::Relaxed);
        first != NEVER && Duration::from_nanos(sights.clock.monotonic_ns().saturating_sub(first)) > sights.limit
    }
}

impl Sight {
    /// It is in sight.
    pub fn seen(&self) {
        self.set(|_, _| None);
    }

    /// It is out of sight, from now on where it was not before.
    pub fn lost(&self) {
        self.set(|since, now| Some(since.unwrap_or(now)));
    }

    /// It is out of sight since this instant of the monotonic clock, at which it was seen last.
    pub fn lost_since(&self, seen: u64) {
        self.set(|_, _| Some(seen));
    }

    fn set(&self, change: impl FnOnce(Option<u64>, u64) -> Option<u64>) {
        let Some((sights, index)) = &self.0 else { return };
        let mut lost = sights.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost[*index] = change(lost[*index], sights.clock.monotonic_ns());
        sights.first.store(lost.iter().flatten().min().copied().unwrap_or(NEVER), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;

    fn a_minute() -> (Freshness, Clock) {
        let clock = Clock::manual(Timestamp::from_second(1_700_000_000).unwrap());
        (Freshness::limited(Duration::from_secs(60), clock.clone()), clock)
    }

    fn pass(clock: &Clock, seconds: i64) {
        clock.advance(SignedDuration::from_secs(seconds));
    }

    #[test]
    fn what_is_out_of_sight_for_too_long_is_stale_until_it_is_seen_again() {
        let (freshness, clock) = a_minute();
        let [one, other] = [freshness.sight(), freshness.sight()];
        pass(&clock, 600);
        assert!(!freshness.is_stale(), "nothing was lost");
        one.lost();
        pass(&clock, 40);
        one.lost();
        other.lost();
        pass(&clock, 20);
        assert!(!freshness.is_stale(), "a minute, and no longer");
        pass(&clock, 1);
        assert!(freshness.is_stale(), "the first loss counts");
        one.seen();
        assert!(!freshness.is_stale());
        pass(&clock, 40);
        assert!(freshness.is_stale(), "the other is still lost");
        other.seen();
        assert!(!freshness.is_stale());
    }

    #[test]
    fn what_fell_silent_is_as_old_as_its_last_word() {
        let (freshness, clock) = a_minute();
        let sight = freshness.sight();
        let seen = clock.monotonic_ns();
        pass(&clock, 61);
        assert!(!freshness.is_stale());
        sight.lost_since(seen);
        assert!(freshness.is_stale());
    }

    #[test]
    fn without_a_limit_nothing_is_ever_stale() {
        let freshness = Freshness::unlimited();
        freshness.sight().lost_since(0);
        assert!(!freshness.is_stale() && freshness.limit().is_none());
    }
}
