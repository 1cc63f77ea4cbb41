//! The control plane: watches, compiles, publishes, reports.
//!
//! One task owns the world. The first change after quiet compiles at once, a burst is held off. Nothing is compiled, and
//! nobody is told of a snapshot, before every watch had its first list.

pub mod compile;
pub mod complaint;
mod endpoints;
pub mod folder;
pub mod heartbeat;
pub mod leader;
pub mod publish;
pub mod report;
pub mod status;
pub mod watch;
pub mod world;

pub use endpoints::Guard;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch as latest};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::metrics::Metrics;
use crate::route::{Access, Backend};
use crate::snapshot::{Publisher, Snapshot};
use compile::{Compiled, Defaults, compile};
use complaint::{Complaint, Pages};
use folder::Folder;
use report::{Kind, Report, Severity};
use watch::Cluster;
use world::{Change, Effect, Keeper, World};

/// Without a change for this long, a burst is over, and the next change compiles at once.
const IDLE: Duration = Duration::from_millis(50);

/// No change waits longer than this for its compile.
const HOLD: Duration = Duration::from_millis(500);

/// Batches that wait for the owner of the world; a source that is faster waits itself.
const QUEUE: usize = 64;

/// Where the objects come from.
pub enum Source {
    /// The API server.
    Cluster(Cluster),
    /// A folder of YAML.
    Folder(Folder),
}

/// The control plane, ready to run.
pub struct Controller {
    /// Where the objects come from.
    pub source: Source,
    /// Who makes snapshots live.
    pub publisher: Publisher,
    /// Where compiles, routes, findings and watches are counted.
    pub metrics: Metrics,
    /// What the process decides.
    pub defaults: Defaults,
    /// Addresses of this process, to which no endpoint may lead.
    pub own_addresses: Box<[IpAddr]>,
    /// What completes each snapshot before it is published; `dev` gives hosts their certificates.
    pub complete: Option<Complete>,
}

/// Completes a snapshot.
pub type Complete = Box<dyn FnMut(Snapshot) -> Snapshot + Send>;

/// What is live, and what there is to say about it.
#[derive(Clone, Debug)]
pub struct Live {
    /// The generation of the snapshot that the data plane reads.
    pub generation: u64,
    /// What compile found.
    pub report: Arc<Report>,
    /// The same for people, with what is wrong with files; sorted.
    pub complaints: Arc<[Complaint]>,
    /// The objects that were compiled, with their live status.
    pub world: Arc<World>,
}

/// What a source sends: changes that belong together.
#[derive(Debug, Default)]
struct Batch {
    changes: Vec<Change>,
    /// Whether a watch has now sent its first list.
    first_list: bool,
    /// Where the objects are written, where that changed.
    pages: Option<Arc<Pages>>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.changes.is_empty() && !self.first_list && self.pages.is_none()
    }
}

impl Controller {
    /// Runs until dropped, and tells `live` of every compile, after its snapshot is published. `None` there means that
    /// nothing is live yet: the process is not ready. An end of itself is a defect of the process.
    pub async fn run(self, live: latest::Sender<Option<Arc<Live>>>) {
        let (sender, mut batches) = mpsc::channel(QUEUE);
        let mut watches = self.source.start(sender, &self.metrics);
        let guard = Guard { loopback_allowed: self.defaults.dev, own: self.own_addresses };
        let mut owner = Owner {
            keeper: Keeper::new(guard).counting(self.metrics.ingresses().clone()),
            publisher: self.publisher,
            metrics: self.metrics,
            defaults: self.defaults,
            complete: self.complete,
            pages: Arc::default(),
            backends: Vec::new(),
            live,
            awaited: watches.len(),
            due: Effect::Nothing,
        };
        let mut busy_until = Instant::now();
        loop {
            let batch = tokio::select! {
                Some(batch) = batches.recv() => batch,
                // Better no process than one that looks well and is blind for a kind.
                Some(_) = watches.join_next() => {
                    tracing::error!("a watch ended");
                    return;
                }
            };
            owner.take(batch);
            if Instant::now() < busy_until {
                owner.take_burst(&mut batches).await;
            }
            while let Ok(batch) = batches.try_recv() {
                owner.take(batch);
            }
            owner.act();
            busy_until = Instant::now() + IDLE;
        }
    }
}

impl Source {
    /// Starts the watches, each a task that ends when the set is dropped.
    fn start(self, batches: mpsc::Sender<Batch>, metrics: &Metrics) -> JoinSet<()> {
        match self {
            Self::Cluster(cluster) => cluster.start(&batches, metrics),
            Self::Folder(folder) => {
                let mut tasks = JoinSet::new();
                tasks.spawn(folder.follow(batches));
                tasks
            }
        }
    }
}

/// The one task that owns the world.
struct Owner {
    keeper: Keeper,
    publisher: Publisher,
    metrics: Metrics,
    defaults: Defaults,
    complete: Option<Complete>,
    pages: Arc<Pages>,
    /// Those that the live routes lead to, each once.
    backends: Vec<Arc<Backend>>,
    live: latest::Sender<Option<Arc<Live>>>,
    /// First lists that have not come yet.
    awaited: usize,
    /// What the changes since the last act ask for.
    due: Effect,
}

impl Owner {
    fn take(&mut self, batch: Batch) {
        for change in batch.changes {
            self.due = self.keeper.apply(change).max(self.due);
        }
        if batch.first_list {
            self.awaited -= 1;
            self.due = Effect::Compile;
        }
        if let Some(pages) = batch.pages {
            self.pages = pages;
            self.due = Effect::Compile;
        }
    }

    /// Takes what follows until nothing comes for [`IDLE`], for [`HOLD`] at most.
    async fn take_burst(&mut self, batches: &mut mpsc::Receiver<Batch>) {
        let end = Instant::now() + HOLD;
        while let Ok(Some(batch)) = timeout_at(end.min(Instant::now() + IDLE), batches.recv()).await {
            self.take(batch);
        }
    }

    fn act(&mut self) {
        if self.awaited > 0 {
            return;
        }
        match std::mem::replace(&mut self.due, Effect::Nothing) {
            Effect::Nothing => {}
            Effect::Status => self.renew_world(),
            Effect::Compile => self.compile(),
        }
        // Endpoints are swapped without a compile.
        let counts: Vec<usize> = self.backends.iter().map(|backend| backend.endpoints.load().len()).collect();
        let empty = counts.iter().filter(|count| **count == 0).count();
        self.metrics.backends(counts.len() - empty, empty, counts.iter().sum());
    }

    /// Passes on live statuses that somebody has written; nothing was compiled.
    fn renew_world(&mut self) {
        let former = self.live.borrow().clone();
        if let Some(former) = former {
            let world = Arc::clone(self.keeper.world());
            self.live.send_replace(Some(Arc::new(Live { world, ..Live::clone(&former) })));
        }
    }

    fn compile(&mut self) {
        let began = Instant::now();
        let Compiled { snapshot, mut report } = compile(self.keeper.world(), &self.defaults);
        report.findings.extend(self.keeper.world().slice_findings.values().flatten().cloned());
        report.findings.sort();
        let snapshot = match &mut self.complete {
            Some(complete) => complete(snapshot),
            None => snapshot,
        };
        let routes = snapshot.routes.iter().count();
        self.count(&snapshot, &report);
        let (generation, new) = self.publisher.publish(snapshot);
        self.metrics.compiled(began.elapsed(), generation);
        self.keeper.prune();
        let complaints = self.pages.complaints(&report.findings);
        if new {
            tracing::info!(generation, routes, findings = report.findings.len(), "published");
        }
        self.say_what_changed(&complaints);
        let world = Arc::clone(self.keeper.world());
        self.live.send_replace(Some(Arc::new(Live {
            generation,
            report: Arc::new(report),
            complaints: complaints.into(),
            world,
        })));
    }

    fn count(&mut self, snapshot: &Snapshot, report: &Report) {
        let count = |is: fn(&Access) -> bool| snapshot.routes.iter().filter(|route| is(&route.access)).count();
        self.metrics.routes("open", count(|access| matches!(access, Access::Open(_))));
        self.metrics.routes("guarded", count(|access| matches!(access, Access::Guarded { .. })));
        self.metrics.routes("closed", count(|access| matches!(access, Access::Closed(_))));
        for kind in Kind::ALL {
            for severity in [Severity::Warning, Severity::Error] {
                let all = report.findings.iter();
                let count = all.filter(|it| (it.object.kind, it.severity) == (kind, severity)).count();
                self.metrics.findings(kind.as_str(), severity.as_str(), count);
            }
        }
        let ends = report.certificates.iter().map(|(name, end)| (name.to_string(), end.as_second()));
        self.metrics.certificates(ends.collect());
        let ours: BTreeSet<_> = report.ingresses.keys().map(ToString::to_string).collect();
        self.metrics.ingresses().retain(|ingress| ours.contains(ingress));
        let backends = snapshot.routes.iter().filter_map(|route| route.backend.clone());
        self.backends =
            backends.map(|backend| (backend.key.clone(), backend)).collect::<BTreeMap<_, _>>().into_values().collect();
    }

    /// One log line for each complaint that is new or gone.
    fn say_what_changed(&self, complaints: &[Complaint]) {
        let live = self.live.borrow();
        let former = live.as_ref().map_or(&[][..], |live| &live.complaints);
        for complaint in complaints.iter().filter(|complaint| former.binary_search(complaint).is_err()) {
            let Complaint { place, severity, message, remedy, .. } = complaint;
            let (place, subject) = (place.as_ref().map(tracing::field::display), complaint.subject());
            match severity {
                Severity::Error => tracing::error!(place, subject, problem = message, remedy, "finding"),
                Severity::Warning => tracing::warn!(place, subject, problem = message, remedy, "finding"),
            }
        }
        for complaint in former.iter().filter(|complaint| complaints.binary_search(complaint).is_err()) {
            tracing::info!(subject = complaint.subject(), problem = complaint.message, "finding resolved");
        }
    }
}

#[cfg(test)]
mod tests;
