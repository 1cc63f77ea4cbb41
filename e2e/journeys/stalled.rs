//! A client that stalls on a download of a gibibyte, and an app that stalls on an upload of one: neither is kept in memory.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::support::bed::Bed;
use crate::support::eventually::eventually;
use crate::support::scene::{HOST, Scene};

const GIBIBYTE: u64 = 1 << 30;

/// So many clients stall at once, each way.
const CLIENTS: usize = 8;

/// What all of them together may cost: kernel buffers are not ours, and ours are small.
const BOUND: u64 = 48 << 20;

/// Long enough for a gibibyte to pass where nothing holds it.
const STALL: Duration = Duration::from_secs(4);

pub async fn journey(bed: &Bed) {
    let scene = Scene::open(bed, "stalled", 300).await;
    scene.publish("app", HOST, json!({"portcullis.dev/access": "public"})).await;
    let idle = scene.portcullis.resident();

    let mut open = Vec::new();
    for _ in 0..CLIENTS {
        open.push(stalled_download(&scene).await);
    }
    let multiplexed = stalled_streams(&scene).await;
    stays_within(&scene, idle, "downloads").await;
    drop((open, multiplexed));

    let mut sent = Vec::new();
    for _ in 0..CLIENTS {
        sent.push(tokio::spawn(stalled_upload(
            scene.visitor().tls(HOST, 8443, &[b"http/1.1"]).await.expect("it connects"),
        )));
    }
    stays_within(&scene, idle, "uploads").await;
    for upload in sent {
        let bytes = upload.await.expect("it does not panic").expect("the connection stays open");
        assert!(bytes < GIBIBYTE / 8, "{bytes} bytes were taken for an app that reads none");
    }
    // An app that reads nothing would hold the drain up for as long as it may.
    drop(scene.app);
    scene.portcullis.stop().await;
}

/// A download whose head was read, and nothing after it.
async fn stalled_download(scene: &Scene<'_>) -> impl Sized {
    let mut stream = scene.visitor().tls(HOST, 8443, &[b"http/1.1"]).await.expect("it connects");
    let head = format!("GET /download?{GIBIBYTE} HTTP/1.1\r\nHost: {HOST}:8443\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("it is sent");
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.expect("it is answered");
    assert_eq!(&first, b"HTTP/1.1 200");
    stream
}

/// As many downloads on one HTTP/2 connection, whose bodies nobody reads.
async fn stalled_streams(scene: &Scene<'_>) -> impl Sized {
    let stream = scene.visitor().tls(HOST, 8443, &[b"h2"]).await.expect("it connects");
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("it speaks HTTP/2");
    tokio::spawn(connection);
    let mut bodies = Vec::new();
    for _ in 0..CLIENTS {
        let url = format!("https://{HOST}:8443/download?{GIBIBYTE}");
        let request = Request::get(url).body(Empty::<Bytes>::new()).expect("a sound request");
        let response = sender.send_request(request).await.expect("it is answered");
        assert_eq!(response.status(), 200);
        bodies.push(response.into_body());
    }
    (sender, bodies)
}

/// Writes a gibibyte to an app that reads none of it, until nothing more is taken; how much was.
async fn stalled_upload(mut stream: impl AsyncWriteExt + Unpin) -> io::Result<u64> {
    let head = format!("POST /never-reads HTTP/1.1\r\nHost: {HOST}:8443\r\nContent-Length: {GIBIBYTE}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let chunk = vec![b'x'; 64 * 1024];
    let mut sent = 0;
    while sent < GIBIBYTE {
        match timeout(STALL, stream.write(&chunk)).await {
            Ok(written) => sent += written? as u64,
            Err(_) => break,
        }
    }
    Ok(sent)
}

/// Watches the memory for as long as a gibibyte would take.
async fn stays_within(scene: &Scene<'_>, idle: u64, what: &str) {
    let until = tokio::time::Instant::now() + STALL;
    let most = eventually("the end of the watch", 2 * STALL, async || {
        let now = scene.portcullis.resident();
        assert!(now < idle + BOUND, "{what} that stall cost {} MiB", (now - idle) >> 20);
        (tokio::time::Instant::now() >= until).then_some(now)
    })
    .await;
    println!("stalled {what}: {} MiB over {} MiB", most.saturating_sub(idle) >> 20, idle >> 20);
}
