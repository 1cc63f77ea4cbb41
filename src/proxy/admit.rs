//! One canonical request, or a refusal.
//!
//! [`admit`] reads the raw head once. Router, policy and forwarder take only the [`CanonicalRequest`]: no raw target and
//! no inbound field travels past here.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, request};

use crate::budget::Limits;
use crate::host::Host;
use crate::path::Target;
use crate::tls::Certificate;

use super::tunnel::WebSocket;

/// What is known of a client's connection.
#[derive(Clone, Debug)]
pub struct Conn {
    /// The socket peer.
    pub peer: SocketAddr,
    /// Our end of the socket.
    pub local: SocketAddr,
    /// What carries the requests.
    pub transport: Transport,
}

/// What carries the requests of a connection.
#[derive(Clone, Debug)]
pub enum Transport {
    /// Plain TCP.
    Plain,
    /// TLS.
    Tls {
        /// The server name that the client asked for (RFC 6066 section 3).
        server_name: Option<Host>,
        /// The certificate that it was shown.
        certificate: Arc<Certificate>,
    },
}

/// The scheme of a request: the listener's, never what the request says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// `http`.
    Http,
    /// `https`.
    Https,
}

/// One request as everything behind `admit` sees it.
#[derive(Debug)]
pub struct CanonicalRequest {
    method: Method,
    host: Host,
    target: Target,
    version: Version,
    fields: HeaderMap,
    cookies: Vec<HeaderValue>,
    accepts_trailers: bool,
    upgrade: Option<WebSocket>,
}

/// Why a request is refused before anything is decided over it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadRequest {
    /// The method is not served: 405 or 501.
    #[error("the method is not served")]
    Method,
    /// Anything else that comes in the next commit.
    #[error("the request is malformed")]
    Malformed,
}

impl Conn {
    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        match self.transport {
            Transport::Plain => Scheme::Http,
            Transport::Tls { .. } => Scheme::Https,
        }
    }

    /// Whether a request for `host` came over a connection made for another one: a server name was sent, it differs, and
    /// the certificate shown is not good for `host` (RFC 9110 section 15.5.20).
    pub fn misdirected(&self, host: &Host) -> bool {
        match &self.transport {
            Transport::Tls { server_name: Some(name), certificate } => name != host && !certificate.covers(host),
            Transport::Tls { server_name: None, .. } | Transport::Plain => false,
        }
    }
}

impl CanonicalRequest {
    /// The method, upper case.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The host asked for.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Path and query.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The version of HTTP that the client speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The values of the `Cookie` fields, ours among them.
    pub fn cookies(&self) -> impl Iterator<Item = &HeaderValue> {
        self.cookies.iter()
    }

    /// An end-to-end field that came exactly once and is text: what comes twice is as good as absent.
    pub fn header(&self, name: &http::HeaderName) -> Option<&str> {
        let mut values = self.fields.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    }

    /// Whether the client asks to go on as a WebSocket.
    pub fn is_websocket(&self) -> bool {
        self.upgrade.is_some()
    }
}

impl BadRequest {
    /// The status that answers it.
    pub fn status(self) -> StatusCode {
        todo!()
    }

    /// The stable name for audit and metrics.
    pub fn as_str(self) -> &'static str {
        todo!()
    }
}

/// Makes the canonical request of a raw head.
pub fn admit(parts: request::Parts, conn: &Conn, limits: &Limits) -> Result<CanonicalRequest, BadRequest> {
    let _ = (parts, conn, limits);
    todo!()
}
