//! Where a route goes: a Service port, with endpoints that change beside the routes.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// A Service port, by what identifies it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BackendKey {
    /// Namespace of the Service.
    pub namespace: Arc<str>,
    /// Name of the Service.
    pub service: Arc<str>,
    /// The port's number in the Service.
    pub port: u16,
}

/// A backend: equal by key, for its endpoints are not part of the configuration.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Which Service port.
    pub key: BackendKey,
    /// Its endpoints now.
    pub endpoints: EndpointSet,
}

/// The endpoints of a Service port: shared, swapped whole. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct EndpointSet(Arc<ArcSwap<Vec<SocketAddr>>>);

impl EndpointSet {
    /// The endpoints now, sorted and without duplicates.
    pub fn load(&self) -> arc_swap::Guard<Arc<Vec<SocketAddr>>> {
        self.0.load()
    }

    /// Replaces them.
    pub fn store(&self, mut endpoints: Vec<SocketAddr>) {
        endpoints.sort_unstable();
        endpoints.dedup();
        self.0.store(Arc::new(endpoints));
    }
}

impl PartialEq for Backend {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Backend {}

impl fmt::Display for BackendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.namespace, self.service, self.port)
    }
}
