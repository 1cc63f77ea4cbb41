//! The key ring: sealing keys, cookie MAC epochs, the lookup key. Its serialized form lives in one Secret.

use std::sync::{Arc, Weak};

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use subtle::ConstantTimeEq;

use crate::secret::Secret;

use super::xaes::{MessageKey, NONCE};
use super::{DoesNotOpen, Purpose, form, random};

const VERSION: u8 = 1;
const COMMITMENT: usize = 16;
/// Version, kid, commitment, nonce.
const HEAD: usize = 2 + COMMITMENT + NONCE;

/// The keys of one installation. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KeyRing(Arc<Keys>);

/// Tells a ring from every other one, and keeps no key.
#[derive(Clone)]
pub struct RingMark(Weak<Keys>);

/// The keys as parsed: each list has exactly one active key, and no id twice.
#[derive(Debug)]
pub(super) struct Keys {
    /// Names the installation: a record of another one opens nowhere else, even under the same keys.
    pub(super) cluster: String,
    /// Keys that seal and open records, by kid.
    pub(super) sealing: KeyList,
    /// Keys of the cookies' MAC, by epoch.
    pub(super) mac: KeyList,
    /// Turns a handle into the name of its record; it is never rotated, or every session ends.
    pub(super) lookup: Secret<[u8; 32]>,
}

/// Keys of one kind: one is used for new things, the others still read old ones.
#[derive(Debug)]
pub(super) struct KeyList {
    active: usize,
    keys: Vec<Key>,
}

/// One key.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) id: u8,
    pub(super) state: KeyState,
    /// Since when, where that is known.
    pub(super) since: Option<Timestamp>,
    pub(super) key: Secret<[u8; 32]>,
}

/// Where a key stands in its life. Every state reads; a destroyed key is absent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// Handed to every replica before any of them seals with it.
    Pending,
    /// Seals what is new.
    Active,
    /// Reads what is old.
    DecryptOnly,
}

/// Why there is no ring; a stored one is never replaced.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The text is no ring. Nothing of the text is in the reason.
    #[error("the key ring is unreadable: {0}")]
    Unreadable(String),
    /// The Secret is there but holds no readable ring.
    #[error(
        "the Secret `{secret}` holds no key ring that this version reads ({reason}); it is left as it is: restore it from \
         a backup, or delete it to start with fresh keys, which signs everybody out"
    )]
    Broken {
        /// `namespace/name`.
        secret: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no Secret.
    #[error("there is no Secret `{secret}`; Portcullis makes it when it starts")]
    Missing {
        /// `namespace/name`.
        secret: String,
    },
    /// Somebody changed it since it was read.
    #[error("the key ring in the Secret `{secret}` was changed meanwhile; look at it and try again")]
    Changed {
        /// `namespace/name`.
        secret: String,
    },
    /// The API server did not give or take the Secret.
    #[error("the key ring in the Secret `{secret}` is out of reach: {reason}")]
    OutOfReach {
        /// `namespace/name`.
        secret: String,
        /// What the API server or the connection said.
        reason: String,
    },
}

impl KeyRing {
    /// A new ring with fresh keys and a fresh cluster id.
    pub fn generate() -> Self {
        let first = || Key { id: 1, state: KeyState::Active, since: None, key: fresh_key() };
        let fresh = || KeyList { active: 0, keys: vec![first()] };
        Self::of(Keys {
            cluster: HEXLOWER.encode(&random::<16>()),
            sealing: fresh(),
            mac: fresh(),
            lookup: fresh_key(),
        })
    }

    pub(super) fn of(keys: Keys) -> Self {
        Self(Arc::new(keys))
    }

    /// What tells it from other rings.
    pub fn mark(&self) -> RingMark {
        RingMark(Arc::downgrade(&self.0))
    }

    /// Whether the mark is of this ring.
    pub fn has(&self, mark: &RingMark) -> bool {
        std::ptr::eq(Arc::as_ptr(&self.0), mark.0.as_ptr())
    }

    pub(super) fn inner(&self) -> &Keys {
        &self.0
    }

    /// Parses the serialized form (JSON, versioned).
    pub fn parse(text: &[u8]) -> Result<Self, RingError> {
        form::parse(text).map(Self::of)
    }

    /// The serialized form.
    pub fn serialize(&self) -> Secret<Vec<u8>> {
        form::serialize(&self.0)
    }

    /// Seals `plain` for a purpose and a place (store key or host).
    pub fn seal(&self, purpose: Purpose, place: &str, plain: &[u8]) -> Vec<u8> {
        let active = self.0.sealing.active();
        let nonce = random::<NONCE>();
        let message = MessageKey::derive(active.key.expose(), &nonce);
        let mut blob = Vec::with_capacity(HEAD + plain.len() + super::xaes::TAG);
        blob.extend_from_slice(&[VERSION, active.id]);
        blob.extend_from_slice(&commitment(&message, active.id));
        blob.extend_from_slice(&nonce);
        message.seal(&self.aad(purpose, place, active.id), plain, &mut blob);
        blob
    }

    /// Opens what [`KeyRing::seal`] made for the same purpose and place.
    pub fn open(&self, purpose: Purpose, place: &str, blob: &[u8]) -> Result<Secret<Vec<u8>>, DoesNotOpen> {
        let (head, sealed) = blob.split_at_checked(HEAD).ok_or(DoesNotOpen)?;
        let (&[version, kid], rest) = head.split_first_chunk().ok_or(DoesNotOpen)?;
        let (committed, nonce) = rest.split_first_chunk::<COMMITMENT>().ok_or(DoesNotOpen)?;
        let nonce = nonce.try_into().map_err(|_| DoesNotOpen)?;
        if version != VERSION {
            return Err(DoesNotOpen);
        }
        let key = self.0.sealing.find(kid).ok_or(DoesNotOpen)?;
        let message = MessageKey::derive(key.key.expose(), nonce);
        if !bool::from(commitment(&message, kid).ct_eq(committed)) {
            return Err(DoesNotOpen);
        }
        let mut plain = message.open(&self.aad(purpose, place, kid), sealed)?;
        Ok(Secret::new(std::mem::take(&mut *plain)))
    }

    /// The newest MAC epoch, which the body of a cookie names.
    pub fn mac_epoch(&self) -> u8 {
        self.0.mac.active().id
    }

    /// The MAC of a session cookie for a host, under the newest epoch.
    pub fn cookie_mac(&self, host: &str, body: &[u8]) -> [u8; 16] {
        cookie_mac(&self.0.mac.active().key, host, body)
    }

    /// Whether `mac` is the MAC of `body` for `host` under `epoch`, in constant time.
    pub fn verify_cookie_mac(&self, epoch: u8, host: &str, body: &[u8], mac: &[u8; 16]) -> bool {
        self.0.mac.find(epoch).is_some_and(|key| cookie_mac(&key.key, host, body).ct_eq(mac).into())
    }

    /// What stands in a store for a handle: a keyed hash, so that neither leads to the other without the ring.
    pub fn store_key(&self, handle: &[u8; 32]) -> [u8; 32] {
        blake3::keyed_hash(self.0.lookup.expose(), handle).into()
    }

    fn aad(&self, purpose: Purpose, place: &str, kid: u8) -> Vec<u8> {
        let purpose = match purpose {
            Purpose::Session => "session",
            Purpose::Login => "login",
        };
        let mut aad = Vec::with_capacity(128);
        for part in [b"portcullis/seal/v1", purpose.as_bytes(), self.0.cluster.as_bytes(), place.as_bytes(), &[kid]] {
            aad.extend_from_slice(&(part.len() as u64).to_be_bytes());
            aad.extend_from_slice(part);
        }
        aad
    }
}

impl KeyList {
    /// Checks the list: exactly one active key, no id twice.
    pub(super) fn new(keys: Vec<Key>) -> Result<Self, &'static str> {
        let twice = keys.iter().enumerate().any(|(at, key)| keys[..at].iter().any(|other| other.id == key.id));
        let mut active = (0..keys.len()).filter(|at| keys[*at].state == KeyState::Active);
        match (active.next(), active.next()) {
            _ if twice => Err("has two keys of one id"),
            (Some(active), None) => Ok(Self { active, keys }),
            _ => Err("needs exactly one active key"),
        }
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
    }

    fn active(&self) -> &Key {
        &self.keys[self.active]
    }

    fn find(&self, id: u8) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }
}

pub(super) fn fresh_key() -> Secret<[u8; 32]> {
    Secret::new(random())
}

/// Binds the blob to one key, which GCM alone does not.
fn commitment(message: &MessageKey, kid: u8) -> [u8; COMMITMENT] {
    let mut hasher = blake3::Hasher::new_keyed(message.key());
    hasher.update(b"portcullis/seal/commitment/v1").update(&[kid]);
    truncated(&hasher)
}

fn cookie_mac(key: &Secret<[u8; 32]>, host: &str, body: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_keyed(key.expose());
    hasher.update(b"cookie/v1").update(host.as_bytes()).update(body);
    truncated(&hasher)
}

fn truncated(hasher: &blake3::Hasher) -> [u8; 16] {
    let hash = hasher.finalize();
    *hash.as_bytes().first_chunk().expect("a BLAKE3 hash has 32 bytes")
}
