//! A real etcd and kube-apiserver, or a cluster that is given, with two users: an administrator, and one who is bound to
//! nothing but the RBAC in `manifests/`, as whom Portcullis runs.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use data_encoding::BASE64;
use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::client::{Ask, Client};
use super::eventually::{SOON, START, eventually};
use super::objects::INSTALLATION;
use super::program::{Program, output};

/// Where the API server answers.
const SERVER: &str = "https://127.0.0.1:6443";

/// Where etcd answers.
const ETCD: &str = "http://127.0.0.1:2379";

/// The users: token, name, uid, groups. The second is known to RBAC as the ServiceAccount of the manifests.
const USERS: &str = r#"admin-token,admin,1,"system:masters"
portcullis-token,system:serviceaccount:portcullis-system:portcullis,2,"system:serviceaccounts,system:serviceaccounts:portcullis-system,system:authenticated"
"#;

/// The controllers of the journeys that run pods. The others are of clouds, disks, nodes and kinds that no journey has.
const CONTROLLERS: &[&str] = &[
    "deployment-controller",
    "replicaset-controller",
    "endpointslice-controller",
    "disruption-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
];

/// Where the journeys run.
#[derive(Clone, Copy)]
pub enum Ground<'a> {
    /// A control plane of their own, from the programs in a folder.
    Bare(&'a Path),
    /// The cluster of an administrator's kubeconfig. All its Ingresses and all that is Portcullis' are taken away.
    Given(&'a Path),
}

/// The control plane.
pub struct Cluster {
    folder: PathBuf,
    own: Option<Own>,
    /// The administrator's kubeconfig.
    pub admin: PathBuf,
    /// The kubeconfig of the user that Portcullis runs as.
    pub portcullis: PathBuf,
}

/// A control plane of our own.
struct Own {
    programs: PathBuf,
    _etcd: Program,
    api_server: Mutex<Program>,
}

impl Cluster {
    /// Takes what is given, or starts etcd and API server with their state in `folder`; waits until they serve.
    pub async fn start(ground: Ground<'_>, folder: &Path) -> Self {
        let cluster = match ground {
            Ground::Bare(programs) => Self::bare(programs, folder),
            Ground::Given(kubeconfig) => Self {
                own: None,
                admin: kubeconfig.to_owned(),
                portcullis: folder.join("portcullis.kubeconfig"),
                folder: folder.to_owned(),
            },
        };
        cluster.wait_until_ready().await;
        cluster
    }

    fn bare(programs: &Path, folder: &Path) -> Self {
        let pki = folder.join("pki");
        fs::create_dir_all(&pki).expect("the folder can be made");
        let key = KeyPair::generate().expect("the random source works");
        fs::write(pki.join("sa.key"), key.serialize_pem()).expect("the folder is there");
        fs::write(pki.join("sa.pub"), key.public_key_pem()).expect("the folder is there");
        fs::write(folder.join("tokens.csv"), USERS).expect("the folder is there");
        let own = Own {
            _etcd: etcd(programs, folder),
            api_server: Mutex::new(api_server(programs, folder)),
            programs: programs.to_owned(),
        };
        Self {
            own: Some(own),
            admin: kubeconfig(folder, "admin"),
            portcullis: kubeconfig(folder, "portcullis"),
            folder: folder.to_owned(),
        }
    }

    /// Whether the control plane is the journeys' own.
    pub fn is_bare(&self) -> bool {
        self.own.is_some()
    }

    /// Lets Portcullis in as its ServiceAccount, once that is there. In a control plane of our own it has a token already.
    pub fn let_portcullis_in(&self) {
        if self.is_bare() {
            return;
        }
        let token = self.kubectl(&["create", "token", "portcullis", "--namespace", INSTALLATION, "--duration", "4h"]);
        let config = self.kubectl(&["config", "view", "--raw", "--minify", "--flatten", "--output", "json"]);
        let mut config: Value = serde_json::from_str(&config).expect("kubectl prints JSON");
        config["users"][0]["user"] = json!({"token": token.trim()});
        fs::write(&self.portcullis, config.to_string()).expect("the folder is there");
    }

    /// Kills the API server. What it knows is in etcd.
    pub async fn kill_api_server(&self) {
        self.own().api_server.lock().await.kill();
    }

    /// Starts it again.
    pub async fn restart_api_server(&self) {
        let own = self.own();
        *own.api_server.lock().await = api_server(&own.programs, &self.folder);
        self.wait_until_ready().await;
    }

    /// Lets etcd forget all that was before now: no watch that saw less can go on.
    pub async fn compact(&self, client: &Client) {
        let revision = etcd_answers(client, "range", json!({"key": "AA=="})).await["header"]["revision"].clone();
        etcd_answers(client, "compaction", json!({"revision": revision, "physical": true})).await;
    }

    /// Every object that etcd has now, by its key.
    pub async fn etcd_objects(&self, client: &Client) -> Vec<(String, Vec<u8>)> {
        let all = etcd_answers(client, "range", json!({"key": "AA==", "range_end": "AA=="})).await;
        let bytes = |field: &Value| BASE64.decode(field.as_str().expect("a text").as_bytes()).expect("base64");
        let objects = all["kvs"].as_array().expect("a list").iter();
        objects.map(|one| (String::from_utf8(bytes(&one["key"])).expect("a path"), bytes(&one["value"]))).collect()
    }

    /// Starts what makes pods of Deployments, endpoints of pods, and an end of what is deleted.
    pub fn start_controllers(&self) -> [Program; 2] {
        let pki = self.folder.join("pki");
        let programs = &self.own().programs;
        let mut manager = Command::new(programs.join("kube-controller-manager"));
        manager.arg("--service-account-private-key-file").arg(pki.join("sa.key"));
        manager.arg("--root-ca-file").arg(pki.join("apiserver.crt"));
        manager.arg("--controllers").arg(CONTROLLERS.join(","));
        let scheduler = Command::new(programs.join("kube-scheduler"));
        [("kube-controller-manager", manager), ("kube-scheduler", scheduler)].map(|(name, mut command)| {
            command.arg("--kubeconfig").arg(&self.admin).args(["--leader-elect=false", "--bind-address", "127.0.0.1"]);
            Program::start(name, &mut command, &self.folder.join(format!("{name}.log")))
        })
    }

    /// Runs `helm` as the administrator, in the folder of the repository, and gives what it printed.
    pub fn helm(&self, arguments: &[&str]) -> String {
        output(self.helm_command().args(arguments))
    }

    /// The same where it must refuse; gives its reason.
    pub fn helm_refuses(&self, arguments: &[&str]) -> String {
        let result = tokio::task::block_in_place(|| self.helm_command().args(arguments).output());
        let result = result.expect("helm is there");
        assert!(!result.status.success(), "helm takes {arguments:?}");
        String::from_utf8_lossy(&result.stderr).into_owned()
    }

    /// Runs `kubectl` as the administrator and gives what it printed.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        output(self.kubectl_command().args(arguments))
    }

    /// An object, or objects, as the API server has them.
    pub fn read(&self, arguments: &[&str]) -> Value {
        let json = output(self.kubectl_command().arg("get").args(arguments).args(["--output", "json"]));
        serde_json::from_str(&json).expect("kubectl prints JSON")
    }

    /// `kubectl apply` with further arguments, such as `--validate=warn`.
    pub fn apply_with(&self, arguments: &[&str], objects: &[Value]) {
        let result = self.try_apply(arguments, objects);
        assert!(result.status.success(), "kubectl apply: {}", String::from_utf8_lossy(&result.stderr));
    }

    fn try_apply(&self, arguments: &[&str], objects: &[Value]) -> Output {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        let mut command = self.kubectl_command();
        command.args(["apply", "--filename", "-"]).args(arguments);
        tokio::task::block_in_place(|| with_input(&mut command, list.as_bytes()))
    }

    /// `kubectl apply` where each object must be refused; gives what it says.
    pub fn refuses(&self, objects: &[Value]) -> String {
        let result = self.try_apply(&["--validate=strict"], objects);
        assert!(!result.status.success(), "kubectl apply takes {objects:?}");
        String::from_utf8_lossy(&result.stderr).into_owned()
    }

    /// `kubectl apply`, as a careful person runs it.
    pub fn apply(&self, objects: &[Value]) {
        self.apply_with(&["--validate=strict"], objects);
    }

    /// `kubectl apply` for a kustomization of the repository.
    pub fn apply_folder(&self, folder: &str) {
        self.kubectl(&["apply", "--server-side", "--kustomize", &in_repository(folder)]);
    }

    /// All that etcd has on disk: every revision of every object that it has not compacted away. It writes ahead into files
    /// of zeros, which are left out.
    pub fn etcd_dump(&self) -> Vec<Vec<u8>> {
        let written = |bytes: Vec<u8>| bytes.iter().rposition(|&byte| byte != 0).map(|last| bytes[..=last].to_vec());
        // It renames files as it works; then all are read anew.
        let all = || files_below(&self.folder.join("etcd")).into_iter().map(fs::read).collect::<io::Result<Vec<_>>>();
        let read = (0..10).find_map(|_| all().ok()).expect("etcd's files");
        read.into_iter().filter_map(written).collect()
    }

    fn own(&self) -> &Own {
        self.own.as_ref().expect("such journeys run on a control plane of their own")
    }

    fn helm_command(&self) -> Command {
        let mut command = Command::new(std::env::var_os("PORTCULLIS_HELM").expect("scripts/e2e says where it is"));
        command.env("KUBECONFIG", &self.admin).env("HOME", &self.folder).current_dir(env!("CARGO_MANIFEST_DIR"));
        command
    }

    /// Where `kubectl` is.
    pub fn kubectl_program(&self) -> PathBuf {
        let built = self.own.as_ref().map(|own| own.programs.join("kubectl")).filter(|built| built.exists());
        built.unwrap_or_else(|| "kubectl".into())
    }

    fn kubectl_command(&self) -> Command {
        let mut command = Command::new(self.kubectl_program());
        command.env("KUBECONFIG", &self.admin).env("HOME", &self.folder);
        command
    }

    async fn wait_until_ready(&self) {
        eventually("the API server's /readyz", START, async || {
            if let Some(own) = &self.own {
                own.api_server.lock().await.assert_runs();
            }
            let mut command = self.kubectl_command();
            command.args(["get", "--raw", "/readyz", "--request-timeout", "20s"]);
            let result = tokio::task::block_in_place(|| command.output()).expect("kubectl is there");
            result.status.success().then_some(())
        })
        .await;
        eventually("the namespace `default`", SOON, async || {
            let mut command = self.kubectl_command();
            let result = tokio::task::block_in_place(|| command.args(["get", "namespace", "default"]).output());
            result.expect("kubectl is there").status.success().then_some(())
        })
        .await;
    }
}

/// The path of a file of the repository.
pub fn in_repository(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).to_string_lossy().into_owned()
}

async fn etcd_answers(client: &Client, call: &str, body: Value) -> Value {
    let answer = client.send(Ask::post(&format!("{ETCD}/v3/kv/{call}"), body.to_string())).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn etcd(programs: &Path, folder: &Path) -> Program {
    let mut command = Command::new(programs.join("etcd"));
    command.arg("--data-dir").arg(folder.join("etcd"));
    command.args(["--listen-client-urls", ETCD, "--advertise-client-urls", ETCD]);
    command.args(["--listen-peer-urls", "http://127.0.0.1:0", "--unsafe-no-fsync", "--log-level", "warn"]);
    Program::start("etcd", &mut command, &folder.join("etcd.log"))
}

fn api_server(programs: &Path, folder: &Path) -> Program {
    let pki = folder.join("pki");
    let mut command = Command::new(programs.join("kube-apiserver"));
    command.args(["--etcd-servers", ETCD, "--bind-address", "127.0.0.1", "--secure-port", "6443"]);
    // Without an address of its own it refuses to start where there is no default route.
    command.args(["--advertise-address", "10.96.255.1", "--endpoint-reconciler-type", "none"]);
    command.arg("--cert-dir").arg(&pki).arg("--token-auth-file").arg(folder.join("tokens.csv"));
    command.args(["--authorization-mode", "Node,RBAC", "--service-cluster-ip-range", "10.96.0.0/16"]);
    command.args(["--service-account-issuer", "https://kubernetes.default.svc"]);
    command.arg("--service-account-key-file").arg(pki.join("sa.pub"));
    command.arg("--service-account-signing-key-file").arg(pki.join("sa.key"));
    Program::start("kube-apiserver", &mut command, &folder.join("kube-apiserver.log"))
}

/// The kubeconfig of a user; the API server makes its certificate, which is its own authority, as it starts.
fn kubeconfig(folder: &Path, user: &str) -> PathBuf {
    let path = folder.join(format!("{user}.kubeconfig"));
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": user,
        "clusters": [{"name": "tests", "cluster": {
            "server": SERVER,
            "certificate-authority": folder.join("pki/apiserver.crt"),
        }}],
        "users": [{"name": user, "user": {"token": format!("{user}-token")}}],
        "contexts": [{"name": user, "context": {"cluster": "tests", "user": user}}],
    });
    fs::write(&path, config.to_string()).expect("the folder is there");
    path
}

fn with_input(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start kubectl: {error}"));
    let mut stdin = child.stdin.take().expect("it was asked for");
    stdin.write_all(input).expect("kubectl reads its input");
    drop(stdin);
    child.wait_with_output().expect("it is our child")
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("etcd keeps its state there").map(|entry| entry.expect("it can be read"));
    let (folders, files): (Vec<_>, Vec<_>) = entries.map(|entry| entry.path()).partition(|path| path.is_dir());
    files.into_iter().chain(folders.iter().flat_map(|folder| files_below(folder))).collect()
}
