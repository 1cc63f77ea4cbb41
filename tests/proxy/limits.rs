//! Limits that a peer can lean on: each is in force, and gives way to nobody else's requests.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use portcullis::budget::Limits;
use portcullis::oidc;

use crate::plane::{Client, Plane, certificate, open, snapshot_of};
use crate::tls::{h2, h2_with_window};
use crate::upstream::{Reply, Upstream};

const GET: &str = "GET / HTTP/1.1\r\nhost: app.test\r\n\r\n";

fn plane(upstream: &Upstream, limits: Limits) -> Plane {
    Plane::start(snapshot_of(vec![open("app.test", &[upstream.address])], &[certificate(&["app.test"])]), limits)
}

#[test]
fn the_limits_are_the_published_ones() {
    let it = Limits::default();
    let kib = |bytes: u32| format!("{} KiB", bytes / 1024);
    let heads = [it.header_bytes, portcullis::path::TARGET_LIMIT, it.cookie_bytes, it.own_body_bytes];
    let [fields, target, cookies, own_body] = heads.map(|bytes| kib(u32::try_from(bytes).unwrap()));
    let seconds = |span: Duration| format!("{} s", span.as_secs());
    let rows = [
        ("Head of a request", {
            let lines = it.header_lines;
            format!("{lines} lines, {fields} of fields; target {target}; cookies {cookies} in at most 32 fields")
        }),
        ("From the first byte of a head to its end; TLS handshake", {
            assert_eq!(it.head_deadline, it.handshake_deadline);
            format!("{} each", seconds(it.head_deadline))
        }),
        ("Connection without a request", seconds(it.idle)),
        ("Body in which nothing moves, either way", seconds(it.body_idle)),
        ("Client that takes nothing: a socket, or one HTTP/2 stream", seconds(it.stalled)),
        ("HTTP/2 client that takes a window back from what was on its way", seconds(2 * it.stalled)),
        ("Body that its client sends or takes", {
            let rate = it.body_rate / 1024;
            format!("{rate} KiB/s; the time that it is behind counts as time in which nothing moves")
        }),
        ("HTTP/2", {
            let (stream, connection) = (kib(it.h2_stream_window), it.h2_connection_window >> 20);
            format!("{} streams; windows {stream} a stream, {connection} MiB a connection", it.h2_streams)
        }),
        ("HTTP/2 streams that their client resets, or makes us reset, before it has their answer", {
            assert_eq!(it.h2_resets, 1000);
            let (early, rate) = (seconds(it.h2_early), it.h2_reset_rate);
            format!(
                "within {early} of their beginning: 1,000 a connection, {rate} more a second, one more for each answer of an \
                 upstream that it takes whole"
            )
        }),
        ("Connections", "8,192".to_owned()),
        (
            "Requests at work, beside the first of each connection",
            "16,384; half of them for connections with less than 16".to_owned(),
        ),
        ("Upstream: opening a connection; response head", {
            format!("{}; {}", seconds(it.connect), seconds(it.response_head))
        }),
        ("Upstream: idle connections to an endpoint, a data thread", it.idle_upstream.to_string()),
        ("Tunnels of one person (or, of nobody, one address)", {
            format!("{}; closed after {} h of silence", it.tunnels, it.tunnel_idle.as_secs() / 3600)
        }),
        ("Body of a request to an endpoint of ours", own_body),
        ("HTTP/1.1", "one request at work a connection; what comes behind it waits".to_owned()),
        ("Login attempts of a browser", portcullis::session::MAX_LOGINS.to_string()),
        ("Sessions of a person", {
            let most = portcullis::session::MAX_OF_A_PERSON;
            format!("{most} that a replica knows of; beyond it the oldest ends")
        }),
        ("Answer of a provider; its keys", { format!("{} MiB; {}", oidc::MAX_ANSWER >> 20, oidc::MAX_KEYS) }),
        ("Claims of a person; groups", {
            assert_eq!(oidc::MAX_GROUPS, 1000);
            format!("{} KiB; 1,000", oidc::MAX_CLAIMS / 1024)
        }),
        ("Sign-ins that wait for one provider", oidc::MAX_SIGN_INS.to_string()),
        ("Difference of clocks, ours and a provider's", format!("{} s", oidc::LEEWAY)),
        ("Draining", seconds(it.drain)),
    ];
    assert_eq!((it.connections, it.exchanges), (8192, 16_384));
    let told = include_str!("../../SECURITY.md");
    for (what, limit) in rows {
        let row = format!("| {what} | {limit} |");
        assert!(told.contains(&row), "SECURITY.md does not say `{row}`");
    }
}

/// A request that asks for so much.
type AsksFor<'a> = &'a dyn Fn(usize) -> String;

/// A request whose fields have so many bytes, names and values together.
fn with_fields_of(bytes: usize) -> String {
    let mut lines = String::from("host: app.test\r\n");
    let mut rest = bytes - "hostapp.test".len();
    while rest > 0 {
        let length = rest.min(1024);
        lines.push_str(&format!("x: {}\r\n", "y".repeat(length - 1)));
        rest -= length;
    }
    format!("GET / HTTP/1.1\r\n{lines}\r\n")
}

#[test]
fn a_running_process_grants_what_is_published_and_no_more() {
    let upstream = Upstream::ok();
    let plane = plane(&upstream, Limits::default());
    let with = |fields: String| format!("GET / HTTP/1.1\r\nhost: app.test\r\n{fields}\r\n");
    let cookies = |bytes| with(format!("cookie: {}\r\n", "c".repeat(bytes)));
    let target = |bytes| format!("GET /{} HTTP/1.1\r\nhost: app.test\r\n\r\n", "t".repeat(bytes - 1));
    let table: [(&str, AsksFor, usize); 5] = [
        ("lines", &|lines| with("x: y\r\n".repeat(lines - 1)), 100),
        ("bytes of fields", &with_fields_of, 16 * 1024),
        ("bytes of the target", &target, 8 * 1024),
        ("bytes of cookies", &cookies, 8 * 1024),
        ("fields of cookies", &|fields| with("cookie: a=b\r\n".repeat(fields)), 32),
    ];
    for (name, request, limit) in table {
        assert_eq!(plane.client().ask(request(limit)).status, 200, "{limit} {name}");
        let before = upstream.bytes();
        assert_eq!(plane.client().ask(request(limit + 1)).status, 431, "{} {name}", limit + 1);
        assert_eq!(upstream.bytes(), before, "{name}");
    }
    let (settings, window) = plane.block_on(crate::tls::h2_settings(plane.https));
    // RFC 9113 section 6.5.2: concurrent streams, initial window, header list.
    for (id, value) in [(3, 100), (4, 64 * 1024), (6, 16 * 1024)] {
        assert!(settings.contains(&(id, value)), "{id} is not {value}: {settings:?}");
    }
    assert_eq!(window, 1024 * 1024);
}

#[test]
fn a_head_must_come_in_time() {
    let limits = Limits { head_deadline: Duration::from_millis(300), ..Limits::default() };
    let plane = plane(&Upstream::ok(), limits);
    let mut client = plane.client();
    client.send("GET / HTTP/1.1\r\nhost: a");
    assert!(client.is_closed());
    // Also when bytes keep coming, and on a connection that served before.
    let mut client = plane.client();
    assert_eq!(client.ask(GET).status, 200);
    client.send("GET / HTTP/1.1\r\nx-a: ");
    let trickled = (0..3000).take_while(|_| {
        std::thread::sleep(Duration::from_millis(20));
        client.stream.write_all(b"b").is_ok()
    });
    assert!(trickled.count() < 3000);
}

#[test]
fn an_idle_connection_is_closed() {
    let limits = Limits { idle: Duration::from_millis(300), ..Limits::default() };
    let plane = plane(&Upstream::ok(), limits);
    assert!(plane.client().is_closed());
    // It is closed too where this thread asks too late.
    let served = (0..100).find_map(|_| {
        let mut client = plane.client();
        let sent = client.stream.write_all(GET.as_bytes()).is_ok();
        let answer = if sent { client.answer() } else { None };
        answer.map(|answer| (answer.status, client))
    });
    let (status, mut used) = served.expect("a connection is served");
    assert!(status == 200 && used.is_closed());
    assert!(plane.block_on(crate::tls::h2_ends(plane.https, b"")));
}

#[test]
fn a_request_that_takes_long_is_not_idle() {
    let upstream = Upstream::scripted(|_| {
        std::thread::sleep(Duration::from_secs(5));
        Reply::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec())
    });
    let short = Duration::from_secs(2);
    let plane = plane(&upstream, Limits { idle: short, head_deadline: short, stalled: short, ..Limits::default() });
    assert_eq!(plane.client().ask(GET).status, 200);
}

#[test]
fn a_handshake_must_come_in_time() {
    let limits = Limits { handshake_deadline: Duration::from_millis(300), ..Limits::default() };
    let plane = plane(&Upstream::ok(), limits);
    for bytes in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut client = Client::connect(plane.https);
        // An alert may come first.
        client.send(bytes).rest();
    }
}

#[test]
fn a_client_that_takes_nothing_is_closed() {
    let body = vec![b'x'; 64 * 1024 * 1024];
    let upstream = Upstream::scripted(move |_| {
        let mut message = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
        message.extend_from_slice(&body);
        Reply::Send(message)
    });
    let plane = plane(&upstream, Limits { stalled: Duration::from_millis(400), ..Limits::default() });
    let mut client = plane.client();
    client.send(GET);
    let outcome = plane.trail.until(2).remove(1);
    assert_eq!(outcome["complete"], false);
    assert!(client.rest().len() < 64 * 1024 * 1024);
}

#[test]
fn connections_beyond_the_budget_wait() {
    let upstream = Upstream::ok();
    let plane = plane(&upstream, Limits { connections: 2, ..Limits::default() });
    let (mut one, mut two) = (plane.client(), plane.client());
    assert_eq!((one.ask(GET).status, two.ask(GET).status), (200, 200));
    let mut three = plane.client();
    three.send("GET /three HTTP/1.1\r\nhost: app.test\r\n\r\n");
    for _ in 0..10 {
        assert_eq!((one.ask(GET).status, two.ask(GET).status), (200, 200));
    }
    assert!(upstream.seen().iter().all(|seen| seen.line() == "GET / HTTP/1.1"));
    drop(one);
    drop(two);
    assert_eq!(three.answer().map(|answer| answer.status), Some(200));
}

#[test]
fn streams_that_take_nothing_leave_the_neighbours_their_places() {
    let plane = plane(&Upstream::ok(), Limits { exchanges: 4, ..Limits::default() });
    plane.block_on(async {
        let get = || Request::get("https://app.test/").body(Full::<Bytes>::default()).unwrap();
        let mut hoarder = h2_with_window(plane.https, "app.test", 0).await;
        let mut streams = Vec::new();
        for _ in 0..20 {
            streams.push(hoarder.send_request(get()).await.unwrap());
        }
        // The first of a connection has its own place, four more are shared.
        let (granted, refused) = streams.split_at_mut(5);
        assert!(granted.iter().all(|response| response.status() == 200));
        for response in refused {
            assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"1".parse().unwrap()));
            assert_eq!(response.body_mut().collect().await.unwrap().to_bytes(), "");
        }
        let response = h2(plane.https, "app.test").await.send_request(get()).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
        assert_eq!(plane.client().ask(GET).status, 200);
        streams.clear();
        let lines = plane.trail.until(2 * 22);
        assert_eq!(lines.iter().filter(|line| line["reason"] == "too_many_exchanges").count(), 15);
        let mut again = h2_with_window(plane.https, "app.test", 0).await;
        for _ in 0..5 {
            streams.push(again.send_request(get()).await.unwrap());
        }
        assert!(streams.iter().all(|response| response.status() == 200));
    });
}

/// One HTTP/2 frame (RFC 9113 section 4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

#[test]
fn floods_end_their_connection_and_no_other() {
    let plane = plane(&Upstream::ok(), Limits::default());
    // `:method: GET`, `:path: /`, `:scheme: https`, `:authority: app.test` (RFC 7541 section 6).
    let head = b"\x82\x84\x87\x41\x08app.test";
    let streams = |count: u32| (0..count).map(|number| 2 * number + 1);
    let resets = streams(5000).flat_map(|id| [frame(1, 5, id, head), frame(3, 0, id, &8_u32.to_be_bytes())]).flatten();
    let overflow = 0x7fff_ffff_u32.to_be_bytes();
    let own_resets = streams(5000).flat_map(|id| [frame(1, 5, id, head), frame(8, 0, id, &overflow)]).flatten();
    let continuations =
        [frame(1, 0, 1, head)].into_iter().chain((0..10_000).map(|_| frame(9, 0, 1, b"\x00\x01a\x01b"))).flatten();
    let empty = [frame(1, 4, 1, head)].into_iter().chain((0..100_000).map(|_| frame(0, 0, 1, b""))).flatten();
    let lists =
        [frame(1, 5, 1, &[&head[..], &[b"\x0f\x1f\x7f".as_slice(), &[b'x'; 142]].concat()].concat().repeat(200))];
    for (name, flood) in [
        ("resets", resets.collect::<Vec<_>>()),
        ("resets that we are made to send", own_resets.collect()),
        ("continuations", continuations.collect()),
        ("empty frames", empty.collect()),
        ("a frame over the size", lists.concat()),
    ] {
        assert!(plane.block_on(crate::tls::h2_ends(plane.https, &flood)), "{name}");
        assert_eq!(plane.client().ask(GET).status, 200, "{name}");
    }
}
