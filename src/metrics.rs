//! What the process counts about itself, in the OpenMetrics text format: no label without a bound, no host, no path. Ingresses
//! and Secrets are named, but no more of them than are granted.

mod certificates;
mod classic;
mod ingresses;
mod upstreams;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::{EncodeLabelSet, text};
/// A count that only grows.
pub use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::time::Instant;

pub use ingresses::{Decision, Ingresses, RequestCounts};

use certificates::Certificates;
use upstreams::Failing;

/// The registry and its families. Cheap to clone; recording never waits for a peer.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Families>);

#[derive(Debug)]
struct Families {
    registry: Registry,
    requests: Family<Answer, Counter>,
    duration: Histogram,
    sign_ins: Family<ByResult, Counter>,
    refreshes: Family<ByResult, Counter>,
    sessions: Family<ByStore, Gauge>,
    ingresses: Ingresses,
    upstream_failures: Family<ByError, Counter>,
    upstream_connects: Family<ByResult, Counter>,
    backends: Family<ByState, Gauge>,
    endpoints: Gauge,
    endpoints_failing: Gauge,
    failing: Failing,
    connections: Gauge,
    tunnels: Gauge,
    handshake_failures: Counter,
    panics: Counter,
    generation: Gauge,
    compile: Histogram,
    routes: Family<ByAccess, Gauge>,
    findings: Family<Finding, Gauge>,
    certificates: Certificates,
    watch_synced: Family<ByKind, Gauge>,
    watch_age: Family<ByKind, Gauge<f64, AtomicU64>>,
    watch_restarts: Family<ByKind, Counter>,
    leader: Gauge,
    trace_spans: Family<ByResult, Counter>,
    /// Since when the watch of a kind has been out of sight.
    lost: Mutex<BTreeMap<&'static str, Option<Instant>>>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Answer {
    reason: &'static str,
    code: u16,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ByResult {
    result: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ByStore {
    store: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ByError {
    error: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ByAccess {
    access: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ByState {
    state: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ByKind {
    kind: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Finding {
    kind: &'static str,
    severity: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A fresh set, all zero.
    pub fn new() -> Self {
        let mut families = Families {
            registry: Registry::with_prefix("portcullis"),
            requests: Family::default(),
            duration: Histogram::new(exponential_buckets(0.000_5, 2.0, 16)),
            sign_ins: Family::default(),
            refreshes: Family::default(),
            sessions: Family::default(),
            ingresses: Ingresses::default(),
            upstream_failures: Family::default(),
            upstream_connects: Family::default(),
            backends: Family::default(),
            endpoints: Gauge::default(),
            endpoints_failing: Gauge::default(),
            failing: Failing::default(),
            connections: Gauge::default(),
            tunnels: Gauge::default(),
            handshake_failures: Counter::default(),
            panics: Counter::default(),
            generation: Gauge::default(),
            compile: Histogram::new(exponential_buckets(0.000_1, 4.0, 8)),
            routes: Family::default(),
            findings: Family::default(),
            certificates: Certificates::default(),
            watch_synced: Family::default(),
            watch_age: Family::default(),
            watch_restarts: Family::default(),
            leader: Gauge::default(),
            trace_spans: Family::default(),
            lost: Mutex::default(),
        };
        families.register();
        Self(Arc::new(families))
    }

    /// One answered request: why it was answered so, and how long it took until the head of the response.
    pub fn request(&self, reason: &'static str, code: u16, took: Duration) {
        self.answers(reason, code).inc();
        self.took(took);
    }

    /// How long a request took until the head of the response.
    pub fn took(&self, took: Duration) {
        self.0.duration.observe(took.as_secs_f64());
    }

    /// The requests that were answered so. A code that nobody has registered, which an upstream may make up, is counted as 0.
    pub fn answers(&self, reason: &'static str, code: u16) -> Counter {
        let registered = StatusCode::from_u16(code).is_ok_and(|code| code.canonical_reason().is_some());
        let code = if registered { code } else { 0 };
        self.0.requests.get_or_create(&Answer { reason, code }).clone()
    }

    /// One finished attempt to sign in; `result` is `success` or the name of an error.
    pub fn sign_in(&self, result: &'static str) {
        self.0.sign_ins.get_or_create(&ByResult { result }).inc();
    }

    /// One refresh of a session; `result` is `success`, `ended` or `later`.
    pub fn refresh(&self, result: &'static str) {
        self.0.refreshes.get_or_create(&ByResult { result }).inc();
    }

    /// One exchange that no upstream answered as it should, by the name of the error.
    pub fn upstream_failure(&self, error: &'static str) {
        self.0.upstream_failures.get_or_create(&ByError { error }).inc();
    }

    /// Who has which counts of requests, for the routes that hold them.
    pub fn ingresses(&self) -> &Ingresses {
        &self.0.ingresses
    }

    /// An endpoint took a connection, or did not by the name of an error.
    pub fn upstream_connect(&self, endpoint: SocketAddr, error: Option<&'static str>) {
        self.0.upstream_connects.get_or_create(&ByResult { result: error.unwrap_or("success") }).inc();
        self.0.failing.note(endpoint, error.is_none(), Instant::now());
    }

    /// How many Service ports routes lead to that have endpoints, how many that have none, and how many endpoints.
    pub fn backends(&self, ready: usize, empty: usize, endpoints: usize) {
        for (state, count) in [("ready", ready), ("empty", empty)] {
            self.0.backends.get_or_create(&ByState { state }).set(number(count));
        }
        self.0.endpoints.set(number(endpoints));
    }

    /// A client connection opened (`true`) or closed.
    pub fn connection(&self, opened: bool) {
        step(&self.0.connections, opened);
    }

    /// A tunnel opened (`true`) or closed.
    pub fn tunnel(&self, opened: bool) {
        step(&self.0.tunnels, opened);
    }

    /// A TLS handshake that failed or took too long.
    pub fn handshake_failure(&self) {
        self.0.handshake_failures.inc();
    }

    /// A panic that was caught.
    pub fn panic(&self) {
        self.0.panics.inc();
    }

    /// A compile, how long it took, and the generation that is live after it.
    pub fn compiled(&self, took: Duration, generation: u64) {
        self.0.compile.observe(took.as_secs_f64());
        self.0.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
    }

    /// How many live sessions of a store, `secrets`, `redis` or `memory`, this replica holds open.
    pub fn sessions(&self, store: &'static str, count: usize) {
        self.0.sessions.get_or_create(&ByStore { store }).set(number(count));
    }

    /// How many routes there are of one access: `open`, `guarded`, `closed`.
    pub fn routes(&self, access: &'static str, count: usize) {
        self.0.routes.get_or_create(&ByAccess { access }).set(number(count));
    }

    /// How many findings there are of one severity on one kind of object.
    pub fn findings(&self, kind: &'static str, severity: &'static str, count: usize) {
        self.0.findings.get_or_create(&Finding { kind, severity }).set(number(count));
    }

    /// The Secrets, as `namespace/name`, whose certificates are served, and when these end, in seconds since 1970.
    pub fn certificates(&self, ends: Vec<(String, i64)>) {
        self.0.certificates.set(ends);
    }

    /// Whether the watch of a kind has its list and is connected.
    pub fn watch_synced(&self, kind: &'static str, synced: bool) {
        self.watch_synced_at(kind, synced, Instant::now());
    }

    fn watch_synced_at(&self, kind: &'static str, synced: bool, now: Instant) {
        self.0.watch_synced.get_or_create(&ByKind { kind }).set(i64::from(synced));
        let mut lost = self.0.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let since = lost.entry(kind).or_default();
        *since = (!synced).then(|| since.unwrap_or(now));
    }

    /// The watch of a kind had to begin again after an error.
    pub fn watch_restart(&self, kind: &'static str) {
        self.0.watch_restarts.get_or_create(&ByKind { kind }).inc();
    }

    /// Whether this replica writes statuses.
    pub fn leader(&self, leads: bool) {
        self.0.leader.set(i64::from(leads));
    }

    /// Spans that were `exported`, `dropped` for want of room, or `failed`, because the collector does not take them.
    pub fn spans(&self, result: &'static str, spans: u64) {
        self.0.trace_spans.get_or_create(&ByResult { result }).inc_by(spans);
    }

    /// The exposition text.
    pub fn encode(&self) -> String {
        self.encode_at(Instant::now())
    }

    /// The same in the text format from before OpenMetrics.
    pub fn encode_classic(&self) -> String {
        classic::classic(&self.encode())
    }

    fn encode_at(&self, now: Instant) -> String {
        for (kind, since) in self.0.lost.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let age = since.map_or(0.0, |since| now.duration_since(since).as_secs_f64());
            self.0.watch_age.get_or_create(&ByKind { kind }).set(age);
        }
        self.0.endpoints_failing.set(number(self.0.failing.count(now)));
        let mut out = String::new();
        text::encode(&mut out, &self.0.registry).expect("a string takes everything");
        out
    }
}

impl Families {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("requests", "Requests answered, by reason and status", self.requests.clone());
        registry.register(
            "request_duration_seconds",
            "From the head of the request to the head of the response",
            self.duration.clone(),
        );
        registry.register("sign_ins", "Attempts to sign in, by result", self.sign_ins.clone());
        registry.register("session_refreshes", "Refreshes of sessions, by result", self.refreshes.clone());
        registry.register("sessions", "Live sessions held open here, by store", self.sessions.clone());
        registry.register("upstream_failures", "Exchanges that no upstream answered", self.upstream_failures.clone());
        registry.register(
            "upstream_connects",
            "Attempts to open a connection to an endpoint, by result",
            self.upstream_connects.clone(),
        );
        registry.register(
            "backends",
            "Service ports that routes lead to, by whether they have endpoints",
            self.backends.clone(),
        );
        registry.register("endpoints", "Endpoints of these Service ports", self.endpoints.clone());
        registry.register(
            "endpoints_failing",
            "Endpoints that, asked within the last minute, did not take the last connection",
            self.endpoints_failing.clone(),
        );
        registry.register("client_connections", "Open client connections", self.connections.clone());
        registry.register("tunnels", "Open tunnels", self.tunnels.clone());
        registry.register("tls_handshake_failures", "Handshakes failed or too slow", self.handshake_failures.clone());
        registry.register("panics", "Panics caught, each one failed request or connection", self.panics.clone());
        registry.register("snapshot_generation", "Generation of the live snapshot", self.generation.clone());
        registry.register("compile_duration_seconds", "World to snapshot", self.compile.clone());
        registry.register("routes", "Routes of the live snapshot, by access", self.routes.clone());
        registry.register(
            "findings",
            "Findings of the last compile, by kind of object and severity",
            self.findings.clone(),
        );
        registry.register("watch_synced", "Whether the watch of a kind is up", self.watch_synced.clone());
        registry.register(
            "watch_age_seconds",
            "How long the watch of a kind has been out of sight; 0 while it is up",
            self.watch_age.clone(),
        );
        registry.register("watch_restarts", "Watches begun again after an error", self.watch_restarts.clone());
        registry.register("leader", "Whether this replica writes statuses", self.leader.clone());
        registry.register("trace_spans", "Spans of traces, by what became of them", self.trace_spans.clone());
        registry.register_collector(Box::new(self.ingresses.clone()));
        registry.register_collector(Box::new(self.certificates.clone()));
    }
}

fn step(gauge: &Gauge, up: bool) {
    if up {
        gauge.inc()
    } else {
        gauge.dec()
    };
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
