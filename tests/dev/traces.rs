//! Traces as a collector and an app see them: continued, told of without a datum of anybody, and never in anyone's way.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;

use crate::metrics::{scrape, value};
use crate::plane::Client;
use crate::process::{Browser, Dev};
use crate::upstream::{Reply, Upstream};
use crate::{GUARDED, save};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A folder with an app for everybody, over plain HTTP too, and one to sign in for.
fn apps(folder: &Path, echo: u16) {
    let open = GUARDED.replace("access: public", "access: public, portcullis.dev/ssl-redirect: 'false'");
    let team = GUARDED.replace("name: shop", "name: team").replace("shop.localhost", "team.localhost");
    let team = team.split("---").last().unwrap().replace("access: public", "access: authenticated");
    save(&folder.join("apps.yaml"), &format!("{open}---{team}").replace("ECHO", &echo.to_string()));
}

/// What the app received: `traceparent` and `tracestate`.
fn received(dev: &Dev, fields: &str) -> [Option<String>; 2] {
    let request = format!("GET /reports/canary?q=canary HTTP/1.1\r\nhost: shop.localhost\r\n{fields}\r\n");
    let answer = Client::connect(dev.http()).ask(request);
    assert_eq!(answer.status, 200);
    let app: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    ["traceparent", "tracestate"].map(|name| app["headers"][name][0].as_str().map(str::to_owned))
}

/// A collector that says 503 to the first message and takes all others.
fn collector() -> Upstream {
    let first = AtomicBool::new(true);
    Upstream::scripted(move |seen| {
        assert_eq!(seen.line(), "POST /v1/traces HTTP/1.1");
        assert_eq!(seen.values("content-type"), ["application/x-protobuf"]);
        let status = if first.swap(false, Ordering::Relaxed) { "503 Later" } else { "200 OK" };
        Reply::Send(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").into_bytes())
    })
}

/// Spans of the messages that the collector took.
fn taken(collector: &Upstream) -> Vec<Span> {
    let messages =
        collector.seen().into_iter().skip(1).map(|seen| ExportTraceServiceRequest::decode(&*seen.body).unwrap());
    let resources = messages.flat_map(|message| message.resource_spans);
    let scopes = resources.flat_map(|spans| {
        let resource = spans.resource.unwrap();
        assert_eq!(text(&resource.attributes)["service.name"], "edge");
        spans.scope_spans
    });
    scopes.flat_map(|scope| scope.spans).collect()
}

fn text(attributes: &[KeyValue]) -> BTreeMap<&str, String> {
    let said = |value: &Option<AnyValue>| match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.as_str(), said(&attribute.value))).collect()
}

/// The spans of a trace, the server's first, once there are so many.
fn spans_of(collector: &Upstream, trace_id: &str, count: usize) -> Vec<Span> {
    for _ in 0..6000 {
        let mut spans = taken(collector);
        spans.retain(|span| hex(&span.trace_id) == trace_id);
        if spans.len() >= count {
            spans.sort_by_key(|span| span.kind);
            return spans;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("no {count} spans of {trace_id}");
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// Version, trace, span and flags.
fn parts(traceparent: Option<&String>) -> [&str; 4] {
    traceparent.unwrap().split('-').collect::<Vec<_>>().try_into().unwrap()
}

#[test]
fn a_trace_goes_on_to_the_app_and_to_the_collector_and_tells_of_nobody() {
    let (folder, collector) = (tempfile::tempdir().unwrap(), collector());
    let endpoint = format!("http://{}", collector.address);
    let dev = Dev::start_with(folder.path(), &["--otlp-endpoint", &endpoint, "--otlp-service-name", "edge"]);
    apps(folder.path(), dev.echo_port());
    dev.await_line("live: generation 2");

    // One that is not recorded goes on, but not to the collector.
    let unrecorded = PARENT.replace("0af7", "1af7").replace("-01", "-00");
    let [told, _] = received(&dev, &format!("traceparent: {unrecorded}\r\n"));
    assert_eq!(parts(told.as_ref())[..2], parts(Some(&unrecorded))[..2]);
    assert_eq!(parts(told.as_ref())[3], "00");
    // One that is none begins anew, without the state of the other.
    let [anew, state] = received(&dev, &format!("traceparent: {PARENT}-x\r\ntracestate: vendor=1\r\n"));
    assert!(parts(anew.as_ref())[1] != parts(Some(&PARENT.to_owned()))[1] && state.is_none());
    assert!(spans_of(&collector, parts(anew.as_ref())[1], 2)[0].parent_span_id.is_empty());

    let fields = format!(
        "traceparent: {PARENT}\r\ntracestate: vendor=1\r\ncookie: a=canary\r\nauthorization: Bearer canary\r\n"
    );
    let [told, state] = received(&dev, &fields);
    assert_eq!(state.as_deref(), Some("vendor=1"));
    let [_, trace_id, span_id, flags] = parts(told.as_ref());
    assert_eq!((trace_id, flags), ("0af7651916cd43dd8448eb211c80319c", "01"));
    let [server, client] = spans_of(&collector, trace_id, 2).try_into().unwrap();
    assert_eq!(
        (server.kind(), &*server.name, hex(&server.parent_span_id).as_str()),
        (SpanKind::Server, "GET /", &PARENT[36..52])
    );
    assert_eq!((client.kind(), &*client.name, hex(&client.span_id).as_str()), (SpanKind::Client, "GET", span_id));
    assert_eq!(client.parent_span_id, server.span_id);
    let (begun, ended) = (server.start_time_unix_nano, server.end_time_unix_nano);
    assert!(begun <= client.start_time_unix_nano && client.end_time_unix_nano <= ended, "{server:?} {client:?}");
    let app = format!("127.0.0.1:{}", dev.echo_port());
    let mut said = text(&server.attributes);
    let id = said.remove("portcullis.request_id").unwrap();
    assert_eq!(dev.decision(&id)["kind"], "AuthorizationAllowed");
    let expected = [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.route", "/"),
        ("portcullis.decision", "allowed"),
        ("portcullis.ingress", "shop/shop"),
        ("portcullis.reason", "rule_allows"),
        ("portcullis.upstream", &app),
    ];
    assert_eq!(said, expected.map(|(name, value)| (name, value.to_owned())).into());

    assert_eq!(Browser::new(&dev).get("https://team.localhost/canary").status, 401);
    dev.terminate();
    assert!(dev.ends().success());
    // What waited when the process ended is there, and nothing that was not to be told.
    let all = taken(&collector);
    let last =
        all.iter().find(|span| text(&span.attributes).get("portcullis.decision").is_some_and(|it| it == "challenged"));
    assert_eq!(text(&last.unwrap().attributes)["http.response.status_code"], "401");
    assert!(all.iter().all(|span| hex(&span.trace_id) != parts(Some(&unrecorded))[1]));
    assert!(!collector.seen().iter().any(|seen| String::from_utf8_lossy(&seen.body).contains("canary")));
}

#[test]
fn without_a_collector_what_comes_of_a_trace_passes_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let dev = Dev::start(Some(folder.path()));
    apps(folder.path(), dev.echo_port());
    dev.await_line("live: generation 2");
    assert_eq!(received(&dev, ""), [None, None]);
    let told = received(&dev, &format!("traceparent: {PARENT}\r\ntracestate: vendor=1\r\n"));
    assert_eq!(told, [Some(PARENT.to_owned()), Some("vendor=1".to_owned())]);
}

#[test]
fn a_collector_that_says_nothing_keeps_nobody_waiting_and_what_has_no_room_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let silent = Upstream::scripted(|_| Reply::SendAndStall(Vec::new()));
    let dev = Dev::start_with(folder.path(), &["--otlp-endpoint", &format!("http://{}/", silent.address)]);
    apps(folder.path(), dev.echo_port());
    dev.await_line("live: generation 2");
    let mut client = Client::connect(dev.http());
    // Two spans each, more than wait and are under way together.
    for _ in 0..2600 {
        assert_eq!(client.ask("GET / HTTP/1.1\r\nhost: shop.localhost\r\n\r\n").status, 200);
    }
    let dropped = value(&scrape(&dev, "*/*"), "portcullis_trace_spans_total{result=\"dropped\"}");
    assert!(dropped > Some(0.0), "{dropped:?}");
    dev.terminate();
    assert!(dev.ends().success());
}
