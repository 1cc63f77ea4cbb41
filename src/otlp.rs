//! Sends spans to an OpenTelemetry collector: OTLP over HTTP in protobuf, in batches, on the control runtime. A collector that is
//! down is tried again while spans wait, and what finds no room meanwhile is dropped and counted; requests never notice.

mod message;

use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::Tracing;
use crate::metrics::Metrics;
use crate::trace::{Span, Tracer};

/// Spans of one message.
const BATCH: usize = 512;
/// For how long spans are gathered.
const GATHER: Duration = Duration::from_secs(1);
/// How long one message may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How long the last spans may take when the process ends.
const LAST: Duration = Duration::from_secs(3);
/// Bytes that are read of an answer.
const ANSWER: usize = 64 * 1024;

/// The task that sends.
pub struct Exporter {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

struct Sender {
    client: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    to: Uri,
    service: String,
    instance: String,
    metrics: Metrics,
}

/// Why a message was not taken.
struct Refused {
    why: String,
    /// Whether it may be taken later (OTLP specification, "Failures").
    later: bool,
}

/// Starts to send, where a collector is named; without one, no trace begins anywhere. `instance` names this run.
pub fn start(asked: &Tracing, instance: String, metrics: &Metrics) -> anyhow::Result<Option<(Tracer, Exporter)>> {
    let Some(endpoint) = &asked.otlp_endpoint else { return Ok(None) };
    let to = destination(endpoint).context("`--otlp-endpoint` cannot be used")?;
    let tracer = Tracer::new(asked.otlp_sample_ratio, metrics.clone());
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(PATIENCE));
    let tls = rustls::ClientConfig::builder().try_with_platform_verifier().context("no trust anchors")?;
    let tls = HttpsConnectorBuilder::new().with_tls_config(tls.with_no_client_auth());
    let connector = tls.https_or_http().enable_http1().wrap_connector(tcp);
    let sender = Sender {
        client: legacy::Client::builder(TokioExecutor::new()).build(connector),
        to,
        service: asked.otlp_service_name.clone(),
        instance,
        metrics: metrics.clone(),
    };
    let stop = CancellationToken::new();
    let task = tokio::spawn(sender.run(tracer.clone(), stop.clone()));
    Ok(Some((tracer, Exporter { task, stop })))
}

impl Exporter {
    /// Sends what still waits, for a moment.
    pub async fn finish(self) {
        self.stop.cancel();
        if timeout(LAST, self.task).await.is_err() {
            tracing::warn!("the last spans were not taken in time");
        }
    }
}

/// Where traces go below the address of a collector.
fn destination(endpoint: &str) -> anyhow::Result<Uri> {
    let url = url::Url::parse(endpoint)?;
    ensure!(
        matches!(url.scheme(), "http" | "https") && url.has_host(),
        "it is neither `http://HOST` nor `https://HOST`"
    );
    ensure!(
        url.username().is_empty() && url.password().is_none(),
        "it names a user; let a collector nearby know secrets"
    );
    ensure!(url.query().is_none() && url.fragment().is_none(), "it has a query or a fragment");
    Ok(format!("{}/v1/traces", url.as_str().trim_end_matches('/')).parse()?)
}

impl Sender {
    async fn run(self, tracer: Tracer, stop: CancellationToken) {
        let mut spans = Vec::new();
        let mut well = true;
        while stop.run_until_cancelled(tracer.filled()).await.is_some() {
            if tracer.waiting() < BATCH {
                stop.run_until_cancelled(sleep(GATHER)).await;
            }
            spans = tracer.take(BATCH);
            if stop.run_until_cancelled(self.send(&spans, &mut well)).await.is_none() {
                break;
            }
            spans.clear();
        }
        // Once more what was under way, then what still waits.
        spans.append(&mut tracer.take(usize::MAX));
        let mut rest = spans.chunks(BATCH);
        while let Some(batch) = rest.next() {
            if self.attempt(batch).await.is_err() {
                return self.count("failed", batch.len() + rest.map(<[Span]>::len).sum::<usize>());
            }
        }
    }

    /// Sends a batch, as often as the collector may still take it.
    async fn send(&self, spans: &[Span], well: &mut bool) {
        let mut pause = PAUSE.0;
        loop {
            let Err(Refused { why, later }) = self.attempt(spans).await else { break };
            if std::mem::replace(well, false) {
                tracing::warn!(collector = %self.to, why, "traces are not taken");
            }
            if !later {
                return self.count("failed", spans.len());
            }
            sleep(pause).await;
            pause = PAUSE.1.min(pause * 2);
        }
        if !std::mem::replace(well, true) {
            tracing::info!(collector = %self.to, "traces are taken again");
        }
    }

    /// Sends a batch once.
    async fn attempt(&self, spans: &[Span]) -> Result<(), Refused> {
        let message = message::encode(spans, &self.service, &self.instance);
        let mut request = Request::post(self.to.clone()).body(Full::from(message)).expect("a checked address");
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let status = timeout(PATIENCE, self.status(request)).await.unwrap_or_else(|_| Err("no answer in time".into()));
        let (why, later) = match status {
            Ok(status) if status.is_success() => {
                self.count("exported", spans.len());
                return Ok(());
            }
            Ok(status) => (status.to_string(), matches!(status.as_u16(), 429 | 502 | 503 | 504)),
            Err(why) => (why, true),
        };
        Err(Refused { why, later })
    }

    async fn status(&self, request: Request<Full<Bytes>>) -> Result<StatusCode, String> {
        let response =
            self.client.request(request).await.map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
        let (parts, body) = response.into_parts();
        // So that the connection can be used again.
        drop(Limited::new(body, ANSWER).collect().await);
        Ok(parts.status)
    }

    fn count(&self, result: &'static str, spans: usize) {
        self.metrics.spans(result, spans as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::destination;

    #[test]
    fn a_collector_is_named_by_its_address() {
        for (endpoint, to) in [
            ("http://collector:4318", "http://collector:4318/v1/traces"),
            ("https://collector.example.com/", "https://collector.example.com/v1/traces"),
            ("http://[::1]:4318/otlp/", "http://[::1]:4318/otlp/v1/traces"),
        ] {
            assert_eq!(destination(endpoint).unwrap().to_string(), to);
        }
        for (endpoint, told) in [
            ("collector:4318", "neither `http://HOST`"),
            ("", "relative URL"),
            ("http://me:hunter2@collector", "names a user"),
            ("http://collector?key=1", "has a query"),
        ] {
            let error = destination(endpoint).unwrap_err().to_string();
            assert!(error.contains(told) && !error.contains("hunter2"), "`{endpoint}`: {error}");
        }
    }
}
