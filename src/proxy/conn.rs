//! A client's connection, as far as its requests must know of it.

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::host::Host;
use crate::metrics::Metrics;
use crate::session::LastTicket;
use crate::tls::Certificate;

use super::headers::Pseudonym;

/// What is known of a client's connection.
#[derive(Clone, Debug)]
pub struct Conn {
    /// The socket peer.
    pub peer: SocketAddr,
    /// Our end of the socket.
    pub local: SocketAddr,
    /// What carries the requests.
    pub transport: Transport,
    /// How this process signs `Via`.
    pub(super) pseudonym: Pseudonym,
    /// `X-Forwarded-For` of every request.
    pub(super) forwarded_for: HeaderValue,
    /// `X-Forwarded-Port` of every request: the port as browsers see it.
    pub(super) forwarded_port: HeaderValue,
    /// The same port, where it is not the default one of the scheme.
    pub(super) unusual_port: Option<u16>,
    /// The session cookie that its last request had.
    pub(super) last_ticket: LastTicket,
    /// Its place, which a tunnel takes over; none where nobody counts.
    pub(super) open: Option<Rc<Open>>,
}

/// An open connection: its place in the budget, one in the count, and what a drain waits for. A tunnel keeps it beyond
/// the end of HTTP.
pub(super) struct Open {
    _place: OwnedSemaphorePermit,
    _running: TaskTrackerToken,
    metrics: Metrics,
}

/// What carries the requests of a connection.
#[derive(Clone, Debug)]
pub enum Transport {
    /// Plain TCP.
    Plain,
    /// TLS.
    Tls {
        /// The server name that the client asked for (RFC 6066 section 3).
        server_name: ServerName,
        /// The certificate that it was shown.
        certificate: Arc<Certificate>,
    },
}

/// The server name of a handshake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ServerName {
    /// None was sent.
    Absent,
    /// A host.
    Host(Host),
    /// A name that no host can have, and no request's is equal to.
    NoHost,
}

/// The scheme of a request: the listener's, never what the request says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// `http`.
    Http,
    /// `https`.
    Https,
}

impl Conn {
    /// A connection between two ends; an IPv4 address mapped into IPv6 counts as what it is.
    pub fn new(peer: SocketAddr, local: SocketAddr, transport: Transport, pseudonym: Pseudonym) -> Self {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let forwarded_for = HeaderValue::from_str(&peer.ip().to_string()).expect("an address is plain ASCII");
        let port = if matches!(transport, Transport::Plain) { 80 } else { 443 };
        let forwarded_port = HeaderValue::from(port);
        Self {
            peer,
            local,
            transport,
            pseudonym,
            forwarded_for,
            forwarded_port,
            unusual_port: None,
            last_ticket: LastTicket::default(),
            open: None,
        }
    }

    /// The same, where browsers see another port.
    pub(super) fn at(self, port: u16) -> Self {
        let usual = port == if self.scheme() == Scheme::Http { 80 } else { 443 };
        Self { forwarded_port: HeaderValue::from(port), unusual_port: (!usual).then_some(port), ..self }
    }

    /// The same, holding its place.
    pub(super) fn holding(self, open: Rc<Open>) -> Self {
        Self { open: Some(open), ..self }
    }

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
        let Transport::Tls { server_name, certificate } = &self.transport else { return false };
        let differs = match server_name {
            ServerName::Absent => false,
            ServerName::Host(name) => name != host,
            ServerName::NoHost => true,
        };
        differs && !certificate.covers(host)
    }
}

impl From<Option<&str>> for ServerName {
    fn from(name: Option<&str>) -> Self {
        name.map_or(Self::Absent, |name| Host::parse(name).map_or(Self::NoHost, Self::Host))
    }
}

impl Open {
    /// Takes the place; counted until dropped.
    pub(super) fn new(place: OwnedSemaphorePermit, running: TaskTrackerToken, metrics: Metrics) -> Self {
        metrics.connection(true);
        Self { _place: place, _running: running, metrics }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.metrics.connection(false);
    }
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Open")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_address_counts_as_what_it_is() {
        let peer = "[::ffff:192.0.2.1]:7".parse().unwrap();
        let conn = Conn::new(peer, peer, Transport::Plain, Pseudonym::new());
        assert_eq!(conn.peer, "192.0.2.1:7".parse().unwrap());
        assert_eq!(conn.forwarded_for, "192.0.2.1");
    }
}
