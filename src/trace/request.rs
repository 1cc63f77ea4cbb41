//! The trace of one request: a span from its head to the end of its answer, and below it one of what went upstream.

use std::net::SocketAddr;

use http::HeaderMap;

use super::{Parent, Span, SpanKind, Tracer, Value};

/// What a request leaves in its trace. Where nothing is recorded, only the upstream is told of it.
#[derive(Debug)]
pub struct Trace {
    tracer: Tracer,
    trace_id: u128,
    /// The caller's span.
    parent: Option<u64>,
    span_id: u64,
    /// The span of what goes upstream.
    exchange_id: u64,
    record: Option<Record>,
}

/// What is told of a request that is recorded.
#[derive(Debug)]
struct Record {
    start_ns: u64,
    /// The same moment on the clock that never steps, on which all others are.
    start_mono: u64,
    decided_mono: u64,
    answered_mono: Option<u64>,
    method: &'static str,
    route: Option<String>,
    attributes: Vec<(&'static str, Value)>,
    allowed: bool,
}

/// What was decided.
#[derive(Clone, Copy, Debug)]
pub struct Decided<'a> {
    /// The id of the request, as the audit trail has it.
    pub id: &'a str,
    /// The decision, in a word.
    pub decision: &'static str,
    /// Why, by stable name.
    pub reason: &'a str,
    /// The method; empty where it is not known.
    pub method: &'a str,
    /// The route's `namespace/ingress`.
    pub ingress: Option<&'a str>,
    /// Whether it goes upstream.
    pub allowed: bool,
}

/// How it ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// The status sent, 0 where none was.
    pub status: u16,
    /// Who answered for us.
    pub upstream: Option<SocketAddr>,
    /// Why nobody did, by stable name.
    pub error: Option<&'static str>,
}

impl Trace {
    pub(super) fn new(
        tracer: Tracer,
        (trace_id, span_id, exchange_id): (u128, u64, u64),
        parent: Option<u64>,
        sampled: bool,
        (start_ns, start_mono): (u64, u64),
    ) -> Box<Self> {
        let record = sampled.then(|| Record {
            start_ns,
            start_mono,
            decided_mono: start_mono,
            answered_mono: None,
            method: "",
            route: None,
            attributes: Vec::with_capacity(10),
            allowed: false,
        });
        Box::new(Self { tracer, trace_id, parent, span_id, exchange_id, record })
    }

    /// Whether it is recorded.
    pub fn is_recorded(&self) -> bool {
        self.record.is_some()
    }

    /// Tells the upstream: it continues the span of what goes to it.
    pub fn write(&self, fields: &mut HeaderMap) {
        let parent = Parent { trace_id: self.trace_id, span_id: self.exchange_id, sampled: self.is_recorded() };
        parent.write(self.parent.is_some(), fields);
    }

    /// The route, by its path as it is configured.
    pub fn routed(&mut self, path: impl FnOnce() -> String) {
        if let Some(record) = &mut self.record {
            record.route = Some(path());
        }
    }

    /// What was decided, at a moment of the monotonic clock.
    pub fn decided(&mut self, decided: &Decided<'_>, mono_ns: u64) {
        let Some(record) = &mut self.record else { return };
        let Decided { id, decision, reason, method, ingress, allowed } = *decided;
        (record.decided_mono, record.allowed, record.method) = (mono_ns, allowed, known(method));
        let mut say = |name, value: &str| record.attributes.push((name, Value::Text(value.to_owned())));
        say("http.request.method", if record.method.is_empty() { "_OTHER" } else { record.method });
        say("portcullis.request_id", id);
        say("portcullis.decision", decision);
        say("portcullis.reason", reason);
        if let Some(ingress) = ingress {
            say("portcullis.ingress", ingress);
        }
    }

    /// The head of the upstream's answer came.
    pub fn answered(&mut self, mono_ns: u64) {
        if let Some(record) = &mut self.record {
            record.answered_mono.get_or_insert(mono_ns);
        }
    }

    /// Leaves the spans.
    pub fn end(self, ended: Ended, mono_ns: u64) {
        let Self { tracer, trace_id, parent, span_id, exchange_id, record } = self;
        let Some(mut record) = record else { return };
        let at = |mono: u64| record.start_ns.saturating_add(mono.saturating_sub(record.start_mono));
        let method = if record.method.is_empty() { "HTTP" } else { record.method };
        let status = ("http.response.status_code", Value::Number(i64::from(ended.status)));
        let error = ended.error.map(|error| ("error.type", Value::Text(error.to_owned())));
        if record.allowed {
            let upstream = ended.upstream.into_iter().flat_map(|endpoint| {
                let address = ("server.address", Value::Text(endpoint.ip().to_string()));
                let answered = ended.error.is_none().then(|| status.clone());
                [Some(address), Some(("server.port", Value::Number(i64::from(endpoint.port())))), answered]
            });
            let http = ("http.request.method", Value::Text(method.to_owned()));
            tracer.leave(Span {
                trace_id,
                id: exchange_id,
                parent: Some(span_id),
                kind: SpanKind::Client,
                name: method.to_owned(),
                start_ns: at(record.decided_mono),
                end_ns: at(record.answered_mono.unwrap_or(mono_ns)),
                attributes: [http].into_iter().chain(upstream.flatten()).chain(error.clone()).collect(),
                failed: ended.error.is_some() || ended.status >= 400,
            });
        }
        let name = match &record.route {
            Some(route) => format!("{method} {route}"),
            None => method.to_owned(),
        };
        let upstream = ended.upstream.map(|endpoint| ("portcullis.upstream", Value::Text(endpoint.to_string())));
        let (start_ns, end_ns) = (record.start_ns, at(mono_ns));
        let route = record.route.take().map(|route| ("http.route", Value::Text(route)));
        let more = [Some(status).filter(|_| ended.status > 0), error, upstream, route];
        record.attributes.extend(more.into_iter().flatten());
        tracer.leave(Span {
            trace_id,
            id: span_id,
            parent,
            kind: SpanKind::Server,
            name,
            start_ns,
            end_ns,
            attributes: record.attributes,
            failed: ended.status >= 500 || ended.status == 0,
        });
    }
}

/// A method of a standard; anybody may make up others, and so none of them.
fn known(method: &str) -> &'static str {
    ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
        .into_iter()
        .find(|known| *known == method)
        .unwrap_or("")
}
