//! The watch over session Secrets, with exact word of when nothing is missing: a list, then watches that go on from it,
//! each half a minute long, so that a connection that died in silence is noticed soon.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryFutureExt};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};

use super::{DEADLINE, LABEL, in_time, key, parse_version, refused, stored};
use crate::session::{Change, Changes, RecordKey, StoreError, StoredRecord, Version};

const SECONDS: u32 = 30;
/// Silence after which a watch is dead: the server ends one in half a minute.
const SILENCE: Duration = Duration::from_secs(35);
const PAGE: u32 = 500;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

type Events = BoxStream<'static, kube::Result<WatchEvent<Secret>>>;

struct Watch {
    api: Api<Secret>,
    count: Arc<AtomicUsize>,
    phase: Phase,
    told: VecDeque<Change>,
    pause: Duration,
}

enum Phase {
    /// Nothing is known: everything must be listed.
    List,
    /// Everything up to a version is known: a watch goes on from it.
    Open(Version),
    /// A watch is under way.
    Follow(Version, Events),
}

/// The changes of session Secrets, which are counted.
pub(super) fn changes(api: Api<Secret>, count: Arc<AtomicUsize>) -> Changes {
    let watch = Watch { api, count, phase: Phase::List, told: VecDeque::new(), pause: Duration::ZERO };
    Box::pin(stream::unfold(watch, |mut watch| async move {
        loop {
            if let Some(change) = watch.told.pop_front() {
                return Some((change, watch));
            }
            watch.phase = match std::mem::replace(&mut watch.phase, Phase::List) {
                Phase::List => watch.list().await,
                Phase::Open(version) => watch.open(version).await,
                Phase::Follow(version, events) => watch.follow(version, events).await,
            };
        }
    }))
}

impl Watch {
    async fn list(&mut self) -> Phase {
        tokio::time::sleep(self.pause).await;
        match list_all(&self.api).await {
            Ok((records, version)) => {
                self.count.store(records.len(), Ordering::Relaxed);
                self.told.push_back(Change::Reset { records, version });
                Phase::Open(version)
            }
            Err(error) => self.lost(error.to_string(), Phase::List),
        }
    }

    async fn open(&mut self, version: Version) -> Phase {
        tokio::time::sleep(self.pause).await;
        let params = WatchParams::default().labels(LABEL).timeout(SECONDS);
        let from = version.0.to_string();
        match tokio::time::timeout(DEADLINE, self.api.watch(&params, &from).map_ok(StreamExt::boxed)).await {
            Ok(Ok(events)) => {
                self.told.push_back(Change::Current);
                self.pause = FIRST_PAUSE;
                Phase::Follow(version, events)
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 410 => self.lost(status.message.clone(), Phase::List),
            Ok(Err(error)) => self.lost(refused(error).to_string(), Phase::Open(version)),
            Err(_) => self.lost("the API server opens no watch in time".to_owned(), Phase::Open(version)),
        }
    }

    async fn follow(&mut self, version: Version, mut events: Events) -> Phase {
        let event = tokio::time::timeout(SILENCE, events.next()).await;
        if let Ok(Some(Ok(event))) = &event {
            self.recount(event);
        }
        let (change, seen) = match event {
            Ok(Some(Ok(WatchEvent::Added(secret) | WatchEvent::Modified(secret)))) => {
                let put = key(&secret.metadata).zip(stored(&secret).ok()).map(|(key, record)| Change::Put(key, record));
                (put, secret.metadata.resource_version)
            }
            Ok(Some(Ok(WatchEvent::Deleted(secret)))) => {
                (key(&secret.metadata).map(Change::Removed), secret.metadata.resource_version)
            }
            Ok(Some(Ok(WatchEvent::Bookmark(mark)))) => (Some(Change::Current), Some(mark.metadata.resource_version)),
            Ok(Some(Ok(WatchEvent::Error(status)))) if status.code == 410 => {
                return self.lost(status.message.clone(), Phase::List);
            }
            Ok(Some(Ok(WatchEvent::Error(status)))) => return self.lost(status.message.clone(), Phase::Open(version)),
            Ok(Some(Err(error))) => return self.lost(refused(error).to_string(), Phase::Open(version)),
            // The server ended it as agreed.
            Ok(None) => return Phase::Open(version),
            Err(_) => return self.lost("the watch fell silent".to_owned(), Phase::Open(version)),
        };
        let Ok(seen) = parse_version(seen.as_deref()) else {
            return self.lost("an event has no resourceVersion".to_owned(), Phase::List);
        };
        self.told.extend(change);
        Phase::Follow(seen, events)
    }

    fn recount(&self, event: &WatchEvent<Secret>) {
        match event {
            WatchEvent::Added(secret) if key(&secret.metadata).is_some() => {
                self.count.fetch_add(1, Ordering::Relaxed);
            }
            WatchEvent::Deleted(secret) if key(&secret.metadata).is_some() => {
                self.count.fetch_sub(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    fn lost(&mut self, reason: String, next: Phase) -> Phase {
        self.told.push_back(Change::Lost(reason));
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        next
    }
}

/// Everything there is, and as of which version.
pub(super) async fn list_all(api: &Api<Secret>) -> Result<(Vec<(RecordKey, StoredRecord)>, Version), StoreError> {
    let mut records = Vec::new();
    let mut params = ListParams::default().labels(LABEL).limit(PAGE);
    loop {
        let page = in_time(api.list(&params)).await?;
        for secret in &page.items {
            if let Some(key) = key(&secret.metadata) {
                records.push((key, stored(secret)?));
            }
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok((records, parse_version(page.metadata.resource_version.as_deref())?)),
        }
    }
}
