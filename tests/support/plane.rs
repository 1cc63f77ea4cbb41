//! The real listeners, in process, on loopback, over a snapshot made by hand; and a client on raw sockets.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis::audit::{Audit, RequestId};
use portcullis::budget::Limits;
use portcullis::clock::Clock;
use portcullis::controller::compile::Defaults;
use portcullis::controller::folder::Folder;
use portcullis::controller::{Controller, Live, Source};
use portcullis::host::HostMatch;
use portcullis::metrics::Metrics;
use portcullis::oidc::Oidc;
use portcullis::path::PathMatch;
use portcullis::proxy::listener::{self, ListenerSettings, Running};
use portcullis::proxy::service::Shared;
use portcullis::route::{Access, Backend, BackendKey, EndpointSet, Route, RouteSettings, RouteTable};
use portcullis::seal::KeyRing;
use portcullis::session::{MemoryStore, Sessions};
use portcullis::snapshot::{self, Pending, Publisher, Snapshot};
use portcullis::tls::{CertStore, Certificate};
use portcullis::{config, run};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// How long a client waits for bytes before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A data plane at work.
pub struct Plane {
    /// The plain listener.
    pub http: SocketAddr,
    /// The TLS listener.
    pub https: SocketAddr,
    /// The audit trail as far as it is written.
    pub trail: Trail,
    /// What it counts.
    pub metrics: Metrics,
    /// The sessions, to begin one without signing in.
    pub sessions: Sessions,
    /// Absent where a controller publishes.
    publisher: Option<Publisher>,
    /// Outlives the data threads, as in the process.
    _audit: Audit,
    running: Option<Running>,
    control: Runtime,
}

/// What the audit writer wrote. Cheap to clone.
#[derive(Clone, Default)]
pub struct Trail {
    written: Arc<Mutex<Vec<u8>>>,
    full: Arc<AtomicBool>,
}

impl Write for Trail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.full.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.written.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Trail {
    /// Whether its disk is full from now on.
    pub fn full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    /// The first lines, as many as are waited for.
    pub fn until(&self, count: usize) -> Vec<serde_json::Value> {
        for _ in 0..6_000 {
            let lines = self.lines();
            if lines.len() >= count {
                return lines;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("there are {} lines, and {count} were waited for", self.lines().len());
    }

    /// The lines so far.
    pub fn lines(&self) -> Vec<serde_json::Value> {
        let bytes = self.written.lock().unwrap().clone();
        bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}

/// An open route of `host` that leads to `endpoints` and speaks plain HTTP.
pub fn open(host: &str, endpoints: &[SocketAddr]) -> Route {
    open_with(host, endpoints, RouteSettings { ssl_redirect: false, ..RouteSettings::default() })
}

/// The same with settings.
pub fn open_with(host: &str, endpoints: &[SocketAddr], settings: RouteSettings) -> Route {
    let set = EndpointSet::default();
    set.store(endpoints.to_vec());
    let key = BackendKey { namespace: "test".into(), service: host.into(), port: 80 };
    Route {
        ingress: format!("test/{host}").into(),
        host: HostMatch::parse(host).unwrap(),
        path: Some(PathMatch::prefix("/").unwrap()),
        access: Access::open(),
        backend: Some(Arc::new(Backend { key, endpoints: set })),
        settings: Arc::new(settings),
    }
}

/// A certificate of its own for some names.
pub fn certificate(names: &[&str]) -> Arc<Certificate> {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    Arc::new(Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap())
}

/// A snapshot of routes and certificates, the first of which is the default.
pub fn snapshot_of(routes: Vec<Route>, certificates: &[Arc<Certificate>]) -> Snapshot {
    let entries = certificates
        .iter()
        .flat_map(|certificate| certificate.names.iter().map(|name| (name.clone(), Arc::clone(certificate))));
    Snapshot {
        generation: 0,
        routes: RouteTable::new(routes.into_iter().map(Arc::new)),
        certificates: CertStore::new(entries, certificates.first().cloned()),
        providers: BTreeMap::new(),
    }
}

impl Plane {
    /// A plane with one open route per upstream, `app.test` first.
    pub fn of(endpoints: &[SocketAddr]) -> Self {
        Self::start(snapshot_of(vec![open("app.test", endpoints)], &[certificate(&["app.test"])]), Limits::default())
    }

    /// A plane over a snapshot.
    pub fn start(snapshot: Snapshot, limits: Limits) -> Self {
        Self::on_threads(2, snapshot, limits)
    }

    /// The same with so many data threads.
    pub fn on_threads(threads: usize, snapshot: Snapshot, limits: Limits) -> Self {
        let (mut publisher, pending) = snapshot::channel();
        publisher.publish(snapshot);
        Self { publisher: Some(publisher), ..Self::over(control(), &pending, limits, threads) }
    }

    /// A plane over a folder of YAML that is followed as `dev` follows one, but with the certificates that the objects
    /// name; and what is live.
    pub fn follow(folder: &Path) -> (Self, watch::Receiver<Option<Arc<Live>>>) {
        let control = control();
        let (publisher, pending) = snapshot::channel();
        let (told, live) = watch::channel(None);
        let controller = Controller {
            source: Source::Folder(Folder::open(folder).unwrap()),
            publisher,
            metrics: Metrics::new(),
            defaults: Defaults {
                controller: config::CONTROLLER.to_owned(),
                without_class: false,
                installation_namespace: "portcullis-system".to_owned(),
                default_certificate: None,
                self_signed: Some(run::self_signed(&Clock::system()).unwrap()),
                dev: true,
            },
            own_addresses: Box::default(),
            complete: None,
        };
        control.spawn(controller.run(told));
        (Self::over(control, &pending, Limits::default(), 2), live)
    }

    fn over(control: Runtime, pending: &Pending, limits: Limits, threads: usize) -> Self {
        let reader = control.block_on(pending.clone().first()).unwrap();
        let (clock, limits) = (Clock::system(), Arc::new(limits));
        let trail = Trail::default();
        let entered = control.enter();
        let sessions = Sessions::new(
            Some(KeyRing::generate()),
            Arc::new(MemoryStore::default()),
            clock.clone(),
            control.handle().clone(),
            Duration::from_secs(600),
        );
        drop(entered);
        let loopback = Some("127.0.0.1:0".parse().unwrap());
        let settings = ListenerSettings { http: loopback, https: loopback, threads, limits: Arc::clone(&limits) };
        let bound = listener::bind(&settings).unwrap();
        let (http, https) = (bound.http().unwrap(), bound.https().unwrap());
        let audit = Audit::with_sink(Box::new(trail.clone()), RequestId(1), clock.clone()).unwrap();
        let metrics = Metrics::new();
        let shared = Shared {
            reader,
            audit: audit.clone(),
            sessions: sessions.clone(),
            oidc: Oidc::new(clock.clone(), control.handle().clone()),
            clock,
            metrics: metrics.clone(),
            limits,
            public_http_port: http.port(),
            public_https_port: https.port(),
        };
        let running = Some(bound.start(&shared).unwrap());
        Self { http, https, trail, metrics, sessions, publisher: None, _audit: audit, running, control }
    }

    /// Publishes another snapshot.
    pub fn publish(&mut self, snapshot: Snapshot) {
        self.publisher.as_mut().expect("no controller publishes").publish(snapshot);
    }

    /// Begins to drain; the handle ends with the last connection.
    pub fn drain(&mut self) -> tokio::task::JoinHandle<()> {
        self.control.spawn(self.running.take().unwrap().drain())
    }

    /// Runs a future on the control runtime.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.control.block_on(future)
    }

    /// A raw client of the plain listener.
    pub fn client(&self) -> Client {
        Client::connect(self.http)
    }
}

fn control() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A client on a raw socket.
pub struct Client {
    /// The socket.
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

/// One response as it came over the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The head, with its line ends.
    pub head: String,
    /// The body, with its chunks taken apart.
    pub body: Vec<u8>,
}

impl Answer {
    /// All values of a field, in order.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self
    }

    /// Sends a request and reads its answer.
    pub fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Answer {
        self.send(bytes).answer().expect("an answer")
    }

    /// Reads the answer to anything but HEAD; `None` where the connection ended instead.
    pub fn answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more() {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&self.take(end)).into_owned();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new() };
        if (100..200).contains(&status) || status == 204 || status == 304 {
            return Some(answer);
        }
        answer.body = if answer.values("transfer-encoding") == ["chunked"] {
            self.chunks()?
        } else if let Some(length) = answer.values("content-length").first() {
            let length = length.parse().unwrap();
            while self.buffer.len() < length {
                if !self.more() {
                    return None;
                }
            }
            self.take(length)
        } else {
            self.rest()
        };
        Some(answer)
    }

    /// Everything until the connection ends.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.buffer)
    }

    /// So many bytes, some of which may have come with an answer.
    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count && self.more() {}
        self.take(count.min(self.buffer.len()))
    }

    /// Whether the connection ends without another byte.
    pub fn is_closed(&mut self) -> bool {
        self.rest().is_empty()
    }

    fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                if let Some(at) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                    break at + 2;
                }
                if !self.more() {
                    return None;
                }
            };
            let line = self.take(end);
            let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).unwrap();
            while self.buffer.len() < size + 2 {
                if !self.more() {
                    return None;
                }
            }
            let chunk = self.take(size + 2);
            if size == 0 {
                return Some(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    /// Reads more; false at the end. A peer that is silent for too long fails the test.
    fn more(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(count) => {
                self.buffer.extend_from_slice(&bytes[..count]);
                count > 0
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("silence for {PATIENCE:?}"),
            Err(_) => false,
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        self.buffer.drain(..count).collect()
    }
}
