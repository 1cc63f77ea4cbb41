//! Sessions in this process alone: for `dev`, and for a single replica that may forget them.

use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::{DashMap, Entry};
use jiff::Timestamp;

use super::store::Answer;
use super::{RecordKey, Store, StoreError, StoredRecord, Version};

/// How many sessions it holds.
const CAPACITY: usize = 50_000;

/// The store.
#[derive(Debug)]
pub struct MemoryStore {
    records: DashMap<RecordKey, StoredRecord>,
    capacity: usize,
    writes: AtomicU64,
}

impl MemoryStore {
    fn with_capacity(capacity: usize) -> Self {
        Self { records: DashMap::new(), capacity, writes: AtomicU64::new(0) }
    }

    fn next(&self) -> Version {
        Version(self.writes.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::with_capacity(CAPACITY)
    }
}

impl Store for MemoryStore {
    fn read(&self, key: RecordKey) -> Answer<'_, Option<StoredRecord>> {
        Box::pin(async move { Ok(self.records.get(&key).map(|record| record.clone())) })
    }

    fn create(&self, key: RecordKey, sealed: Vec<u8>, expires: Timestamp) -> Answer<'_, Version> {
        Box::pin(async move {
            if self.records.len() >= self.capacity {
                return Err(StoreError::Full(format!("{} sessions are as many as a process holds", self.capacity)));
            }
            let Entry::Vacant(free) = self.records.entry(key) else { return Err(StoreError::Conflict) };
            let version = self.next();
            free.insert(StoredRecord { sealed, version, expires });
            Ok(version)
        })
    }

    fn replace(&self, key: RecordKey, version: Version, sealed: Vec<u8>, expires: Timestamp) -> Answer<'_, Version> {
        Box::pin(async move {
            match self.records.get_mut(&key) {
                Some(mut record) if record.version == version => {
                    let version = self.next();
                    *record = StoredRecord { sealed, version, expires };
                    Ok(version)
                }
                _ => Err(StoreError::Conflict),
            }
        })
    }

    fn remove(&self, key: RecordKey) -> Answer<'_, ()> {
        Box::pin(async move {
            self.records.remove(&key);
            Ok(())
        })
    }

    fn sweep(&self, now: Timestamp) -> Answer<'_, usize> {
        Box::pin(async move {
            let before = self.records.len();
            self.records.retain(|_, record| record.expires >= now);
            Ok(before.saturating_sub(self.records.len()))
        })
    }

    fn list(&self) -> Answer<'_, Vec<(RecordKey, StoredRecord)>> {
        Box::pin(async { Ok(self.records.iter().map(|entry| (*entry.key(), entry.value().clone())).collect()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::contract;
    use crate::session::tests::start;

    #[tokio::test]
    async fn the_contract_holds() {
        contract::holds_for(&MemoryStore::default(), start()).await;
    }

    #[tokio::test]
    async fn a_full_store_takes_nothing_new() {
        let store = MemoryStore::with_capacity(1);
        store.create(RecordKey([1; 32]), Vec::new(), start()).await.unwrap();
        let refused = store.create(RecordKey([2; 32]), Vec::new(), start()).await;
        assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    }
}
