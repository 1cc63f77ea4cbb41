//! The admin listener, for the cluster's inside: `/livez`, `/readyz`, `/metrics`. It routes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::net::TcpListener;

use crate::metrics::Metrics;
use crate::serve;

/// Every path, and what it says.
pub const PATHS: [(&str, &str); 3] = [
    ("/livez", "200 while the process runs"),
    ("/readyz", "200 from the first live snapshot to SIGTERM, else 503"),
    ("/metrics", "the metrics, in the OpenMetrics text format"),
];

/// Whether the process wants traffic: not before the first snapshot is live, not after SIGTERM. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Turns it on or off.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    /// Whether it is on.
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Serves the admin endpoints.
pub async fn run(listener: TcpListener, readiness: Readiness, metrics: Metrics) {
    let handler = move |_, request: Request<Bytes>| {
        let response = answer(&request, &readiness, &metrics);
        async move { response }
    };
    serve::serve(listener, handler).await;
}

fn answer(request: &Request<Bytes>, readiness: &Readiness, metrics: &Metrics) -> Response<Full<Bytes>> {
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
        _ => serve::text(StatusCode::NOT_FOUND, "here are /livez, /readyz and /metrics\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(path: &str, readiness: &Readiness) -> u16 {
        let request = Request::builder().uri(path).body(Bytes::new()).unwrap();
        answer(&request, readiness, &Metrics::new()).status().as_u16()
    }

    #[test]
    fn readiness_follows_the_process() {
        let readiness = Readiness::default();
        assert_eq!((status("/livez", &readiness), status("/readyz", &readiness)), (200, 503));
        readiness.set(true);
        assert_eq!(PATHS.map(|(path, _)| status(path, &readiness)), [200; 3]);
        readiness.set(false);
        assert_eq!(status("/readyz", &readiness), 503);
    }

    #[test]
    fn nothing_else_answers() {
        let readiness = Readiness::default();
        assert_eq!((status("/metrics", &readiness), status("/snapshot", &readiness)), (200, 404));
        let post = Request::post("/metrics").body(Bytes::new()).unwrap();
        assert_eq!(answer(&post, &readiness, &Metrics::new()).status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
