//! A provider, an upstream, sessions in a store that can be switched off, and the listeners in front of them.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use portcullis::audit::{Audit, RequestId};
use portcullis::budget::Limits;
use portcullis::clock::Clock;
use portcullis::host::HostMatch;
use portcullis::identity::Groups;
use portcullis::metrics::Metrics;
use portcullis::oidc::{Oidc, Provider};
use portcullis::path::PathMatch;
use portcullis::policy::{Description, Effect, Policy, PrincipalMatch, RequestMatch, Rule};
use portcullis::proxy::listener::{self, ListenerSettings, Running};
use portcullis::proxy::service::Shared;
use portcullis::route::{Access, ClosedReason, IdentityHeader, Route, RouteSettings, SessionLimits};
use portcullis::seal::KeyRing;
use portcullis::session::{Changes, Held, MemoryStore, RecordKey, Sessions, Store, StoreError, StoredRecord, Version};
use portcullis::snapshot::{self, Freshness, Publisher, Sight};
use portcullis::tls::Certificate;
use tokio::runtime::Runtime;

use crate::browser::Browser;
use crate::plane::{Trail, certificate, open_with, snapshot_of};
use crate::provider::TestProvider;
use crate::upstream::{Reply, Upstream};

/// When every test begins.
const START: &str = "2026-03-01T12:00:00Z";

/// Everything at work.
pub struct House {
    pub https: SocketAddr,
    pub http: SocketAddr,
    pub upstream: Upstream,
    pub provider: TestProvider,
    pub clock: Clock,
    pub trail: Trail,
    pub audit: Audit,
    pub metrics: Metrics,
    pub store: Switch,
    pub ring: KeyRing,
    pub sessions: Sessions,
    pub certificate: Arc<Certificate>,
    /// What has to be in sight, within ten minutes.
    pub sight: Sight,
    _publisher: Publisher,
    running: Option<Running>,
    control: Runtime,
}

/// A store that can be switched off, and of which the process may not believe its cache.
#[derive(Clone, Default)]
pub struct Switch {
    store: Arc<MemoryStore>,
    off: Arc<AtomicBool>,
    doubted: bool,
    /// Of every session that began, the oldest first.
    keys: Arc<Mutex<Vec<RecordKey>>>,
}

impl House {
    /// A house whose store is always believed.
    pub fn new() -> Self {
        Self::build(Switch::default(), Upstream::ok(), true, |_| {})
    }

    /// A house that asks its store at every request.
    pub fn doubtful() -> Self {
        Self::build(Switch { doubted: true, ..Switch::default() }, Upstream::ok(), true, |_| {})
    }

    /// A house that has not read its key ring yet.
    pub fn without_keys() -> Self {
        Self::build(Switch::default(), Upstream::ok(), false, |_| {})
    }

    /// A house whose upstream agrees to every WebSocket, and sends back what comes over it.
    pub fn echoing() -> Self {
        const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
            sec-websocket-accept: x\r\n\r\n";
        const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let upstream = Upstream::scripted(|seen| match seen.values("upgrade")[..] {
            [] => Reply::Send(OK.into()),
            _ => Reply::SendThenEcho(SWITCH.into()),
        });
        Self::build(Switch::default(), upstream, true, |_| {})
    }

    /// A house with other settings of its provider.
    pub fn with_provider(turn: impl FnOnce(&mut Provider)) -> Self {
        Self::build(Switch::default(), Upstream::ok(), true, turn)
    }

    fn build(store: Switch, upstream: Upstream, keys: bool, turn: impl FnOnce(&mut Provider)) -> Self {
        let control = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let clock = Clock::manual(START.parse::<Timestamp>().unwrap());
        let provider = control.block_on(TestProvider::start(clock.clone()));
        let mut settings = provider.settings();
        turn(&mut settings);
        let certificate = certificate(&["app.test", "other.test", "open.test", "lost.test"]);
        let (mut publisher, pending) = snapshot::channel();
        let freshness = Freshness::limited(Duration::from_secs(600), clock.clone());
        let (sight, pending) = (freshness.sight(), pending.within(freshness));
        let settings = Arc::new(settings);
        let second = Arc::new(Provider { name: "second".into(), ..provider.settings() });
        let routes = routes(upstream.address, &settings, &second);
        let mut snapshot = snapshot_of(routes, &[Arc::clone(&certificate)]);
        snapshot.providers = [settings, second].map(|provider| (Arc::clone(&provider.name), provider)).into();
        publisher.publish(snapshot);
        let loopback = Some("127.0.0.1:0".parse().unwrap());
        let limits = Arc::new(Limits::default());
        let listen = ListenerSettings { http: loopback, https: loopback, threads: 2, limits: Arc::clone(&limits) };
        let bound = listener::bind(&listen).unwrap();
        let (http, https) = (bound.http().unwrap(), bound.https().unwrap());
        let trail = Trail::default();
        let audit = Audit::with_sink(Box::new(trail.clone()), RequestId(1), clock.clone()).unwrap();
        let (metrics, handle, ring) = (Metrics::new(), control.handle().clone(), KeyRing::generate());
        let sessions = {
            let _entered = control.enter();
            let store: Arc<dyn Store> = Arc::new(store.clone());
            Sessions::new(keys.then(|| ring.clone()), store, clock.clone(), handle.clone(), Duration::from_secs(600))
        };
        let shared = Shared {
            reader: control.block_on(pending.first()).unwrap(),
            audit: audit.clone(),
            sessions: sessions.clone(),
            oidc: Oidc::new(clock.clone(), handle),
            clock: clock.clone(),
            metrics: metrics.clone(),
            limits,
            public_http_port: http.port(),
            public_https_port: https.port(),
        };
        let running = Some(bound.start(&shared).unwrap());
        let _publisher = publisher;
        Self {
            https,
            http,
            upstream,
            provider,
            clock,
            trail,
            audit,
            metrics,
            store,
            ring,
            sessions,
            certificate,
            sight,
            _publisher,
            running,
            control,
        }
    }

    /// A browser without a cookie.
    pub fn browser(&self) -> Browser {
        Browser::new(self)
    }

    /// A browser that signed in on `app.test`.
    pub fn signed_in(&self) -> Browser {
        let mut browser = self.browser();
        let landed = browser.sign_in(self, "app.test", "/");
        assert_eq!(landed.status, 200);
        browser
    }

    /// Turns the clock.
    pub fn wait(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    /// The origin of a host.
    pub fn origin(&self, host: &str) -> String {
        format!("https://{host}:{}", self.https.port())
    }

    /// The one audit event of a request, which is written by the time its answer has come, or soon after.
    pub fn event(&self, id: &str) -> serde_json::Value {
        soon("event", || {
            let lines = self.trail.lines();
            let mut events = lines.iter().filter(|line| line["id"] == id && line["kind"] != "Outcome");
            let event = events.next()?.clone();
            assert!(events.next().is_none(), "more than one event for {id}");
            Some(event)
        })
    }

    /// Whether `attempt` sends no byte upstream, while a control request by the same house arrives.
    pub fn nothing_upstream<T>(&self, attempt: impl FnOnce() -> T) -> T {
        let before = self.upstream.bytes();
        let result = attempt();
        assert_eq!(self.upstream.bytes(), before, "bytes went upstream");
        let control = self.browser().get("open.test", "/control", &[]);
        assert_eq!(control.status, 200);
        assert!(self.upstream.bytes() > before);
        result
    }

    /// Runs a future.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.control.block_on(future)
    }
}

/// What `look` finds, within a minute.
pub fn soon<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let clock = Clock::system();
    let begun = clock.monotonic_ns();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(clock.monotonic_ns() - begun < 60_000_000_000, "no {what}");
        std::thread::yield_now();
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.control.block_on(running.drain());
        }
    }
}

impl Switch {
    /// Switches it off or on.
    pub fn off(&self, off: bool) {
        self.off.store(off, SeqCst);
    }

    /// The keys of all records, the oldest first.
    pub fn keys(&self) -> Vec<RecordKey> {
        self.keys.lock().unwrap().clone()
    }

    /// The sealed blob of a record.
    pub async fn sealed(&self, key: RecordKey) -> Vec<u8> {
        self.store.read(key).await.unwrap().unwrap().sealed
    }

    /// Puts another blob into a record, as whoever may write Secrets could.
    pub async fn overwrite(&self, key: RecordKey, sealed: Vec<u8>) {
        let record = self.store.read(key).await.unwrap().unwrap();
        self.store.replace(key, record.version, sealed, record.expires).await.unwrap();
    }

    fn unless_off<'a, T: Send + 'a>(&self, answer: Answer<'a, T>) -> Answer<'a, T> {
        match self.off.load(SeqCst) {
            false => answer,
            true => Box::pin(async { Err(StoreError::Unreachable("switched off".into())) }),
        }
    }
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

impl Store for Switch {
    fn read(&self, key: RecordKey) -> Answer<'_, Option<StoredRecord>> {
        self.unless_off(self.store.read(key))
    }

    fn create(&self, key: RecordKey, sealed: Vec<u8>, expires: Timestamp) -> Answer<'_, Version> {
        self.keys.lock().unwrap().push(key);
        self.unless_off(self.store.create(key, sealed, expires))
    }

    fn replace(&self, key: RecordKey, version: Version, sealed: Vec<u8>, expires: Timestamp) -> Answer<'_, Version> {
        self.unless_off(self.store.replace(key, version, sealed, expires))
    }

    fn remove(&self, key: RecordKey) -> Answer<'_, ()> {
        self.unless_off(self.store.remove(key))
    }

    fn sweep(&self, now: Timestamp) -> Answer<'_, usize> {
        self.unless_off(self.store.sweep(now))
    }

    fn list(&self) -> Answer<'_, Vec<(RecordKey, StoredRecord)>> {
        self.unless_off(self.store.list())
    }

    /// Changes of which none ever comes: the cache stays in doubt.
    fn changes(&self, _held: Held) -> Option<Changes> {
        self.doubted.then(|| Box::pin(futures_util::stream::pending()) as Changes)
    }
}

/// `app.test` for everyone who is signed in, `/finance` of it for a group, `/api` for that group and CORS preflights, `/closed` for nobody, `/second` for who signed
/// in at the second provider of the issuer, `/strict` for sessions of at most ten
/// minutes; `other.test` for another host; `open.test` for everyone; `lost.test` without a provider.
fn routes(upstream: SocketAddr, provider: &Arc<Provider>, second: &Arc<Provider>) -> Vec<Route> {
    let at = |provider, policy| Access::Guarded { policy: Arc::new(policy), provider: Some(Arc::clone(provider)) };
    let guarded = |policy: Policy| at(provider, policy);
    let route = |host: &str, path: &str, access: Access| {
        let settings = RouteSettings {
            identity_headers: Box::new([IdentityHeader::User, IdentityHeader::Email]),
            allowed_origins: Box::new(["https://friend.test".into()]),
            cors_preflight: path == "/api",
            ssl_redirect: !access.is_open(),
            hsts: (!access.is_open()).then(|| HeaderValue::from_static("max-age=31536000")),
            ..RouteSettings::default()
        };
        let path = Some(PathMatch::prefix(path).unwrap());
        Route { path, access, host: HostMatch::parse(host).unwrap(), ..open_with(host, &[upstream], settings) }
    };
    let nobody = Access::Guarded { policy: Arc::new(Policy::authenticated()), provider: None };
    let mut strict = route("app.test", "/strict", guarded(Policy::authenticated()));
    let session = SessionLimits { lifetime: Duration::from_secs(600), idle: Duration::from_secs(120) };
    strict.settings = Arc::new(RouteSettings { session, ..RouteSettings::default() });
    vec![
        strict,
        route("app.test", "/", guarded(Policy::authenticated())),
        route("app.test", "/second", at(second, Policy::authenticated())),
        route("app.test", "/finance", guarded(finance())),
        route("app.test", "/api", guarded(finance())),
        route("app.test", "/closed", Access::Closed(ClosedReason("the policy `shop/missing` does not exist".into()))),
        route("other.test", "/", guarded(Policy::authenticated())),
        route("open.test", "/", Access::open()),
        route("lost.test", "/", nobody),
    ]
}

fn finance() -> Policy {
    let groups = Groups::new(["finance"]);
    let rule = Rule {
        name: "shop/backoffice:finance".into(),
        effect: Effect::Allow,
        request: RequestMatch::default(),
        principal: PrincipalMatch::Described(Box::new(Description { groups, ..Description::default() })),
    };
    Policy { rules: Box::new([rule]) }
}
