//! Portcullis as in a cluster: a real etcd and kube-apiserver, a real OpenID Provider, sessions in Secrets, 10,000 routes,
//! audit to a file, metrics on. On core 0, with one worker.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Proxy;
use crate::load::Visitor;
use crate::oauth2;
use crate::support::authority::Pair;
use crate::support::bed::Bed;
use crate::support::client::Client;
use crate::support::cluster;
use crate::support::eventually::eventually;
use crate::support::objects::{self, INSTALLATION};
use crate::support::portcullis::{PROGRAM, Portcullis};
use crate::support::provider::{Provider, STAFF};

/// What it is called in the table.
pub const NAME: &str = "portcullis";

/// The host that is asked for.
pub const HOST: &str = "app.localhost";

const NAMESPACE: &str = "bench";

/// Ingresses, hosts of each, paths of each: 10,000 routes.
const ROUTES: [usize; 3] = [100, 20, 5];

/// Longer than a run, so that no refresh is measured.
const ACCESS_TOKEN_SECONDS: u32 = 3600;

/// Until the routes are live, on a machine that is busy.
const LIVE: Duration = Duration::from_secs(120);

/// Everything that runs for it.
pub struct Ground {
    bed: Bed,
    _provider: Provider,
    portcullis: Portcullis,
    /// The certificate of the host, which all proxies show.
    pub pair: Pair,
}

impl Ground {
    /// Starts it all, the control plane from the folder `programs`, and waits until every route is live.
    pub async fn start(programs: &Path) -> Self {
        let bed = Bed::start(cluster::Ground::Bare(programs), "bench").await;
        let folder = bed.folder(NAME);
        let provider =
            Provider::start_for(&folder, &bed.authority, &[HOST], &oauth2::callbacks(), ACCESS_TOKEN_SECONDS).await;
        let pair = bed.authority.issue(&[HOST]);
        bed.cluster.apply(&objects::installation(&bed.authority.pem));
        bed.cluster.apply(&[objects::namespace(NAMESPACE), objects::tls_secret(NAMESPACE, "app", &pair)]);
        let measured: Vec<Value> =
            serde_saphyr::from_multiple(include_str!("../objects.yaml")).expect("our own objects are YAML");
        bed.cluster.apply(&measured);
        bed.cluster.apply(&(0..ROUTES[0]).map(many_routes).collect::<Vec<_>>());
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", "0", PROGRAM]);
        let mut portcullis = Portcullis::start_by(pinned, &folder, &bed.cluster.portcullis, &bed.authority);
        portcullis.ready().await;
        let routes = ROUTES.iter().product::<usize>() + 1;
        let all = format!("portcullis_routes{{access=\"guarded\"}} {routes}\n");
        eventually(&all, LIVE, async || portcullis.metrics().await.contains(&all).then_some(())).await;
        Self { bed, _provider: provider, portcullis, pair }
    }

    /// What is measured, for somebody who has signed in at it.
    pub fn proxy(&self, visitor: Visitor) -> Proxy {
        Proxy {
            name: NAME,
            address: ([127, 0, 0, 1], 8443).into(),
            processes: vec![self.portcullis.id()],
            visitor,
            only_http1: false,
        }
    }

    /// Somebody who has signed in at a port of this machine.
    pub async fn signed_in(&self, port: u16) -> Visitor {
        let person = Client::new(&self.bed.authority);
        let landed = person.sign_in(&format!("https://{HOST}:{port}/"), &STAFF).await;
        assert_eq!(landed.status, 200, "{}", landed.text());
        Visitor::new(&self.bed.authority.pem, person.cookies(HOST).expect("signed in"))
    }

    /// Somebody who has signed in at Portcullis.
    pub async fn visitor(&self) -> Visitor {
        let visitor = self.signed_in(8443).await;
        let secrets = self.bed.cluster.kubectl(&["get", "secrets", "--namespace", INSTALLATION, "--output", "name"]);
        assert_eq!(secrets.matches("secret/pcs-").count(), 1, "the session rests in a Secret: {secrets}");
        visitor
    }

    /// The file with the authority that all certificates are of.
    pub fn authority(&self) -> &Path {
        &self.bed.authority.file
    }

    /// For the files of all.
    pub fn folder(&self) -> PathBuf {
        self.bed.folder("peers")
    }
}

/// One Ingress with many hosts and paths.
fn many_routes(number: usize) -> Value {
    let [_, hosts, paths] = ROUTES;
    let paths = (0..paths).map(|path| {
        let backend = json!({"service": {"name": "app", "port": {"number": 80}}});
        json!({"path": format!("/p{path}"), "pathType": "Prefix", "backend": backend})
    });
    let http = json!({"paths": paths.collect::<Vec<_>>()});
    let rules = (0..hosts).map(|host| json!({"host": format!("app-{number}-{host}.localhost"), "http": http}));
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "namespace": NAMESPACE,
            "name": format!("apps-{number}"),
            "annotations": {"portcullis.dev/policies": "staff"},
        },
        "spec": {"ingressClassName": "portcullis", "rules": rules.collect::<Vec<_>>()},
    })
}
