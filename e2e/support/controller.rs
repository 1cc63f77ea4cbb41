//! The controller inside the journeys' own process, as a user whose rights the journey chooses.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::config::{AuthInfo, Config, KubeConfigOptions, Kubeconfig};
use portcullis::clock::Clock;
use portcullis::controller::compile::Defaults;
use portcullis::controller::leader::Candidate;
use portcullis::controller::publish::Addresses;
use portcullis::controller::status::StatusWriter;
use portcullis::controller::watch::{self, Cluster as Source};
use portcullis::controller::world::ObjectName;
use portcullis::controller::{self, Controller, Live};
use portcullis::metrics::Metrics;
use portcullis::oidc::Oidc;
use portcullis::snapshot::{self, Freshness, Pending};
use tokio::sync::watch as latest;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::cluster::Cluster;
use super::eventually::SOON;
use super::objects::INSTALLATION;
use super::portcullis::PUBLISHED;

/// The controller string of the manifests, which is also the field manager.
pub const CONTROLLER: &str = "portcullis.dev/ingress-controller";

/// Whose classes, Secrets and addresses an installation has.
#[derive(Clone, Copy)]
pub struct Installation {
    /// Its controller string, which is also the field manager.
    pub controller: &'static str,
    /// Its namespace.
    pub namespace: &'static str,
    /// What it publishes.
    pub address: &'static str,
}

/// That of the manifests.
const FIRST: Installation = Installation { controller: CONTROLLER, namespace: INSTALLATION, address: PUBLISHED };

/// Another one in the same cluster.
pub const SECOND: Installation =
    Installation { controller: "example.com/second", namespace: "second-system", address: "second.example.com" };

impl Installation {
    fn addresses(&self) -> Addresses {
        Addresses::given(&[self.address.to_owned()])
    }
}

/// A part of the program, or all that `run` makes of the control plane.
pub struct InProcess {
    /// What it has published.
    pub live: latest::Receiver<Option<Arc<Live>>>,
    /// Whether it leads.
    pub leading: latest::Receiver<bool>,
    /// The way to its snapshots.
    pub pending: Pending,
    installation: Installation,
    leads: latest::Sender<bool>,
    stop: CancellationToken,
    candidate: Option<JoinHandle<()>>,
    tasks: JoinSet<()>,
}

/// A client that speaks as the administrator.
pub async fn admin(cluster: &Cluster) -> Client {
    watch::client(config(cluster).await).expect("the configuration is sound")
}

/// A client that speaks as somebody else than the administrator, who may do that.
pub async fn client(cluster: &Cluster, user: &str) -> Client {
    let mut config = config(cluster).await;
    config.auth_info = AuthInfo { impersonate: Some(user.to_owned()), ..config.auth_info };
    watch::client(config).expect("the configuration is sound")
}

async fn config(cluster: &Cluster) -> Config {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(&cluster.admin).expect("it was written at the start");
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("it is whole")
}

/// The user of the manifests.
pub const PORTCULLIS: &str = "system:serviceaccount:portcullis-system:portcullis";

impl InProcess {
    /// The controller over these namespaces, with a writer of statuses and a candidate for leadership.
    pub fn start(client: &Client, namespaces: &[&str], identity: &str) -> Self {
        let mut all = Self::follow(client, namespaces);
        all.write(client, identity, FIRST.addresses());
        all.stand(client, identity);
        all
    }

    /// The same over all namespaces, with the addresses of a Service in place of [`PUBLISHED`].
    pub fn start_publishing(client: &Client, service: &ObjectName, identity: &str) -> Self {
        let mut all = Self::follow(client, &[]);
        let addresses = Addresses::given(&[]);
        let (addresses, follower) =
            addresses.and_of_service(source(FIRST, client, &[]), service.clone(), Metrics::new());
        all.tasks.spawn(follower.run());
        all.write(client, identity, addresses);
        all.stand(client, identity);
        all
    }

    /// The same, with leadership given to it.
    pub fn start_leading(client: &Client, namespaces: &[&str], identity: &str) -> Self {
        let mut all = Self::follow(client, namespaces);
        all.write(client, identity, FIRST.addresses());
        all.leads.send_replace(true);
        all
    }

    /// The second installation, with leadership given to it.
    pub fn start_second(client: &Client, identity: &str) -> Self {
        let mut all = Self::follow_in(SECOND, client, &[]);
        all.write(client, identity, SECOND.addresses());
        all.leads.send_replace(true);
        all
    }

    /// The controller alone.
    pub fn follow(client: &Client, namespaces: &[&str]) -> Self {
        Self::follow_in(FIRST, client, namespaces)
    }

    fn follow_in(installation: Installation, client: &Client, namespaces: &[&str]) -> Self {
        let (publisher, pending) = snapshot::channel();
        let (live_sender, live) = latest::channel(None);
        let controller = Controller {
            source: controller::Source::Cluster(source(installation, client, namespaces)),
            publisher,
            metrics: Metrics::new(),
            defaults: defaults(installation),
            own_addresses: Box::default(),
            complete: None,
        };
        let mut alone = Self::idle(installation, live, pending);
        alone.tasks.spawn(controller.run(live_sender));
        alone
    }

    /// A candidate for leadership alone.
    pub fn candidate(client: &Client, identity: &str) -> Self {
        let mut alone = Self::idle(FIRST, latest::channel(None).1, snapshot::channel().1);
        alone.stand(client, identity);
        alone
    }

    fn idle(installation: Installation, live: latest::Receiver<Option<Arc<Live>>>, pending: Pending) -> Self {
        let (leads, leading) = latest::channel(false);
        let (stop, tasks) = (CancellationToken::new(), JoinSet::new());
        Self { live, leading, pending, installation, leads, stop, candidate: None, tasks }
    }

    fn write(&mut self, client: &Client, identity: &str, addresses: Addresses) {
        let clock = Clock::system();
        let writer = StatusWriter {
            client: client.clone(),
            oidc: Oidc::new(clock.clone(), tokio::runtime::Handle::current()),
            clock,
            field_manager: self.installation.controller.to_owned(),
            identity: identity.to_owned(),
            addresses,
            trouble: latest::channel(None).1,
        };
        self.tasks.spawn(writer.run(self.live.clone(), self.leading.clone()));
    }

    fn stand(&mut self, client: &Client, identity: &str) {
        let candidate = Candidate {
            client: client.clone(),
            namespace: INSTALLATION.to_owned(),
            name: "portcullis".to_owned(),
            identity: identity.to_owned(),
            clock: Clock::system(),
        };
        self.candidate = Some(tokio::spawn(candidate.run(self.leads.clone(), self.stop.clone())));
    }

    /// Waits until what is live gives a value.
    pub async fn until<T>(&mut self, what: &str, look: impl Fn(&Live) -> Option<T>) -> T {
        let seen = self.within(SOON, look).await;
        seen.unwrap_or_else(|| panic!("within {SOON:?} not live: {what}; complaints: {:?}", self.complaints()))
    }

    /// The same, giving up after `limit`.
    pub async fn within<T>(&mut self, limit: Duration, look: impl Fn(&Live) -> Option<T>) -> Option<T> {
        let looking = async {
            loop {
                let value = self.live.borrow_and_update().as_deref().and_then(&look);
                if value.is_some() || self.live.changed().await.is_err() {
                    return value;
                }
            }
        };
        tokio::time::timeout(limit, looking).await.ok().flatten()
    }

    /// All that it complains about.
    pub fn complaints(&self) -> Vec<String> {
        let live = self.live.borrow();
        live.iter().flat_map(|live| live.complaints.iter()).map(ToString::to_string).collect()
    }

    /// Ends it as a process ends: the lease is given back, nothing else is touched.
    pub async fn end(mut self) {
        self.stop.cancel();
        if let Some(candidate) = self.candidate.take() {
            candidate.await.expect("it ends well");
        }
        self.tasks.shutdown().await;
    }

    /// Ends it as a process that is killed: nothing is given back.
    pub async fn kill(mut self) {
        if let Some(candidate) = self.candidate.take() {
            candidate.abort();
        }
        self.tasks.shutdown().await;
    }
}

impl Drop for InProcess {
    /// A journey that goes wrong leaves no leader behind for the next.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn source(installation: Installation, client: &Client, namespaces: &[&str]) -> Source {
    Source {
        client: client.clone(),
        namespaces: namespaces.iter().map(|&name| name.to_owned()).collect(),
        installation_namespace: installation.namespace.to_owned(),
        field_manager: installation.controller.to_owned(),
        freshness: Freshness::unlimited(),
    }
}

fn defaults(installation: Installation) -> Defaults {
    Defaults {
        controller: installation.controller.to_owned(),
        without_class: false,
        installation_namespace: installation.namespace.to_owned(),
        default_certificate: None,
        self_signed: None,
        dev: false,
    }
}
