//! `ExportTraceServiceRequest` of OTLP 1: the messages and fields of it that are sent, by their numbers.

use prost::{Message, Oneof};

use crate::trace::{Span, SpanKind, Value};

/// The message.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Sent>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sent {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Kind", tags = "1, 3")]
    value: Option<Kind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Kind {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}

const KIND_SERVER: i32 = 2;
const KIND_CLIENT: i32 = 3;
const STATUS_ERROR: i32 = 2;

/// A message with these spans, of a service and an instance of it.
pub(super) fn encode(spans: &[Span], service: &str, instance: &str) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let text = |key, value: &str| key_value((key, Value::Text(value.to_owned())));
    let attributes =
        vec![text("service.name", service), text("service.version", version), text("service.instance.id", instance)];
    let scope = Scope { name: "portcullis".to_owned(), version: version.to_owned() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans: spans.iter().map(sent).collect() }];
    let resource = Some(Resource { attributes });
    Request { resource_spans: vec![ResourceSpans { resource, scope_spans }] }.encode_to_vec()
}

fn sent(span: &Span) -> Sent {
    let kind = match span.kind {
        SpanKind::Server => KIND_SERVER,
        SpanKind::Client => KIND_CLIENT,
    };
    Sent {
        trace_id: span.trace_id.to_be_bytes().into(),
        span_id: span.id.to_be_bytes().into(),
        parent_span_id: span.parent.map(|id| id.to_be_bytes().into()).unwrap_or_default(),
        name: span.name.clone(),
        kind,
        start_time_unix_nano: span.start_ns,
        end_time_unix_nano: span.end_ns,
        attributes: span.attributes.iter().cloned().map(key_value).collect(),
        status: span.failed.then_some(Status { code: STATUS_ERROR }),
    }
}

fn key_value((key, value): (&'static str, Value)) -> KeyValue {
    let value = match value {
        Value::Text(text) => Kind::Text(text),
        Value::Number(number) => Kind::Number(number),
    };
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}
