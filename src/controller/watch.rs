//! The cluster source: one watch and one back-off a kind, never one joint stream, so that no kind's trouble is another's.
//!
//! An object that does not decode is passed on by name and spoils no other. A relist keeps the former set until it is
//! whole. What no compile can use is dropped here.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::{NamespaceResourceScope, Resource as _};
use kube::api::{Api, Resource, ResourceExt};
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{self, Config, Event, watcher};
use kube::{Client, Error};
use rand::TryRng;
use rand::rngs::SysRng;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Batch;
use super::world::{Change, ObjectName, Stored};
use crate::metrics::Metrics;
use crate::snapshot::{Freshness, Sight};

/// After this many seconds the API server ends a watch, and it is taken up again: well below the 240 s after which some
/// load balancers forget an idle connection without telling.
const WATCH_SECONDS: u32 = 200;

/// The first pause after a failure, doubled with each that follows.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest pause: once the API server answers again, the watch is back within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A watch that fails does so at once, or within [`CONNECT`]; after this long in silence it is up.
const QUIET: Duration = Duration::from_secs(5);

/// How long the API server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(3);

/// Secrets of the installation's namespace that no compile reads: they stay out of memory.
const UNREAD_SECRETS: &str = "type!=portcullis.dev/session,type!=portcullis.dev/key-ring,type!=helm.sh/release.v1,\
                              type!=kubernetes.io/service-account-token";

/// What `kubectl apply` leaves in an object: the whole of it once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A cluster as a source of objects.
#[derive(Clone)]
pub struct Cluster {
    /// How to reach it.
    pub client: Client,
    /// The namespaces whose Ingresses are served; empty: all.
    pub namespaces: Vec<String>,
    /// The namespace of the installation, whose Secrets are read whatever their type.
    pub installation_namespace: String,
    /// The field manager of our statuses, the one that is kept of each object's managers.
    pub field_manager: String,
    /// How old what is served may be.
    pub freshness: Freshness,
}

/// A client for the control plane: what repeats a call is ours, for the client's own back-off grows beyond minutes.
pub fn client(mut config: kube::Config) -> Result<Client, Error> {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    Client::try_from(config)
}

impl Cluster {
    /// Starts the watches, each a task.
    pub(super) fn start(self, batches: &mpsc::Sender<Batch>, metrics: &Metrics) -> JoinSet<()> {
        let mut watches = Watches { cluster: &self, batches, metrics, tasks: JoinSet::new() };
        // Lists ask for the newest state: one from a lagging cache could bring back a Policy that was tightened since.
        let all = || self.config();
        watches.everywhere(all(), Change::Class);
        watches.everywhere(all(), Change::portcullis);
        watches.everywhere(all(), Change::Provider);
        watches.everywhere(all(), namespace);
        watches.where_served(&all(), Change::Ingress);
        watches.where_served(&all(), Change::Policy);
        watches.where_served(&all(), Change::Service);
        watches.where_served(&all().labels("kubernetes.io/service-name"), Change::Slice);
        watches.secrets();
        watches.tasks
    }

    /// A watch that ends well before what it told may be too old, so that one which died in silence is noticed by then.
    fn config(&self) -> Config {
        let half = self.freshness.limit().map(|limit| u32::try_from(limit.as_secs() / 2).unwrap_or(u32::MAX));
        Config::default().timeout(half.unwrap_or(u32::MAX).clamp(1, WATCH_SECONDS))
    }

    /// Starts a watch of one Service alone.
    pub(super) fn start_service(
        &self,
        name: &ObjectName,
        batches: &mpsc::Sender<Batch>,
        metrics: &Metrics,
    ) -> JoinSet<()> {
        let mut watches = Watches { cluster: self, batches, metrics, tasks: JoinSet::new() };
        let alone = self.config().fields(&format!("metadata.name={}", name.name));
        watches.start(Api::namespaced(self.client.clone(), &name.namespace), alone, Change::Service);
        watches.tasks
    }

    /// The namespaces to watch; `None` is all of them.
    fn scopes(&self) -> Vec<Option<&str>> {
        if self.namespaces.is_empty() { vec![None] } else { self.namespaces.iter().map(|name| Some(&**name)).collect() }
    }
}

/// The watches that are started, and what they are started with.
struct Watches<'a> {
    cluster: &'a Cluster,
    batches: &'a mpsc::Sender<Batch>,
    metrics: &'a Metrics,
    tasks: JoinSet<()>,
}

impl Watches<'_> {
    /// One watch over the whole cluster.
    fn everywhere<K>(&mut self, config: Config, change: fn(ObjectName, Option<Stored<K>>) -> Change)
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        self.start(Api::all(self.cluster.client.clone()), config, change);
    }

    /// A watch for each namespace whose Ingresses are served.
    fn where_served<K>(&mut self, config: &Config, change: fn(ObjectName, Option<Stored<K>>) -> Change)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug
            + Send
            + Sync
            + 'static,
    {
        for scope in self.cluster.scopes() {
            self.start(api_of(&self.cluster.client, scope), config.clone(), change);
        }
    }

    /// TLS Secrets where Ingresses are served, and the Secrets of the installation: no Secret is in two watches, so that
    /// none can be taken away by the one that does not have it.
    fn secrets(&mut self) {
        let Cluster { client, installation_namespace: home, .. } = self.cluster;
        let config = || self.cluster.config();
        self.start(Api::namespaced(client.clone(), home), config().fields(UNREAD_SECRETS), Change::secret);
        let elsewhere = format!("type=kubernetes.io/tls,metadata.namespace!={home}");
        for scope in self.cluster.scopes().into_iter().filter(|scope| *scope != Some(home)) {
            self.start(api_of(client, scope), config().fields(&elsewhere), Change::secret);
        }
    }

    fn start<K>(
        &mut self,
        api: Api<DeserializeGuard<K>>,
        config: Config,
        change: fn(ObjectName, Option<Stored<K>>) -> Change,
    ) where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let Cow::Borrowed(kind) = K::kind(&()) else { unreachable!("the name of a kind is a constant") };
        let watch = Watch {
            kind,
            metrics: self.metrics.clone(),
            sight: self.cluster.freshness.sight(),
            change,
            field_manager: self.cluster.field_manager.clone(),
            batches: self.batches.clone(),
            held: BTreeSet::new(),
            listing: None,
            listed: false,
        };
        self.tasks.spawn(watch.follow(watcher(api, config)));
    }
}

fn api_of<K>(client: &Client, scope: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Of a namespace one thing counts: whether it is on its way out.
#[expect(clippy::needless_pass_by_value, reason = "it stands where the constructors of changes stand")]
fn namespace(name: ObjectName, namespace: Option<Stored<Namespace>>) -> Change {
    let status = namespace.as_ref().and_then(Stored::decoded).and_then(|namespace| namespace.status.as_ref());
    let ending = status.and_then(|status| status.phase.as_deref()) == Some("Terminating");
    Change::Namespace(name.name, ending)
}

/// One watch.
struct Watch<K> {
    kind: &'static str,
    metrics: Metrics,
    sight: Sight,
    change: fn(ObjectName, Option<Stored<K>>) -> Change,
    field_manager: String,
    batches: mpsc::Sender<Batch>,
    /// The names that the owner of the world has from this watch.
    held: BTreeSet<ObjectName>,
    /// The list that is being taken; what is held stays in force until it is whole.
    listing: Option<BTreeMap<ObjectName, Stored<K>>>,
    /// Whether a first list was sent.
    listed: bool,
}

impl<K> Watch<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// Sends every change until nobody listens.
    async fn follow(mut self, events: impl Stream<Item = watcher::Result<Event<DeserializeGuard<K>>>>) {
        let mut events = std::pin::pin!(events);
        let mut failures = 0;
        loop {
            let mut batch = Batch::default();
            let mut next = if failures == 0 {
                events.next().await
            } else if let Ok(event) = timeout(QUIET, events.next()).await {
                event
            } else {
                self.is_up(&mut failures);
                None
            };
            // What has come already goes along in one batch.
            while let Some(Ok(event)) = next {
                if self.take(event, &mut batch) {
                    self.is_up(&mut failures);
                }
                next = events.next().now_or_never().flatten();
            }
            if !batch.is_empty() && self.batches.send(batch).await.is_err() {
                return;
            }
            if let Some(Err(error)) = next {
                self.say(&error, failures);
                tokio::time::sleep(pause(failures, SysRng.try_next_u32().unwrap_or_default())).await;
                failures += 1;
            }
        }
    }

    fn is_up(&self, failures: &mut u32) {
        if *failures > 0 {
            tracing::info!(kind = self.kind, "watching again");
        }
        *failures = 0;
        self.metrics.watch_synced(self.kind, true);
        self.sight.seen();
    }

    /// Takes an event into the batch; gives whether the API server answered.
    fn take(&mut self, event: Event<DeserializeGuard<K>>, batch: &mut Batch) -> bool {
        match event {
            Event::Init => {
                self.listing = Some(BTreeMap::new());
                return false;
            }
            Event::InitApply(object) => {
                let (name, object) = self.stored(object);
                self.listing.get_or_insert_default().insert(name, object);
            }
            Event::InitDone => {
                let listing = self.listing.take().unwrap_or_default();
                let gone = std::mem::take(&mut self.held).into_iter().filter(|name| !listing.contains_key(name));
                batch.changes.extend(gone.map(|name| (self.change)(name, None)));
                self.held = listing.keys().cloned().collect();
                batch.changes.extend(listing.into_iter().map(|(name, object)| (self.change)(name, Some(object))));
                batch.first_list = !std::mem::replace(&mut self.listed, true);
            }
            Event::Apply(object) => {
                let (name, object) = self.stored(object);
                self.held.insert(name.clone());
                batch.changes.push((self.change)(name, Some(object)));
            }
            Event::Delete(object) => {
                let name = ObjectName::of(&object);
                self.held.remove(&name);
                batch.changes.push((self.change)(name, None));
            }
        }
        true
    }

    fn stored(&self, mut object: DeserializeGuard<K>) -> (ObjectName, Stored<K>) {
        let name = ObjectName::of(&object);
        // Of the managers, whether we are among them; of annotations, not the copy of the whole object.
        object.managed_fields_mut().retain(|fields| fields.manager.as_deref() == Some(&self.field_manager));
        object.managed_fields_mut().iter_mut().for_each(|fields| fields.fields_v1 = None);
        object.annotations_mut().remove(LAST_APPLIED);
        let stored = match object.0 {
            Ok(object) => Stored::Decoded(object.into()),
            // The decoder's words may hold a value.
            Err(_) if self.kind == Secret::KIND => Stored::Undecodable("a field has a value of the wrong type".into()),
            Err(invalid) => Stored::Undecodable(invalid.error.into()),
        };
        (name, stored)
    }

    /// One line where a watch begins to fail: what was read last stays in force.
    fn say(&self, error: &watcher::Error, failures: u32) {
        let kind = self.kind;
        self.metrics.watch_restart(kind);
        self.metrics.watch_synced(kind, false);
        self.sight.lost();
        match status_of(error) {
            _ if failures > 0 => tracing::debug!(kind, %error, failures, "cannot watch"),
            Some(404) => tracing::error!(kind, "the API server does not know this kind; apply the files in crds/"),
            Some(403) => tracing::error!(kind, %error, "may not watch; apply the roles in manifests/"),
            _ => tracing::warn!(kind, %error, "cannot watch, trying again"),
        }
    }
}

fn status_of(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(Error::Api(status))
        | watcher::Error::WatchStartFailed(Error::Api(status)) => Some(status.code),
        _ => None,
    }
}

/// The pause after a number of failures in a row: doubled each time up to the longest, of which a random half is waived, so
/// that many watches do not come back at one instant.
fn pause(failures: u32, random: u32) -> Duration {
    let whole = LONGEST_PAUSE.min(PAUSE * 2_u32.saturating_pow(failures.min(16)));
    whole.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests;
