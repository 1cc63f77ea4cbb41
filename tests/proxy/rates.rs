//! Bodies have a least rate: who is behind it is cut like one who stands still, but only a client, and only alone.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use portcullis::budget::Limits;

use crate::plane::{Plane, certificate, open, snapshot_of};
use crate::tls::{h2, h2_with_window};
use crate::upstream::{Reply, Upstream};

const GET: &str = "GET / HTTP/1.1\r\nhost: app.test\r\n\r\n";

/// A rate that nobody keeps, so that every wait is held against the peer.
const UNREACHABLE: usize = 1 << 40;

/// Longer than a slow client takes between two of its steps, shorter than all of them.
const SHORT: Duration = Duration::from_millis(400);

/// How long a slow peer takes for one step.
const STEP: Duration = Duration::from_millis(20);

fn plane(upstream: SocketAddr, limits: Limits) -> Plane {
    Plane::start(snapshot_of(vec![open("app.test", &[upstream])], &[certificate(&["app.test"])]), limits)
}

/// An upstream that sends so many bytes.
fn large(count: usize) -> Upstream {
    Upstream::scripted(move |_| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {count}\r\n\r\n");
        Reply::Send([head.into_bytes(), vec![b'x'; count]].concat())
    })
}

#[test]
fn a_body_that_comes_too_slowly_is_408_though_it_never_stands_still() {
    let plane = plane(Upstream::ok().address, Limits { body_idle: SHORT, body_rate: UNREACHABLE, ..Limits::default() });
    let mut client = plane.client();
    client.send("POST / HTTP/1.1\r\nhost: app.test\r\ncontent-length: 1000\r\n\r\n");
    let mut sends = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        // Bytes end where the connection does.
        (0..1000).take_while(|_| sends.write_all(b"x").inspect(|()| std::thread::sleep(STEP)).is_ok()).count()
    });
    assert_eq!(client.answer().map(|answer| answer.status), Some(408));
    drop(client);
    assert!(sending.join().unwrap() < 1000);
}

#[test]
fn a_body_that_comes_at_the_least_rate_passes() {
    let upstream = Upstream::ok();
    let plane =
        plane(upstream.address, Limits { body_idle: Duration::from_secs(5), body_rate: 1, ..Limits::default() });
    let mut client = plane.client();
    client.send("POST / HTTP/1.1\r\nhost: app.test\r\ncontent-length: 120\r\n\r\n");
    for _ in 0..120 {
        std::thread::sleep(Duration::from_millis(50));
        client.send("x");
    }
    assert_eq!(client.answer().map(|answer| answer.status), Some(200));
    assert_eq!(upstream.seen()[0].body.len(), 120);
}

#[test]
fn a_client_that_takes_too_slowly_is_closed_though_it_never_stands_still() {
    const SIZE: usize = 64 * 1024 * 1024;
    let plane = plane(large(SIZE).address, Limits { stalled: SHORT, body_rate: UNREACHABLE, ..Limits::default() });
    let mut client = plane.client();
    client.send(GET);
    let mut taken = 0;
    while let Ok(count @ 1..) = client.stream.read(&mut [0; 16 * 1024]) {
        taken += count;
        std::thread::sleep(STEP);
    }
    assert!(taken < SIZE, "{taken}");
}

#[test]
fn an_http2_stream_that_is_taken_too_slowly_is_reset_alone() {
    let plane =
        plane(large(1024 * 1024).address, Limits { stalled: SHORT, body_rate: UNREACHABLE, ..Limits::default() });
    plane.block_on(async {
        let mut sender = h2_with_window(plane.https, "app.test", 1024).await;
        let get = || Request::get("https://app.test/").body(Full::<Bytes>::default()).unwrap();
        let mut slow = sender.send_request(get()).await.unwrap().into_body();
        let mut taken = 0;
        while let Some(Ok(frame)) = slow.frame().await {
            taken += frame.data_ref().map_or(0, Bytes::len);
            tokio::time::sleep(STEP).await;
        }
        assert!(taken < 1024 * 1024, "{taken}");
        let head = Request::head("https://app.test/").body(Full::default()).unwrap();
        assert_eq!(sender.send_request(head).await.unwrap().status(), 200);
    });
}

#[test]
fn an_http2_stream_that_is_taken_at_the_least_rate_is_not_reset() {
    const SIZE: usize = 128 * 1024;
    let plane = plane(large(SIZE).address, Limits { stalled: Duration::from_secs(3), ..Limits::default() });
    let taken = plane.block_on(async {
        // A step takes a part of what was read of the upstream at once, for all of which more than the limit is needed.
        let mut sender = h2_with_window(plane.https, "app.test", 256).await;
        let get = Request::get("https://app.test/").body(Full::<Bytes>::default()).unwrap();
        let mut body = sender.send_request(get).await.unwrap().into_body();
        let mut taken = 0;
        while let Some(frame) = body.frame().await {
            taken += frame.unwrap().data_ref().map_or(0, Bytes::len);
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        taken
    });
    assert_eq!(taken, SIZE);
}

#[test]
fn an_http2_stream_whose_end_comes_behind_its_bytes_is_reset_as_others_are() {
    let (end, ended) = mpsc::channel::<()>();
    let address = crate::streams::raw(move |mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").unwrap();
        ended.recv().unwrap();
        drop(stream.write_all(b"0\r\n\r\n"));
    });
    let plane = plane(address, Limits { stalled: SHORT, ..Limits::default() });
    plane.block_on(async {
        let mut sender = h2_with_window(plane.https, "app.test", 1).await;
        let get = |host: &str| Request::get(format!("https://{host}/")).body(Full::<Bytes>::default()).unwrap();
        let mut body = sender.send_request(get("app.test")).await.unwrap().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "h");
        end.send(()).unwrap();
        let lines = plane.trail.until(2);
        assert_eq!((&lines[1]["kind"], &lines[1]["complete"]), (&"Outcome".into(), &false.into()));
        // What was granted meanwhile is one byte more.
        assert!(lines[1]["sent"].as_u64().unwrap() <= 2, "{}", lines[1]);
        assert!(body.collect().await.is_err());
        assert_eq!(sender.send_request(get("other.test")).await.unwrap().status(), 421);
    });
}

#[test]
fn what_nobody_took_over_http2_is_not_told_as_sent() {
    let plane = plane(Upstream::ok().address, Limits { stalled: SHORT, ..Limits::default() });
    plane.block_on(async {
        let mut sender = h2_with_window(plane.https, "app.test", 0).await;
        for (host, status) in [("app.test", 200), ("other.test", 421)] {
            let get = Request::get(format!("https://{host}/")).body(Full::<Bytes>::default()).unwrap();
            let response = sender.send_request(get).await.unwrap();
            assert_eq!(response.status(), status);
            assert!(response.into_body().collect().await.is_err());
        }
        let outcomes: Vec<_> = plane.trail.until(4).into_iter().filter(|line| line["kind"] == "Outcome").collect();
        let told: Vec<_> =
            outcomes.iter().map(|line| ["status", "sent", "complete"].map(|name| line[name].clone())).collect();
        assert_eq!(serde_json::json!(told), serde_json::json!([[200, 0, false], [421, 0, false]]));
    });
}

#[test]
fn an_upstream_may_send_as_slowly_as_it_likes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            assert_ne!(stream.read(&mut [0; 4096]).unwrap(), 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n").unwrap();
            for _ in 0..50 {
                std::thread::sleep(STEP);
                stream.write_all(b"x").unwrap();
            }
        }
    });
    let limits = Limits { stalled: SHORT, body_rate: UNREACHABLE, ..Limits::default() };
    let plane = plane(address, limits);
    assert_eq!(plane.client().ask(GET).body.len(), 50);
    let body = plane.block_on(async {
        let get = Request::get("https://app.test/").body(Full::<Bytes>::default()).unwrap();
        let response = h2(plane.https, "app.test").await.send_request(get).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes()
    });
    assert_eq!(body.len(), 50);
}
