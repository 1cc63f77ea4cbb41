//! `portcullis dev`: the real proxy on one machine, from a folder of YAML or a built-in demo, with a demo identity provider
//! and an echo upstream. What is only here never runs in a cluster.

mod authority;
mod banner;
mod echo;
mod personas;
mod provider;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::audit::Sink;
use crate::config::{self, Laptop, Process};
use crate::controller::compile::Defaults;
use crate::controller::folder::Folder;
use crate::controller::{Controller, Source};
use crate::run::{self, Base, Sockets, Stop};
use crate::seal::KeyRing;
use crate::session::{MemoryStore, Sessions, Store, sweep_regularly};
use crate::{logging, serve, snapshot};

use self::authority::Authority;
use self::banner::Banner;
use self::provider::Provider;

/// What every folder has, unless it says otherwise.
const SETTINGS: &str = include_str!("dev/demo/settings.yaml");

/// What is served where no folder is given.
const APPS: &str = include_str!("dev/demo/apps.yaml");

/// The namespace of the installation, as in a cluster.
const NAMESPACE: &str = "portcullis-system";

/// Runs until told to stop.
pub fn main(laptop: &Laptop, process: &Process) -> anyhow::Result<()> {
    logging::start(process.log, &process.log_level)?;
    run::on_control_runtime(start(laptop.clone(), process.clone()))
}

async fn start(laptop: Laptop, mut process: Process) -> anyhow::Result<()> {
    let base = Base::new();
    let state = config::state_folder()?;
    fs::create_dir_all(&state).with_context(|| format!("cannot make the folder {}", state.display()))?;
    let audit = process.audit.get_or_insert_with(|| Sink::File(state.join("audit.jsonl"))).clone();
    let addresses = [laptop.http, laptop.https, laptop.admin];
    let sockets = Sockets::bind(&process, addresses, None, &base).await?;
    let provider_listener = serve::bind(laptop.provider, "--provider").await?;
    let echo_listener = serve::bind(laptop.echo, "--echo").await?;
    let provider = Arc::new(Provider::new(provider_listener.local_addr()?, base.clock.clone())?);
    let mut authority = Authority::open(&state, base.clock.clone())?;
    let banner = Banner {
        http: sockets.data.http(),
        https: sockets.data.https(),
        authority: authority.certificate().to_owned(),
        audit,
        provider: provider.issuer().to_owned(),
        folder: laptop.folder.clone(),
        format: process.log,
    };
    let source = Source::Folder(folder(laptop.folder.as_deref(), &provider, &echo_listener)?);
    tokio::spawn(provider.run(provider_listener));
    tokio::spawn(echo::run(echo_listener));
    let (publisher, pending) = snapshot::channel();
    let (live, lives) = watch::channel(None);
    tokio::spawn(banner.follow(lives));
    let controller = Controller {
        source,
        publisher,
        metrics: base.metrics.clone(),
        defaults: defaults(&process, &base)?,
        own_addresses: Box::default(),
        complete: Some(Box::new(move |snapshot| authority.complete(snapshot))),
    };
    run::serve(base.clone(), &process, sockets, sessions(&base, &process), controller, (pending, live), Stop::new()?)
        .await
}

fn defaults(process: &Process, base: &Base) -> anyhow::Result<Defaults> {
    Ok(Defaults {
        controller: config::CONTROLLER.to_owned(),
        without_class: true,
        installation_namespace: NAMESPACE.to_owned(),
        default_certificate: process.fallback.default_certificate.clone(),
        self_signed: Some(run::self_signed(&base.clock)?),
        dev: true,
    })
}

/// Sessions of this run alone: a restart signs everybody out.
fn sessions(base: &Base, process: &Process) -> Sessions {
    let control = tokio::runtime::Handle::current();
    let store = Arc::new(MemoryStore::default());
    tokio::spawn(sweep_regularly(Arc::clone(&store) as Arc<dyn Store>, base.clock.clone()));
    Sessions::new(Some(KeyRing::generate()), store, base.clock.clone(), control, process.session_staleness)
}

/// The class, its settings and the demo provider.
fn settings(issuer: &str, client_secret: &str) -> String {
    SETTINGS.replace("ISSUER", issuer).replace("CLIENT_ID", provider::CLIENT_ID).replace("CLIENT_SECRET", client_secret)
}

/// A folder over the settings that are built in, for who looks at it and signs nobody in.
pub fn over_settings(folder: Folder) -> Folder {
    folder.over(&[("settings.yaml", &settings("http://127.0.0.1:9091", "not-used"))])
}

/// The folder on disk over the settings that are built in, or the demo.
fn folder(path: Option<&Path>, provider: &Provider, echo: &TcpListener) -> anyhow::Result<Folder> {
    let echo = echo.local_addr()?;
    let settings = settings(provider.issuer(), provider.client_secret());
    let Some(path) = path else {
        let apps = APPS.replace("ECHO_IP", &echo.ip().to_string()).replace("ECHO_PORT", &echo.port().to_string());
        return Ok(Folder::embedded(&[("settings.yaml", &settings), ("apps.yaml", &apps)]));
    };
    let folder = Folder::open(path)
        .with_context(|| format!("cannot read the folder `{}`; give a folder of Kubernetes YAML", path.display()))?;
    Ok(folder.over(&[("settings.yaml", &settings)]))
}
