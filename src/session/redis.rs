//! Sessions in Redis: one value a session under a keyed hash of its handle, sealed, gone by itself at its end;
//! compare-and-set by script; what others change is told by Redis (client-side caching, `BCAST`).
//!
//! Each master has one connection, for commands and for what is told, so that an answer is never newer than the word
//! that it is stale. A fail-over of Redis may lose its last writes: what was removed here is removed again there.

mod changes;
mod keeper;
mod link;
mod masters;
mod settings;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use redis::{Cmd, FromRedisValue, Value};
use tokio::sync::{broadcast, watch};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::store::{Answer, Held};
use super::{Changes, RecordKey, Store, StoreError, StoredRecord, Version};
use keeper::{Keeper, Reach};
use masters::Masters;

pub use settings::{BadRedisSettings, RedisSettings};

/// Of all our keys, for the rules of an ACL.
const PREFIX: &str = "pcs-";

/// For every answer, with all that it waits for.
const DEADLINE: Duration = Duration::from_secs(4);

/// How many events may wait for whoever follows them; who is slower looks at everything again.
const EVENTS: usize = 4096;

/// How many keys a master is asked for at once, where all are listed, and how many records.
const PAGE: usize = 1000;
const READS: usize = 64;

/// A version is the time in microseconds, and greater than the one before. False where the key is taken.
const CREATE: &str = "
local now = redis.call('TIME')
local version = string.format('%.0f', now[1] * 1000000 + now[2])
local record = version .. ' ' .. ARGV[2] .. ' ' .. ARGV[1]
return redis.call('SET', KEYS[1], record, 'NX', 'EXAT', ARGV[2]) and version";

/// False where the record is gone, or newer than the version that is to be replaced. An older one is what a fail-over
/// that lost the last write has brought back. One `SET`, since Redis would repeat two as a transaction when it starts,
/// for which it asks whether the default user may.
const REPLACE: &str = "
local version = tonumber(string.match(redis.call('GETRANGE', KEYS[1], 0, 20), '^%d+'))
if not version or version > tonumber(ARGV[3]) then return false end
local now = redis.call('TIME')
version = string.format('%.0f', math.max(now[1] * 1000000 + now[2], ARGV[3] + 1))
redis.call('SET', KEYS[1], version .. ' ' .. ARGV[2] .. ' ' .. ARGV[1], 'EXAT', ARGV[2])
return version";

/// The store. Dropping it ends its connections.
pub struct RedisStore {
    redis: Arc<Redis>,
    _keeper: DropGuard,
}

/// What the store, whoever follows its changes, and the keeper of its connections share.
struct Redis {
    reach: watch::Sender<Reach>,
    events: broadcast::Sender<Event>,
    removed: keeper::Removed,
}

/// What happens to what is stored.
#[derive(Clone, Debug)]
enum Event {
    /// There are new links; what is behind them may have changed before.
    Opened(Vec<settings::Address>),
    /// These records were written, removed, or have expired.
    Touched(Vec<RecordKey>),
    /// All are gone.
    Emptied,
    /// Nothing has been missed up to now.
    Alive,
    /// From now on something may be.
    Lost(String),
}

impl RedisStore {
    /// Sessions in the Redis of `settings`, which may change. Its connections live on the runtime this is called on.
    pub fn new(settings: watch::Receiver<RedisSettings>) -> Self {
        let redis = Arc::new(Redis {
            reach: watch::Sender::new(Reach::Opening),
            events: broadcast::Sender::new(EVENTS),
            removed: keeper::Removed::default(),
        });
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(Keeper::new(settings, Arc::clone(&redis)).run()));
        Self { redis, _keeper: stop.drop_guard() }
    }
}

impl Redis {
    async fn read(&self, key: RecordKey) -> Result<Option<StoredRecord>, StoreError> {
        match self.ask::<Option<Vec<u8>>>(key, redis::cmd("GET").arg(name(key)).take()).await {
            Ok(found) => Ok(found.map(|found| stored(&found).unwrap_or_else(foreign))),
            Err(StoreError::Conflict) => Ok(Some(foreign())),
            Err(error) => Err(error),
        }
    }

    async fn write(&self, key: RecordKey, script: Cmd) -> Result<Version, StoreError> {
        self.ask::<Option<u64>>(key, script).await?.map(Version).ok_or(StoreError::Conflict)
    }

    async fn remove(&self, key: RecordKey) -> Result<(), StoreError> {
        self.removed.remember(key);
        self.ask(key, removal(key)).await
    }

    async fn list(&self) -> Result<Vec<(RecordKey, StoredRecord)>, StoreError> {
        let masters = masters(&mut self.reach.subscribe()).await?;
        if let Some(missing) = &masters.missing {
            return Err(missing.clone());
        }
        let mut keys = BTreeSet::new();
        for link in masters.links() {
            let mut cursor = "0".to_owned();
            loop {
                let page = redis::cmd("SCAN")
                    .arg(&cursor)
                    .arg("MATCH")
                    .arg(format!("{PREFIX}*"))
                    .arg("COUNT")
                    .arg(PAGE)
                    .take();
                let (next, names): (String, Vec<Value>) = link.ask(&page).await?;
                keys.extend(names.iter().filter_map(key_of));
                if next == "0" {
                    break;
                }
                cursor = next;
            }
        }
        let records = stream::iter(keys).map(async |key| Ok(self.read(key).await?.map(|record| (key, record))));
        records.buffered(READS).try_filter_map(async |found| Ok(found)).try_collect().await
    }

    /// Asks the master of a key; once more where another is the master now, or where its link has just broken and nothing
    /// was asked.
    async fn ask<T: FromRedisValue>(&self, key: RecordKey, command: Cmd) -> Result<T, StoreError> {
        let answer = timeout(DEADLINE, async {
            let mut reach = self.reach.subscribe();
            let masters = masters(&mut reach).await?;
            match masters.owner(key) {
                Ok(link) => match link.ask(&command).await {
                    Err(error) if error.code() == Some("ASK") => {
                        return Ok(masters.ahead(&error)?.ask_ahead(command).await?);
                    }
                    Err(error) if error.code() == Some("MOVED") => masters.moved.notify_one(),
                    answer => return Ok(answer?),
                },
                Err(error) if masters.missing.is_some() => return Err(error),
                Err(_) => {}
            }
            // Fails where the keeper has ended.
            let _ = reach.changed().await;
            Ok(self::masters(&mut reach).await?.owner(key)?.ask(&command).await?)
        });
        answer.await.unwrap_or_else(|_| Err(StoreError::Unreachable("Redis did not answer in time".to_owned())))
    }
}

/// The masters, once it is known whether they can be reached.
async fn masters(reach: &mut watch::Receiver<Reach>) -> Result<Arc<Masters>, StoreError> {
    let reach = reach.wait_for(|reach| !matches!(reach, Reach::Opening)).await;
    match reach.as_deref() {
        Ok(Reach::Open(masters)) => Ok(Arc::clone(masters)),
        Ok(Reach::Down(error)) => Err(error.clone()),
        Ok(Reach::Opening) | Err(_) => Err(StoreError::Unreachable("the process is ending".to_owned())),
    }
}

impl Store for RedisStore {
    fn read(&self, key: RecordKey) -> Answer<'_, Option<StoredRecord>> {
        Box::pin(self.redis.read(key))
    }

    fn create(&self, key: RecordKey, sealed: Vec<u8>, expires: Timestamp) -> Answer<'_, Version> {
        let script = script(CREATE, key).arg(sealed).arg(ends(expires)).take();
        Box::pin(self.redis.write(key, script))
    }

    fn replace(&self, key: RecordKey, version: Version, sealed: Vec<u8>, expires: Timestamp) -> Answer<'_, Version> {
        let script = script(REPLACE, key).arg(sealed).arg(ends(expires)).arg(version.0).take();
        Box::pin(self.redis.write(key, script))
    }

    fn remove(&self, key: RecordKey) -> Answer<'_, ()> {
        Box::pin(self.redis.remove(key))
    }

    /// Redis itself collects what has expired.
    fn sweep(&self, _now: Timestamp) -> Answer<'_, usize> {
        Box::pin(async { Ok(0) })
    }

    fn list(&self) -> Answer<'_, Vec<(RecordKey, StoredRecord)>> {
        Box::pin(self.redis.list())
    }

    fn changes(&self, held: Held) -> Option<Changes> {
        Some(changes::changes(Arc::clone(&self.redis), held))
    }
}

/// A record as it rests: its version, when it is gone, what is sealed.
fn stored(bytes: &[u8]) -> Option<StoredRecord> {
    let mut parts = bytes.splitn(3, |byte| *byte == b' ');
    let mut number = || std::str::from_utf8(parts.next()?).ok()?.parse().ok();
    let (version, ends) = (Version(number()?), number()?);
    let expires = Timestamp::from_second(ends.try_into().ok()?).ok()?;
    Some(StoredRecord { sealed: parts.next()?.to_vec(), version, expires })
}

/// What somebody else put in the place of a record: newer than any, and it does not open.
fn foreign() -> StoredRecord {
    StoredRecord { sealed: Vec::new(), version: Version(u64::MAX), expires: Timestamp::MAX }
}

/// The script itself each time: it is short, and no server has to know it beforehand.
fn script(text: &str, key: RecordKey) -> Cmd {
    redis::cmd("EVAL").arg(text).arg(1).arg(name(key)).take()
}

fn removal(key: RecordKey) -> Cmd {
    redis::cmd("DEL").arg(name(key)).take()
}

fn name(key: RecordKey) -> String {
    format!("{PREFIX}{key}")
}

/// The record that a key of Redis is of.
fn key_of(name: &Value) -> Option<RecordKey> {
    let name: String = redis::from_redis_value_ref(name).ok()?;
    RecordKey::parse(name.strip_prefix(PREFIX)?)
}

/// The first whole second at which a session is over.
fn ends(expires: Timestamp) -> i64 {
    expires.as_second() + i64::from(expires.subsec_nanosecond() > 0)
}

#[cfg(test)]
mod tests;
