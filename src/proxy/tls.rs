//! TLS towards clients: versions, suites and groups in our order, tickets under rotating keys, and at each handshake the
//! certificate of the current snapshot.
//!
//! The ClientHello is read first and the certificate chosen from it, so that the connection knows which one it was shown.

use std::io;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, TLS13_AES_128_GCM_SHA256,
    TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, X25519, X25519MLKEM768};
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::server::{Acceptor, ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedCipherSuite};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::snapshot::Reader;

use super::conn::{ServerName, Transport};
use super::tcp::Tcp;

/// The cipher suites in order of preference: AES-256 first, and within a strength ECDSA before RSA.
const SUITES: [SupportedCipherSuite; 9] = [
    TLS13_AES_256_GCM_SHA384,
    TLS13_AES_128_GCM_SHA256,
    TLS13_CHACHA20_POLY1305_SHA256,
    TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// The key exchange groups in order of preference, the post-quantum hybrid first.
const GROUPS: [&dyn SupportedKxGroup; 3] = [X25519MLKEM768, X25519, SECP256R1];

const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// What every handshake shares: one set of ticket keys for all data threads. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    config: ServerConfig,
    reader: Reader,
}

/// A finished handshake.
pub(super) struct Handshake {
    pub stream: TlsStream<Tcp>,
    pub transport: Transport,
    /// Whether HTTP/2 was agreed on.
    pub h2: bool,
}

impl Tls {
    /// Prepares; certificates come from `reader`.
    pub fn new(reader: Reader) -> Result<Self, rustls::Error> {
        let provider = CryptoProvider {
            cipher_suites: SUITES.to_vec(),
            kx_groups: GROUPS.to_vec(),
            ..aws_lc_rs::default_provider()
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Chosen(None)));
        config.ignore_client_order = true;
        config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
        config.ticketer = Ticketer::new()?;
        config.send_tls13_tickets = 1;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
        Ok(Self { config, reader })
    }

    /// Shakes hands; without a certificate for the client it fails with an alert.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<Handshake> {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), Tcp(stream)).await?;
        let (server_name, certificate) = {
            let hello = hello.client_hello();
            let name = hello.server_name();
            let snapshot = self.reader.load();
            (ServerName::from(name), snapshot.certificates.find(name).cloned())
        };
        let key = certificate.as_ref().map(|certificate| Arc::clone(&certificate.key));
        let mut config = self.config.clone();
        config.cert_resolver = Arc::new(Chosen(key));
        let stream = hello.into_stream(Arc::new(config)).await?;
        let certificate = certificate.ok_or(io::ErrorKind::NotFound)?;
        let h2 = stream.get_ref().1.alpn_protocol() == Some(H2);
        Ok(Handshake { stream, transport: Transport::Tls { server_name, certificate }, h2 })
    }
}

/// The key of one handshake.
#[derive(Debug)]
struct Chosen(Option<Arc<CertifiedKey>>);

impl ResolvesServerCert for Chosen {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use rustls::ProtocolVersion;

    use super::*;
    use crate::snapshot::{Snapshot, channel};

    #[tokio::test]
    async fn the_configuration_is_the_published_one() {
        let (mut publisher, pending) = channel();
        publisher.publish(Snapshot::default());
        let config = Tls::new(pending.first().await.unwrap()).unwrap().config;
        let suites: Vec<_> = config.crypto_provider().cipher_suites.iter().map(|suite| suite.suite()).collect();
        assert_eq!(suites, SUITES.map(|suite| suite.suite()));
        let versions: Vec<_> = SUITES.iter().map(|suite| suite.version().version).collect();
        assert!(versions.iter().all(|version| matches!(version, ProtocolVersion::TLSv1_2 | ProtocolVersion::TLSv1_3)));
        let groups: Vec<_> = config.crypto_provider().kx_groups.iter().map(|group| group.name()).collect();
        assert_eq!(groups, GROUPS.map(|group| group.name()));
        assert!(config.ignore_client_order && config.ticketer.enabled());
        assert_eq!((config.max_early_data_size, config.send_tls13_tickets), (0, 1));
        assert!(!config.session_storage.can_cache());
    }
}
