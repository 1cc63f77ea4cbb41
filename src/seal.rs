//! Sealed records: XAES-256-GCM (C2SP) under a ring of keys, bound to purpose and place.
//!
//! Blob v1: `0x01 ‖ kid(1) ‖ commitment(16) ‖ nonce(24) ‖ ciphertext ‖ tag(16)`; AAD = length-prefixed
//! (domain, purpose, cluster id, store key or host, kid). The ring also keys the MAC of cookies and the names of records.

mod form;
mod ring;
mod rotation;
mod secret;
mod xaes;

pub use ring::{KeyRing, KeyState, RingError, RingMark};
pub use rotation::{KeyInfo, RotationError};
pub use secret::{StoredRing, load_or_create};

#[cfg(test)]
pub(crate) use secret::fake_api::{FakeApi, Refusal};

use rand::TryRng;
use rand::rngs::SysRng;

/// What a record is for; a record sealed for one purpose never opens for another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// A session in a store.
    Session,
    /// A login attempt in its cookie.
    Login,
}

/// The one error of opening: which part did not fit is nobody's business.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the record does not open")]
pub struct DoesNotOpen;

/// `N` bytes of the operating system's randomness: the one home of keys, nonces and handles.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).expect("an operating system without randomness runs nothing of ours");
    bytes
}

#[cfg(test)]
mod tests;
