//! Certificates: parsed from PEM, checked against their key, found by server name.

mod pem;

use std::sync::Arc;

use jiff::Timestamp;
use rustls::sign::CertifiedKey;

use crate::host::{Host, HostMatch};

pub use pem::BadCertificate;

/// A certificate chain with its key. Equal when the chains are, by SHA-256.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// SHA-256 over the DER chain.
    pub fingerprint: [u8; 32],
    /// The end of the leaf's validity.
    pub not_after: Timestamp,
    /// The names that the leaf is good for.
    pub names: Arc<[HostMatch]>,
    /// What rustls signs with.
    pub key: Arc<CertifiedKey>,
}

/// The certificates of a snapshot by server name: exact, then one-label wildcard, then the default.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct CertStore {
    // private fields come with the implementation
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
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for Certificate {}

impl CertStore {
    /// A store of what serves which hosts, and the certificate for everyone else.
    pub fn new(
        entries: impl IntoIterator<Item = (HostMatch, Arc<Certificate>)>,
        default: Option<Arc<Certificate>>,
    ) -> Self {
        let _ = (entries.into_iter().count(), default);
        todo!()
    }

    /// The certificate for a server name, or for a client that sent none.
    pub fn find(&self, server_name: Option<&str>) -> Option<&Arc<Certificate>> {
        let _ = server_name;
        todo!()
    }
}
