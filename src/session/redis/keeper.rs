//! Keeps the links to the masters: opens them, asks each every second whether it is there, and opens them again, later
//! and later and never all replicas at once, while that fails.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{join_all, select_all, try_join_all};
use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep};

use super::link::Link;
use super::masters::Masters;
use super::settings::RedisSettings;
use super::{Event, Redis, removal};
use crate::seal;
use crate::session::{RecordKey, StoreError};

/// Between two signs of life of a link.
const BEAT: Duration = Duration::from_secs(1);
/// Before links are opened again: at most, at first and in the end.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How many removals are remembered, and for how long: longer than a fail-over takes.
const REMOVED: usize = 10_000;
const REMEMBERED: Duration = Duration::from_secs(600);

/// Whether Redis can be reached.
pub(super) enum Reach {
    /// That is being found out for the first time.
    Opening,
    Open(Arc<Masters>),
    Down(StoreError),
}

pub(super) struct Keeper {
    settings: watch::Receiver<RedisSettings>,
    redis: Arc<Redis>,
    /// The longest that the next rest may be.
    pause: Duration,
}

impl Keeper {
    pub fn new(settings: watch::Receiver<RedisSettings>, redis: Arc<Redis>) -> Self {
        Self { settings, redis, pause: FIRST_PAUSE }
    }

    /// For ever.
    pub async fn run(mut self) {
        let mut masters = Arc::new(Masters::default());
        loop {
            // Links of other settings may be to another Redis, or by somebody who may do so no more.
            if self.settings.has_changed().unwrap_or(false) {
                masters = Arc::default();
            }
            let settings = self.settings.borrow_and_update().clone();
            match self.open(&settings, &masters).await {
                Ok(found) => {
                    masters = found;
                    self.watch(&masters).await;
                }
                Err(error) => {
                    self.tell(Event::Lost(error.to_string()));
                    self.redis.reach.send_replace(Reach::Down(error));
                }
            }
            self.rest().await;
        }
    }

    async fn open(&self, settings: &RedisSettings, before: &Masters) -> Result<Arc<Masters>, StoreError> {
        let masters = Arc::new(Masters::find(settings, before, &self.redis.events).await?);
        let fresh: Vec<_> = masters.links().iter().filter(|link| before.link(&link.address).is_none()).collect();
        self.redis.removed.repeat(&masters, &fresh).await?;
        let fresh = fresh.into_iter().map(|link| link.address.clone()).collect();
        self.redis.reach.send_replace(Reach::Open(Arc::clone(&masters)));
        self.tell(Event::Opened(fresh));
        Ok(masters)
    }

    /// Until the masters must be found again.
    async fn watch(&mut self, masters: &Masters) {
        let broken = select_all(masters.links().iter().map(|link| Box::pin(link.broken.cancelled())));
        let mut settings = self.settings.clone();
        let reason = tokio::select! {
            ((), which, _) = broken => format!("{} is lost", masters.links()[which].address),
            reason = self.ask_regularly(masters) => reason,
            () = masters.moved.notified() => return,
            // Fails where nobody changes them any more.
            Ok(()) = settings.changed() => return,
        };
        self.tell(Event::Lost(reason));
    }

    /// Until one does not answer.
    async fn ask_regularly(&mut self, masters: &Masters) -> String {
        let ping = redis::cmd("PING");
        let mut beat = interval(BEAT);
        loop {
            beat.tick().await;
            let answers = join_all(masters.links().iter().map(|link| link.ask::<()>(&ping))).await;
            if let Some(error) = answers.into_iter().find_map(Result::err) {
                return error.to_string();
            }
            if let Some(error) = &masters.missing {
                return error.to_string();
            }
            self.pause = FIRST_PAUSE;
            self.tell(Event::Alive);
        }
    }

    async fn rest(&mut self) {
        let pause = part_of(self.pause, u32::from_be_bytes(seal::random()));
        self.pause = LONGEST_PAUSE.min(self.pause * 2);
        let mut settings = self.settings.clone();
        tokio::select! {
            () = sleep(pause) => {}
            Ok(()) = settings.changed() => {}
        }
    }

    /// An error says that nobody listens.
    fn tell(&self, event: Event) {
        let _ = self.redis.events.send(event);
    }
}

/// A random part of a pause, so that replicas that lost Redis together do not come back together.
fn part_of(pause: Duration, random: u32) -> Duration {
    pause.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// What was removed of late, eldest first.
#[derive(Default)]
pub(super) struct Removed(Mutex<VecDeque<(Instant, RecordKey)>>);

impl Removed {
    pub fn remember(&self, key: RecordKey) {
        let mut removed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while removed.len() >= REMOVED || removed.front().is_some_and(|(at, _)| at.elapsed() > REMEMBERED) {
            removed.pop_front();
        }
        removed.push_back((Instant::now(), key));
    }

    /// Removes it once more behind links that may lead to a server that took over without its last writes.
    async fn repeat(&self, masters: &Masters, fresh: &[&Arc<Link>]) -> Result<(), StoreError> {
        let keys: Vec<_> = self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(_, key)| *key).collect();
        let owned = keys.into_iter().filter_map(|key| masters.owner(key).ok().map(|owner| (owner, removal(key))));
        let behind = owned.filter(|(owner, _)| fresh.iter().any(|link| Arc::ptr_eq(link, owner)));
        try_join_all(behind.map(async |(owner, removal)| owner.ask::<()>(&removal).await)).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_come_back_spread_over_the_whole_pause() {
        let [first, half, last] = [0, u32::MAX / 2, u32::MAX].map(|random| part_of(LONGEST_PAUSE, random));
        assert_eq!((first, last), (Duration::ZERO, LONGEST_PAUSE));
        assert!(half.abs_diff(LONGEST_PAUSE / 2) < Duration::from_millis(1), "{half:?}");
    }

    #[test]
    fn no_more_removals_are_remembered_than_there_is_room_for() {
        let removed = Removed::default();
        for number in 0..REMOVED + 2 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            removed.remember(RecordKey(key));
        }
        let removed = removed.0.into_inner().unwrap();
        assert_eq!(removed.len(), REMOVED);
        assert_eq!(removed[0].1.0[..8], 2_usize.to_be_bytes());
    }
}
