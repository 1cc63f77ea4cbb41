//! The process, wired together: [`main`] in a cluster, [`serve`] what `dev` does alike.
//!
//! Data threads start with the first snapshot and end after a drain; everything else runs on a small control runtime.

mod cluster;
pub mod keys;
mod redis;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rand::TryRng as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Readiness};
use crate::audit::{Audit, RequestId, Sink};
use crate::budget::Limits;
use crate::clock::Clock;
use crate::config::{Listen, Process};
use crate::controller::{Controller, Live};
use crate::metrics::Metrics;
use crate::oidc::Oidc;
use crate::otlp;
use crate::proxy::listener::{self, Bound, ListenerSettings};
use crate::proxy::service::Shared;
use crate::session::Sessions;
use crate::snapshot::{Pending, Reader};
use crate::tls::Certificate;

pub use cluster::{main, store};

/// Threads of the control runtime.
const CONTROL_THREADS: usize = 2;

/// How long the control runtime may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// What every process has from its first moment.
#[derive(Clone)]
pub struct Base {
    /// The time.
    pub clock: Clock,
    /// The counters.
    pub metrics: Metrics,
    /// Sign-in.
    pub oidc: Oidc,
    /// What peers are granted.
    pub limits: Arc<Limits>,
    /// Whether the process wants traffic.
    pub readiness: Readiness,
    /// Ends when the process is asked to stop.
    pub stopping: CancellationToken,
}

/// The sockets of a process, bound before anything else is asked of the world.
pub struct Sockets {
    /// The data plane's.
    pub data: Bound,
    /// The port of HTTPS as browsers see it.
    pub public_http_port: u16,
    /// The port by which browsers reach HTTPS.
    pub public_https_port: u16,
}

/// Runs a process on a control runtime of its own.
pub fn on_control_runtime<T, F: Future<Output = anyhow::Result<T>>>(process: F) -> anyhow::Result<T> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("the cryptographic provider is installed once, here"))?;
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build()
        .context("cannot start the control runtime")?;
    let done = control.block_on(process);
    control.shutdown_timeout(GRACE);
    done
}

impl Base {
    /// For the runtime that this is called on.
    pub fn new() -> Self {
        let clock = Clock::system();
        let oidc = Oidc::new(clock.clone(), tokio::runtime::Handle::current());
        Self {
            clock,
            metrics: Metrics::new(),
            oidc,
            limits: Arc::default(),
            readiness: Readiness::default(),
            stopping: CancellationToken::new(),
        }
    }
}

impl Default for Base {
    fn default() -> Self {
        Self::new()
    }
}

impl Sockets {
    /// Binds what is wanted; an address that is taken is an error that names its flag. The admin endpoints answer from
    /// here on, whatever the process still waits for. Without a public port, browsers see the listener's own.
    pub async fn bind(
        process: &Process,
        [http, https, admin]: [Listen; 3],
        public_https_port: Option<u16>,
        base: &Base,
    ) -> anyhow::Result<Self> {
        let settings = ListenerSettings {
            http: http.0,
            https: https.0,
            threads: process.threads(),
            limits: Arc::clone(&base.limits),
        };
        let data =
            listener::bind(&settings).context("cannot listen; choose other addresses with `--http` and `--https`")?;
        if let Some(address) = admin.0 {
            let listener = crate::serve::bind(address, "--admin").await?;
            tokio::spawn(admin::run(listener, base.readiness.clone(), base.metrics.clone()));
        }
        let own_port = |address: Option<SocketAddr>, usual| address.map_or(usual, |address| address.port());
        let public_http_port = if public_https_port.is_some() { 80 } else { own_port(data.http(), 80) };
        let public_https_port = public_https_port.unwrap_or_else(|| own_port(data.https(), 443));
        Ok(Self { data, public_http_port, public_https_port })
    }
}

/// Serves until SIGTERM or SIGINT, then drains: readiness goes first, the last audit line last.
pub async fn serve(
    base: Base,
    process: &Process,
    sockets: Sockets,
    sessions: Sessions,
    controller: Controller,
    (pending, live): (Pending, watch::Sender<Option<Arc<Live>>>),
    mut stop: Stop,
) -> anyhow::Result<()> {
    let stopping = base.stopping.clone().drop_guard();
    base.metrics.ingresses().grant(process.metrics_ingresses);
    let sink = process.audit.clone().unwrap_or(Sink::Stdout);
    let boot = boot();
    let (tracer, exporter) = otlp::start(&process.tracing, boot.to_string(), &base.metrics)?.unzip();
    let audit = Audit::start(&sink, boot, base.clock.clone()).context("cannot open the audit sink `--audit`")?;
    let audit = audit.tracing(tracer);
    tokio::spawn(follow_providers(base.oidc.clone(), live.subscribe(), pending.clone()));
    let mut control = tokio::spawn(controller.run(live));
    let reader = tokio::select! {
        reader = pending.first() => reader.context("the controller ended before its first snapshot")?,
        () = stop.asked() => return Ok(()),
    };
    let shared = Shared {
        reader,
        audit,
        sessions,
        oidc: base.oidc.clone(),
        clock: base.clock.clone(),
        metrics: base.metrics.clone(),
        limits: Arc::clone(&base.limits),
        public_http_port: sockets.public_http_port,
        public_https_port: sockets.public_https_port,
    };
    let running = sockets.data.start(&shared)?;
    base.readiness.begin(shared.reader.clone());
    tracing::info!("ready");
    let ended = tokio::select! {
        () = stop.asked() => Ok(()),
        ended = &mut control => Err(anyhow::anyhow!("the controller ended: {ended:?}")),
    };
    base.readiness.end();
    drop(stopping);
    tracing::info!("draining");
    running.drain().await;
    if let Some(exporter) = exporter {
        exporter.finish().await;
    }
    ended
}

/// Keeps sign-in ready for the providers that are live.
async fn follow_providers(oidc: Oidc, mut live: watch::Receiver<Option<Arc<Live>>>, pending: Pending) {
    let Some(reader) = pending.first().await else { return };
    let mut followed = 0;
    loop {
        let snapshot = Reader::load(&reader);
        if snapshot.generation != followed {
            snapshot.providers.values().for_each(|provider| oidc.warm(provider));
            oidc.retain(snapshot.providers.values().map(AsRef::as_ref));
            followed = snapshot.generation;
        }
        if live.changed().await.is_err() {
            return;
        }
    }
}

/// What asks the process to end.
pub struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    /// From now on, SIGTERM and SIGINT end the process by way of [`Stop::asked`] alone.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for either.
    pub async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The certificate of last resort, for clients that name no host that has one: made at every start, trusted by nobody.
pub fn self_signed(clock: &Clock) -> anyhow::Result<Arc<Certificate>> {
    let mut params = rcgen::CertificateParams::new(vec!["no-certificate.invalid".to_owned()])?;
    let year = clock.now().to_zoned(jiff::tz::TimeZone::UTC).year();
    params.not_before = rcgen::date_time_ymd(i32::from(year) - 1, 1, 1);
    params.not_after = rcgen::date_time_ymd(i32::from(year) + 10, 1, 1);
    let key = rcgen::KeyPair::generate()?;
    let made = params.self_signed(&key)?;
    Ok(Arc::new(Certificate::from_pem(made.pem().as_bytes(), key.serialize_pem().as_bytes())?))
}

/// Names this run of the process.
fn boot() -> RequestId {
    let mut bytes = [0; 16];
    rand::rngs::SysRng.try_fill_bytes(&mut bytes).expect("the system has random bytes");
    RequestId(u128::from_be_bytes(bytes))
}
