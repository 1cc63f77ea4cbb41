//! Which servers hold the sessions now: the one there is, the one that Sentinels name, or the masters of a Cluster, each
//! with its slots.

use std::sync::Arc;

use futures_util::future::join_all;
use redis::{RedisError, Value};
use tokio::sync::{Notify, broadcast};

use super::Event;
use super::link::Link;
use super::settings::{Address, Login, RedisSettings, Topology};
use crate::session::{RecordKey, StoreError};

const SLOTS: u16 = 16384;

/// The masters, with a link to each that could be reached.
#[derive(Default)]
pub(super) struct Masters {
    links: Vec<Arc<Link>>,
    /// First and last slot, and whose they are.
    slots: Vec<(u16, u16, Address)>,
    /// Why some could not be reached.
    pub missing: Option<StoreError>,
    /// That a slot is found elsewhere.
    pub moved: Notify,
}

impl Masters {
    /// Finds them; links of `before` that still work go on. An error where none can be reached.
    pub async fn find(
        settings: &RedisSettings,
        before: &Self,
        events: &broadcast::Sender<Event>,
    ) -> Result<Self, StoreError> {
        let slots = match &settings.topology {
            Topology::Single => vec![(0, SLOTS - 1, settings.addresses[0].clone())],
            Topology::Sentinel { master, login } => vec![(0, SLOTS - 1, ask_sentinels(settings, master, login).await?)],
            Topology::Cluster => ask_cluster(settings, before).await?,
        };
        let mut addresses: Vec<&Address> = Vec::new();
        for (_, _, address) in &slots {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let opened = join_all(addresses.into_iter().map(async |address| match before.link(address) {
            Some(link) => Ok(Arc::clone(link)),
            None => open(settings, address, events).await.map(Arc::new),
        }));
        let (mut links, mut missing) = (Vec::new(), None);
        for link in opened.await {
            match link {
                Ok(link) => links.push(link),
                Err(error) => missing = Some(error),
            }
        }
        match missing {
            Some(error) if links.is_empty() => Err(error),
            missing => Ok(Self { links, slots, missing, moved: Notify::new() }),
        }
    }

    /// All that are reached.
    pub fn links(&self) -> &[Arc<Link>] {
        &self.links
    }

    /// The link to an address, while it works.
    pub fn link(&self, address: &Address) -> Option<&Arc<Link>> {
        self.links.iter().find(|link| link.address == *address && !link.broken.is_cancelled())
    }

    /// Where a record is.
    pub fn owner(&self, key: RecordKey) -> Result<&Arc<Link>, StoreError> {
        let slot = slot(&super::name(key));
        let range = self.slots.iter().find(|(first, last, _)| (*first..=*last).contains(&slot));
        let (_, _, address) = range.ok_or_else(|| StoreError::Unreachable(format!("no master has the slot {slot}")))?;
        self.link(address).ok_or_else(|| StoreError::Unreachable(format!("{address} is out of reach")))
    }

    /// Where the slot of a record is on its way to, as its owner said.
    pub fn ahead(&self, said: &RedisError) -> Result<&Arc<Link>, StoreError> {
        let address = said.redirect_node().map_or("", |(address, _)| address);
        let link = self.links.iter().find(|link| link.address.to_string() == address);
        link.ok_or_else(|| StoreError::Unreachable(said.to_string()))
    }
}

/// A link to a server that is a master: what a Sentinel says may be old.
async fn open(
    settings: &RedisSettings,
    address: &Address,
    events: &broadcast::Sender<Event>,
) -> Result<Link, StoreError> {
    let link = Link::open(settings, address, events).await?;
    if matches!(settings.topology, Topology::Sentinel { .. }) {
        let role: Vec<Value> = link.ask(&redis::cmd("ROLE")).await?;
        if role.first().and_then(text).as_deref() != Some("master") {
            return Err(StoreError::Unreachable(format!("{address} is not the master any more")));
        }
    }
    Ok(link)
}

/// The address that the first of the Sentinels to answer has for a master.
async fn ask_sentinels(settings: &RedisSettings, master: &str, login: &Login) -> Result<Address, StoreError> {
    let question = redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master).take();
    let mut error = StoreError::Unreachable("there is no Sentinel".to_owned());
    for address in &settings.addresses {
        let answer = match Link::visit(settings, address, login).await {
            Ok(sentinel) => sentinel.ask::<Option<(String, u16)>>(&question).await.map_err(StoreError::from),
            Err(error) => Err(error),
        };
        error = match answer {
            Ok(Some((host, port))) => return Ok(Address { host, port }),
            Ok(None) => StoreError::Unreachable(format!("the Sentinel {address} knows no master `{master}`")),
            Err(error) => error,
        };
    }
    Err(error)
}

/// Whose slots are whose, as a master that we know has it, or one of the seeds.
async fn ask_cluster(settings: &RedisSettings, before: &Masters) -> Result<Vec<(u16, u16, Address)>, StoreError> {
    let question = redis::cmd("CLUSTER").arg("SLOTS").take();
    let mut error = StoreError::Unreachable("no server of the cluster knows its slots".to_owned());
    let known = before.links.iter().filter(|link| !link.broken.is_cancelled()).cloned().map(Ok);
    for server in known.chain(settings.addresses.iter().map(Err)) {
        let link = match server {
            Ok(link) => Ok(link),
            Err(seed) => Link::visit(settings, seed, &settings.login).await.map(Arc::new),
        };
        let slots = match link {
            Ok(link) => link.ask::<Vec<Value>>(&question).await.map_err(StoreError::from).map(|answer| (link, answer)),
            Err(error) => Err(error),
        };
        match slots {
            Ok((link, answer)) if !answer.is_empty() => {
                return Ok(answer.iter().filter_map(|range| range_of(range, &link.address)).collect());
            }
            Ok(_) => {}
            Err(why) => error = why,
        }
    }
    Err(error)
}

/// One range of `CLUSTER SLOTS`: first, last, its master, its replicas. A server without a name of its own is the one
/// that was asked.
fn range_of(range: &Value, asked: &Address) -> Option<(u16, u16, Address)> {
    let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = range.as_sequence()? else { return None };
    let [host, Value::Int(port), ..] = &master[..] else { return None };
    let host = text(host).filter(|host| !matches!(host.as_str(), "" | "?"));
    let host = host.unwrap_or_else(|| asked.host.clone());
    Some(((*first).try_into().ok()?, (*last).try_into().ok()?, Address { host, port: (*port).try_into().ok()? }))
}

fn text(value: &Value) -> Option<String> {
    redis::from_redis_value_ref(value).ok()
}

/// The slot of a name without braces: CRC-16/XMODEM modulo 16384, after the specification of Redis Cluster.
fn slot(name: &str) -> u16 {
    let crc = name.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    });
    crc % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // The check value of CRC-16/XMODEM, and what `CLUSTER KEYSLOT foo` answers.
        assert_eq!(slot("123456789"), 0x31c3);
        assert_eq!(slot("foo"), 12182);
    }
}
