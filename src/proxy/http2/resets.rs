//! How many streams a client may leave early, before it has their answer: what it leaves costs it nothing, and us, and an
//! upstream, a request each (CVE-2023-44487). Whether it resets them or makes us do so (CVE-2025-8671) is one to us.
//!
//! A browser that goes elsewhere leaves all that it has at once, which are a hundred; it may ten times in a row without taking
//! one answer, and once in three seconds for ever. Who leaves no more than every second stream never comes near, where the
//! others are answered by an upstream: an answer of ours costs its client too little. What is left late, as where a deadline
//! of the client's passes, is no flood.

use std::time::Duration;

use tokio::time::Instant;

use crate::budget::Limits;

use super::stream::End;

/// What of it is left to one connection.
pub(super) struct Resets {
    most: u32,
    /// What a second earns back.
    rate: u32,
    /// Until when a stream is left early.
    early: Duration,
    /// How many it left beyond what it has earned.
    spent: u32,
    /// Until when seconds were counted.
    counted: Instant,
}

impl Resets {
    /// As many as the limits have.
    pub(super) fn new(limits: &Limits) -> Self {
        let (most, rate, early) = (limits.h2_resets, limits.h2_reset_rate, limits.h2_early);
        Self { most, rate, early, spent: 0, counted: Instant::now() }
    }

    /// Notes the end of a stream of this age. An upstream's answer that was taken whole earns one back, as seconds do.
    pub(super) fn note(&mut self, end: End, age: Duration) {
        match end {
            End::Whole => self.spent = self.spent.saturating_sub(1),
            End::Left if age < self.early => self.left(),
            End::Left | End::Own | End::Broken => {}
        }
    }

    /// Whether it left more than it may.
    pub(super) fn are_too_many(&self) -> bool {
        self.spent > self.most
    }

    fn left(&mut self) {
        let seconds = self.counted.elapsed().as_secs();
        self.counted += Duration::from_secs(seconds);
        let earned = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(self.rate);
        self.spent = self.spent.saturating_sub(earned) + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLY: Duration = Duration::ZERO;
    const LATE: Duration = Duration::from_secs(1);

    fn resets() -> Resets {
        Resets::new(&Limits { h2_resets: 10, h2_reset_rate: 3, h2_early: LATE, ..Limits::default() })
    }

    fn leave(resets: &mut Resets, count: u32) -> bool {
        (0..count).for_each(|_| resets.note(End::Left, EARLY));
        resets.are_too_many()
    }

    #[test]
    fn whole_answers_and_seconds_earn_back_what_was_left() {
        let mut resets = resets();
        assert!(!leave(&mut resets, 10));
        (0..2).for_each(|_| resets.note(End::Whole, LATE));
        for (end, age) in [(End::Broken, EARLY), (End::Own, EARLY), (End::Left, LATE)] {
            resets.note(end, age);
        }
        assert!(!leave(&mut resets, 2));
        resets.counted = resets.counted.checked_sub(Duration::from_secs(2)).unwrap();
        assert!(!leave(&mut resets, 6));
        assert!(leave(&mut resets, 1));
    }

    #[test]
    fn nothing_is_saved_up() {
        let mut resets = resets();
        (0..100).for_each(|_| resets.note(End::Whole, LATE));
        resets.counted = resets.counted.checked_sub(Duration::from_secs(3600)).unwrap();
        assert!(!leave(&mut resets, 10));
        assert!(leave(&mut resets, 1));
    }
}
