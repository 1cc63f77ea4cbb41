//! The cache: open sessions by the key of their record, bounded, fed by what this process does and by what the store
//! tells of others. What has ended leaves a mark for a while, so that an answer still under way does not bring it back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use dashmap::{DashMap, Entry};
use foldhash::fast::RandomState;
use jiff::Timestamp;

use crate::identity::Identity;

use super::model::signed;
use super::{RecordKey, Session, Version};

/// How long a mark stays: longer than any store call is under way.
const MARK: Duration = Duration::from_secs(60);

/// The cache.
pub(super) struct Cache {
    slots: DashMap<RecordKey, Slot, RandomState>,
    capacity: usize,
    /// Whether what is not here is nowhere: the store told everything, and nothing had to make room since.
    complete: AtomicBool,
    /// Whether something had to make room since the store began to tell everything, which it may never do.
    spilled: AtomicBool,
    /// Until when, in seconds since 1970, what is here may be believed.
    believed: AtomicI64,
}

enum Slot {
    Live(Arc<Session>),
    /// It ended; of its records, only one newer than this version may still begin it again.
    Ended {
        at: Timestamp,
        with: Version,
    },
}

/// What the cache says of a key.
pub(super) enum Cached {
    Live(Arc<Session>),
    Gone,
    /// The store would have told of it, if not just now.
    Untold,
    Unknown,
}

impl Cache {
    /// An empty cache that may be believed for ever, as befits a store that this process alone writes.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            slots: DashMap::default(),
            capacity,
            complete: false.into(),
            spilled: true.into(),
            believed: i64::MAX.into(),
        }
    }

    /// What is known of a key at `now`.
    pub(super) fn find(&self, key: RecordKey, now: Timestamp) -> Cached {
        let believed = self.believed.load(Ordering::Acquire) >= now.as_second();
        match self.slots.get(&key).as_deref() {
            Some(Slot::Ended { .. }) => Cached::Gone,
            Some(Slot::Live(session)) if believed => Cached::Live(Arc::clone(session)),
            None if believed && self.complete.load(Ordering::Acquire) => Cached::Untold,
            _ => Cached::Unknown,
        }
    }

    /// The session under a key, believed or not.
    pub(super) fn peek(&self, key: RecordKey) -> Option<Arc<Session>> {
        match self.slots.get(&key).as_deref() {
            Some(Slot::Live(session)) => Some(Arc::clone(session)),
            _ => None,
        }
    }

    /// The keys of all sessions here.
    pub(super) fn held(&self) -> Vec<RecordKey> {
        self.slots.iter().filter(|slot| matches!(slot.value(), Slot::Live(_))).map(|slot| *slot.key()).collect()
    }

    /// The sessions here of a person beyond the newest so many, the oldest first.
    pub(super) fn beyond(&self, identity: &Identity, most: usize) -> Vec<RecordKey> {
        let mut theirs: Vec<_> = self
            .slots
            .iter()
            .filter_map(|slot| match slot.value() {
                Slot::Live(session) if session.of.principal.identity == *identity => {
                    Some((session.issued, session.key))
                }
                _ => None,
            })
            .collect();
        theirs.sort_unstable();
        theirs.truncate(theirs.len().saturating_sub(most));
        theirs.into_iter().map(|(_, key)| key).collect()
    }

    /// Puts a session in, unless it has ended or a newer value of it is there; gives the newest. All values of one
    /// session share its life.
    pub(super) fn put(&self, mut session: Session) -> Option<Arc<Session>> {
        if self.slots.len() >= self.capacity && !self.slots.contains_key(&session.key) {
            self.make_room();
        }
        let mut slot = match self.slots.entry(session.key) {
            Entry::Vacant(free) => {
                let session = Arc::new(session);
                free.insert(Slot::Live(Arc::clone(&session)));
                return Some(session);
            }
            Entry::Occupied(slot) => slot,
        };
        match slot.get() {
            Slot::Ended { with, .. } if *with >= session.version => return None,
            Slot::Ended { .. } => {}
            Slot::Live(there) if there.version > session.version => return Some(Arc::clone(there)),
            Slot::Live(there) => session.life = Arc::clone(&there.life),
        }
        let session = Arc::new(session);
        slot.insert(Slot::Live(Arc::clone(&session)));
        Some(session)
    }

    /// Ends a session here for good, and whatever lives by it.
    pub(super) fn end(&self, key: RecordKey, now: Timestamp) {
        self.end_with(key, Version(u64::MAX), now);
    }

    /// Ends a session whose record of this version does not open; a newer record may begin it again, or other keys.
    pub(super) fn refuse(&self, key: RecordKey, version: Version, now: Timestamp) {
        self.spill();
        self.end_with(key, version, now);
    }

    /// There are other keys: what did not open may open now.
    pub(super) fn reopen(&self) {
        self.slots.retain(|_, slot| !matches!(slot, Slot::Ended { with, .. } if *with != Version(u64::MAX)));
    }

    fn end_with(&self, key: RecordKey, with: Version, now: Timestamp) {
        if let Some(Slot::Live(session)) = self.slots.insert(key, Slot::Ended { at: now, with }) {
            session.life.ended.cancel();
        }
    }

    /// Before the store tells everything: what had to make room until now does not count.
    pub(super) fn begin_reset(&self) {
        self.spilled.store(false, Ordering::Release);
    }

    /// The store has told everything there was at `version`: ends what is older and not among `present`.
    pub(super) fn keep_only(&self, present: impl Fn(RecordKey) -> bool, version: Version, now: Timestamp) {
        for mut slot in self.slots.iter_mut() {
            let gone =
                matches!(slot.value(), Slot::Live(session) if session.version <= version && !present(session.key));
            if gone
                && let Slot::Live(session) = std::mem::replace(slot.value_mut(), Slot::Ended { at: now, with: version })
            {
                session.life.ended.cancel();
            }
        }
    }

    /// What is here may be believed until `until`, and what is not here is nowhere.
    pub(super) fn believe(&self, until: Timestamp) {
        self.believed.store(until.as_second(), Ordering::Release);
        self.complete.store(!self.spilled.load(Ordering::Acquire), Ordering::Release);
    }

    /// Nothing that is not here is known.
    pub(super) fn doubt(&self) {
        self.complete.store(false, Ordering::Release);
    }

    /// Drops what has expired, old marks, and everything once nothing here may be believed.
    pub(super) fn tidy(&self, now: Timestamp) {
        let believed = self.believed.load(Ordering::Acquire) >= now.as_second();
        self.slots.retain(|_, slot| match slot {
            Slot::Ended { at, .. } => now.duration_since(*at) <= signed(MARK),
            Slot::Live(session) if believed && session.expires > now => true,
            Slot::Live(session) => {
                session.life.ended.cancel();
                false
            }
        });
    }

    /// Something of the store is not here.
    fn spill(&self) {
        self.spilled.store(true, Ordering::Release);
        self.doubt();
    }

    /// Takes out one session by which nothing lives; where there is none, the cache grows with its users.
    fn make_room(&self) {
        self.spill();
        // Neither this value of the session is held, nor an older one that shares its life.
        let unused = |slot: &Slot| matches!(slot, Slot::Live(there) if Arc::strong_count(there) == 1 && Arc::strong_count(&there.life) == 1);
        let spare = self.slots.iter().find(|slot| unused(slot)).map(|slot| *slot.key());
        if let Some(spare) = spare {
            self.slots.remove_if(&spare, |_, slot| unused(slot));
        }
    }
}
