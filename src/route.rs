//! Routes: one host and path, with where it goes and who may pass.

mod access;
mod backend;
mod table;

pub use access::{Access, ClosedReason, IdentityHeader};
pub use backend::{Backend, BackendKey, EndpointSet};
pub use table::{Found, NotFound, Reserved, RouteTable};

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use crate::host::HostMatch;
use crate::metrics::RequestCounts;
use crate::path::PathMatch;

/// One route. A route holds its policy, provider and backend, never their names.
#[derive(Clone, PartialEq, Debug)]
pub struct Route {
    /// `namespace/ingress`, for audit.
    pub ingress: Arc<str>,
    /// Which hosts.
    pub host: HostMatch,
    /// Which paths; `None` for a default backend.
    pub path: Option<PathMatch>,
    /// Who may pass.
    pub access: Access,
    /// Where it goes; `None` where there is nowhere (503 after the decision).
    pub backend: Option<Arc<Backend>>,
    /// How it is forwarded.
    pub settings: Arc<RouteSettings>,
}

/// What class and annotations say beside access.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteSettings {
    /// Identity headers to send.
    pub identity_headers: Box<[IdentityHeader]>,
    /// Whether a plain-HTTP request to an open route is redirected (guarded ones always are).
    pub ssl_redirect: bool,
    /// Whether upgrades to WebSocket are forwarded.
    pub websocket: bool,
    /// Origins, beside the own one, from which a browser may call (`cors-allow-origin`).
    pub allowed_origins: Box<[Box<str>]>,
    /// Whether CORS preflights pass before anybody signed in (`cors-preflight`).
    pub cors_preflight: bool,
    /// Opening a connection.
    pub connect_timeout: Option<Duration>,
    /// The whole exchange.
    pub request_timeout: Option<Duration>,
    /// A body in which nothing moves.
    pub idle_timeout: Option<Duration>,
    /// The largest request body, in bytes.
    pub request_body_limit: Option<u64>,
    /// `Strict-Transport-Security`, `None` where it is off.
    pub hsts: Option<HeaderValue>,
    /// How long a session that begins on this route lives.
    pub session: SessionLimits,
    /// Where its requests are counted.
    pub counts: RequestCounts,
}

/// How long sessions live, as the class has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionLimits {
    /// From sign-in to the end, whatever happens.
    pub lifetime: Duration,
    /// Without a request.
    pub idle: Duration,
}

/// What holds where no annotation speaks: redirect to HTTPS, WebSocket forwarded, the process's own limits.
impl Default for RouteSettings {
    fn default() -> Self {
        Self {
            identity_headers: Box::default(),
            ssl_redirect: true,
            websocket: true,
            allowed_origins: Box::default(),
            cors_preflight: false,
            connect_timeout: None,
            request_timeout: None,
            idle_timeout: None,
            request_body_limit: None,
            hsts: None,
            session: SessionLimits::default(),
            counts: RequestCounts::default(),
        }
    }
}

/// What holds where the class does not say: 12 hours, and 1 without a request.
impl Default for SessionLimits {
    fn default() -> Self {
        Self { lifetime: Duration::from_secs(12 * 60 * 60), idle: Duration::from_secs(60 * 60) }
    }
}
