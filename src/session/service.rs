//! Sessions as the proxy uses them: the cache in front, the store behind, store calls on the control runtime.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use dashmap::DashSet;
use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::clock::Clock;
use crate::host::Host;
use crate::seal::{self, DoesNotOpen, KeyRing};

use super::cache::{Cache, Cached};
use super::flight::Flights;
use super::keys::Keys;
use super::model::signed;
use super::record::{self, Content};
use super::{
    Change, Changes, LastTicket, NewSession, RecordKey, Session, Store, StoreError, StoredRecord, Ticket, TicketState,
    session_cookie,
};

/// How many sessions are held open, beside those in use.
const CAPACITY: usize = 50_000;
/// Sessions of one person, as far as this replica knows of them: nobody fills the store alone.
pub const MAX_OF_A_PERSON: usize = 100;
/// How long the store may take to tell of a session that another process has begun: its browser may be faster here.
const NEWS: SignedDuration = SignedDuration::from_secs(10);
const TIDY_EVERY: Duration = Duration::from_secs(10);
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Between attempts to remove an ended session from a store out of reach: at first, doubled each time, and at most.
const REMOVE_AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// What a ticket led to without the store.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// A live session.
    Live(Arc<Session>),
    /// No such session: ended, expired or never was.
    Gone,
    /// The cache does not know; ask [`Sessions::load`].
    Unknown,
}

/// A session that has just begun.
#[derive(Clone, Debug)]
pub struct Begun {
    /// The session.
    pub session: Arc<Session>,
    /// What the browser gets, see [`Sessions::cookie`].
    pub ticket: Ticket,
}

/// The handle. Cheap to clone.
#[derive(Clone)]
pub struct Sessions(pub(super) Arc<Inner>);

pub(super) struct Inner {
    keys: Keys,
    pub(super) store: Arc<dyn Store>,
    pub(super) cache: Cache,
    pub(super) clock: Clock,
    pub(super) control: Handle,
    pub(super) refreshes: Flights<Option<Arc<Session>>>,
    loads: Flights<Result<Option<Arc<Session>>, StoreError>>,
    /// What has ended and is still in the store.
    removing: DashSet<RecordKey>,
    staleness: Duration,
    _tasks: DropGuard,
}

impl Sessions {
    /// Sessions in `store`, sealed with the keys of `ring`; without one none can be opened or begun. The store's calls, and
    /// what follows its changes, run on `control`; the last clone ends them. What the store said goes on to be believed for
    /// `staleness` after it was last heard.
    pub fn new(
        ring: Option<KeyRing>,
        store: Arc<dyn Store>,
        clock: Clock,
        control: Handle,
        staleness: Duration,
    ) -> Self {
        let stop = CancellationToken::new();
        let inner = Arc::new(Inner {
            keys: Keys::new(ring),
            store,
            cache: Cache::new(CAPACITY),
            clock,
            control,
            refreshes: Flights::new(),
            loads: Flights::new(),
            removing: DashSet::new(),
            staleness,
            _tasks: stop.clone().drop_guard(),
        });
        let weak = Arc::downgrade(&inner);
        inner.control.spawn(stop.clone().run_until_cancelled_owned(tidy(Weak::clone(&weak))));
        let holder = Weak::clone(&weak);
        let held = move || holder.upgrade().map_or_else(Vec::new, |inner| inner.cache.held());
        if let Some(changes) = inner.store.changes(Box::new(held)) {
            inner.cache.believe(Timestamp::MIN);
            inner.control.spawn(stop.run_until_cancelled_owned(follow(weak, changes)));
        }
        Self(inner)
    }

    /// How many live sessions are held open here.
    pub fn count(&self) -> usize {
        self.0.cache.held().len()
    }

    /// The keys by which sign-ins begin and end.
    pub fn keys(&self) -> Result<KeyRing, StoreError> {
        self.0.keys.for_sign_in()
    }

    /// Goes on with another form of the ring: seals with its active keys, and opens what did not open before.
    pub fn learn(&self, ring: KeyRing) {
        self.0.keys.learn(ring);
        self.0.cache.reopen();
    }

    /// The ring as it rests cannot be read: whoever is signed in goes on, and no session begins until it is learned again.
    pub fn lose_keys(&self) {
        self.0.keys.lose();
    }

    /// What the values of a request's `Cookie` fields say for a host.
    pub fn ticket<'a>(&self, host: &Host, lines: impl IntoIterator<Item = &'a [u8]>) -> TicketState {
        TicketState::find(self.0.keys.ring().as_ref(), host, lines)
    }

    /// The same for a connection, whose last ticket may be this one.
    pub fn ticket_again<'a>(
        &self,
        host: &Host,
        lines: impl IntoIterator<Item = &'a [u8]>,
        last: &LastTicket,
    ) -> TicketState {
        TicketState::find_again(self.0.keys.ring().as_ref(), host, lines, last)
    }

    /// Looks a ticket up in the cache: at most one keyed hash, no I/O, no allocation.
    pub fn lookup(&self, ticket: &Ticket) -> Lookup {
        let now = self.0.clock.now();
        match self.0.cache.find(self.0.key(ticket), now) {
            Cached::Live(session) if session.is_over(ticket, now) => Lookup::Gone,
            Cached::Live(session) => Lookup::Live(session),
            Cached::Untold if now.duration_since(ticket.last_seen()) <= NEWS => Lookup::Unknown,
            Cached::Untold | Cached::Gone => Lookup::Gone,
            Cached::Unknown => Lookup::Unknown,
        }
    }

    /// Reads and opens the record from the store; many who ask at once cost one call.
    pub async fn load(&self, ticket: &Ticket) -> Result<Option<Arc<Session>>, StoreError> {
        let key = self.0.key(ticket);
        let flight = self.0.loads.join(&self.0.control, key, || {
            let inner = Arc::clone(&self.0);
            async move { inner.fetch(key).await }
        });
        let loaded = flight.await.unwrap_or_else(|_| Err(no_runtime()))?;
        Ok(loaded.filter(|session| !session.is_over(ticket, self.0.clock.now())))
    }

    /// Stores a new session and opens it here; where its person has [`MAX_OF_A_PERSON`] already, the oldest ends.
    pub async fn begin(&self, new: NewSession) -> Result<Begun, StoreError> {
        let inner = Arc::clone(&self.0);
        let begun = self.0.control.spawn(async move { inner.begin(new).await });
        begun.await.unwrap_or_else(|_| Err(no_runtime()))
    }

    /// Ends a session here at once and in the store. An error says that the store still has it; it is removed there as
    /// soon as that can be done.
    pub async fn end(&self, ticket: &Ticket) -> Result<(), StoreError> {
        let inner = Arc::clone(&self.0);
        let key = self.0.key(ticket);
        let ended = self.0.control.spawn(async move { inner.end(key).await });
        ended.await.unwrap_or_else(|_| Err(no_runtime()))
    }

    /// The `Set-Cookie` value that gives a browser its ticket.
    pub fn cookie(&self, session: &Session, ticket: &Ticket) -> String {
        let left = session.expires.duration_since(self.0.clock.now());
        session_cookie(&self.0.ring(), &session.of.host, ticket, Duration::try_from(left).unwrap_or_default())
    }

    /// The `Set-Cookie` value that keeps a session from idling out, also at a route that lets sessions idle no longer than
    /// `route_idle`, where the ticket is old enough `now` to need it.
    pub fn renewal(&self, session: &Session, ticket: &Ticket, route_idle: Duration, now: Timestamp) -> Option<String> {
        session.renews(ticket, route_idle, now).then(|| self.cookie(session, &Ticket::new(*ticket.handle(), now)))
    }

    /// Waits until the session has ended: signed out, revoked, expired, or older than the `longest` that a route lets
    /// sessions be. What lives by it, a tunnel, ends then.
    pub async fn ended(&self, session: &Session, longest: Duration) {
        let end = session.issued.checked_add(signed(longest)).unwrap_or(Timestamp::MAX).min(session.expires);
        let left = Duration::try_from(end.duration_since(self.0.clock.now())).unwrap_or_default();
        let _ = tokio::time::timeout(left, session.life.ended.cancelled()).await;
    }
}

impl Inner {
    /// The keys of a session, or of a ticket, that they have opened.
    pub(super) fn ring(&self) -> KeyRing {
        self.keys.ring().expect("what is opened was opened by a ring, and one that was learned stays")
    }

    fn key(&self, ticket: &Ticket) -> RecordKey {
        ticket.record(&self.ring())
    }

    async fn begin(self: &Arc<Self>, new: NewSession) -> Result<Begun, StoreError> {
        let ring = self.keys.for_sign_in()?;
        let now = self.clock.now();
        let ticket = Ticket::new(seal::random(), now);
        let key = RecordKey(ring.store_key(ticket.handle()));
        let expires = now.checked_add(signed(new.lifetimes.absolute)).unwrap_or(Timestamp::MAX);
        let content = Content { of: new, issued: now, expires, claimed: None };
        let version = self.store.create(key, record::seal(&ring, key, &content), expires).await?;
        let session = self.cache.put(Session::open(key, version, content)).ok_or(StoreError::Conflict)?;
        for key in self.cache.beyond(&session.of.principal.identity, MAX_OF_A_PERSON) {
            tracing::info!(%key, "the oldest session of somebody with too many ends");
            // Where the store does not answer it is tried again.
            let _ = self.end(key).await;
        }
        Ok(Begun { session, ticket })
    }

    /// The session of a key as the store has it now.
    pub(super) async fn fetch(&self, key: RecordKey) -> Result<Option<Arc<Session>>, StoreError> {
        let Some(record) = self.store.read(key).await? else {
            self.cache.end(key, self.clock.now());
            return Ok(None);
        };
        Ok(self.take(key, &record))
    }

    /// Takes a record of the store into the cache. One that does not open is nobody's session.
    fn take(&self, key: RecordKey, record: &StoredRecord) -> Option<Arc<Session>> {
        if let Some(there) = self.cache.peek(key)
            && there.version >= record.version
        {
            return Some(there);
        }
        let now = self.clock.now();
        let opened = self.keys.ring().ok_or(DoesNotOpen).and_then(|ring| record::open(&ring, key, &record.sealed));
        match opened {
            Ok(content) if content.expires > now => self.cache.put(Session::open(key, record.version, content)),
            Ok(_) => {
                self.cache.end(key, now);
                None
            }
            Err(error) => {
                tracing::warn!(%key, %error, "a stored session is refused; whoever has it is asked to sign in");
                self.cache.refuse(key, record.version, now);
                None
            }
        }
    }

    fn apply(&self, change: Change) {
        let now = self.clock.now();
        match change {
            Change::Reset { records, version } => {
                self.cache.begin_reset();
                let present: HashSet<_> = records.iter().map(|(key, _)| *key).collect();
                for (key, record) in &records {
                    self.take(*key, record);
                }
                self.cache.keep_only(|key| present.contains(&key), version, now);
            }
            Change::Put(key, record) => drop(self.take(key, &record)),
            Change::Removed(key) => self.cache.end(key, now),
            Change::Current => self.cache.believe(now.checked_add(signed(self.staleness)).unwrap_or(Timestamp::MAX)),
            Change::Lost(reason) => {
                tracing::warn!(%reason, "the session store is out of sight");
                self.cache.doubt();
            }
        }
    }

    /// Ends a session here at once and in the store, and gives the store's first answer. Where that is an error, it is
    /// tried again until it is done, or the session's own end has come where that is known.
    pub(super) async fn end(self: &Arc<Self>, key: RecordKey) -> Result<(), StoreError> {
        let expires = self.cache.peek(key).map_or(Timestamp::MAX, |session| session.expires);
        self.cache.end(key, self.clock.now());
        let removed = self.store.remove(key).await;
        // One task for a session, however often it is signed out.
        if removed.is_err() && self.removing.insert(key) {
            let inner = Arc::clone(self);
            self.control.spawn(async move { inner.remove_again(key, expires).await });
        }
        removed
    }

    /// Tries again to remove a record, and keeps its session ended here meanwhile.
    async fn remove_again(&self, key: RecordKey, expires: Timestamp) {
        let (mut pause, longest) = REMOVE_AGAIN;
        while expires > self.clock.now() {
            tokio::time::sleep(pause).await;
            pause = longest.min(pause * 2);
            self.cache.end(key, self.clock.now());
            if self.store.remove(key).await.is_ok() {
                break;
            }
        }
        self.removing.remove(&key);
    }
}

/// Follows what others do to the store.
async fn follow(sessions: Weak<Inner>, mut changes: Changes) {
    while let Some(change) = changes.next().await {
        let Some(sessions) = sessions.upgrade() else { return };
        sessions.apply(change);
    }
}

async fn tidy(sessions: Weak<Inner>) {
    loop {
        tokio::time::sleep(TIDY_EVERY).await;
        let Some(sessions) = sessions.upgrade() else { return };
        sessions.cache.tidy(sessions.clock.now());
    }
}

/// Removes expired records from a store, for ever; in a cluster under the leader alone.
pub async fn sweep_regularly(store: Arc<dyn Store>, clock: Clock) {
    loop {
        match store.sweep(clock.now()).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "expired sessions are removed from the store"),
            Err(error) => tracing::warn!(%error, "expired sessions stay in the store for now"),
        }
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}

fn no_runtime() -> StoreError {
    StoreError::Unreachable("the process is ending".to_owned())
}

#[cfg(test)]
mod tests;
