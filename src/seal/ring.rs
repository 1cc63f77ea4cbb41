//! The key ring: sealing keys, cookie MAC epochs, the lookup key. Its serialized form lives in one Secret.

use crate::secret::Secret;

use super::{DoesNotOpen, Purpose};

/// The keys of one installation. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KeyRing {}

/// Why a stored ring is refused; it is never replaced.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The text is no ring.
    #[error("the key ring is unreadable: {0}")]
    Unreadable(String),
}

impl KeyRing {
    /// A new ring with fresh keys and a fresh cluster id.
    pub fn generate() -> Self {
        todo!()
    }

    /// Parses the serialized form (JSON, versioned).
    pub fn parse(text: &[u8]) -> Result<Self, RingError> {
        let _ = text;
        todo!()
    }

    /// The serialized form.
    pub fn serialize(&self) -> Secret<Vec<u8>> {
        todo!()
    }

    /// Seals `plain` for a purpose and a place (store key or host).
    pub fn seal(&self, purpose: Purpose, place: &str, plain: &[u8]) -> Vec<u8> {
        let _ = (purpose, place, plain);
        todo!()
    }

    /// Opens what [`KeyRing::seal`] made for the same purpose and place.
    pub fn open(&self, purpose: Purpose, place: &str, blob: &[u8]) -> Result<Secret<Vec<u8>>, DoesNotOpen> {
        let _ = (purpose, place, blob);
        todo!()
    }

    /// The MAC of a session cookie for a host, under the newest epoch: the epoch and 16 bytes.
    pub fn cookie_mac(&self, host: &str, body: &[u8]) -> (u8, [u8; 16]) {
        let _ = (host, body);
        todo!()
    }

    /// Whether `mac` is the MAC of `body` for `host` under `epoch`, in constant time.
    pub fn verify_cookie_mac(&self, epoch: u8, host: &str, body: &[u8], mac: &[u8; 16]) -> bool {
        let _ = (epoch, host, body, mac);
        todo!()
    }

    /// The name under which a handle's record is stored: a keyed hash, lower-case base32.
    pub fn store_key(&self, handle: &[u8; 32]) -> String {
        let _ = handle;
        todo!()
    }
}
