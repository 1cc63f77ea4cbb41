//! The waist: the immutable value that the data plane reads, published whole, and how old it may be.

mod freshness;

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::oidc::Provider;
use crate::route::RouteTable;
use crate::tls::CertStore;

pub use freshness::{Freshness, Sight};

/// Everything a request needs, of one instant.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Snapshot {
    /// Counts published snapshots from 1; not part of what is compared before publishing.
    pub generation: u64,
    /// The routes.
    pub routes: RouteTable,
    /// The certificates.
    pub certificates: CertStore,
    /// The providers by name, for callbacks.
    pub providers: std::collections::BTreeMap<Arc<str>, Arc<Provider>>,
}

/// The one writer.
#[derive(Debug)]
pub struct Publisher {
    current: Arc<ArcSwap<Snapshot>>,
    generation: watch::Sender<u64>,
}

/// A reader before the first snapshot.
#[derive(Clone, Debug)]
pub struct Pending {
    current: Arc<ArcSwap<Snapshot>>,
    generation: watch::Receiver<u64>,
    freshness: Freshness,
}

/// A reader. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reader {
    current: Arc<ArcSwap<Snapshot>>,
    generation: watch::Receiver<u64>,
    freshness: Freshness,
}

/// A publisher, and readers that wait for the first snapshot.
pub fn channel() -> (Publisher, Pending) {
    let current = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
    let (sender, receiver) = watch::channel(0);
    let pending = Pending { current: Arc::clone(&current), generation: receiver, freshness: Freshness::unlimited() };
    (Publisher { current, generation: sender }, pending)
}

impl Publisher {
    /// Publishes a snapshot unless it equals the last one; gives the generation that is now live, and whether it is new.
    pub fn publish(&mut self, mut snapshot: Snapshot) -> (u64, bool) {
        let last = self.current.load_full();
        snapshot.generation = last.generation;
        if last.generation > 0 && *last == snapshot {
            return (last.generation, false);
        }
        snapshot.generation += 1;
        let generation = snapshot.generation;
        self.current.store(Arc::new(snapshot));
        self.generation.send_replace(generation);
        (generation, true)
    }
}

impl Pending {
    /// The same, where what is read may be only so old.
    pub fn within(self, freshness: Freshness) -> Self {
        Self { freshness, ..self }
    }

    /// Waits for the first snapshot; `None` where the publisher is gone before.
    pub async fn first(mut self) -> Option<Reader> {
        self.generation.wait_for(|generation| *generation > 0).await.ok()?;
        Some(Reader { current: self.current, generation: self.generation, freshness: self.freshness })
    }
}

impl Reader {
    /// The snapshot of now; a request keeps it from first byte to last.
    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Whether it is older than it may be: then nothing passes by it.
    pub fn is_stale(&self) -> bool {
        self.freshness.is_stale()
    }

    /// The generation that is live.
    pub fn generation(&self) -> u64 {
        *self.generation.borrow()
    }
}
