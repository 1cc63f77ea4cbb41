//! The app behind the proxy: it tells what it received and from which of its addresses it answers. It runs in the tests'
//! own process, or as a program that can be killed.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream};
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::eventually::START;
use super::program::Program;

/// The first argument of this program that makes it an app and nothing else.
pub const COMMAND: &str = "app";

/// What the page of the app says first.
pub const GREETING: &str = "You reached the app";

/// What an app received and says so: the answer to every request that asks for nothing special.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Received {
    /// The address that answers.
    pub answered_by: SocketAddr,
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The header fields, with commas between the values of one name.
    pub fields: BTreeMap<String, String>,
}

/// An app in this process.
pub struct App {
    task: JoinHandle<()>,
    received: Arc<Mutex<Vec<Received>>>,
}

type Body = BoxBody<Bytes, Infallible>;

impl App {
    /// Starts one.
    pub async fn start(address: &str) -> Self {
        let received = Arc::default();
        let task = tokio::spawn(serve(listen(address).await, Arc::clone(&received)));
        Self { task, received }
    }

    /// All requests so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().expect("nobody panics with it").clone()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts an app as a program of its own.
pub async fn start_program(address: &str, folder: &Path) -> Program {
    let this = std::env::current_exe().expect("the system knows its programs");
    let log = folder.join(format!("app-{address}.log"));
    let mut program = Program::start("the app", Command::new(this).args([COMMAND, address]), &log);
    program.prints("ready", START).await;
    program
}

/// What such a program does.
pub async fn run(address: &str) {
    let listener = listen(address).await;
    println!("ready");
    serve(listener, Arc::default()).await;
}

async fn listen(address: &str) -> TcpListener {
    TcpListener::bind(address).await.unwrap_or_else(|error| panic!("the app cannot listen on {address}: {error}"))
}

async fn serve(listener: TcpListener, received: Arc<Mutex<Vec<Received>>>) {
    let address = listener.local_addr().expect("it is bound");
    // They end with the app.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("the tests have descriptors to spare");
        let received = Arc::clone(&received);
        let service = service_fn(move |request| {
            let received = Arc::clone(&received);
            async move { Ok::<_, Infallible>(answer(address, request, &received).await) }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
        // A peer that goes away is not the app's concern.
        connections.spawn(async { drop(connection.await) });
    }
}

async fn answer(address: SocketAddr, request: Request<Incoming>, all: &Mutex<Vec<Received>>) -> Response<Body> {
    let received = Received {
        answered_by: address,
        method: request.method().to_string(),
        target: request.uri().to_string(),
        fields: fields(&request),
    };
    all.lock().expect("nobody panics with it").push(received.clone());
    match request.uri().path() {
        "/socket" => socket(request),
        "/download" => download(request.uri().query().and_then(|bytes| bytes.parse().ok()).unwrap_or_default()),
        "/never-reads" => std::future::pending().await,
        _ => describe(&received),
    }
}

fn fields<T>(request: &Request<T>) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::<String, String>::new();
    for (name, value) in request.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        fields
            .entry(name.to_string())
            .and_modify(|before| *before = format!("{before}, {value}"))
            .or_insert_with(|| value.clone().into_owned());
    }
    fields
}

fn describe(received: &Received) -> Response<Body> {
    let json = serde_json::to_string_pretty(received).expect("plain data");
    let page = received.fields.get("accept").is_some_and(|accept| accept.contains("text/html"));
    let (kind, body) = if page {
        let escaped = json.replace('&', "&amp;").replace('<', "&lt;");
        (
            "text/html; charset=utf-8",
            format!("<!doctype html><title>App</title><h1>{GREETING}</h1><pre>{escaped}</pre>"),
        )
    } else {
        ("application/json", json)
    };
    let response = Response::builder().header(header::CONTENT_TYPE, kind);
    response.body(Full::from(body).boxed()).expect("a sound response")
}

/// A body of so many bytes, made as it is read.
fn download(bytes: u64) -> Response<Body> {
    const CHUNK: u64 = 64 * 1024;
    let chunk = Bytes::from(vec![b'x'; CHUNK as usize]);
    let chunks = (0..bytes / CHUNK).map(move |_| Ok(Frame::data(chunk.clone())));
    let response = Response::builder().header(header::CONTENT_LENGTH, bytes / CHUNK * CHUNK);
    response.body(BodyExt::boxed(StreamBody::new(stream::iter(chunks)))).expect("a sound response")
}

/// A WebSocket that gives back every message (RFC 6455).
fn socket(request: Request<Incoming>) -> Response<Body> {
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else {
        return refused(StatusCode::BAD_REQUEST);
    };
    let accept = derive_accept_key(key.as_bytes());
    tokio::spawn(async {
        let Ok(stream) = hyper::upgrade::on(request).await else { return };
        let stream = WebSocketStream::from_raw_socket(TokioIo::new(stream), Role::Server, None).await;
        let (mut out, mut messages) = stream.split();
        while let Some(Ok(message)) = messages.next().await {
            if (message.is_text() || message.is_binary()) && out.send(message).await.is_err() {
                return;
            }
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept)
        .body(Full::default().boxed())
        .expect("a sound response")
}

fn refused(status: StatusCode) -> Response<Body> {
    Response::builder().status(status).body(Full::default().boxed()).expect("a sound response")
}
