//! Issuers that cannot be used: one HTTPS server, a folder of it an issuer.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::authority::Authority;

const ADDRESS: &str = "127.0.0.1:9445";

const ORIGIN: &str = "https://liar.localhost:9445";

/// The running server.
pub struct Liar(JoinHandle<()>);

impl Liar {
    /// Starts it.
    pub async fn start(authority: &Authority) -> Self {
        let pair = authority.issue(&["liar.localhost"]);
        let chain = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).expect("our own PEM");
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("our own PEM");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .expect("our own certificate");
        let listener = TcpListener::bind(ADDRESS).await.expect("the journeys have this port to themselves");
        Self(tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)))))
    }

    /// The issuer of this name.
    pub fn issuer(name: &str) -> String {
        format!("{ORIGIN}/{name}")
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("the tests have descriptors to spare");
        let acceptor = acceptor.clone();
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(async |request| Ok::<_, Infallible>(answer(&request).await));
            // A peer that goes away is not the issuer's concern.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer<B>(request: &Request<B>) -> Response<Full<Bytes>> {
    let body = match request.uri().path() {
        "/another/.well-known/openid-configuration" => metadata("elsewhere"),
        "/keyless/.well-known/openid-configuration" => metadata("keyless"),
        "/keyless/jwks" => json!({"keys": []}).to_string(),
        "/big/.well-known/openid-configuration" => " ".repeat(10 << 20),
        "/silent/.well-known/openid-configuration" => std::future::pending().await,
        _ => return status(StatusCode::NOT_FOUND, String::new()),
    };
    status(StatusCode::OK, body)
}

/// The metadata of an issuer.
fn metadata(name: &str) -> String {
    let issuer = Liar::issuer(name);
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"),
    })
    .to_string()
}

fn status(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::from(body)).expect("a sound response")
}
