//! The admin listener, for the cluster's inside: `/livez`, `/readyz`, `/metrics`, and `/snapshot` for who is in the pod. It
//! routes nothing.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use data_encoding::HEXLOWER;
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
    ("/metrics", "the metrics, in the OpenMetrics text format"),
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
        "/metrics" => {
            serve::typed(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", metrics.encode())
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::snapshot;

    fn get(path: &str, peer: &str, readiness: &Readiness) -> Response<Full<Bytes>> {
        let request = Request::builder().uri(path).body(Bytes::new()).unwrap();
        answer(&request, peer.parse().unwrap(), readiness, &Metrics::new())
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
