//! What others change, told as a cache needs it: each record that is touched is read again, and behind a new link each
//! that is held. Nothing counts as current before that is done.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::future::try_join_all;
use futures_util::stream;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::keeper::Reach;
use super::{Event, Redis};
use crate::session::store::Held;
use crate::session::{Change, Changes, RecordKey, StoreError};

/// How many records are read at once.
const BATCH: usize = 64;

struct Follower {
    redis: Arc<Redis>,
    events: broadcast::Receiver<Event>,
    held: Held,
    /// What must be read.
    touched: Vec<RecordKey>,
    /// Whether reading that is enough; else everything must be.
    sure: bool,
    told: VecDeque<Change>,
}

/// The changes.
pub(super) fn changes(redis: Arc<Redis>, held: Held) -> Changes {
    let events = redis.events.subscribe();
    // Nothing is held yet, so nothing needs to be read.
    let follower = Follower { redis, events, held, touched: Vec::new(), sure: true, told: VecDeque::new() };
    Box::pin(stream::unfold(follower, |mut follower| async move {
        loop {
            if let Some(change) = follower.told.pop_front() {
                return Some((change, follower));
            }
            if follower.touched.is_empty() {
                follower.hear().await?;
            } else {
                follower.read().await;
            }
        }
    }))
}

impl Follower {
    /// Takes the next event; nothing once the store is gone.
    async fn hear(&mut self) -> Option<()> {
        match self.events.recv().await {
            Ok(Event::Touched(keys)) => self.touched = keys,
            Ok(Event::Opened(_)) if !self.sure => {}
            Ok(Event::Opened(fresh)) => self.touched = self.held_behind(&fresh),
            Ok(Event::Alive) if self.sure => self.told.push_back(Change::Current),
            Ok(Event::Alive | Event::Emptied) | Err(RecvError::Lagged(_)) => {
                self.sure = true;
                self.touched = (self.held)();
            }
            Ok(Event::Lost(reason)) => self.told.push_back(Change::Lost(reason)),
            Err(RecvError::Closed) => return None,
        }
        Some(())
    }

    /// Reads some of what was touched, and tells what became of it.
    async fn read(&mut self) {
        let batch = self.touched.split_off(self.touched.len().saturating_sub(BATCH));
        match try_join_all(batch.into_iter().map(|key| self.change(key))).await {
            Ok(changes) => self.told.extend(changes),
            Err(error) => {
                self.touched.clear();
                self.sure = false;
                self.told.push_back(Change::Lost(error.to_string()));
            }
        }
    }

    async fn change(&self, key: RecordKey) -> Result<Change, StoreError> {
        let record = self.redis.read(key).await?;
        Ok(record.map_or(Change::Removed(key), |record| Change::Put(key, record)))
    }

    fn held_behind(&self, fresh: &[super::settings::Address]) -> Vec<RecordKey> {
        let Reach::Open(masters) = &*self.redis.reach.borrow() else { return (self.held)() };
        let behind = |key: &RecordKey| masters.owner(*key).is_ok_and(|link| fresh.contains(&link.address));
        (self.held)().into_iter().filter(behind).collect()
    }
}
