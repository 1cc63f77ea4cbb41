//! The proxies: each a process with one worker, pinned to core 0.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The host that is asked for.
pub const HOST: &str = "bench.localhost";

const HTTPS: u16 = 18443;
const NGINX: u16 = 18444;
const HAPROXY: u16 = 18445;

/// A running proxy, ended when dropped.
pub struct Proxy {
    /// Its name.
    pub name: &'static str,
    /// Where it serves HTTPS.
    pub address: SocketAddr,
    /// Whom its clients trust.
    pub roots: RootCertStore,
    /// The session that its clients send; others send one as long.
    pub cookie: String,
    child: Child,
}

impl Proxy {
    /// CPU that it has used, with its children, to the nanosecond.
    pub fn cpu(&self) -> Duration {
        Duration::from_nanos(family(self.child.id()).into_iter().map(used).sum())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        for pid in family(self.child.id()).into_iter().rev() {
            let _ = Command::new("kill").arg(pid.to_string()).status();
        }
        let _ = self.child.wait();
    }
}

/// Starts all, Portcullis first: its session is the one that is signed in.
pub fn start(folder: &Path, upstream: SocketAddr) -> Vec<Proxy> {
    let portcullis = portcullis(folder, upstream);
    let (cert, key, roots) = certificate(folder);
    let cookie = portcullis.cookie.clone();
    let nginx = include_str!("../nginx.conf")
        .replace("UPSTREAM", &upstream.to_string())
        .replace("PORT", &NGINX.to_string())
        .replace("CERT", &cert)
        .replace("KEY", &key)
        .replace("FOLDER", &folder.display().to_string());
    let nginx = spawn("nginx", NGINX, folder, &nginx, &["nginx", "-c"], roots.clone(), cookie.clone());
    let haproxy = include_str!("../haproxy.cfg")
        .replace("UPSTREAM", &upstream.to_string())
        .replace("PORT", &HAPROXY.to_string())
        .replace("COMBO", &format!("{}/combo.pem", folder.display()));
    let haproxy = spawn("haproxy", HAPROXY, folder, &haproxy, &["haproxy", "-db", "-f"], roots, cookie);
    vec![portcullis, nginx, haproxy]
}

fn spawn(
    name: &'static str,
    port: u16,
    folder: &Path,
    config: &str,
    command: &[&str],
    roots: RootCertStore,
    cookie: String,
) -> Proxy {
    let file = folder.join(format!("{name}.conf"));
    fs::write(&file, config).expect("a file");
    let child = Command::new("taskset")
        .args(["-c", "0"])
        .args(command)
        .arg(file)
        .stdout(Stdio::null())
        .spawn()
        .expect("it is installed");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    await_port(address);
    Proxy { name, address, roots, cookie, child }
}

fn portcullis(folder: &Path, upstream: SocketAddr) -> Proxy {
    let yaml = folder.join("yaml");
    fs::create_dir_all(&yaml).expect("a folder");
    let text = include_str!("../routes.yaml").replace("UPSTREAM_PORT", &upstream.port().to_string());
    fs::write(yaml.join("bench.yaml"), text).expect("a file");
    for file in 0..20 {
        fs::write(yaml.join(format!("routes-{file}.yaml")), many_routes(file * 100)).expect("a file");
    }
    let child = Command::new("taskset")
        .args(["-c", "0", env!("CARGO_BIN_EXE_portcullis"), "dev", "--workers", "1", "--http", "off"])
        .args(["--https", &format!("127.0.0.1:{HTTPS}"), "--admin", "127.0.0.1:18090", "--provider", "127.0.0.1:18091"])
        .args(["--echo", "127.0.0.1:18092", "--log-level", "error", "--audit"])
        .arg(folder.join("audit.jsonl"))
        .arg(yaml)
        .env("XDG_STATE_HOME", folder)
        .stdout(Stdio::null())
        .spawn()
        .expect("it is built");
    let address = SocketAddr::from(([127, 0, 0, 1], HTTPS));
    await_ready("http://127.0.0.1:18090/readyz");
    let trust = folder.join("portcullis/ca.crt");
    Proxy {
        name: "portcullis",
        address,
        roots: roots(&fs::read(&trust).expect("an authority")),
        cookie: sign_in(&trust, folder),
        child,
    }
}

/// Five paths on each of 100 hosts: 500 routes, and with 20 such files 10,000.
fn many_routes(first: usize) -> String {
    let mut text = String::new();
    for host in first..first + 100 {
        text.push_str(&format!(
            "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{namespace: bench, name: app-{host}, \
             annotations: {{portcullis.dev/policies: staff}}}}\nspec:\n  ingressClassName: portcullis\n  rules:\n  - \
             host: app-{host}.localhost\n    http:\n      paths:\n"
        ));
        for path in 0..5 {
            text.push_str(&format!(
                "      - {{path: /p{path}, pathType: Prefix, backend: {{service: {{name: echo, port: {{number: 80}}}}}}}}\n"
            ));
        }
    }
    text
}

/// Signs in as a person would, with curl; gives the cookie.
fn sign_in(trust: &Path, folder: &Path) -> String {
    let jar = folder.join("jar");
    let curl = |more: &[&str]| {
        let output = Command::new("curl")
            .args(["-sSL", "-o", "/dev/null", "-w", "%{url_effective}", "--cacert"])
            .arg(trust)
            .arg("-b")
            .arg(&jar)
            .arg("-c")
            .arg(&jar)
            .args(more)
            .output()
            .expect("curl is installed");
        String::from_utf8(output.stdout).expect("an address")
    };
    let form = curl(&[&format!("https://{HOST}:{HTTPS}/.portcullis/login?return=/")]);
    curl(&["-d", "persona=fiona", &form]);
    let jar = fs::read_to_string(jar).expect("a cookie jar");
    let value = jar.lines().find_map(|line| line.split_once("__Host-portcullis\t")).expect("a session cookie").1;
    format!("__Host-portcullis={value}")
}

/// A self-made certificate for the peers, ECDSA P-256 as ours.
fn certificate(folder: &Path) -> (String, String, RootCertStore) {
    let key = KeyPair::generate().expect("a key");
    let made = CertificateParams::new(vec![HOST.to_owned()]).expect("a name").self_signed(&key).expect("a certificate");
    let (cert_file, key_file) = (folder.join("cert.pem"), folder.join("key.pem"));
    fs::write(&cert_file, made.pem()).expect("a file");
    fs::write(&key_file, key.serialize_pem()).expect("a file");
    fs::write(folder.join("combo.pem"), made.pem() + &key.serialize_pem()).expect("a file");
    (cert_file.display().to_string(), key_file.display().to_string(), roots(made.pem().as_bytes()))
}

fn roots(pem: &[u8]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem).expect("a certificate")).expect("an anchor");
    roots
}

fn await_port(address: SocketAddr) {
    for _ in 0..200 {
        if std::net::TcpStream::connect(address).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("nothing listens on {address}");
}

fn await_ready(url: &str) {
    for _ in 0..600 {
        if Command::new("curl").args(["-sf", "-o", "/dev/null", url]).status().is_ok_and(|status| status.success()) {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{url} is not ready");
}

/// A process and its children.
fn family(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok()).flat_map(family);
    std::iter::once(pid).chain(children.collect::<Vec<_>>()).collect()
}

/// Nanoseconds that all threads of a process ran.
fn used(pid: u32) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let ran = |task: fs::DirEntry| {
        fs::read_to_string(task.path().join("schedstat")).ok()?.split(' ').next()?.parse::<u64>().ok()
    };
    tasks.flatten().filter_map(ran).sum()
}
