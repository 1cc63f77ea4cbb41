//! Rotation: a new key of each kind is pending until every replica has read it, then it seals, and the one before it
//! opens what is old until it is retired. The lookup key never rotates.

use jiff::Timestamp;

use super::KeyRing;
use super::ring::{Key, KeyList, KeyState, Keys, fresh_key};

/// What is known of a key beside the key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyInfo {
    /// `sealing` or `mac`.
    pub kind: &'static str,
    /// Its number, which records and cookies name.
    pub epoch: u8,
    /// Where it stands in its life.
    pub state: KeyState,
    /// Since when, where that is known.
    pub since: Option<Timestamp>,
}

/// Why a ring does not rotate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RotationError {
    /// The one before is not over.
    #[error("keys are pending already: the leading replica begins to use them once every replica has read them")]
    Pending,
    /// All 255 numbers are taken.
    #[error("the ring is full: retire keys first")]
    Full,
}

impl KeyRing {
    /// What is known of each key.
    pub fn keys(&self) -> Vec<KeyInfo> {
        let of = |kind, list: &KeyList| {
            let info = |key: &Key| KeyInfo { kind, epoch: key.id, state: key.state, since: key.since };
            list.iter().map(info).collect::<Vec<_>>()
        };
        [of("sealing", &self.inner().sealing), of("mac", &self.inner().mac)].concat()
    }

    /// Whether keys wait for their use.
    pub fn has_pending(&self) -> bool {
        self.keys().iter().any(|key| key.state == KeyState::Pending)
    }

    /// The ring with a pending key more of each kind.
    pub fn with_pending(&self, now: Timestamp) -> Result<Self, RotationError> {
        if self.has_pending() {
            return Err(RotationError::Pending);
        }
        let Keys { sealing, mac, .. } = self.inner();
        if [sealing, mac].into_iter().any(|list| free_id(list).is_none()) {
            return Err(RotationError::Full);
        }
        Ok(self.changed(|list| {
            let id = free_id(list).expect("both lists were looked at");
            let key = Key { id, state: KeyState::Pending, since: Some(now), key: fresh_key() };
            list.iter().cloned().chain([key]).collect()
        }))
    }

    /// The ring with its pending keys in use, and those before them for opening alone; itself where none is pending.
    pub fn promoted(&self, now: Timestamp) -> Self {
        self.changed(|list| {
            let pending = list.iter().any(|key| key.state == KeyState::Pending);
            let next = |state| match state {
                KeyState::Pending => KeyState::Active,
                KeyState::Active if pending => KeyState::DecryptOnly,
                state => state,
            };
            let promoted = |key: Key| match next(key.state) {
                state if state == key.state => key,
                state => Key { state, since: Some(now), ..key },
            };
            list.iter().cloned().map(promoted).collect()
        })
    }

    /// The ring without the keys that only open since `before` or longer: what they sealed is nobody's from then on.
    pub fn retired(&self, before: Timestamp) -> Self {
        let kept = |key: &&Key| key.state != KeyState::DecryptOnly || key.since.is_none_or(|since| since > before);
        self.changed(|list| list.iter().filter(kept).cloned().collect())
    }

    /// The ring with both lists changed, which leaves one active key in each.
    fn changed(&self, change: impl Fn(&KeyList) -> Vec<Key>) -> Self {
        let list = |list| {
            KeyList::new(change(list)).expect("a change takes no active key without putting another in its place")
        };
        let Keys { cluster, sealing, mac, lookup } = self.inner();
        Self::of(Keys { cluster: cluster.clone(), sealing: list(sealing), mac: list(mac), lookup: lookup.clone() })
    }
}

/// The number after the newest; the lowest that is free where there is none.
fn free_id(list: &KeyList) -> Option<u8> {
    let newest = list.iter().map(|key| key.id).max()?;
    let taken = |id: u8| list.iter().any(|key| key.id == id);
    newest.checked_add(1).into_iter().chain(1..=u8::MAX).find(|id| !taken(*id))
}

#[cfg(test)]
mod tests {
    use super::super::Purpose;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Epochs with their states, of the sealing keys; those of the MAC are the same.
    fn states(ring: &KeyRing) -> Vec<(u8, KeyState)> {
        let of = |kind| {
            let keys = ring.keys().into_iter().filter(|key| key.kind == kind);
            keys.map(|key| (key.epoch, key.state)).collect::<Vec<_>>()
        };
        assert_eq!(of("sealing"), of("mac"));
        of("sealing")
    }

    #[test]
    fn a_key_is_pending_then_active_then_opens_then_goes() {
        let first = KeyRing::generate();
        let pending = first.with_pending(at(100)).unwrap();
        assert_eq!(states(&pending), [(1, KeyState::Active), (2, KeyState::Pending)]);
        assert_eq!(pending.with_pending(at(101)).unwrap_err(), RotationError::Pending);
        let promoted = pending.promoted(at(200));
        assert_eq!(states(&promoted), [(1, KeyState::DecryptOnly), (2, KeyState::Active)]);
        assert_eq!(states(&promoted.retired(at(199))), states(&promoted), "it is needed still");
        assert_eq!(states(&promoted.retired(at(200))), [(2, KeyState::Active)]);
    }

    #[test]
    fn what_changes_nothing_leaves_the_ring_as_it_is() {
        let ring = KeyRing::generate();
        assert_eq!(ring.promoted(at(1)).serialize(), ring.serialize());
        assert_eq!(ring.retired(Timestamp::MAX).serialize(), ring.serialize());
    }

    #[test]
    fn through_all_of_a_rotation_every_replica_opens_what_any_other_seals() {
        let first = KeyRing::generate();
        let pending = first.with_pending(at(100)).unwrap();
        let promoted = pending.promoted(at(200));
        let opens = |sealer: &KeyRing, opener: &KeyRing| {
            let blob = sealer.seal(Purpose::Session, "place", b"plain");
            let mac = sealer.cookie_mac("host", b"body");
            opener.open(Purpose::Session, "place", &blob).is_ok()
                && opener.verify_cookie_mac(sealer.mac_epoch(), "host", b"body", &mac)
        };
        for (sealer, opener) in
            [(&first, &pending), (&pending, &first), (&pending, &promoted), (&promoted, &pending), (&first, &promoted)]
        {
            assert!(opens(sealer, opener), "{:?} by {:?}", states(sealer), states(opener));
        }
        assert!(!opens(&promoted, &first), "so nothing is sealed before all have read the new keys");
        assert!(!opens(&first, &promoted.retired(at(200))));
    }

    #[test]
    fn the_form_keeps_the_times() {
        let ring = KeyRing::generate().with_pending(at(100)).unwrap().promoted(at(200));
        let read = KeyRing::parse(ring.serialize().expose()).unwrap();
        assert_eq!(read.keys(), ring.keys());
        assert_eq!(read.keys()[0].since, Some(at(200)));
    }

    #[test]
    fn numbers_go_round_and_end() {
        let mut ring = KeyRing::generate();
        for _ in 0..300 {
            ring = ring.with_pending(at(1)).unwrap().promoted(at(1)).retired(at(1));
        }
        assert_eq!(states(&ring).len(), 1);
        for _ in 0..254 {
            ring = ring.with_pending(at(1)).unwrap().promoted(at(1));
        }
        assert_eq!(ring.with_pending(at(1)).unwrap_err(), RotationError::Full);
    }
}
