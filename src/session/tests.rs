//! What the tests of this room share: a host, a person, a clock, and a store that can be told to fail.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::host::Host;
use crate::identity::{Email, Groups, Identity, Principal};
use crate::secret::Secret;

use super::store::Answer;
use super::*;

pub(super) const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn host(name: &str) -> Host {
    Host::parse(name).unwrap()
}

pub(super) fn start() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

pub(super) fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

pub(super) fn principal() -> Principal {
    Principal {
        identity: Identity {
            issuer: "https://id.example.com".to_owned().into(),
            subject: "24400320".to_owned().into(),
        },
        email: Email::parse("jane@example.com"),
        name: Some("Jane Döe".into()),
        preferred_username: Some("jane".into()),
        groups: Groups::new(["staff", "Domain Users"]),
        claims: BTreeMap::from([("department".to_owned(), serde_json::json!("finance"))]),
    }
}

/// A sign-in at [`start`]: eight hours, one hour idle, an access token of ten minutes.
pub(super) fn sign_in() -> NewSession {
    NewSession {
        principal: principal(),
        provider: "corp".to_owned(),
        host: host("app.example.com"),
        lifetimes: Lifetimes { absolute: 8 * HOUR, idle: HOUR },
        sid: Some("sid-1".to_owned()),
        acr: Some("mfa".to_owned()),
        amr: vec!["pwd".to_owned(), "otp".to_owned()],
        auth_time: Some(start() - seconds(5)),
        nonce: Secret::new("the nonce".to_owned()),
        tokens: tokens("first", start() + seconds(600)),
    }
}

pub(super) fn tokens(refresh: &str, access_expires: Timestamp) -> Tokens {
    Tokens {
        refresh: Some(Secret::new(refresh.to_owned())),
        access_expires: Some(access_expires),
        id_token: Some(Secret::new("the id token".to_owned())),
    }
}

/// A memory store that counts its calls, can be out of reach, and can say that it has others' changes to tell.
#[derive(Default)]
pub(super) struct Faulty {
    pub(super) inner: MemoryStore,
    /// Nothing is answered but errors.
    pub(super) down: AtomicBool,
    /// Reads are answered, writes are not.
    pub(super) read_only: AtomicBool,
    pub(super) reads: AtomicUsize,
    /// Whether there are changes to follow; the test applies them itself.
    pub(super) watched: bool,
    /// Reads wait for a permit where there is a gate.
    pub(super) gate: Option<tokio::sync::Semaphore>,
}

impl Faulty {
    pub(super) fn watched() -> Self {
        Self { watched: true, ..Self::default() }
    }

    fn refusal<T: Send + 'static>(&self, write: bool) -> Option<Answer<'_, T>> {
        let refuses = self.down.load(Ordering::Relaxed) || write && self.read_only.load(Ordering::Relaxed);
        refuses.then(|| Box::pin(async { Err(StoreError::Unreachable("down".to_owned())) }) as Answer<'_, T>)
    }
}

impl Store for Faulty {
    fn read(&self, key: RecordKey) -> Answer<'_, Option<StoredRecord>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.refusal(false).unwrap_or_else(|| {
            Box::pin(async move {
                let answer = self.inner.read(key).await;
                if let Some(gate) = &self.gate {
                    gate.acquire().await.unwrap().forget();
                }
                answer
            })
        })
    }

    fn create(&self, key: RecordKey, sealed: Vec<u8>, expires: Timestamp) -> Answer<'_, Version> {
        self.refusal(true).unwrap_or_else(|| self.inner.create(key, sealed, expires))
    }

    fn replace(&self, key: RecordKey, version: Version, sealed: Vec<u8>, expires: Timestamp) -> Answer<'_, Version> {
        self.refusal(true).unwrap_or_else(|| self.inner.replace(key, version, sealed, expires))
    }

    fn remove(&self, key: RecordKey) -> Answer<'_, ()> {
        self.refusal(true).unwrap_or_else(|| self.inner.remove(key))
    }

    fn sweep(&self, now: Timestamp) -> Answer<'_, usize> {
        self.refusal(true).unwrap_or_else(|| self.inner.sweep(now))
    }

    fn list(&self) -> Answer<'_, Vec<(RecordKey, StoredRecord)>> {
        self.refusal(false).unwrap_or_else(|| self.inner.list())
    }

    fn changes(&self, _held: Held) -> Option<Changes> {
        self.watched.then(|| Box::pin(futures_util::stream::pending()) as Changes)
    }
}

/// A replica: sessions over a store, with a clock of their own.
pub(super) fn replica(ring: &crate::seal::KeyRing, store: &std::sync::Arc<Faulty>) -> (Sessions, Clock) {
    let clock = Clock::manual(start());
    let store: std::sync::Arc<dyn Store> = store.clone();
    let control = tokio::runtime::Handle::current();
    (Sessions::new(Some(ring.clone()), store, clock.clone(), control, Duration::from_secs(600)), clock)
}
