//! The contract of every [`Store`](super::Store), as one function that panics where a store breaks it: for the tests of
//! each store, also those against a real API server.
#![doc(hidden)]

use jiff::{SignedDuration, Timestamp};

use super::{RecordKey, Store, StoreError, StoredRecord};

/// Runs the contract against a store that holds nothing that expired before `now`; leaves it as it was.
pub async fn holds_for(store: &dyn Store, now: Timestamp) {
    let [one, other, absent] = [1, 2, 3].map(|first| {
        let mut key = crate::seal::random::<32>();
        key[0] = first;
        RecordKey(key)
    });
    let later = now + SignedDuration::from_hours(8);

    assert!(matches!(store.read(absent).await, Ok(None)), "what was never stored is absent");

    let first = store.create(one, b"first".to_vec(), later).await.expect("a free key is taken");
    let taken = store.create(one, b"again".to_vec(), later).await;
    assert!(matches!(taken, Err(StoreError::Conflict)), "a taken key is not created again: {taken:?}");
    let found = found(store, one).await.expect("what was created is there");
    assert_eq!((found.sealed, found.version), (b"first".to_vec(), first));
    assert!(found.expires >= later && found.expires < later + SignedDuration::from_hours(1), "{}", found.expires);

    let second = store.replace(one, first, b"second".to_vec(), later).await.expect("the version is the newest");
    assert!(second > first, "versions grow");
    let stale = store.replace(one, first, b"stale".to_vec(), later).await;
    assert!(matches!(stale, Err(StoreError::Conflict)), "an older version replaces nothing: {stale:?}");
    assert_eq!(self::found(store, one).await.map(|found| found.sealed), Some(b"second".to_vec()));

    let nothing = store.replace(absent, second, b"ghost".to_vec(), later).await;
    assert!(matches!(nothing, Err(StoreError::Conflict)), "what is gone is not replaced: {nothing:?}");
    assert!(matches!(store.read(absent).await, Ok(None)), "nor brought back");

    store.create(other, b"old".to_vec(), now - SignedDuration::from_hours(2)).await.expect("a free key is taken");
    let swept = store.sweep(now).await.expect("the store answers");
    assert!(swept <= 1, "one record has expired, {swept} are swept");
    assert_eq!(self::found(store, other).await, None);
    assert!(self::found(store, one).await.is_some(), "what has not expired stays");
    let listed = store.list().await.expect("the store answers");
    assert!(listed.iter().any(|(key, record)| *key == one && record.sealed == b"second"), "it is listed");
    assert!(listed.iter().all(|(key, _)| *key != other), "what is gone is not");

    // Two tokens of 60 KB, sealed and in base64.
    let large = vec![0x5a; 160 << 10];
    let third = store.replace(one, second, large.clone(), later).await.expect("the version is the newest");
    assert!(third > second, "versions grow");
    assert_eq!(self::found(store, one).await.map(|found| found.sealed), Some(large));

    store.remove(one).await.expect("it is there");
    store.remove(one).await.expect("removing twice is no error");
    assert_eq!(self::found(store, one).await, None);
    let gone = store.replace(one, third, b"ghost".to_vec(), later).await;
    assert!(matches!(gone, Err(StoreError::Conflict)), "a removed session does not come back: {gone:?}");
}

async fn found(store: &dyn Store, key: RecordKey) -> Option<StoredRecord> {
    store.read(key).await.expect("the store answers")
}
