//! Sessions in Kubernetes Secrets: one sealed Secret a session, resourceVersion as compare-and-set, one watch that feeds
//! the cache.
//!
//! Beside the sealed blob a Secret tells nothing but when it may be collected: its name is a keyed hash, its one label
//! the hour of its end.

mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams, Preconditions};
use kube::{Api, Client};

use super::store::{Answer, Held};
use super::{Changes, RecordKey, Store, StoreError, StoredRecord, Version};

const TYPE: &str = "portcullis.dev/session";
const NAME_PREFIX: &str = "pcs-";
const DATA_KEY: &str = "record";
/// Hours since 1970 after which the Secret may be collected; every session has it.
const LABEL: &str = "portcullis.dev/session-ends";
const HOUR: i64 = 3600;
/// For every answer of the API server.
const DEADLINE: Duration = Duration::from_secs(5);
/// How many Secrets one sweep deletes at most.
const BATCH: usize = 200;
/// How often a removal is tried against somebody who keeps writing.
const REMOVALS: usize = 5;

/// The store.
#[derive(Clone)]
pub struct SecretStore {
    api: Api<Secret>,
    limit: usize,
    /// How many there are, as far as the watch knows.
    count: Arc<AtomicUsize>,
}

impl SecretStore {
    /// Sessions in a namespace, which should hold nothing else. Of more than `limit` the control plane would suffer, so
    /// whoever follows the changes begins no more.
    pub fn new(client: Client, namespace: &str, limit: usize) -> Self {
        Self { api: Api::namespaced(client, namespace), limit, count: Arc::default() }
    }

    fn has_room(&self) -> Result<(), StoreError> {
        let count = self.count.load(Ordering::Relaxed);
        if count < self.limit {
            return Ok(());
        }
        Err(StoreError::Full(format!(
            "{count} sessions rest in Secrets, where {} may; use `--session-store redis`, or raise `--max-session-secrets`",
            self.limit
        )))
    }

    async fn find(&self, key: RecordKey) -> Result<Option<StoredRecord>, StoreError> {
        let found = in_time(self.api.get_opt(&name(key))).await?;
        found.map(|secret| stored(&secret)).transpose()
    }

    async fn write(&self, key: RecordKey, secret: &Secret, replaces: bool) -> Result<Version, StoreError> {
        let params = PostParams::default();
        let name = name(key);
        let written = if replaces {
            in_time(self.api.replace(&name, &params, secret)).await
        } else {
            in_time(self.api.create(&params, secret)).await
        };
        version(&written?.metadata)
    }

    async fn delete_newest(&self, key: RecordKey) -> Result<(), StoreError> {
        let name = name(key);
        for _ in 0..REMOVALS {
            let Some(found) = in_time(self.api.get_metadata_opt(&name)).await? else { return Ok(()) };
            match self.delete(&found.metadata).await {
                Err(StoreError::Conflict) => {}
                answer => return answer.map(|_| ()),
            }
        }
        Err(StoreError::Conflict)
    }

    /// Deletes exactly this object; false where it is gone already.
    async fn delete(&self, of: &ObjectMeta) -> Result<bool, StoreError> {
        let preconditions = Preconditions { uid: of.uid.clone(), resource_version: of.resource_version.clone() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let name = of.name.as_deref().unwrap_or_default();
        match tokio::time::timeout(DEADLINE, self.api.delete(name, &params)).await {
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() => Ok(false),
            Ok(answer) => answer.map(|_| true).map_err(refused),
            Err(_) => Err(too_late()),
        }
    }

    async fn delete_expired(&self, now: Timestamp) -> Result<usize, StoreError> {
        // Any version will do, so the API server answers from its memory.
        let all = ListParams::default().labels(LABEL).match_any();
        let found = in_time(self.api.list_metadata(&all)).await?;
        let expired = found.items.iter().filter(|secret| ends(&secret.metadata).is_some_and(|end| end < now));
        let mut count = 0;
        for secret in expired.take(BATCH) {
            match self.delete(&secret.metadata).await {
                Ok(deleted) => count += usize::from(deleted),
                // Somebody refreshed it meanwhile; the next sweep looks again.
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }
}

impl Store for SecretStore {
    fn read(&self, key: RecordKey) -> Answer<'_, Option<StoredRecord>> {
        Box::pin(self.find(key))
    }

    fn create(&self, key: RecordKey, sealed: Vec<u8>, expires: Timestamp) -> Answer<'_, Version> {
        Box::pin(async move {
            self.has_room()?;
            self.write(key, &object(key, None, sealed, expires), false).await
        })
    }

    fn replace(&self, key: RecordKey, version: Version, sealed: Vec<u8>, expires: Timestamp) -> Answer<'_, Version> {
        Box::pin(async move { self.write(key, &object(key, Some(version), sealed, expires), true).await })
    }

    fn remove(&self, key: RecordKey) -> Answer<'_, ()> {
        Box::pin(self.delete_newest(key))
    }

    fn sweep(&self, now: Timestamp) -> Answer<'_, usize> {
        Box::pin(self.delete_expired(now))
    }

    fn list(&self) -> Answer<'_, Vec<(RecordKey, StoredRecord)>> {
        Box::pin(async { Ok(watch::list_all(&self.api).await?.0) })
    }

    fn changes(&self, _held: Held) -> Option<Changes> {
        Some(watch::changes(self.api.clone(), Arc::clone(&self.count)))
    }
}

/// The Secret of a record, never immutable: a refresh replaces it.
fn object(key: RecordKey, version: Option<Version>, sealed: Vec<u8>, expires: Timestamp) -> Secret {
    let hour = (expires.as_second() + HOUR - 1).div_euclid(HOUR);
    Secret {
        metadata: ObjectMeta {
            name: Some(name(key)),
            resource_version: version.map(|version| version.0.to_string()),
            labels: Some(BTreeMap::from([(LABEL.to_owned(), hour.to_string())])),
            ..ObjectMeta::default()
        },
        type_: Some(TYPE.to_owned()),
        data: Some(BTreeMap::from([(DATA_KEY.to_owned(), ByteString(sealed))])),
        ..Secret::default()
    }
}

fn name(key: RecordKey) -> String {
    format!("{NAME_PREFIX}{key}")
}

/// The key of a Secret that is named as a session.
fn key(of: &ObjectMeta) -> Option<RecordKey> {
    RecordKey::parse(of.name.as_deref()?.strip_prefix(NAME_PREFIX)?)
}

/// The record of a Secret; one without a record is an empty blob, which does not open.
fn stored(secret: &Secret) -> Result<StoredRecord, StoreError> {
    let sealed = secret.data.as_ref().and_then(|data| data.get(DATA_KEY)).map(|bytes| bytes.0.clone());
    Ok(StoredRecord {
        sealed: sealed.unwrap_or_default(),
        version: version(&secret.metadata)?,
        expires: ends(&secret.metadata).unwrap_or(Timestamp::MAX),
    })
}

fn version(of: &ObjectMeta) -> Result<Version, StoreError> {
    parse_version(of.resource_version.as_deref())
}

/// Resource versions of one resource are decimal numbers that grow.
fn parse_version(text: Option<&str>) -> Result<Version, StoreError> {
    let number = text.and_then(|text| text.parse().ok());
    number.map(Version).ok_or_else(|| StoreError::Refused("a resourceVersion is not a number".to_owned()))
}

/// When a Secret may be collected; without a readable label, never.
fn ends(of: &ObjectMeta) -> Option<Timestamp> {
    let hour: i64 = of.labels.as_ref()?.get(LABEL)?.parse().ok()?;
    Timestamp::from_second(hour.checked_mul(HOUR)?).ok()
}

async fn in_time<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, StoreError> {
    tokio::time::timeout(DEADLINE, call).await.map_or_else(|_| Err(too_late()), |answer| answer.map_err(refused))
}

fn too_late() -> StoreError {
    StoreError::Unreachable("the API server did not answer in time".to_owned())
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` takes")]
fn refused(error: kube::Error) -> StoreError {
    match &error {
        // A replaced object that is gone has changed as much as an object can.
        kube::Error::Api(status) if matches!(status.code, 404 | 409) => StoreError::Conflict,
        kube::Error::Api(status) if status.code == 403 && status.message.contains("exceeded quota") => {
            StoreError::Full(status.message.clone())
        }
        kube::Error::Api(status) if status.code < 500 && status.code != 429 => {
            StoreError::Refused(status.message.clone())
        }
        _ => StoreError::Unreachable(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
