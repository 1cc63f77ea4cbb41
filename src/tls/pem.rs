//! PEM to [`Certificate`].

use super::Certificate;

/// Why a certificate cannot be served.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadCertificate {
    /// No certificate in the PEM text.
    #[error("no certificate found in the PEM text")]
    NoCertificate,
}

/// Parses chain and key.
pub(super) fn parse(chain: &[u8], key: &[u8]) -> Result<Certificate, BadCertificate> {
    let _ = (chain, key);
    todo!()
}
