//! A node: runs the pods of Portcullis that the scheduler gives it, as a kubelet would, with the program under test for their
//! image. Command, arguments, environment, probes, `preStop`, volumes and the user are those of the pod; limits of resources
//! and seccomp profiles are not applied. What it does not know it refuses.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, HTTPGetAction, Node as NodeObject, Pod, Probe, ProjectedVolumeSource, ServiceAccount, Volume,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, ResourceExt};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use super::balancer::Balancer;
use super::bed::Bed;
use super::client::{self, Ask};
use super::controller;
use super::eventually::PAUSE;
use super::objects::INSTALLATION;
use super::portcullis::PROGRAM;
use super::program::{Program, output};

/// Its name.
const NAME: &str = "bed";

/// The address by which pods reach the API server, the first of its range of Services.
const API_SERVER: &str = "10.96.0.1";

/// A running node. Dropping it kills its pods.
pub struct Node {
    task: JoinHandle<()>,
    _api_server: Balancer,
}

impl Node {
    /// Tells the cluster of the node, and runs what it is given.
    pub async fn start(bed: &Bed, folder: &Path) -> Self {
        output(Command::new("ip").args(["address", "replace", &format!("{API_SERVER}/32"), "dev", "lo"]));
        let target: SocketAddr = "127.0.0.1:6443".parse().expect("an address");
        let api_server = Balancer::start(&format!("{API_SERVER}:443"), vec![target]).await;
        let client = controller::admin(&bed.cluster).await;
        join(&client).await;
        let kubelet = Kubelet {
            client,
            folder: folder.to_owned(),
            http: Arc::new(client::Client::new(&bed.authority)),
            last: Arc::default(),
        };
        Self { task: tokio::spawn(kubelet.run()), _api_server: api_server }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn join(client: &Client) {
    let nodes: Api<NodeObject> = Api::all(client.clone());
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": NAME, "labels": {"kubernetes.io/hostname": NAME}},
    });
    // It may be there from an earlier journey.
    let apply = PatchParams::apply(NAME).force();
    nodes.patch(NAME, &apply, &Patch::Apply(node)).await.expect("a sound node");
    let room = json!({"cpu": "8", "memory": "8Gi", "pods": "20"});
    let ready = json!({"type": "Ready", "status": "True"});
    let status = json!({"status": {"capacity": room, "allocatable": room, "conditions": [ready]}});
    let patch = PatchParams::default();
    nodes.patch_status(NAME, &patch, &Patch::Strategic(status)).await.expect("the node is there");
    // The API server gives every new node the taint of one that is not ready.
    let bare = json!({"spec": {"taints": null}});
    nodes.patch(NAME, &patch, &Patch::Merge(bare)).await.expect("the node is there");
}

#[derive(Clone)]
struct Kubelet {
    client: Client,
    folder: PathBuf,
    http: Arc<client::Client>,
    /// The last part of the last address that was given away.
    last: Arc<AtomicU8>,
}

impl Kubelet {
    async fn run(self) {
        let mut pods = JoinSet::new();
        let mut known = BTreeSet::new();
        let mine = ListParams::default().fields(&format!("spec.nodeName={NAME}"));
        loop {
            // The API server may be away for a moment.
            let list = Api::<Pod>::namespaced(self.client.clone(), INSTALLATION).list(&mine).await;
            for pod in list.into_iter().flatten() {
                if known.insert(pod.metadata.uid.clone()) {
                    pods.spawn(self.clone().live(pod));
                }
            }
            while let Some(ended) = pods.try_join_next() {
                ended.expect("a pod lives and ends well");
            }
            sleep(PAUSE).await;
        }
    }

    /// The life of a pod.
    async fn live(self, pod: Pod) {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().expect("pods have one"));
        let (name, uid) = (pod.name_any(), pod.uid().expect("the server gave one"));
        let container = container(&pod).clone();
        let address = format!("10.244.2.{}", self.last.fetch_add(1, Ordering::Relaxed) + 1);
        let mut program = self.begin(&pod, &container, &address).await;
        let (mut started, mut ready) = (false, None);
        loop {
            let now = api.get(&name).await;
            if now.as_ref().is_ok_and(|now| now.metadata.deletion_timestamp.is_some()) {
                break;
            }
            program.assert_runs();
            started = started || self.passes(&container, container.startup_probe.as_ref(), &address).await;
            assert!(
                !started || self.passes(&container, container.liveness_probe.as_ref(), &address).await,
                "{name} lives"
            );
            let is_ready = started && self.passes(&container, container.readiness_probe.as_ref(), &address).await;
            if ready != Some(is_ready) {
                let status = status(&pod, &container, &address, started, is_ready);
                // A pod that is gone by now needs none.
                if api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(status)).await.is_ok() {
                    ready = Some(is_ready);
                }
            }
            sleep(PAUSE).await;
        }
        let stop = container.lifecycle.and_then(|hooks| hooks.pre_stop).and_then(|hook| hook.sleep);
        sleep(Duration::from_secs(stop.map_or(0, |sleep| sleep.seconds.unsigned_abs()))).await;
        program.signal(Signal::SIGTERM);
        let grace = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
        let ended = program.end(Duration::from_secs(grace.unsigned_abs())).await;
        assert!(ended.success(), "{name} ended with {ended}");
        let at_once = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: Some(uid), resource_version: None }),
            ..DeleteParams::default()
        };
        let _ = api.delete(&name, &at_once).await;
    }

    /// Starts the container in its network, on its root, with its volumes.
    async fn begin(&self, pod: &Pod, container: &Container, address: &str) -> Program {
        let spec = pod.spec.as_ref().expect("pods have one");
        let security = spec.security_context.as_ref().expect("who is to run it is said");
        let own = container.security_context.as_ref().expect("what it may do is said");
        assert_eq!((security.run_as_non_root, own.read_only_root_filesystem), (Some(true), Some(true)));
        let owner = [security.run_as_user, security.run_as_group].map(|id| id.expect("a user and a group"));
        assert!(container.command.is_none(), "the image says the command");
        let pod_folder = self.folder.join(pod.name_any());
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount"]).arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/pod"));
        command.args([address, &format!("{}:{}", owner[0], owner[1]), PROGRAM]);
        for mount in container.volume_mounts.as_deref().unwrap_or_default() {
            let source = pod_folder.join(&mount.name);
            let volumes = spec.volumes.as_deref().unwrap_or_default();
            let volume = volumes.iter().find(|volume| volume.name == mount.name).expect("a volume of the pod");
            self.fill(&source, pod, volume).await;
            command.arg(format!("{}={}", mount.mount_path, source.display()));
        }
        command.arg("--");
        command.args([format!("KUBERNETES_SERVICE_HOST={API_SERVER}"), "KUBERNETES_SERVICE_PORT=443".to_owned()]);
        for variable in container.env.iter().flatten() {
            let value = variable.value.clone().unwrap_or_else(|| {
                let field = variable.value_from.as_ref().and_then(|from| from.field_ref.as_ref());
                match field.map(|field| &*field.field_path) {
                    Some("metadata.namespace") => pod.namespace().expect("pods have one"),
                    Some("status.podIPs") => address.to_owned(),
                    other => panic!("{}: {other:?} is not known here", variable.name),
                }
            });
            command.arg(format!("{}={value}", variable.name));
        }
        command.arg("--").args(container.args.iter().flatten());
        fs::create_dir_all(&pod_folder).expect("the folder can be made");
        Program::start(&pod.name_any(), &mut command, &pod_folder.join("log"))
    }

    /// What a volume has in it.
    async fn fill(&self, folder: &Path, pod: &Pod, volume: &Volume) {
        fs::create_dir_all(folder).expect("the folder can be made");
        match volume {
            Volume { projected: Some(projected), .. } => {
                for (path, content) in self.projected(pod, projected).await {
                    fs::write(folder.join(path), content).expect("the folder is there");
                }
            }
            other => panic!("volume {} is of no kind that is known here", other.name),
        }
    }

    async fn projected(&self, pod: &Pod, volume: &ProjectedVolumeSource) -> Vec<(String, String)> {
        let namespace = pod.namespace().expect("pods have one");
        let mut files = Vec::new();
        for source in volume.sources.as_deref().unwrap_or_default() {
            if let Some(token) = &source.service_account_token {
                files.push((token.path.clone(), self.token(pod, token.expiration_seconds).await));
            }
            if let Some(map) = &source.config_map {
                let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &namespace);
                let data = api.get(&map.name).await.expect("a ConfigMap of the pod").data.unwrap_or_default();
                let items = map.items.iter().flatten();
                files.extend(items.map(|item| (item.path.clone(), data[&item.key].clone())));
            }
            for item in source.downward_api.iter().flat_map(|api| api.items.iter().flatten()) {
                let field = item.field_ref.as_ref().map(|field| &*field.field_path);
                assert_eq!(field, Some("metadata.namespace"), "the one field that is known here");
                files.push((item.path.clone(), namespace.clone()));
            }
        }
        files
    }

    /// A token of the pod's ServiceAccount, good as long as the pod is.
    async fn token(&self, pod: &Pod, seconds: Option<i64>) -> String {
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &pod.namespace().expect("pods have one"));
        let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).expect("it is said");
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: Vec::new(),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: pod.metadata.name.clone(),
                    uid: pod.metadata.uid.clone(),
                }),
                expiration_seconds: seconds,
            },
            ..TokenRequest::default()
        };
        let made = api.create_token_request(account, &PostParams::default(), &request).await;
        made.expect("the account is there").status.expect("a token").token
    }

    async fn passes(&self, container: &Container, probe: Option<&Probe>, address: &str) -> bool {
        let Some(probe) = probe else { return true };
        let HTTPGetAction { path, port, .. } = probe.http_get.as_ref().expect("probes ask over HTTP");
        let port = match port {
            IntOrString::Int(port) => *port,
            IntOrString::String(name) => {
                let mut ports = container.ports.iter().flatten();
                ports.find(|port| port.name.as_ref() == Some(name)).expect("a port of the container").container_port
            }
        };
        let path = path.as_deref().unwrap_or("/");
        let answer = self.http.try_send(Ask::get(&format!("http://{address}:{port}{path}"))).await;
        answer.is_ok_and(|answer| (200..400).contains(&answer.status))
    }
}

fn container(pod: &Pod) -> &Container {
    let spec = pod.spec.as_ref().expect("pods have one");
    assert!(spec.init_containers.is_none(), "init containers are not known here");
    let [container] = &spec.containers[..] else { panic!("pods of one container are known here") };
    container
}

fn status(pod: &Pod, container: &Container, address: &str, started: bool, ready: bool) -> Value {
    let truth = if ready { "True" } else { "False" };
    let condition = |kind| json!({"type": kind, "status": truth});
    json!({
        "metadata": {"uid": pod.metadata.uid},
        "status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [condition("Ready"), condition("ContainersReady")],
            "containerStatuses": [{
                "name": container.name, "image": container.image, "imageID": "", "restartCount": 0,
                "started": started, "ready": ready, "state": {"running": {}},
            }],
        },
    })
}
