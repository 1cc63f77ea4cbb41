//! The settings of one process: flags, each also an environment variable `PORTCULLIS_…`. What belongs to a class is in
//! its `Portcullis` object, not here.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use crate::audit::Sink;
use crate::controller::compile::Defaults;
use crate::controller::watch::Cluster as Objects;
use crate::controller::world::ObjectName;
use crate::host::Host;
use crate::logging::LogFormat;
use crate::snapshot::Freshness;

/// What `run` and `dev` share.
#[derive(Args, Clone, Debug)]
pub struct Process {
    /// Data threads [default: the cores this process may use]
    #[arg(long, value_name = "N", env = "PORTCULLIS_WORKERS")]
    pub workers: Option<NonZeroUsize>,
    /// How log lines are written to standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "PORTCULLIS_LOG")]
    pub log: LogFormat,
    /// Which log lines are written: `error`, `warn`, `info`, `debug`, or a `tracing` filter
    #[arg(long, default_value = "info", env = "PORTCULLIS_LOG_LEVEL")]
    pub log_level: String,
    /// Where audit events go: `stdout`, or a file that is appended to [default: `run`: stdout; `dev`: a file it names]
    #[arg(long, value_name = "stdout|FILE", value_parser = sink, env = "PORTCULLIS_AUDIT")]
    pub audit: Option<Sink>,
    /// How many Ingresses have counts of requests of their own in the metrics, the oldest; all others are counted as `other`
    #[arg(long, value_name = "N", default_value_t = METRICS_INGRESSES, env = "PORTCULLIS_METRICS_INGRESSES")]
    pub metrics_ingresses: usize,
    /// Where traces go.
    #[command(flatten)]
    pub tracing: Tracing,
    /// The certificate of last resort.
    #[command(flatten)]
    pub fallback: Fallback,
    /// How long people who are signed in go on while the session store cannot be reached; without effect where sessions
    /// are kept in memory
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration, env = "PORTCULLIS_SESSION_STALENESS")]
    pub session_staleness: Duration,
}

/// Where traces go: nowhere, unless a collector is named. The variables are those that OpenTelemetry has for it.
#[derive(Args, Clone, Debug)]
pub struct Tracing {
    /// The collector that traces go to, by OTLP over HTTP: `http://HOST:4318`; without one there are no traces
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
    /// What traces call this service
    #[arg(long, value_name = "NAME", default_value = "portcullis", env = "OTEL_SERVICE_NAME")]
    pub otlp_service_name: String,
    /// The share of traces that is recorded, from 0 to 1; those that a caller does not record are not
    #[arg(long, value_name = "SHARE", default_value = "1", value_parser = share, env = "OTEL_TRACES_SAMPLER_ARG")]
    pub otlp_sample_ratio: f64,
}

/// What is shown where nothing else is: what `run` and `dev` have, and who looks at what they would serve.
#[derive(Args, Clone, Debug)]
pub struct Fallback {
    /// The TLS Secret served to clients that send no server name, and for hosts without a certificate of their own
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = object_name, env = "PORTCULLIS_DEFAULT_CERTIFICATE")]
    pub default_certificate: Option<ObjectName>,
}

/// What `run` alone has.
#[derive(Args, Clone, Debug)]
pub struct Cluster {
    /// Where plain HTTP is served, or `off`
    #[arg(long, value_name = "ADDR|off", default_value = "[::]:8080", env = "PORTCULLIS_HTTP")]
    pub http: Listen,
    /// Where HTTPS is served, or `off`
    #[arg(long, value_name = "ADDR|off", default_value = "[::]:8443", env = "PORTCULLIS_HTTPS")]
    pub https: Listen,
    /// Where health and metrics are served, or `off`
    #[arg(long, value_name = "ADDR|off", default_value = "[::]:9090", env = "PORTCULLIS_ADMIN")]
    pub admin: Listen,
    /// The port by which browsers reach HTTPS
    #[arg(long, value_name = "N", default_value_t = 443, env = "PORTCULLIS_PUBLIC_HTTPS_PORT")]
    pub public_https_port: u16,
    /// Where sessions rest.
    #[command(flatten)]
    pub sessions: SessionPlace,
    /// Which objects are served.
    #[command(flatten)]
    pub installation: Installation,
    /// The Service by which clients reach this installation: Ingresses get its addresses in their status, and keep them
    /// while it has none
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = object_name, env = "PORTCULLIS_PUBLISH_SERVICE")]
    pub publish_service: Option<ObjectName>,
    /// An address (IP or host name) that Ingresses get in their status, too; may be given several times
    #[arg(
        long,
        value_name = "IP|HOST",
        value_delimiter = ',',
        value_parser = published_address,
        env = "PORTCULLIS_PUBLISH_ADDRESS"
    )]
    pub publish_address: Vec<String>,
    /// Close all routes with 503 once the API server has said nothing for this long, ten seconds at least, until it is heard
    /// again [default: what was read last is served without limit]
    #[arg(long, value_name = "DURATION", value_parser = policy_age, env = "PORTCULLIS_MAX_POLICY_AGE")]
    pub max_policy_age: Option<Duration>,
    /// An address of this pod, to which no endpoint may lead; may be given several times
    #[arg(long, value_name = "IP", value_delimiter = ',', env = "PORTCULLIS_OWN_ADDRESS")]
    pub own_address: Vec<IpAddr>,
}

/// Which objects an installation serves: what `run` has, and who looks at what it would serve.
#[derive(Args, Clone, Debug)]
pub struct Installation {
    /// The namespace of the installation: key ring, client secrets, CA bundles, Lease
    #[arg(long, value_name = "NAMESPACE", default_value = NAMESPACE, env = "PORTCULLIS_NAMESPACE")]
    pub namespace: String,
    /// A namespace to watch; may be given several times [default: all]
    #[arg(long, value_name = "NAMESPACE", value_delimiter = ',', env = "PORTCULLIS_WATCH_NAMESPACE")]
    pub watch_namespace: Vec<String>,
    /// Serve Ingresses that name no class, too
    #[arg(long, env = "PORTCULLIS_WATCH_INGRESS_WITHOUT_CLASS")]
    pub watch_ingress_without_class: bool,
    /// The controller string by which an IngressClass is ours
    #[arg(long, value_name = "STRING", default_value = CONTROLLER, env = "PORTCULLIS_CONTROLLER")]
    pub controller: String,
}

/// Where sessions rest: what `run` has, and who looks at them.
#[derive(Args, Clone, Debug)]
pub struct SessionPlace {
    /// Where sessions rest: Secrets (of a namespace, else of the installation's), Redis, or the memory of this one process
    #[arg(
        long,
        value_name = "secrets[:NAMESPACE]|redis|memory",
        default_value = "secrets",
        env = "PORTCULLIS_SESSION_STORE"
    )]
    pub session_store: SessionStore,
    /// How many sessions rest in Secrets at most; who wants to sign in beyond that is told to come back later
    #[arg(long, value_name = "N", default_value_t = MAX_SESSION_SECRETS, env = "PORTCULLIS_MAX_SESSION_SECRETS")]
    pub max_session_secrets: usize,
    /// The Secret that says how Redis is reached: `url`, `username`, `password`, `ca.crt` and others; see the documentation
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = object_name, env = "PORTCULLIS_REDIS_SECRET")]
    pub redis_secret: Option<ObjectName>,
}

/// What `dev` alone has.
#[derive(Args, Clone, Debug)]
pub struct Laptop {
    /// A folder of ordinary Kubernetes YAML, followed as it changes [default: a built-in demo]
    pub folder: Option<PathBuf>,
    /// Where plain HTTP is served, or `off`
    #[arg(long, value_name = "ADDR|off", default_value = "127.0.0.1:8080", env = "PORTCULLIS_HTTP")]
    pub http: Listen,
    /// Where HTTPS is served, or `off`
    #[arg(long, value_name = "ADDR|off", default_value = "127.0.0.1:8443", env = "PORTCULLIS_HTTPS")]
    pub https: Listen,
    /// Where health and metrics are served, or `off`
    #[arg(long, value_name = "ADDR|off", default_value = "127.0.0.1:9090", env = "PORTCULLIS_ADMIN")]
    pub admin: Listen,
    /// Where the demo identity provider is served
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9091", env = "PORTCULLIS_PROVIDER")]
    pub provider: SocketAddr,
    /// Where the echo upstream is served, which shows what an app receives
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9092", env = "PORTCULLIS_ECHO")]
    pub echo: SocketAddr,
}

/// The controller string of an installation that sets none.
pub const CONTROLLER: &str = "portcullis.dev/ingress-controller";

/// The namespace of an installation that names none.
pub const NAMESPACE: &str = "portcullis-system";

/// How many Ingresses are named in metrics: with as many, there are fewer than 300 series.
pub const METRICS_INGRESSES: usize = 10;

/// How many sessions in Secrets a control plane bears without notice.
pub const MAX_SESSION_SECRETS: usize = 5000;

/// An address to listen on, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listen(pub Option<SocketAddr>);

/// Where sessions rest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SessionStore {
    /// In Secrets of a namespace; `None` is the installation's.
    Secrets(Option<String>),
    /// In Redis.
    Redis,
    /// In this process.
    Memory,
}

impl SessionStore {
    /// Its name, as a label has it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Secrets(_) => "secrets",
            Self::Redis => "redis",
            Self::Memory => "memory",
        }
    }
}

/// The folder in which this user's programs keep what outlives them (XDG Base Directory Specification).
#[expect(clippy::disallowed_methods, reason = "settings are read here")]
pub fn state_folder() -> anyhow::Result<PathBuf> {
    let state = std::env::var("XDG_STATE_HOME").ok().filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = || std::env::var("HOME").ok().map(|home| PathBuf::from(home).join(".local/state"));
    let folder = state.or_else(home).context("set HOME or XDG_STATE_HOME, where the certificate authority is kept")?;
    Ok(folder.join("portcullis"))
}

impl Installation {
    /// Its objects in a cluster.
    pub fn objects(&self, client: kube::Client) -> Objects {
        Objects {
            client,
            namespaces: self.watch_namespace.clone(),
            installation_namespace: self.namespace.clone(),
            field_manager: self.controller.clone(),
            freshness: Freshness::unlimited(),
        }
    }

    /// What compile is told; the certificate of last resort is not made here.
    pub fn defaults(&self, fallback: &Fallback) -> Defaults {
        Defaults {
            controller: self.controller.clone(),
            without_class: self.watch_ingress_without_class,
            installation_namespace: self.namespace.clone(),
            default_certificate: fallback.default_certificate.clone(),
            self_signed: None,
            dev: false,
        }
    }
}

impl Process {
    /// How many data threads to start.
    pub fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.workers.map_or_else(cores, NonZeroUsize::get)
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self(None));
        }
        text.parse()
            .map(|address| Self(Some(address)))
            .map_err(|_| "give an address such as `127.0.0.1:8080` or `[::]:8080`, or `off`".into())
    }
}

impl FromStr for SessionStore {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            None if text == "redis" => Ok(Self::Redis),
            None if text == "secrets" => Ok(Self::Secrets(None)),
            Some(("secrets", namespace)) if !namespace.is_empty() => Ok(Self::Secrets(Some(namespace.to_owned()))),
            _ => Err("give `secrets`, `secrets:NAMESPACE`, `redis` or `memory`".into()),
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the shape that clap asks for")]
fn sink(text: &str) -> Result<Sink, Infallible> {
    Ok(if text == "stdout" { Sink::Stdout } else { Sink::File(text.into()) })
}

fn object_name(text: &str) -> Result<ObjectName, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(ObjectName::new(namespace, name))
        }
        _ => Err("give it as `NAMESPACE/NAME`".into()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "give a number from 0 to 1, such as `0.1`".into())
}

/// As the status of an Ingress takes it.
fn published_address(text: &str) -> Result<String, String> {
    let is_name = || Host::parse(text).is_ok_and(|host| !host.is_ip() && host.as_str() == text);
    let is_address = text.parse::<IpAddr>().is_ok() || is_name();
    is_address.then(|| text.to_owned()).ok_or_else(|| "give an IP address, or a host name in lower case".into())
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: jiff::SignedDuration =
        text.parse().map_err(|_| "give a duration such as `10m` or `1h 30m`".to_owned())?;
    Duration::try_from(parsed).map_err(|_| "a duration is not negative".into())
}

/// Below it, every hiccup would close.
const SHORTEST_POLICY_AGE: Duration = Duration::from_secs(10);

fn policy_age(text: &str) -> Result<Duration, String> {
    let age = duration(text)?;
    if age < SHORTEST_POLICY_AGE { Err("give ten seconds at least, such as `10m`".into()) } else { Ok(age) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_an_address_or_off() {
        assert_eq!("off".parse(), Ok(Listen(None)));
        assert_eq!("[::]:8443".parse(), Ok(Listen(Some("[::]:8443".parse().unwrap()))));
        assert!("8443".parse::<Listen>().unwrap_err().contains("`off`"));
    }

    #[test]
    fn a_session_store_is_named_whole() {
        assert_eq!("secrets".parse(), Ok(SessionStore::Secrets(None)));
        assert_eq!("secrets:sessions".parse(), Ok(SessionStore::Secrets(Some("sessions".into()))));
        assert_eq!("memory".parse(), Ok(SessionStore::Memory));
        assert_eq!("redis".parse(), Ok(SessionStore::Redis));
        for wrong in ["", "secrets:", "disk", "memory:x", "redis:x"] {
            assert!(wrong.parse::<SessionStore>().is_err(), "`{wrong}`");
        }
    }

    #[test]
    fn an_object_is_named_by_namespace_and_name() {
        assert_eq!(object_name("tls/default"), Ok(ObjectName::new("tls", "default")));
        for wrong in ["default", "/default", "tls/", "a/b/c"] {
            assert!(object_name(wrong).is_err(), "`{wrong}`");
        }
    }

    #[test]
    fn a_share_is_between_none_and_all() {
        assert_eq!((share("0"), share("0.25"), share("1")), (Ok(0.0), Ok(0.25), Ok(1.0)));
        for wrong in ["", "-0.1", "1.1", "NaN", "inf", "half"] {
            assert!(share(wrong).is_err(), "`{wrong}`");
        }
    }

    #[test]
    fn an_address_is_as_the_status_of_an_ingress_takes_it() {
        for right in ["203.0.113.1", "2001:db8::1", "ingress.example.com", "localhost"] {
            assert_eq!(published_address(right), Ok(right.to_owned()));
        }
        for wrong in ["", "[2001:db8::1]", "203.0.113", "Ingress.example.com", "*.example.com", "a.example.com:443"] {
            assert!(published_address(wrong).is_err(), "`{wrong}`");
        }
    }

    #[test]
    fn durations_are_written_as_people_write_them() {
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert!(duration("-5s").is_err() && duration("soon").is_err());
    }

    #[test]
    fn policies_may_be_no_younger_than_the_next_hiccup() {
        assert_eq!(policy_age("10s"), Ok(Duration::from_secs(10)));
        for wrong in ["9s", "0s", "-1m", "never"] {
            assert!(policy_age(wrong).is_err(), "`{wrong}`");
        }
    }
}
