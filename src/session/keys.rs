//! The keys as this process has them: read, outlived by a ring that cannot be read, or never read.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::seal::KeyRing;

use super::StoreError;

/// The keys, which change while requests use them.
pub(super) struct Keys(ArcSwap<State>);

#[derive(Clone)]
enum State {
    /// As they rest.
    Read(KeyRing),
    /// What rests now cannot be read: these open what they sealed, and no session begins.
    Outlived(KeyRing),
    /// Nothing was ever read.
    Unread,
}

impl Keys {
    pub(super) fn new(ring: Option<KeyRing>) -> Self {
        Self(ArcSwap::from_pointee(ring.map_or(State::Unread, State::Read)))
    }

    /// The ring that opens, where there is one; once there is, there always is.
    pub(super) fn ring(&self) -> Option<KeyRing> {
        match &**self.0.load() {
            State::Read(ring) | State::Outlived(ring) => Some(ring.clone()),
            State::Unread => None,
        }
    }

    /// The ring by which sessions may begin.
    pub(super) fn for_sign_in(&self) -> Result<KeyRing, StoreError> {
        match &**self.0.load() {
            State::Read(ring) => Ok(ring.clone()),
            State::Outlived(_) | State::Unread => Err(StoreError::Keys),
        }
    }

    /// Goes on with this ring.
    pub(super) fn learn(&self, ring: KeyRing) {
        self.0.store(Arc::new(State::Read(ring)));
    }

    /// What rests cannot be read.
    pub(super) fn lose(&self) {
        self.0.store(Arc::new(self.ring().map_or(State::Unread, State::Outlived)));
    }
}
