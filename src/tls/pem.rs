//! PEM to [`Certificate`]. What cannot be served is named here, in words that quote nothing of a key.

use std::sync::Arc;

use jiff::Timestamp;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::Certificate;
use crate::host::HostMatch;

/// Why a certificate cannot be served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadCertificate {
    /// No certificate in the PEM text.
    #[error("no certificate found in the PEM text")]
    NoCertificate,
    /// A broken PEM section where the chain is.
    #[error("the certificate chain is broken PEM text")]
    BrokenChain,
    /// The leaf is no X.509 version 3 certificate.
    #[error("the first certificate of the chain cannot be read as X.509")]
    BrokenLeaf,
    /// No private key in the PEM text.
    #[error("no private key found in the PEM text")]
    NoKey,
    /// A broken PEM section where the key is.
    #[error("the private key is broken PEM text")]
    BrokenKey,
    /// The key needs a password, which there is no place for.
    #[error("the private key is encrypted")]
    EncryptedKey,
    /// No algorithm that we sign with.
    #[error("the private key is none of RSA, ECDSA on P-256, P-384 or P-521, and Ed25519")]
    UnsupportedKey,
    /// Another certificate's key.
    #[error("the private key does not fit the first certificate of the chain")]
    KeyMismatch,
}

/// Parses chain and key.
pub(super) fn parse(chain: &[u8], key: &[u8]) -> Result<Certificate, BadCertificate> {
    let chain = certificates(chain)?;
    let (not_after, names) = leaf(chain.first().ok_or(BadCertificate::NoCertificate)?)?;
    let fingerprint = chain.iter().fold(Sha256::new(), |hash, der| hash.chain_update(der)).finalize().into();
    let key = any_supported_type(&Zeroizing::new(private_key(key)?)).map_err(|_| BadCertificate::UnsupportedKey)?;
    let key = CertifiedKey::new(chain, key);
    match key.keys_match() {
        Ok(()) => Ok(Certificate { fingerprint, not_after, names, key: Arc::new(key) }),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(BadCertificate::KeyMismatch),
        Err(_) => Err(BadCertificate::BrokenLeaf),
    }
}

/// Checks that a PEM text is a bundle of certificates that can be read, one at least.
pub fn check_bundle(bundle: &[u8]) -> Result<(), BadCertificate> {
    certificates(bundle)?.iter().try_for_each(|der| leaf(der).map(drop))
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, BadCertificate> {
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().map_err(|_| BadCertificate::BrokenChain)?;
    if chain.is_empty() { Err(BadCertificate::NoCertificate) } else { Ok(chain) }
}

fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, BadCertificate> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        pem::Error::NoItemsFound if memchr::memmem::find(text, b"ENCRYPTED PRIVATE KEY").is_some() => {
            BadCertificate::EncryptedKey
        }
        pem::Error::NoItemsFound => BadCertificate::NoKey,
        _ => BadCertificate::BrokenKey,
    })
}

/// The end of validity, and the names.
fn leaf(der: &[u8]) -> Result<(Timestamp, Arc<[HostMatch]>), BadCertificate> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| BadCertificate::BrokenLeaf)?;
    let not_after =
        Timestamp::from_second(certificate.validity().not_after.timestamp()).map_err(|_| BadCertificate::BrokenLeaf)?;
    let names = certificate.subject_alternative_name().map_err(|_| BadCertificate::BrokenLeaf)?;
    let names = names.iter().flat_map(|names| &names.value.general_names).filter_map(host).collect();
    Ok((not_after, names))
}

/// A name of the kinds that a host can be; others say nothing about hosts.
fn host(name: &GeneralName<'_>) -> Option<HostMatch> {
    match name {
        GeneralName::DNSName("") => None,
        GeneralName::DNSName(name) => HostMatch::parse(name).ok(),
        GeneralName::IPAddress(octets) => {
            let v4 = <[u8; 4]>::try_from(*octets).map(|octets| std::net::Ipv4Addr::from(octets).to_string());
            let v6 = <[u8; 16]>::try_from(*octets).map(|octets| format!("[{}]", std::net::Ipv6Addr::from(octets)));
            HostMatch::parse(&v4.or(v6).ok()?).ok()
        }
        _ => None,
    }
}
