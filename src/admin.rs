//! The admin listener, for the cluster's inside: `/livez`, `/readyz`, `/metrics`, and `/snapshot` for who is in the pod. It
//! routes nothing.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::header::ACCEPT;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::metrics::Metrics;
use crate::snapshot::{Reader, Snapshot};
use crate::{routes, serve};

/// Every path, and what it says.
pub const PATHS: [(&str, &str); 4] = [
    ("/livez", "200 while the process runs"),
    ("/readyz", "200 from the first live snapshot to SIGTERM, else 503"),
    ("/metrics", "the metrics: OpenMetrics text where `Accept` has it, else the text format of Prometheus"),
    (
        "/snapshot",
        "what is live: routes with who may pass, certificates, providers; no secret; to peers on loopback alone, as \
         `kubectl port-forward` is one",
    ),
];

/// Whether the process wants traffic: not before the first snapshot is live, not after SIGTERM. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<State>);

#[derive(Debug, Default)]
struct State {
    ready: AtomicBool,
    reader: OnceLock<Reader>,
}

impl Readiness {
    /// Turns it on: this is what is served.
    pub fn begin(&self, reader: Reader) {
        self.0.reader.get_or_init(|| reader);
        self.0.ready.store(true, Ordering::Release);
    }

    /// Turns it off.
    pub fn end(&self) {
        self.0.ready.store(false, Ordering::Release);
    }

    /// Whether it is on.
    pub fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::Acquire)
    }
}

/// Serves the admin endpoints.
pub async fn run(listener: TcpListener, readiness: Readiness, metrics: Metrics) {
    let handler = move |peer, request: Request<Bytes>| {
        let response = answer(&request, peer, &readiness, &metrics);
        async move { response }
    };
    serve::serve(listener, handler).await;
}

fn answer(
    request: &Request<Bytes>,
    peer: SocketAddr,
    readiness: &Readiness,
    metrics: &Metrics,
) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return serve::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    }
    match request.uri().path() {
        "/livez" => serve::text(StatusCode::OK, "ok\n"),
        "/readyz" if readiness.is_ready() => serve::text(StatusCode::OK, "ok\n"),
        "/readyz" => {
            serve::text(StatusCode::SERVICE_UNAVAILABLE, "no snapshot is live yet, or the process is stopping\n")
        }
        "/metrics" if takes_openmetrics(request) => {
            serve::typed(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", metrics.encode())
        }
        "/metrics" => {
            serve::typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics.encode_classic())
        }
        "/snapshot" if !peer.ip().to_canonical().is_loopback() => {
            serve::text(StatusCode::FORBIDDEN, "only from within the pod, as `kubectl port-forward` reaches it\n")
        }
        "/snapshot" => match readiness.0.reader.get() {
            Some(reader) => serve::typed(StatusCode::OK, "application/json", format!("{:#}\n", told(&reader.load()))),
            None => serve::text(StatusCode::SERVICE_UNAVAILABLE, "no snapshot is live yet\n"),
        },
        _ => serve::text(StatusCode::NOT_FOUND, "here are /livez, /readyz, /metrics and /snapshot\n"),
    }
}

/// A snapshot as an administrator reads it, without a secret.
pub fn told(snapshot: &Snapshot) -> Value {
    let certificates = snapshot.certificates.iter().map(|(host, certificate)| {
        json!({
            "host": host,
            "not_after": certificate.not_after.to_string(),
            "sha256": HEXLOWER.encode(&certificate.fingerprint),
        })
    });
    let providers =
        snapshot.providers.values().map(|provider| json!({"name": &*provider.name, "issuer": &*provider.issuer.0}));
    json!({
        "generation": snapshot.generation,
        "routes": routes::rows(snapshot.routes.iter()),
        "certificates": certificates.collect::<Vec<_>>(),
        "providers": providers.collect::<Vec<_>>(),
    })
}

fn takes_openmetrics(request: &Request<Bytes>) -> bool {
    let mut accepted = request.headers().get_all(ACCEPT).iter();
    accepted.any(|value| value.to_str().is_ok_and(|value| value.contains("application/openmetrics-text")))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::snapshot;

    fn get(path: &str, peer: &str, readiness: &Readiness) -> Response<Full<Bytes>> {
        let request = Request::builder().uri(path).body(Bytes::new()).unwrap();
        answer(&request, peer.parse().unwrap(), readiness, &Metrics::new())
    }

    #[test]
    fn a_scraper_gets_the_format_that_it_takes() {
        let peer = (Ipv4Addr::LOCALHOST, 1).into();
        let scrape = |accept: &str| {
            let request = Request::builder().uri("/metrics").header(ACCEPT, accept).body(Bytes::new()).unwrap();
            let response = answer(&request, peer, &Readiness::default(), &Metrics::new());
            response.headers()[http::header::CONTENT_TYPE].to_str().unwrap().split(';').next().unwrap().to_owned()
        };
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        assert_eq!(scrape(prometheus), "application/openmetrics-text");
        assert_eq!([scrape("*/*"), scrape("text/plain")], ["text/plain"; 2]);
    }

    fn status(path: &str, readiness: &Readiness) -> u16 {
        get(path, "127.0.0.1:7", readiness).status().as_u16()
    }

    fn reader() -> Reader {
        let (mut publisher, pending) = snapshot::channel();
        publisher.publish(Snapshot::default());
        futures_util::FutureExt::now_or_never(pending.first()).flatten().unwrap()
    }

    #[test]
    fn readiness_follows_the_process() {
        let readiness = Readiness::default();
        assert_eq!((status("/livez", &readiness), status("/readyz", &readiness)), (200, 503));
        assert_eq!(status("/snapshot", &readiness), 503);
        readiness.begin(reader());
        assert_eq!(PATHS.map(|(path, _)| status(path, &readiness)), [200; 4]);
        readiness.end();
        assert_eq!((status("/readyz", &readiness), status("/snapshot", &readiness)), (503, 200));
    }

    #[test]
    fn the_snapshot_is_for_who_is_within_the_pod() {
        let readiness = Readiness::default();
        readiness.begin(reader());
        for (peer, status) in [("127.0.0.1:7", 200), ("[::1]:7", 200), ("[::ffff:127.0.0.1]:7", 200)] {
            assert_eq!(get("/snapshot", peer, &readiness).status(), status, "{peer}");
        }
        for peer in ["10.244.1.7:7", "[::ffff:10.244.1.7]:7", "[2001:db8::1]:7"] {
            assert_eq!(get("/snapshot", peer, &readiness).status(), StatusCode::FORBIDDEN, "{peer}");
            assert_eq!(get("/metrics", peer, &readiness).status(), StatusCode::OK, "{peer}");
        }
    }

    #[test]
    fn nothing_else_answers() {
        let readiness = Readiness::default();
        assert_eq!((status("/metrics", &readiness), status("/debug/pprof", &readiness)), (200, 404));
        let post = Request::post("/metrics").body(Bytes::new()).unwrap();
        let refused = answer(&post, (Ipv4Addr::LOCALHOST, 7).into(), &readiness, &Metrics::new());
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
