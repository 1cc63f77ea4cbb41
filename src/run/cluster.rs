//! `portcullis run`: the process in a cluster. Every replica serves; the one that holds the Lease also writes statuses,
//! sweeps expired sessions and ends rotations of the key ring.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kube::Client;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::sleep;

use super::keys::{self, Keeper};
use super::redis;
use super::{Base, Sockets, Stop, boot, on_control_runtime, self_signed, serve};
use crate::config::{Cluster, Process, SessionPlace, SessionStore};
use crate::controller::compile::Defaults;
use crate::controller::leader::Candidate;
use crate::controller::publish::Addresses;
use crate::controller::report::Finding;
use crate::controller::status::StatusWriter;
use crate::controller::watch::{self as api, Cluster as Objects};
use crate::controller::{Controller, Live, Source, heartbeat};
use crate::logging;
use crate::metrics::Metrics;
use crate::session::{MemoryStore, RedisStore, SecretStore, Sessions, Store, sweep_regularly};
use crate::snapshot::{self, Freshness};

/// The Lease.
const LEASE: &str = "portcullis";

/// Between two counts of the sessions.
const COUNT: Duration = Duration::from_secs(10);

/// Runs until told to stop.
pub fn main(cluster: &Cluster, process: &Process) -> anyhow::Result<()> {
    logging::start(process.log, &process.log_level)?;
    on_control_runtime(start(cluster.clone(), process.clone()))
}

async fn start(cluster: Cluster, process: Process) -> anyhow::Result<()> {
    // Before anything is waited for: the first process of a container has no other end but this.
    let mut stop = Stop::new()?;
    let base = Base::new();
    let addresses = [cluster.http, cluster.https, cluster.admin];
    let sockets = Sockets::bind(&process, addresses, Some(cluster.public_https_port), &base).await?;
    let config = kube::Config::infer().await.context("no cluster: set KUBECONFIG, or run in a pod")?;
    let client = api::client(config).context("cannot make a client of the API server")?;
    let known = tokio::select! {
        known = keys::first(&client, &cluster.installation.namespace) => known,
        () = stop.asked() => return Ok(()),
    };
    let ring = known.as_ref().map(|stored| stored.ring.clone());
    let store = store(&client, &cluster.sessions, &cluster.installation.namespace).await?;
    let staleness = process.session_staleness;
    let sessions = Sessions::new(ring, Arc::clone(&store), base.clock.clone(), Handle::current(), staleness);
    let (keeper, trouble) = Keeper::new(
        client.clone(),
        cluster.installation.namespace.clone(),
        sessions.clone(),
        base.clock.clone(),
        known,
    );
    tokio::spawn(count_sessions(base.metrics.clone(), sessions.clone(), cluster.sessions.session_store.name()));
    let limited = |limit| Freshness::limited(limit, base.clock.clone());
    let freshness = cluster.max_policy_age.map_or_else(Freshness::unlimited, limited);
    tokio::spawn(heartbeat::run(client.clone(), freshness.clone(), base.clock.clone()));
    let (publisher, pending) = snapshot::channel();
    let pending = pending.within(freshness.clone());
    let (live, lives) = watch::channel(None);
    let duties = lead(&base, &cluster, &client, lives, (store, keeper, trouble));
    let controller = Controller {
        source: Source::Cluster(Objects { freshness, ..cluster.installation.objects(client.clone()) }),
        publisher,
        metrics: base.metrics.clone(),
        defaults: defaults(&cluster, &process, &base)?,
        own_addresses: cluster.own_address.clone().into(),
        complete: None,
    };
    let served = serve(base, &process, sockets, sessions, controller, (pending, live), stop).await;
    duties.await.context("the lease is given back")?;
    served
}

fn defaults(cluster: &Cluster, process: &Process, base: &Base) -> anyhow::Result<Defaults> {
    Ok(Defaults { self_signed: Some(self_signed(&base.clock)?), ..cluster.installation.defaults(&process.fallback) })
}

/// The store of the installation in `home`.
pub async fn store(client: &Client, place: &SessionPlace, home: &str) -> anyhow::Result<Arc<dyn Store>> {
    Ok(match (&place.session_store, &place.redis_secret) {
        (SessionStore::Memory, None) => Arc::new(MemoryStore::default()),
        (SessionStore::Secrets(namespace), None) => {
            let namespace = namespace.as_deref().unwrap_or(home);
            Arc::new(SecretStore::new(client.clone(), namespace, place.max_session_secrets))
        }
        (SessionStore::Redis, Some(secret)) => {
            Arc::new(RedisStore::new(redis::settings(client.clone(), secret).await?))
        }
        (SessionStore::Redis, None) => anyhow::bail!("`--session-store redis` needs `--redis-secret NAMESPACE/NAME`"),
        (_, Some(_)) => anyhow::bail!("`--redis-secret` needs `--session-store redis`"),
    })
}

async fn count_sessions(metrics: Metrics, sessions: Sessions, store: &'static str) {
    loop {
        metrics.sessions(store, sessions.count());
        sleep(COUNT).await;
    }
}

/// Starts what one of all replicas does; gives the task that ends once the lease is given back.
fn lead(
    base: &Base,
    cluster: &Cluster,
    client: &Client,
    live: watch::Receiver<Option<Arc<Live>>>,
    (store, keeper, trouble): (Arc<dyn Store>, Keeper, watch::Receiver<Option<Finding>>),
) -> tokio::task::JoinHandle<()> {
    let identity = identity();
    let (leading, leads) = watch::channel(false);
    let candidate = Candidate {
        client: client.clone(),
        namespace: cluster.installation.namespace.clone(),
        name: LEASE.to_owned(),
        identity: identity.clone(),
        clock: base.clock.clone(),
    };
    let writer = StatusWriter {
        client: client.clone(),
        oidc: base.oidc.clone(),
        clock: base.clock.clone(),
        field_manager: cluster.installation.controller.clone(),
        identity,
        addresses: addresses(cluster, client, &base.metrics),
        trouble,
    };
    tokio::spawn(writer.run(live, leads.clone()));
    tokio::spawn(keeper.run(leads.clone()));
    tokio::spawn(sweep_while_leading(base.clone(), leads, store));
    tokio::spawn(candidate.run(leading, base.stopping.clone()))
}

/// The addresses of the flags. Every replica follows the Service, so that one that begins to lead knows them.
fn addresses(cluster: &Cluster, client: &Client, metrics: &Metrics) -> Addresses {
    let given = Addresses::given(&cluster.publish_address);
    let Some(service) = &cluster.publish_service else { return given };
    let objects = cluster.installation.objects(client.clone());
    let (addresses, follower) = given.and_of_service(objects, service.clone(), metrics.clone());
    tokio::spawn(follower.run());
    addresses
}

async fn sweep_while_leading(base: Base, mut leads: watch::Receiver<bool>, store: Arc<dyn Store>) {
    while leads.wait_for(|leads| *leads).await.is_ok() {
        base.metrics.leader(true);
        tokio::select! {
            () = sweep_regularly(Arc::clone(&store), base.clock.clone()) => {}
            _ = leads.wait_for(|leads| !*leads) => {}
        }
        base.metrics.leader(false);
    }
}

/// The pod's name, and what tells this run from its former one.
fn identity() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{}", host.trim(), &boot().to_string()[..8])
}
