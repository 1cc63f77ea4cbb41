//! The one HTTP client of sign-in: each answer capped, each wait bounded, no redirect followed, no proxy asked.
//!
//! It speaks `https` to the system's trust anchors, or to the given ones alone; plain `http` to loopback where that is
//! allowed. `localhost` and the names under it are loopback, whatever the system's resolver says (RFC 6761 section 6.3).

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tower::Service;
use url::{Host, Url};

use crate::secret::Secret;

/// The largest answer that is read, in bytes.
pub const MAX_ANSWER: usize = 1 << 20;
/// From the first packet to an open connection.
const CONNECT: Duration = Duration::from_secs(5);
/// From the call to the last byte of the answer.
const TOTAL: Duration = Duration::from_secs(10);
/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(30);

/// An absolute URL that may be called: `https`, or `http` on loopback where that is allowed; no user, no fragment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Endpoint {
    url: Url,
    uri: Uri,
}

/// A client for one set of trust anchors. Cheap to clone; calls must be made on the control runtime.
#[derive(Clone, Debug)]
pub(super) struct Client {
    inner: legacy::Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>,
}

/// An answer, whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

/// Why there is no answer. No variant holds what was sent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error("no answer within {} s", TOTAL.as_secs())]
    Timeout,
    #[error("the answer is larger than {MAX_ANSWER} bytes")]
    TooLarge,
    #[error("{0}")]
    Transport(String),
    #[error("its certificate is not trusted: {0}")]
    Untrusted(String),
    #[error("the system's trust anchors are unusable: {0}")]
    TrustAnchors(String),
    #[error("the CA bundle holds no usable certificate")]
    CaBundle,
    #[error("a token cannot be put into a header")]
    Header,
}

impl Endpoint {
    /// Parses a URL; the error says what is wrong with it.
    pub fn parse(text: &str, loopback_http: bool) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("`{text}` is no URL: {error}"))?;
        match url.scheme() {
            "https" => {}
            "http" if loopback_http && is_loopback(&url) => {}
            _ => return Err(format!("`{text}` is not `https`")),
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(format!("`{text}` has a user or a fragment"));
        }
        let uri = url.as_str().parse().map_err(|error| format!("`{text}` is no URL: {error}"))?;
        Ok(Self { url, uri })
    }

    /// The URL, to which a query may be added.
    pub fn url(&self) -> Url {
        self.url.clone()
    }
}

impl Client {
    /// A client that trusts the certificates of `ca_bundle` (PEM) and nothing else, or without one, the system's.
    pub fn new(ca_bundle: Option<&[u8]>, loopback_http: bool) -> Result<Self, HttpError> {
        let mut tcp = HttpConnector::new_with_resolver(Resolver(GaiResolver::new()));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        let tls = HttpsConnectorBuilder::new().with_tls_config(tls_config(ca_bundle)?);
        let schemes = if loopback_http { tls.https_or_http() } else { tls.https_only() };
        let connector = schemes.enable_all_versions().wrap_connector(tcp);
        let inner = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(8)
            .build(connector);
        Ok(Self { inner })
    }

    /// Gets a document, with a bearer token where it needs one (RFC 6750 section 2.1).
    pub async fn get(&self, endpoint: &Endpoint, bearer: Option<&Secret<String>>) -> Result<Answer, HttpError> {
        let authorization = bearer.map(|token| format!("Bearer {}", token.expose()));
        self.call(Method::GET, endpoint, authorization, Bytes::new()).await
    }

    /// Posts a form, with a value for `Authorization` where the client shows itself there.
    pub async fn post(
        &self,
        endpoint: &Endpoint,
        authorization: Option<String>,
        form: String,
    ) -> Result<Answer, HttpError> {
        self.call(Method::POST, endpoint, authorization, form.into()).await
    }

    async fn call(
        &self,
        method: Method,
        endpoint: &Endpoint,
        authorization: Option<String>,
        body: Bytes,
    ) -> Result<Answer, HttpError> {
        let mut request = Request::new(Full::new(body));
        *request.uri_mut() = endpoint.uri.clone();
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("portcullis/", env!("CARGO_PKG_VERSION"))));
        if method == Method::POST {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        }
        if let Some(value) = authorization {
            let mut value = HeaderValue::try_from(value).map_err(|_| HttpError::Header)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        *request.method_mut() = method;
        tokio::time::timeout(TOTAL, self.exchange(request)).await.map_err(|_| HttpError::Timeout)?
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, HttpError> {
        let response = self.inner.request(request).await.map_err(|error| match untrusted(&error) {
            Some(why) => HttpError::Untrusted(why.to_string()),
            None => HttpError::Transport(chain(&error)),
        })?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { HttpError::TooLarge } else { HttpError::Transport(chain(&*error)) }
        })?;
        Ok(Answer { status, body: body.to_bytes() })
    }
}

fn tls_config(ca_bundle: Option<&[u8]>) -> Result<ClientConfig, HttpError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the suites of both versions");
    let verified = match ca_bundle {
        None => builder.try_with_platform_verifier().map_err(|error| HttpError::TrustAnchors(chain(&error)))?,
        Some(pem) => builder.with_root_certificates(roots(pem)?),
    };
    Ok(verified.with_no_client_auth())
}

/// Every certificate of the bundle must be usable: half a bundle would fail at a later, worse moment.
fn roots(pem: &[u8]) -> Result<RootCertStore, HttpError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| HttpError::CaBundle)?;
        roots.add(certificate).map_err(|_| HttpError::CaBundle)?;
    }
    if roots.is_empty() { Err(HttpError::CaBundle) } else { Ok(roots) }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => is_localhost(name),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// An error with its causes, which is where transports say what really happened.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// What is wrong with the peer's certificate, where the connection failed for it. An I/O error skips what it wraps when it
/// is asked for its source.
fn untrusted<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::CertificateError> {
    let within = |error: &&'a (dyn Error + 'static)| {
        let error: &'a (dyn Error + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    };
    std::iter::successors(Some(error), within).find_map(|cause| match cause.downcast_ref() {
        Some(rustls::Error::InvalidCertificate(why)) => Some(why),
        _ => None,
    })
}

/// The system's resolver, but for the names of loopback.
#[derive(Clone, Debug)]
struct Resolver(GaiResolver);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        if is_localhost(name.as_str()) {
            let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            let addresses: Vec<_> = loopback.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            return Box::pin(std::future::ready(Ok(addresses.into_iter())));
        }
        let answer = self.0.call(name);
        Box::pin(async move { Ok(answer.await?.collect::<Vec<_>>().into_iter()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_alone() {
        for (text, loopback_http, fine) in [
            ("https://issuer.example.com/token", false, true),
            ("https://10.0.0.7/token", false, true),
            ("http://127.0.0.1:9/token", true, true),
            ("http://[::1]:9/token", true, true),
            ("http://issuer.localhost:9/token", true, true),
            ("http://127.0.0.1:9/token", false, false),
            ("http://issuer.example.com/token", true, false),
            ("http://localhost.example.com/token", true, false),
            ("http://10.0.0.7/token", true, false),
            ("https://user@issuer.example.com/", false, false),
            ("https://issuer.example.com/#part", false, false),
            ("ftp://issuer.example.com/", true, false),
            ("/token", true, false),
        ] {
            assert_eq!(Endpoint::parse(text, loopback_http).is_ok(), fine, "{text}");
        }
    }

    #[test]
    fn a_ca_bundle_without_certificates_is_refused() {
        for pem in ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert_eq!(Client::new(Some(pem.as_bytes()), false).unwrap_err(), HttpError::CaBundle, "{pem}");
        }
    }
}
