//! The key ring in a Kubernetes Secret: created by `create` alone, read where it exists, never replaced.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret as SecretObject;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use super::{KeyRing, RingError};

const TYPE: &str = "portcullis.dev/key-ring";
const DATA_KEY: &str = "ring";
const DEADLINE: Duration = Duration::from_secs(10);

/// Reads the ring from the Secret `name` in `namespace`, or creates it. An unreadable ring is an error, never replaced.
pub async fn load_or_create(client: Client, namespace: &str, name: &str) -> Result<KeyRing, RingError> {
    let secret = format!("{namespace}/{name}");
    tokio::time::timeout(DEADLINE, read_or_create(&Api::namespaced(client, namespace), name, &secret))
        .await
        .unwrap_or_else(|_| {
            Err(RingError::OutOfReach { secret, reason: "the API server did not answer in time".to_owned() })
        })
}

async fn read_or_create(api: &Api<SecretObject>, name: &str, secret: &str) -> Result<KeyRing, RingError> {
    let out_of_reach =
        |error: kube::Error| RingError::OutOfReach { secret: secret.to_owned(), reason: error.to_string() };
    if let Some(found) = api.get_opt(name).await.map_err(out_of_reach)? {
        return read(&found, secret);
    }
    let fresh = KeyRing::generate();
    match api.create(&PostParams::default(), &object(name, &fresh)).await {
        Ok(_) => Ok(fresh),
        // Another replica was faster: its ring is the ring.
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            read(&api.get(name).await.map_err(out_of_reach)?, secret)
        }
        Err(error) => Err(out_of_reach(error)),
    }
}

fn read(found: &SecretObject, secret: &str) -> Result<KeyRing, RingError> {
    let broken = |reason: String| RingError::Broken { secret: secret.to_owned(), reason };
    let text = found.data.as_ref().and_then(|data| data.get(DATA_KEY));
    let text = text.ok_or_else(|| broken(format!("its data has no key `{DATA_KEY}`")))?;
    KeyRing::parse(&text.0).map_err(|error| broken(error.to_string()))
}

fn object(name: &str, ring: &KeyRing) -> SecretObject {
    SecretObject {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        type_: Some(TYPE.to_owned()),
        data: Some(BTreeMap::from([(DATA_KEY.to_owned(), ByteString(ring.serialize().expose().clone()))])),
        ..SecretObject::default()
    }
}

#[cfg(test)]
pub(crate) mod fake_api;
#[cfg(test)]
mod tests;
