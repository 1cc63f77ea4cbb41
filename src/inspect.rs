//! One look at what would be served: the objects of a file, a folder or a cluster, compiled as `run` compiles them.
//! Nothing is served, and nothing is written.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::sync::watch;

use crate::config::{Fallback, Installation};
use crate::controller::compile::Defaults;
use crate::controller::complaint::{Complaint, Place};
use crate::controller::folder::Folder;
use crate::controller::watch::client;
use crate::controller::{Controller, Source};
use crate::metrics::Metrics;
use crate::snapshot::{self, Snapshot};
use crate::{dev, run};

/// How long the API server may take for all lists together.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is looked at.
#[derive(Args, Clone, Debug)]
pub struct Scope {
    /// A folder of Kubernetes YAML, or one file of it [default: the cluster of the kubeconfig]
    pub path: Option<PathBuf>,
    /// Read the files as `dev` does, with its class, settings and demo provider beneath them
    #[arg(long, requires = "path")]
    pub dev: bool,
    /// Which objects are ours.
    #[command(flatten)]
    pub installation: Installation,
    /// The certificate of last resort.
    #[command(flatten)]
    pub fallback: Fallback,
}

/// What was seen.
pub struct Seen {
    /// What is wrong, sorted.
    pub complaints: Vec<Complaint>,
    /// What would be served.
    pub snapshot: Arc<Snapshot>,
}

impl Scope {
    /// Looks once.
    pub fn look(&self) -> anyhow::Result<Seen> {
        // What hinders a watch is said on standard error; findings are the result, and no log lines.
        let lines = tracing_subscriber::fmt().with_env_filter("off,portcullis::controller::watch=warn");
        let lines = lines.with_writer(std::io::stderr).with_target(false).without_time();
        lines.try_init().map_err(|error| anyhow::anyhow!("logging is started once: {error}"))?;
        run::on_control_runtime(self.compiled())
    }

    async fn compiled(&self) -> anyhow::Result<Seen> {
        let (publisher, pending) = snapshot::channel();
        let (live, mut lives) = watch::channel(None);
        let controller = Controller {
            source: self.source().await?,
            publisher,
            metrics: Metrics::new(),
            defaults: self.defaults(),
            own_addresses: Box::default(),
            complete: None,
        };
        let running = tokio::spawn(controller.run(live));
        let seen = tokio::time::timeout(PATIENCE, async {
            let live = lives.wait_for(Option::is_some).await.ok()?.clone()?;
            Some(Seen { complaints: self.placed(&live.complaints), snapshot: pending.first().await?.load() })
        });
        let seen =
            seen.await.with_context(|| format!("not everything could be read within {} s", PATIENCE.as_secs()))?;
        running.abort();
        seen.context("the objects could not be read")
    }

    fn defaults(&self) -> Defaults {
        let defaults = self.installation.defaults(&self.fallback);
        Defaults { dev: self.dev, without_class: self.dev || defaults.without_class, ..defaults }
    }

    async fn source(&self) -> anyhow::Result<Source> {
        let Some(path) = &self.path else {
            let config = kube::Config::infer().await;
            let config = config.context("no cluster: give a folder, set KUBECONFIG, or run in a pod")?;
            let client = client(config).context("cannot make a client of the API server")?;
            return Ok(Source::Cluster(self.installation.objects(client)));
        };
        let read = if path.is_dir() { Folder::open(path) } else { Folder::file(path) };
        let folder = read.with_context(|| format!("cannot read `{}`", path.display()))?;
        Ok(Source::Folder(if self.dev { dev::over_settings(folder) } else { folder }))
    }

    /// Complaints with their files as they are found from here.
    fn placed(&self, complaints: &[Complaint]) -> Vec<Complaint> {
        let folder = self.path.as_deref().filter(|path| path.is_dir()).unwrap_or(Path::new(""));
        let from_here =
            |place: &Place| Place { file: folder.join(&*place.file).display().to_string().into(), ..place.clone() };
        let mut complaints = complaints.to_vec();
        complaints.iter_mut().for_each(|complaint| complaint.place = complaint.place.as_ref().map(from_here));
        complaints
    }
}
