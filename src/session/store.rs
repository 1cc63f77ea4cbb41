//! What every session store promises; one contract test runs against each.

use std::future::Future;
use std::pin::Pin;

use jiff::Timestamp;

/// A version of a stored record, for compare-and-set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version(pub String);

/// A sealed record as it rests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredRecord {
    /// The sealed blob.
    pub sealed: Vec<u8>,
    /// Its version.
    pub version: Version,
    /// After which it may be collected.
    pub expires: Timestamp,
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It could not be reached or did not answer in time.
    #[error("the session store is unreachable: {0}")]
    Unreachable(String),
    /// The record changed meanwhile.
    #[error("the record changed meanwhile")]
    Conflict,
    /// It is full.
    #[error("the session store is full")]
    Full,
}

/// A future of a store's answer.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A session store: sealed blobs by key, with compare-and-set.
pub trait Store: Send + Sync {
    /// The record under `key`.
    fn read<'a>(&'a self, key: &'a str) -> Answer<'a, Option<StoredRecord>>;
    /// Stores a new record; `Conflict` where the key is taken.
    fn create<'a>(&'a self, key: &'a str, sealed: Vec<u8>, expires: Timestamp) -> Answer<'a, Version>;
    /// Replaces a record whose version is `version`, else `Conflict`.
    fn replace<'a>(
        &'a self,
        key: &'a str,
        version: &'a Version,
        sealed: Vec<u8>,
        expires: Timestamp,
    ) -> Answer<'a, Version>;
    /// Removes a record; an absent one is no error.
    fn remove<'a>(&'a self, key: &'a str) -> Answer<'a, ()>;
    /// Removes records that expired before `now`; gives how many.
    fn sweep(&self, now: Timestamp) -> Answer<'_, usize>;
}
