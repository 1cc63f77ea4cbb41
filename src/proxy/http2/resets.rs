//! How many streams a client may leave before it has their answer: what it leaves costs it nothing, and us, and an upstream,
//! a request each (CVE-2023-44487). Whether it resets them or makes us do so (CVE-2025-8671) is one to us.
//!
//! A browser that goes elsewhere leaves all that it has at once, which are a hundred; it may ten times in a row without taking
//! one answer, and once in three seconds for ever. Who leaves no more than every second stream never comes near.

use std::time::Duration;

use tokio::time::Instant;

use super::stream::End;

/// What of it is left to one connection.
pub(super) struct Resets {
    most: u32,
    /// What a second earns back.
    rate: u32,
    /// How many it left beyond what it has earned.
    spent: u32,
    /// Until when seconds were counted.
    counted: Instant,
}

impl Resets {
    /// So many at once, and so many a second.
    pub(super) fn new(most: u32, rate: u32) -> Self {
        Self { most, rate, spent: 0, counted: Instant::now() }
    }

    /// Notes the end of a stream. An answer that was taken whole earns one back, as seconds do.
    pub(super) fn note(&mut self, end: End) {
        match end {
            End::Whole => self.spent = self.spent.saturating_sub(1),
            End::Left => self.left(),
            End::Broken => {}
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

    fn leave(resets: &mut Resets, count: u32) -> bool {
        (0..count).for_each(|_| resets.note(End::Left));
        resets.are_too_many()
    }

    #[test]
    fn whole_answers_and_seconds_earn_back_what_was_left() {
        let mut resets = Resets::new(10, 3);
        assert!(!leave(&mut resets, 10));
        (0..2).for_each(|_| resets.note(End::Whole));
        resets.note(End::Broken);
        assert!(!leave(&mut resets, 2));
        resets.counted = resets.counted.checked_sub(Duration::from_secs(2)).unwrap();
        assert!(!leave(&mut resets, 6));
        assert!(leave(&mut resets, 1));
    }

    #[test]
    fn nothing_is_saved_up() {
        let mut resets = Resets::new(10, 3);
        (0..100).for_each(|_| resets.note(End::Whole));
        resets.counted = resets.counted.checked_sub(Duration::from_secs(3600)).unwrap();
        assert!(!leave(&mut resets, 10));
        assert!(leave(&mut resets, 1));
    }
}
