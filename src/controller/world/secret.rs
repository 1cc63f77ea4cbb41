//! A Secret as the world holds it: what it holds is zeroed when a newer version takes its place.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret as SecretObject;

use crate::secret::Secret;

/// A Secret, its data apart.
#[derive(Clone)]
pub struct WatchedSecret {
    /// The rest of the object, without `data`.
    pub object: SecretObject,
    data: BTreeMap<String, Secret<Vec<u8>>>,
}

impl WatchedSecret {
    /// What it holds under a key.
    pub fn entry(&self, key: &str) -> Option<&[u8]> {
        self.data.get(key).map(|value| &**value.expose())
    }

    /// Whether both hold the same.
    pub(super) fn holds_the_same(&self, other: &Self) -> bool {
        self.data == other.data
    }
}

/// Moves the data, so that no copy stays behind.
impl From<SecretObject> for WatchedSecret {
    fn from(mut object: SecretObject) -> Self {
        let data = object.data.take().unwrap_or_default();
        Self { object, data: data.into_iter().map(|(key, value)| (key, Secret::new(value.0))).collect() }
    }
}
