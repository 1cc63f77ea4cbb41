//! The Secret that says how Redis is reached: read at the start, and followed while the process runs, so that a changed
//! password is learned without a restart.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::controller::world::ObjectName;
use crate::session::RedisSettings;

/// Between two readings.
const READ: Duration = Duration::from_secs(10);
/// Between attempts to read it at the start.
const AGAIN: Duration = Duration::from_secs(1);
/// For the API server's answer.
const DEADLINE: Duration = Duration::from_secs(5);

type Data = BTreeMap<String, ByteString>;

/// The settings at the start, waited for while the API server is out of reach, and as they change. A Secret that is not
/// there, or cannot be used, is an error.
pub async fn settings(client: Client, name: &ObjectName) -> anyhow::Result<watch::Receiver<RedisSettings>> {
    let (api, name) = (Api::namespaced(client, &name.namespace), name.clone());
    let data = loop {
        match read(&api, &name.name).await {
            Ok(data) => break data,
            Err(error) => tracing::warn!(%error, "how Redis is reached is not known yet, trying again"),
        }
        sleep(AGAIN).await;
    };
    let secret = || format!("cannot use Secret {}/{}, named by `--redis-secret`", name.namespace, name.name);
    let data = data.context("create it with at least the key `url`").with_context(secret)?;
    let (changed, settings) = watch::channel(parse(&data).with_context(secret)?);
    tokio::spawn(follow(api, name, data, changed));
    Ok(settings)
}

/// Tells each change of the Secret that can be used, as long as somebody listens.
async fn follow(api: Api<Secret>, name: ObjectName, mut known: Data, changed: watch::Sender<RedisSettings>) {
    while !changed.is_closed() {
        sleep(READ).await;
        // Out of reach, or gone: what was known holds.
        let Ok(Some(data)) = read(&api, &name.name).await else { continue };
        if data == known {
            continue;
        }
        let secret = format!("{}/{}", name.namespace, name.name);
        match parse(&data) {
            Ok(settings) => {
                tracing::info!(secret, "how Redis is reached has changed");
                changed.send_replace(settings);
            }
            Err(error) => tracing::error!(secret, %error, "the Secret cannot be used, what it was before holds"),
        }
        known = data;
    }
}

async fn read(api: &Api<Secret>, name: &str) -> anyhow::Result<Option<Data>> {
    let found = timeout(DEADLINE, api.get_opt(name)).await.context("the API server does not answer in time")??;
    Ok(found.map(|secret| secret.data.unwrap_or_default()))
}

fn parse(data: &Data) -> anyhow::Result<RedisSettings> {
    Ok(RedisSettings::parse(data.iter().map(|(key, value)| (key.clone(), value.0.clone())))?)
}
