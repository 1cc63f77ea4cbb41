//! Certificates: parsed from PEM, checked against their key, found by server name.

mod pem;

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::sign::CertifiedKey;

use crate::host::{Host, HostMatch};

pub use pem::{BadCertificate, check_bundle};

/// The longest DNS name (RFC 1035 section 2.3.4), in bytes of its text.
const LONGEST_NAME: usize = 253;

/// A certificate chain with its key. Equal when the chains are, by SHA-256.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// SHA-256 over the DER chain.
    pub fingerprint: [u8; 32],
    /// The end of the leaf's validity.
    pub not_after: Timestamp,
    /// The names that the leaf is good for: its subject alternative names, never the common name (RFC 9525 section 2).
    pub names: Arc<[HostMatch]>,
    /// What rustls signs with.
    pub key: Arc<CertifiedKey>,
}

/// The certificates of a snapshot by server name: exact, then one-label wildcard, then the default.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct CertStore {
    exact: HashMap<Box<str>, Arc<Certificate>>,
    /// By the suffix without `*.`.
    wildcard: HashMap<Box<str>, Arc<Certificate>>,
    default: Option<Arc<Certificate>>,
}

impl Certificate {
    /// Parses a PEM chain and a PEM key (PKCS#8, SEC1 or PKCS#1) and refuses a key that does not fit the leaf.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, BadCertificate> {
        pem::parse(chain, key)
    }

    /// Whether the leaf is good for `host`.
    pub fn covers(&self, host: &Host) -> bool {
        self.names.iter().any(|name| name.matches(host))
    }

    /// Whether the leaf is good for every host that is meant.
    pub fn covers_all(&self, hosts: &HostMatch) -> bool {
        match hosts {
            HostMatch::Exact(host) => self.covers(host),
            HostMatch::Wildcard(_) => self.names.contains(hosts),
            HostMatch::Any => false,
        }
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for Certificate {}

impl CertStore {
    /// A store of what serves which hosts, and the certificate for everyone else. The first entry of a host wins; one
    /// for every host is the default's business and is left out.
    pub fn new(
        entries: impl IntoIterator<Item = (HostMatch, Arc<Certificate>)>,
        default: Option<Arc<Certificate>>,
    ) -> Self {
        Self { default, ..Self::default() }.with(entries)
    }

    /// The store with more entries; a host that it serves already keeps its certificate.
    #[must_use]
    pub fn with(mut self, entries: impl IntoIterator<Item = (HostMatch, Arc<Certificate>)>) -> Self {
        for (host, certificate) in entries {
            match host {
                HostMatch::Exact(host) => self.exact.entry(host.as_str().into()).or_insert(certificate),
                HostMatch::Wildcard(suffix) => self.wildcard.entry(suffix.as_str().into()).or_insert(certificate),
                HostMatch::Any => continue,
            };
        }
        self
    }

    /// The certificate for a server name, or for a client that sent none. Case is folded without allocation.
    pub fn find(&self, server_name: Option<&str>) -> Option<&Arc<Certificate>> {
        server_name.and_then(|name| self.named(name)).or(self.default.as_ref())
    }

    /// Every host with its certificate, by name: exact hosts, then wildcards, then `*` for everyone else.
    pub fn iter(&self) -> impl Iterator<Item = (String, &Arc<Certificate>)> {
        let exact = self.exact.iter().map(|(host, certificate)| (host.to_string(), certificate));
        let wildcard = self.wildcard.iter().map(|(suffix, certificate)| (format!("*.{suffix}"), certificate));
        let mut named: Vec<_> = exact.chain(wildcard).collect();
        named.sort_by(|(a, _), (b, _)| (a.starts_with('*'), a).cmp(&(b.starts_with('*'), b)));
        named.into_iter().chain(self.default.iter().map(|certificate| ("*".to_owned(), certificate)))
    }

    fn named(&self, name: &str) -> Option<&Arc<Certificate>> {
        let mut folded = [0; LONGEST_NAME];
        let folded = folded.get_mut(..name.len())?;
        folded.copy_from_slice(name.as_bytes());
        folded.make_ascii_lowercase();
        let name = str::from_utf8(folded).ok()?;
        self.exact.get(name).or_else(|| {
            let (label, suffix) = name.split_once('.')?;
            if label.is_empty() { None } else { self.wildcard.get(suffix) }
        })
    }
}

#[cfg(test)]
mod tests;
