//! An installation by the chart and one by the manifests, from nothing: the pods of the Deployment run and serve, an upgrade
//! under load fails no request, and what is taken away leaves nothing but the kinds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::support::app::App;
use crate::support::balancer::Door;
use crate::support::bed::Bed;
use crate::support::client::{Ask, Client, Kept};
use crate::support::cluster::in_repository;
use crate::support::eventually::{SOON, START, eventually};
use crate::support::node::Node;
use crate::support::objects::{self, INSTALLATION};
use crate::support::portcullis::PUBLISHED;
use crate::support::program::Program;

/// The namespace of the app, which is there before and after.
const NAMESPACE: &str = "install";

const HOST: &str = "installed.localhost";

const APP: &str = "https://installed.localhost/";

/// Where the app listens.
const ENDPOINT: &str = "10.244.1.7";

/// By these ports of every node the cluster of e2e/kind is reached from outside.
const NODE_PORTS: &str = r#"{"spec": {"externalTrafficPolicy": "Cluster", "ports": [
    {"port": 80, "nodePort": 30080}, {"port": 443, "nodePort": 30443}]}}"#;

/// Clients of each kind that ask without pause.
const LOAD: usize = 2;

const CRDS: [&str; 3] = ["identityproviders", "policies", "portcullises"];

pub async fn journey(bed: &Bed) {
    let cluster = &bed.cluster;
    bed.clear();
    let _pods = if cluster.is_bare() { Some(run_pods(bed).await) } else { None };
    // Pods of a cluster that is given reach this machine by an address that is not ours to choose.
    let endpoint = setting("PORTCULLIS_HOST").unwrap_or_else(|| ENDPOINT.to_owned());
    let _app = App::start(&format!("{endpoint}:{}", objects::APP_PORT)).await;
    cluster.kubectl(&["delete", "--kustomize", &in_repository("manifests"), "--ignore-not-found", "--timeout=300s"]);
    cluster.apply(&[objects::namespace(NAMESPACE)]);
    cluster.apply(&[
        objects::tls_secret(NAMESPACE, "app", &bed.authority.issue(&[HOST])),
        objects::service(NAMESPACE, "app"),
        objects::endpoints(NAMESPACE, "app", &[&endpoint]),
        objects::ingress(NAMESPACE, "app", HOST, &json!({"portcullis.dev/access": "public"})),
    ]);
    let before = everything(bed);
    let visitor = Arc::new(Client::new(&bed.authority));

    // The namespace enforces pod security `restricted`: a pod that asks for more is never made.
    cluster.kubectl(&["apply", "--filename", &in_repository("manifests/namespace.yaml")]);
    // The door of the journeys looks as often as a busy machine lets it.
    let own = ["--set", "service.type=LoadBalancer,preStopSeconds=15", "--set-json", "publishAddresses=[]"];
    let values = setting("PORTCULLIS_VALUES").unwrap_or_else(|| in_repository("charts/portcullis/values.yaml"));
    helm(bed, &[&["install", "portcullis", "charts/portcullis", "--values", &values][..], &own].concat());
    rolled_out(bed);
    serves(&visitor).await;
    gets_the_address(bed, PUBLISHED).await;
    upgrade_under_load(bed, &visitor).await;
    // Now by a Role for this one Service.
    gets_the_address(bed, "203.0.113.11").await;
    helm(bed, &["uninstall", "portcullis"]);
    ended(bed).await;
    let made = ["get", "replicasets,endpointslices", "--namespace", INSTALLATION, "--output", "name"];
    eventually("the end of what was made of it", START, async || cluster.kubectl(&made).is_empty().then_some(())).await;
    let kinds = CRDS.map(|kind| format!("CustomResourceDefinition//{kind}.portcullis.dev"));
    // The namespace is whose it was before the installation.
    let namespace = format!("Namespace//{INSTALLATION}");
    assert_eq!(left(bed, &before), kinds.into_iter().chain([namespace]).collect());
    cluster.kubectl(&["delete", "namespace", INSTALLATION, "--timeout=300s"]);

    cluster.apply_folder("crds");
    cluster.apply_folder("manifests");
    cluster.kubectl(&["patch", "service/portcullis", "--namespace", INSTALLATION, "--patch", NODE_PORTS]);
    rolled_out(bed);
    serves(&visitor).await;
    cluster.kubectl(&["scale", "deployment/portcullis", "--replicas=0", "--namespace", INSTALLATION]);
    ended(bed).await;
}

/// What makes pods, runs them, and leads to them.
async fn run_pods(bed: &Bed) -> ([Program; 2], Node, Door) {
    let controllers = bed.cluster.start_controllers();
    (controllers, Node::start(bed, &bed.folder(NAMESPACE)).await, Door::open(bed).await)
}

/// Every pod is replaced, by one that may read this namespace alone, while clients ask without pause; the app answers each
/// of them.
async fn upgrade_under_load(bed: &Bed, visitor: &Arc<Client>) {
    let old = pods(bed);
    assert_eq!(old.len(), 2);
    let over = Arc::new(AtomicBool::new(false));
    let mut load = Vec::new();
    for _ in 0..LOAD {
        load.push(tokio::spawn(ask_anew(Arc::clone(visitor), Arc::clone(&over))));
        load.push(tokio::spawn(ask_on(Arc::clone(visitor), Arc::clone(&over))));
    }
    let narrower = format!("watchNamespaces={{{NAMESPACE}}}");
    helm(bed, &["upgrade", "portcullis", "charts/portcullis", "--reuse-values", "--set", &narrower]);
    rolled_out(bed);
    eventually("the end of the former pods", START, async || pods(bed).is_disjoint(&old).then_some(())).await;
    over.store(true, Ordering::Relaxed);
    for client in load {
        let answered = client.await.expect("no request failed");
        assert!(answered > 20, "there was load: {answered} requests");
    }
    assert_eq!(pods(bed).len(), 2);
}

/// Asks over a connection for each request, and gives how often.
async fn ask_anew(visitor: Arc<Client>, over: Arc<AtomicBool>) -> usize {
    let mut answered = 0;
    while !over.load(Ordering::Relaxed) {
        assert_eq!(visitor.send(Ask::get(APP)).await.status, 200);
        answered += 1;
    }
    answered
}

/// The same over a connection that is kept until the server wants to close it. As every client does (RFC 9110, 9.2.2), it
/// repeats a request on a new connection where a kept one was closed meanwhile.
async fn ask_on(visitor: Arc<Client>, over: Arc<AtomicBool>) -> usize {
    let url = APP.parse().expect("an address");
    let (mut kept, mut answered) = (None::<Kept>, 0);
    while !over.load(Ordering::Relaxed) {
        let again = match &mut kept {
            Some(connection) => connection.send(Ask::get(APP)).await.ok(),
            None => None,
        };
        let answer = match again {
            Some(answer) => answer,
            None => {
                let connection = kept.insert(visitor.connect(&url).await.expect("it connects"));
                connection.send(Ask::get(APP)).await.expect("it is answered")
            }
        };
        assert_eq!(answer.status, 200, "{}", answer.text());
        if answer.headers.get("connection").is_some_and(|value| value == "close") {
            kept = None;
        }
        answered += 1;
    }
    answered
}

/// The Service gets an address, as from a controller of load balancers, and then the Ingress has it.
async fn gets_the_address(bed: &Bed, address: &str) {
    let told = json!({"loadBalancer": {"ingress": [{"ip": address}]}});
    let service = ["patch", "service/portcullis", "--namespace", INSTALLATION, "--subresource", "status"];
    let patch = json!({"status": told}).to_string();
    bed.cluster.kubectl(&[&service[..], &["--type", "merge", "--patch", &patch]].concat());
    eventually("the address of the Service on the Ingress", SOON, async || {
        let ingress = bed.cluster.read(&["ingress", "app", "--namespace", NAMESPACE]);
        (ingress["status"] == told).then_some(())
    })
    .await;
}

async fn serves(visitor: &Client) {
    eventually("the app, through the Service", SOON, async || {
        visitor.try_send(Ask::get(APP)).await.is_ok_and(|answer| answer.status == 200).then_some(())
    })
    .await;
}

/// Waits until a Deployment has the pods that it wants.
fn rolled_out(bed: &Bed) {
    let status = ["rollout", "status", "deployment/portcullis", "--namespace", INSTALLATION, "--timeout=300s"];
    bed.cluster.kubectl(&status);
}

async fn ended(bed: &Bed) {
    eventually("the end of all pods", START, async || pods(bed).is_empty().then_some(())).await;
}

fn pods(bed: &Bed) -> BTreeSet<String> {
    let names = bed.cluster.kubectl(&["get", "pods", "--namespace", INSTALLATION, "--output", "name"]);
    names.lines().map(str::to_owned).collect()
}

fn helm(bed: &Bed, arguments: &[&str]) {
    bed.cluster.helm(&[arguments, &["--namespace", INSTALLATION]].concat());
}

/// What is in the cluster and was not there before.
fn left(bed: &Bed, before: &BTreeSet<String>) -> BTreeSet<String> {
    everything(bed).difference(before).cloned().collect()
}

/// All that is in the cluster, as `Kind/namespace/name`, but for Events and what comes with each namespace and each kind.
fn everything(bed: &Bed) -> BTreeSet<String> {
    let kinds = bed.cluster.kubectl(&["api-resources", "--verbs=list", "--output", "name"]);
    let own = |kind: &&str| !kind.starts_with("events") && !kind.starts_with("apiservices");
    let kinds = kinds.lines().filter(own).collect::<Vec<_>>().join(",");
    let names = r#"jsonpath={range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name}{"\n"}{end}"#;
    let all = bed.cluster.kubectl(&["get", &kinds, "--all-namespaces", "--output", names]);
    let of_namespace = |line: &&str| {
        let (kind, name) = (line.split('/').next(), line.rsplit('/').next());
        [("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")]
            .contains(&(kind.unwrap_or(""), name.unwrap_or("")))
    };
    all.lines().filter(|line| !of_namespace(line)).map(str::to_owned).collect()
}

/// What `scripts/e2e` was told of a cluster that is given.
fn setting(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}
