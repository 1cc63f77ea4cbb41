//! The serialized form of a ring, version 1: JSON with base64 keys. Reasons for refusing one never quote it.

use data_encoding::BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::secret::Secret;

use super::RingError;
use super::ring::{Key, KeyList, KeyState, Keys};

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ring {
    version: u32,
    cluster: String,
    sealing: Vec<Entry>,
    mac: Vec<Entry>,
    lookup: Text,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: u8,
    state: KeyState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    key: Text,
}

/// A key in base64, zeroed on drop.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
struct Text(String);

/// Only the version, to tell a newer ring from no ring.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Parses the form.
pub(super) fn parse(text: &[u8]) -> Result<Keys, RingError> {
    let version = serde_json::from_slice::<Versioned>(text).map_err(unreadable)?.version;
    if version != VERSION {
        return Err(RingError::Unreadable(format!("version {version} is unknown, {VERSION} is read here")));
    }
    let ring: Ring = serde_json::from_slice(text).map_err(unreadable)?;
    if ring.cluster.is_empty() {
        return Err(RingError::Unreadable("`cluster` is empty".to_owned()));
    }
    Ok(Keys {
        sealing: list("sealing", &ring.sealing)?,
        mac: list("mac", &ring.mac)?,
        lookup: ring.lookup.key("lookup")?,
        cluster: ring.cluster,
    })
}

/// Writes the form.
pub(super) fn serialize(keys: &Keys) -> Secret<Vec<u8>> {
    let entries = |list: &KeyList| {
        let entry = |key: &Key| Entry { id: key.id, state: key.state, since: key.since, key: Text::of(&key.key) };
        list.iter().map(entry).collect()
    };
    let ring = Ring {
        version: VERSION,
        cluster: keys.cluster.clone(),
        sealing: entries(&keys.sealing),
        mac: entries(&keys.mac),
        lookup: Text::of(&keys.lookup),
    };
    Secret::new(serde_json::to_vec(&ring).expect("strings and numbers are JSON"))
}

fn list(field: &str, entries: &[Entry]) -> Result<KeyList, RingError> {
    let keys = entries
        .iter()
        .map(|entry| Ok(Key { id: entry.id, state: entry.state, since: entry.since, key: entry.key.key(field)? }))
        .collect::<Result<_, RingError>>()?;
    KeyList::new(keys).map_err(|reason| RingError::Unreadable(format!("`{field}` {reason}")))
}

impl Text {
    fn of(key: &Secret<[u8; 32]>) -> Self {
        Self(BASE64.encode(key.expose()))
    }

    fn key(&self, field: &str) -> Result<Secret<[u8; 32]>, RingError> {
        let bytes = BASE64.decode(self.0.as_bytes()).map(Zeroizing::new).ok();
        bytes
            .and_then(|bytes| bytes.as_slice().try_into().ok())
            .map(Secret::new)
            .ok_or_else(|| RingError::Unreadable(format!("a key of `{field}` is not 32 bytes in base64")))
    }
}

/// Where, not what: the message of the parser may quote a key.
#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` takes")]
fn unreadable(error: serde_json::Error) -> RingError {
    let (line, column) = (error.line(), error.column());
    RingError::Unreadable(format!("it is not the JSON of a key ring (line {line}, column {column})"))
}
