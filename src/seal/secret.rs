//! The key ring in a Kubernetes Secret: put where there is none, read where it exists, replaced by nothing but its own next
//! form, and only as it was read.
//!
//! An installation brings the Secret without data, so that it goes with the installation; an annotation of ours tells one
//! that is still to be filled from one that was emptied.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret as SecretObject;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};

use crate::secret::Secret;

use super::{KeyRing, RingError};

const TYPE: &str = "portcullis.dev/key-ring";
const DATA_KEY: &str = "ring";
const DEADLINE: Duration = Duration::from_secs(10);

/// Tells a Secret that held a ring.
const FILLED: &str = "portcullis.dev/filled";

/// Reads the ring from the Secret `name` in `namespace`, or makes it. An unreadable ring is an error, never replaced.
pub async fn load_or_create(client: Client, namespace: &str, name: &str) -> Result<StoredRing, RingError> {
    let secret = format!("{namespace}/{name}");
    let api: Api<SecretObject> = Api::namespaced(client.clone(), namespace);
    let found = in_time(&secret, api.get_opt(name)).await?;
    let write = PostParams::default();
    let made = match found {
        Some(object) if is_unfilled(&object) => {
            in_time(&secret, api.replace(name, &write, &filled(object, &KeyRing::generate()))).await
        }
        Some(object) => return StoredRing::of(object, &secret),
        None => in_time(&secret, api.create(&write, &filled(unfilled(name), &KeyRing::generate()))).await,
    };
    match made {
        Ok(object) => StoredRing::of(object, &secret),
        // Another replica was faster: its ring is the ring.
        Err(RingError::Changed { .. }) => StoredRing::read(client, namespace, name).await,
        Err(error) => Err(error),
    }
}

/// The ring as it rests, with the version that it has there.
pub struct StoredRing {
    /// The ring.
    pub ring: KeyRing,
    /// The Secret around it.
    object: SecretObject,
}

impl StoredRing {
    /// Reads it.
    pub async fn read(client: Client, namespace: &str, name: &str) -> Result<Self, RingError> {
        let secret = format!("{namespace}/{name}");
        let api: Api<SecretObject> = Api::namespaced(client, namespace);
        let found = in_time(&secret, api.get_opt(name)).await?;
        let object = found.ok_or_else(|| RingError::Missing { secret: secret.clone() })?;
        Self::of(object, &secret)
    }

    fn of(mut object: SecretObject, secret: &str) -> Result<Self, RingError> {
        let broken = |reason: String| RingError::Broken { secret: secret.to_owned(), reason };
        let text = object.data.as_mut().and_then(|data| data.remove(DATA_KEY));
        let text = text.ok_or_else(|| broken(format!("its data has no key `{DATA_KEY}`")))?;
        let ring = KeyRing::parse(Secret::new(text.0).expose()).map_err(|error| broken(error.to_string()))?;
        Ok(Self { ring, object })
    }

    /// Whether the other is the same version.
    pub fn is_same(&self, other: &Self) -> bool {
        let version =
            |stored: &Self| (stored.object.metadata.uid.clone(), stored.object.metadata.resource_version.clone());
        version(self) == version(other)
    }

    /// Puts another form of the ring into its place, unless somebody changed that meanwhile.
    pub async fn replace(self, client: Client, ring: &KeyRing) -> Result<Self, RingError> {
        let Self { object, .. } = self;
        let (namespace, name) = (object.metadata.namespace.clone(), object.metadata.name.clone());
        let (namespace, name) = (namespace.unwrap_or_default(), name.unwrap_or_default());
        let secret = format!("{namespace}/{name}");
        let api: Api<SecretObject> = Api::namespaced(client, &namespace);
        let object = in_time(&secret, api.replace(&name, &PostParams::default(), &filled(object, ring))).await?;
        Self::of(object, &secret)
    }
}

/// Without the keys.
impl std::fmt::Debug for StoredRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredRing").field("keys", &self.ring.keys()).finish_non_exhaustive()
    }
}

/// The answer of the API server, within the deadline.
async fn in_time<T>(secret: &str, call: impl Future<Output = kube::Result<T>>) -> Result<T, RingError> {
    let secret = secret.to_owned();
    match tokio::time::timeout(DEADLINE, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => Err(RingError::Changed { secret }),
        Ok(Err(error)) => Err(RingError::OutOfReach { secret, reason: error.to_string() }),
        Err(_) => Err(RingError::OutOfReach { secret, reason: "the API server did not answer in time".to_owned() }),
    }
}

fn is_unfilled(object: &SecretObject) -> bool {
    object.data.as_ref().is_none_or(BTreeMap::is_empty) && !object.annotations().contains_key(FILLED)
}

fn unfilled(name: &str) -> SecretObject {
    SecretObject {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        type_: Some(TYPE.to_owned()),
        ..SecretObject::default()
    }
}

/// The Secret with a ring in it.
fn filled(mut object: SecretObject, ring: &KeyRing) -> SecretObject {
    object.annotations_mut().insert(FILLED.to_owned(), "true".to_owned());
    object.data.get_or_insert_default().insert(DATA_KEY.to_owned(), ByteString(ring.serialize().expose().clone()));
    object
}

#[cfg(test)]
pub(crate) mod fake_api;
#[cfg(test)]
mod tests;
