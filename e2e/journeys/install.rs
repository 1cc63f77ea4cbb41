//! An installation by the chart and one by the manifests, from nothing: the pods of the Deployment run and serve, an upgrade
//! under load fails no request, and what is taken away leaves nothing but the kinds.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::balancer::Door;
use crate::support::bed::Bed;
use crate::support::client::{Ask, Client, Kept};
use crate::support::eventually::{SOON, START, eventually};
use crate::support::node::Node;
use crate::support::objects::{self, INSTALLATION};
use crate::support::portcullis::PUBLISHED;

/// The namespace of the app, which is there before and after.
const NAMESPACE: &str = "install";

const HOST: &str = "installed.localhost";

const APP: &str = "https://installed.localhost/";

/// Where the app listens.
const ENDPOINT: &str = "10.244.1.7";

/// Clients of each kind that ask without pause.
const LOAD: usize = 2;

const CRDS: [&str; 3] = ["identityproviders", "policies", "portcullises"];

/// What Portcullis itself has written, so that a new installation signs nobody out, and where.
const WRITTEN: [&str; 3] =
    ["Namespace//portcullis-system", "Secret/portcullis-system/portcullis-keys", "Lease/portcullis-system/portcullis"];

/// Labels that tell who installed.
const OF_HELM: [&str; 4] =
    ["app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart"];

pub async fn journey(bed: &Bed) {
    let cluster = &bed.cluster;
    assert_eq!(rendered(bed), kustomized(bed), "the chart's defaults and the manifests are the same objects");
    bed.clear();
    let _controllers = cluster.start_controllers();
    let _node = Node::start(bed, &bed.folder(NAMESPACE)).await;
    let _door = Door::open(bed).await;
    let _app = App::start(&format!("{ENDPOINT}:{}", objects::APP_PORT)).await;
    cluster.kubectl(&["delete", "--kustomize", &path("manifests"), "--ignore-not-found", "--timeout=60s"]);
    cluster.apply(&[objects::namespace(NAMESPACE)]);
    cluster.apply(&[
        objects::tls_secret(NAMESPACE, "app", &bed.authority.issue(&[HOST])),
        objects::service(NAMESPACE, "app"),
        objects::endpoints(NAMESPACE, "app", &[ENDPOINT]),
        objects::ingress(NAMESPACE, "app", HOST, &json!({"portcullis.dev/access": "public"})),
    ]);
    let before = everything(bed);
    let visitor = Arc::new(Client::new(&bed.authority));

    // The namespace enforces pod security `restricted`: a pod that asks for more is never made.
    cluster.kubectl(&["apply", "--filename", &path("manifests/namespace.yaml")]);
    cluster.helm(&["lint", "--strict", "charts/portcullis"]);
    let publish = format!("publishAddresses={{{PUBLISHED}}}");
    helm(bed, &["install", "portcullis", "charts/portcullis", "--set", &publish]);
    rolled_out(bed);
    serves(&visitor).await;
    let address = || cluster.read(&["ingress", "app", "--namespace", NAMESPACE])["status"]["loadBalancer"].clone();
    eventually("the address of the Ingress", SOON, async || {
        (address() == json!({"ingress": [{"ip": PUBLISHED}]})).then_some(())
    })
    .await;
    upgrade_under_load(bed, &visitor).await;
    helm(bed, &["uninstall", "portcullis"]);
    ended(bed).await;
    let kinds = CRDS.map(|kind| format!("CustomResourceDefinition//{kind}.portcullis.dev"));
    assert_eq!(left(bed, &before), WRITTEN.map(str::to_owned).into_iter().chain(kinds.clone()).collect());
    cluster.kubectl(&["delete", "namespace", INSTALLATION, "--timeout=60s"]);
    assert_eq!(left(bed, &before), BTreeSet::from(kinds));

    cluster.apply_folder("crds");
    cluster.apply_folder("manifests");
    rolled_out(bed);
    serves(&visitor).await;
    cluster.kubectl(&["scale", "deployment/portcullis", "--replicas=0", "--namespace", INSTALLATION]);
    ended(bed).await;
}

/// Every pod is replaced while clients ask without pause, and each of them is answered by the app.
async fn upgrade_under_load(bed: &Bed, visitor: &Arc<Client>) {
    let old = pods(bed);
    assert_eq!(old.len(), 2);
    let over = Arc::new(AtomicBool::new(false));
    let mut load = Vec::new();
    for _ in 0..LOAD {
        load.push(tokio::spawn(ask_anew(Arc::clone(visitor), Arc::clone(&over))));
        load.push(tokio::spawn(ask_on(Arc::clone(visitor), Arc::clone(&over))));
    }
    helm(bed, &["upgrade", "portcullis", "charts/portcullis", "--reuse-values", "--set", "log.level=debug"]);
    rolled_out(bed);
    eventually("the end of the former pods", START, async || pods(bed).is_disjoint(&old).then_some(())).await;
    over.store(true, Ordering::Relaxed);
    for client in load {
        let answered = client.await.expect("no request failed");
        assert!(answered > 100, "there was load: {answered} requests");
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

async fn serves(visitor: &Client) {
    eventually("the app, through the Service", SOON, async || {
        visitor.try_send(Ask::get(APP)).await.is_ok_and(|answer| answer.status == 200).then_some(())
    })
    .await;
}

/// Waits until a Deployment has the pods that it wants.
fn rolled_out(bed: &Bed) {
    let status = ["rollout", "status", "deployment/portcullis", "--namespace", INSTALLATION, "--timeout=90s"];
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

/// The objects of the chart with its defaults.
fn rendered(bed: &Bed) -> Vec<Value> {
    let namespace = format!("--namespace={INSTALLATION}");
    comparable(&bed.cluster.helm(&["template", "portcullis", "charts/portcullis", "--include-crds", &namespace]))
}

/// The objects of the manifests, without the namespace, which Helm has from its command line.
fn kustomized(bed: &Bed) -> Vec<Value> {
    let mut objects = comparable(&bed.cluster.kubectl(&["kustomize", &path("manifests")]));
    objects.retain(|object| object["kind"] != "Namespace");
    objects
}

/// Objects without the labels of Helm, in the order of their names.
fn comparable(yaml: &str) -> Vec<Value> {
    let mut objects: Vec<Value> = serde_saphyr::from_multiple(yaml).expect("it is YAML");
    objects.iter_mut().for_each(without_labels_of_helm);
    // Only the chart labels all of its objects.
    for object in &mut objects {
        object["metadata"].as_object_mut().expect("objects have it").remove("labels");
    }
    objects.sort_by_key(|object| format!("{} {}", object["kind"], object["metadata"]["name"]));
    objects
}

fn without_labels_of_helm(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !OF_HELM.contains(&&**name));
            fields.values_mut().for_each(without_labels_of_helm);
        }
        Value::Array(values) => values.iter_mut().for_each(without_labels_of_helm),
        _ => {}
    }
}

fn path(within: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(within).to_string_lossy().into_owned()
}
