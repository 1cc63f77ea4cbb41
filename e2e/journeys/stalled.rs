//! A client that stalls on a download of a gibibyte, and an app that stalls on an upload of one: neither is kept in memory.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::Request;
use http_body_util::{Empty, StreamBody};
use hyper::body::{Body, Frame};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::bed::Bed;
use crate::support::client::Client;
use crate::support::eventually::{SOON, eventually};
use crate::support::scene::{HOST, Scene};

const CHUNK: usize = 64 * 1024;

const GIBIBYTE: u64 = 1 << 30;

/// So many clients stall at once on connections of their own, and as many streams on one connection.
const CLIENTS: usize = 8;

/// What all of them together may cost, 2 MiB each; what the kernel holds is not ours.
const BOUND: u64 = 2 * CLIENTS as u64 * (2 << 20);

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

    let mut uploads = JoinSet::new();
    for _ in 0..CLIENTS {
        uploads.spawn(stalled_upload(scene.visitor()));
    }
    let taken = stalled_upload_streams(&scene).await;
    stays_within(&scene, idle, "uploads").await;
    for bytes in uploads.join_all().await.into_iter().chain([taken.load(Ordering::Relaxed)]) {
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
    let mut sender = multiplexed(scene).await;
    let mut bodies = Vec::new();
    for _ in 0..CLIENTS {
        let request = Request::get(url(&format!("/download?{GIBIBYTE}"))).body(Empty::<Bytes>::new());
        let response = sender.send_request(request.expect("a sound request")).await.expect("it is answered");
        assert_eq!(response.status(), 200);
        bodies.push(response.into_body());
    }
    (sender, bodies)
}

/// Writes a gibibyte to an app that reads none of it, until nothing more is taken; how much was.
async fn stalled_upload(client: Client) -> u64 {
    let mut stream = client.tls(HOST, 8443, &[b"http/1.1"]).await.expect("it connects");
    let head = format!("POST /never-reads HTTP/1.1\r\nHost: {HOST}:8443\r\nContent-Length: {GIBIBYTE}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("it is sent");
    let chunk = vec![b'x'; CHUNK];
    let mut sent = 0;
    while sent < GIBIBYTE
        && let Ok(written) = timeout(STALL, stream.write(&chunk)).await
    {
        sent += written.expect("the connection stays open") as u64;
    }
    sent
}

/// As many uploads on one HTTP/2 connection; how much all of them gave to it, as they go on.
async fn stalled_upload_streams(scene: &Scene<'_>) -> Arc<AtomicU64> {
    let mut sender = multiplexed(scene).await;
    let taken = Arc::new(AtomicU64::new(0));
    for _ in 0..CLIENTS {
        let counter = Arc::clone(&taken);
        let chunks = (0..GIBIBYTE / CHUNK as u64).map(move |_| {
            counter.fetch_add(CHUNK as u64, Ordering::Relaxed);
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b'x'; CHUNK])))
        });
        let request = Request::post(url("/never-reads")).body(StreamBody::new(stream::iter(chunks)));
        // It is never answered; it ends with the app.
        tokio::spawn(sender.send_request(request.expect("a sound request")));
    }
    taken
}

/// An HTTP/2 connection.
async fn multiplexed<B>(scene: &Scene<'_>) -> SendRequest<B>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let stream = scene.visitor().tls(HOST, 8443, &[b"h2"]).await.expect("it connects");
    let both = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = both.expect("it speaks HTTP/2");
    tokio::spawn(connection);
    sender
}

fn url(path: &str) -> String {
    format!("https://{HOST}:8443{path}")
}

/// Watches the memory for as long as a gibibyte would take.
async fn stays_within(scene: &Scene<'_>, idle: u64, what: &str) {
    let until = tokio::time::Instant::now() + STALL;
    let most = eventually("the end of the watch", SOON, async || {
        let now = scene.portcullis.resident();
        assert!(now < idle + BOUND, "{what} that stall cost {} MiB", (now - idle) >> 20);
        (tokio::time::Instant::now() >= until).then_some(now)
    })
    .await;
    println!("stalled {what}: {} MiB over {} MiB", most.saturating_sub(idle) >> 20, idle >> 20);
}
