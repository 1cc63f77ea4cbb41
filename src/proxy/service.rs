//! One request, from the raw head to the response.

use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;

use crate::audit::Audit;
use crate::budget::Limits;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::oidc::Oidc;
use crate::session::Sessions;
use crate::snapshot::Reader;

use super::admit::Conn;
use super::body::ProxyBody;
use super::upstream::Upstreams;

/// What all data threads share. Cheap to clone.
#[derive(Clone)]
pub struct Shared {
    /// The snapshot.
    pub reader: Reader,
    /// The trail.
    pub audit: Audit,
    /// The sessions.
    pub sessions: Sessions,
    /// Sign-in.
    pub oidc: Oidc,
    /// The time.
    pub clock: Clock,
    /// The counters.
    pub metrics: Metrics,
    /// What peers are granted.
    pub limits: Arc<Limits>,
    /// The port of HTTPS as browsers see it.
    pub public_https_port: u16,
}

/// What answers the requests of one data thread.
pub struct Service {
    shared: Shared,
    upstreams: Upstreams,
}

impl Service {
    /// A service for this thread.
    pub fn new(shared: Shared) -> Self {
        let upstreams = Upstreams::new(Arc::clone(&shared.limits));
        Self { shared, upstreams }
    }

    /// Answers one request; cannot fail.
    pub async fn handle(self: Rc<Self>, request: Request<Incoming>, conn: Rc<Conn>) -> Response<ProxyBody> {
        let _ = (&self.shared, &self.upstreams, request, conn);
        todo!()
    }
}
