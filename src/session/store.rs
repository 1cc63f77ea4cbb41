//! What every session store promises; one contract runs against each.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use data_encoding::{BASE32_NOPAD, Encoding};
use futures_util::Stream;
use jiff::Timestamp;

/// What stands in a store for a session: a keyed hash of its handle.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey(pub [u8; 32]);

/// A version of a stored record, for compare-and-set; of two of one record, the greater is the newer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Version(pub u64);

/// A sealed record as it rests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredRecord {
    /// The sealed blob.
    pub sealed: Vec<u8>,
    /// Its version.
    pub version: Version,
    /// After which it may be collected; a store may round it up to the hour.
    pub expires: Timestamp,
}

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// It could not be reached or did not answer in time.
    #[error("the session store is unreachable: {0}")]
    Unreachable(String),
    /// It answered that it will not.
    #[error("the session store refused: {0}")]
    Refused(String),
    /// The record changed meanwhile.
    #[error("the record changed meanwhile")]
    Conflict,
    /// It is full; why, and what helps.
    #[error("the session store is full: {0}")]
    Full(String),
    /// There are no keys to seal a session with.
    #[error("the key ring cannot be read, so no session begins")]
    Keys,
}

/// What a store tells of what others did to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Everything there is, as of `version`: what is not among it is gone, unless it is newer.
    Reset {
        /// All records.
        records: Vec<(RecordKey, StoredRecord)>,
        /// When, in versions.
        version: Version,
    },
    /// A record is new or replaced.
    Put(RecordKey, StoredRecord),
    /// A record is gone.
    Removed(RecordKey),
    /// Nothing is missing up to now.
    Current,
    /// From now on changes may be missed, until the next [`Change::Current`].
    Lost(String),
}

/// A future of a store's answer.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Changes as they happen; the stream never ends by itself.
pub type Changes = Pin<Box<dyn Stream<Item = Change> + Send>>;

/// Which records somebody who follows changes has now.
pub type Held = Box<dyn Fn() -> Vec<RecordKey> + Send + Sync>;

/// A session store: sealed blobs by key, with compare-and-set. Every answer comes within five seconds or so.
pub trait Store: Send + Sync {
    /// The record under `key`.
    fn read(&self, key: RecordKey) -> Answer<'_, Option<StoredRecord>>;
    /// Stores a new record; `Conflict` where the key is taken.
    fn create(&self, key: RecordKey, sealed: Vec<u8>, expires: Timestamp) -> Answer<'_, Version>;
    /// Replaces a record whose version is `version`, else `Conflict`.
    fn replace(&self, key: RecordKey, version: Version, sealed: Vec<u8>, expires: Timestamp) -> Answer<'_, Version>;
    /// Removes a record; an absent one is no error.
    fn remove(&self, key: RecordKey) -> Answer<'_, ()>;
    /// Removes records that expired before `now`, a batch at most; gives how many.
    fn sweep(&self, now: Timestamp) -> Answer<'_, usize>;
    /// All records there are.
    fn list(&self) -> Answer<'_, Vec<(RecordKey, StoredRecord)>>;
    /// What others do to the store, for somebody who holds nothing of it yet; `None` where there are no others. A store that
    /// cannot tell what happened while it was out of sight tells how the records stand that are `held`.
    fn changes(&self, _held: Held) -> Option<Changes> {
        None
    }
}

impl RecordKey {
    /// Parses what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        base32().decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }
}

/// Lower-case base32 without padding, 52 characters.
impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base32().encode(&self.0))
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordKey({self})")
    }
}

/// The alphabet of RFC 4648 section 6 in lower case, as names of Kubernetes objects are.
fn base32() -> &'static Encoding {
    static LOWER: std::sync::LazyLock<Encoding> = std::sync::LazyLock::new(|| {
        let mut lower = BASE32_NOPAD.specification();
        lower.symbols.make_ascii_lowercase();
        lower.encoding().expect("the standard alphabet in lower case")
    });
    &LOWER
}
