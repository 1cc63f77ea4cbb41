//! Sealed records: XAES-256-GCM (C2SP) under a ring of keys, bound to purpose and place.
//!
//! Blob v1: `0x01 ‖ kid(1) ‖ commitment(16) ‖ nonce(24) ‖ ciphertext ‖ tag(16)`; AAD = length-prefixed
//! (purpose, cluster id, store key or host, kid).

mod ring;
mod secret;
mod xaes;

pub use ring::{KeyRing, RingError};
pub use secret::load_or_create;

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
