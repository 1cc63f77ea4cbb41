//! Host names: what a client asks for ([`Authority`]), what a route serves ([`HostMatch`]).

use std::fmt;
use std::sync::Arc;

/// A host as it is matched: a lower-case DNS name or an IP literal, without port and trailing dot.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Host(Arc<str>);

/// The authority of a request (RFC 9110 section 7.2): a host and, where given, a port.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Authority {
    /// The host, canonical.
    pub host: Host,
    /// The port, where one was written.
    pub port: Option<u16>,
}

/// Which hosts a rule speaks of. `Ord` is precedence: exact, then wildcard, then any.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum HostMatch {
    /// This host alone.
    Exact(Host),
    /// `*.suffix`: hosts with exactly one more label than the suffix, which is held without `*.`.
    Wildcard(Host),
    /// Every host, IP literals too.
    Any,
}

/// Why a text is no host.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not a host name")]
pub struct BadHost(pub String);

impl Host {
    /// Parses a DNS name or IP literal (`[..]` for version 6); upper case is folded, one trailing dot dropped.
    pub fn parse(text: &str) -> Result<Self, BadHost> {
        let _ = text;
        todo!()
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Authority {
    /// Parses `host[:port]`; user information, lists and paths are refused.
    pub fn parse(text: &str) -> Result<Self, BadHost> {
        let _ = text;
        todo!()
    }
}

impl HostMatch {
    /// Parses the host of an Ingress rule: empty is [`HostMatch::Any`], `*.suffix` a wildcard.
    pub fn parse(text: &str) -> Result<Self, BadHost> {
        let _ = text;
        todo!()
    }

    /// Whether `host` is meant.
    pub fn matches(&self, host: &Host) -> bool {
        let _ = host;
        todo!()
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
