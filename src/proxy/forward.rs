//! Spends a permit: the one way to an upstream.

use std::pin::Pin;
use std::sync::Arc;

use http::Response;
use hyper::body::Incoming;

use crate::audit::{Outcome, RequestId, Slot};
use crate::identity::Principal;
use crate::policy::Permit;
use crate::route::Route;

use super::admit::{CanonicalRequest, Conn};
use super::body::ProxyBody;
use super::upstream::Upstreams;

/// Everything about one exchange but the permit, the request and its body.
pub struct Exchange<'a> {
    /// The id of the request.
    pub id: RequestId,
    /// The generation of its snapshot.
    pub generation: u64,
    /// The connection it came over.
    pub conn: &'a Conn,
    /// Where it goes and how.
    pub route: &'a Arc<Route>,
    /// Who asks.
    pub caller: Option<Caller<'a>>,
    /// The connections of this data thread.
    pub upstreams: &'a Upstreams,
}

/// Who asks.
pub struct Caller<'a> {
    /// The principal: the identity headers that the route asks for are made from it.
    pub principal: &'a Principal,
    /// Makes a future that ends with the session (expiry, sign-out); asked for by a tunnel only.
    pub session_end: &'a dyn Fn() -> SessionEnd,
}

/// Ends when the session does.
pub type SessionEnd = Pin<Box<dyn Future<Output = ()>>>;

/// A request that was permitted and decided, but not answered by an upstream.
pub struct Failed {
    /// Why.
    pub error: UpstreamError,
    /// The place of its outcome, for the body of the answer.
    pub outcome: Outcome,
}

/// Why no upstream answered.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The backend has no endpoint: 503.
    #[error("the backend has no endpoint")]
    NoEndpoint,
}

impl UpstreamError {
    /// The status that answers it.
    pub fn status(&self) -> http::StatusCode {
        todo!()
    }

    /// The stable name for audit and metrics.
    pub fn as_str(&self) -> &'static str {
        todo!()
    }
}

/// Forwards a permitted request and gives the upstream's response.
///
/// The decision is recorded in the permit's slot before the first byte goes upstream; the outcome is recorded by the
/// response body (or tunnel) that comes back.
pub async fn forward(
    permit: Permit<Slot>,
    request: CanonicalRequest,
    body: Incoming,
    exchange: Exchange<'_>,
) -> Result<Response<ProxyBody>, Failed> {
    let _ = (permit, request, body, exchange);
    todo!()
}
