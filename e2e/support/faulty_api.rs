//! An API server that goes wrong on demand: it passes requests on to the real one, or treats them as it is told.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, HOST, RETRY_AFTER, TRANSFER_ENCODING};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

const ADDRESS: &str = "127.0.0.1:6444";

/// How requests are treated.
#[derive(Clone, Copy, Debug)]
pub enum Mood {
    /// As the real one treats them.
    Sound,
    /// Each gets this status.
    Refuses(StatusCode),
    /// Each waits for so long before it is passed on.
    Slow(Duration),
    /// Writes of statuses are never answered.
    HoldsStatuses,
}

/// The running server.
pub struct FaultyApi {
    task: JoinHandle<()>,
    mood: watch::Sender<Mood>,
    received: Arc<Mutex<Vec<String>>>,
}

/// What a connection needs.
#[derive(Clone)]
struct Door {
    real: Client,
    mood: watch::Receiver<Mood>,
    received: Arc<Mutex<Vec<String>>>,
}

type Body = UnsyncBoxBody<Bytes, kube::Error>;

impl FaultyApi {
    /// Starts it, sound; whoever asks it is who `real` speaks as.
    pub async fn start(real: Client) -> Self {
        let listener = TcpListener::bind(ADDRESS).await.expect("the journeys have this port to themselves");
        let (mood, received) = (watch::Sender::new(Mood::Sound), Arc::<Mutex<_>>::default());
        let door = Door { real, mood: mood.subscribe(), received: Arc::clone(&received) };
        Self { task: tokio::spawn(serve(listener, door)), mood, received }
    }

    /// Changes its mood: every connection ends, and with it every watch.
    pub fn turns(&self, mood: Mood) {
        self.received().clear();
        self.mood.send_replace(mood);
    }

    /// Whether a request with this method, and this in its target, has come since the mood changed.
    pub fn has_received(&self, method: &Method, part: &str) -> bool {
        self.received().iter().any(|line| line.starts_with(method.as_str()) && line.contains(part))
    }

    /// Whether it was asked for a list of this kind since the mood changed.
    pub fn has_listed(&self, kind: &str) -> bool {
        let list = format!("/{kind}?");
        self.received().iter().any(|line| line.starts_with("GET") && line.contains(&list) && !line.contains("watch="))
    }

    /// A kubeconfig that leads here.
    pub fn kubeconfig(folder: &Path) -> PathBuf {
        let path = folder.join("faulty.kubeconfig");
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "faulty",
            "clusters": [{"name": "faulty", "cluster": {"server": format!("http://{ADDRESS}")}}],
            "users": [{"name": "faulty", "user": {}}],
            "contexts": [{"name": "faulty", "context": {"cluster": "faulty", "user": "faulty"}}],
        });
        fs::write(&path, config.to_string()).expect("the folder is there");
        path
    }

    fn received(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.received.lock().expect("nobody panics with it")
    }
}

impl Drop for FaultyApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, door: Door) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("the tests have descriptors to spare");
        connections.spawn(door.clone().connection(stream));
    }
}

impl Door {
    /// Serves one connection until the mood changes.
    async fn connection(mut self, stream: TcpStream) {
        let mood = *self.mood.borrow_and_update();
        let (real, received) = (&self.real, &self.received);
        let service = service_fn(move |request: Request<Incoming>| async move {
            received.lock().expect("nobody panics with it").push(format!("{} {}", request.method(), request.uri()));
            answer(real, mood, request).await
        });
        tokio::select! {
            // A peer that goes away, or a real one that is gone, ends the connection and no more.
            _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service) => {}
            _ = self.mood.changed() => {}
        }
    }
}

async fn answer(real: &Client, mood: Mood, request: Request<Incoming>) -> Result<Response<Body>, kube::Error> {
    match mood {
        Mood::Sound => {}
        Mood::Refuses(status) => {
            let body = Full::from("not now").map_err(|never| match never {}).boxed_unsync();
            return Ok(Response::builder()
                .status(status)
                .header(RETRY_AFTER, "1")
                .body(body)
                .expect("a sound response"));
        }
        Mood::Slow(pause) => sleep(pause).await,
        Mood::HoldsStatuses if request.uri().path().ends_with("/status") => std::future::pending().await,
        Mood::HoldsStatuses => {}
    }
    let (mut head, body) = request.into_parts();
    for field in [HOST, AUTHORIZATION, CONNECTION, TRANSFER_ENCODING] {
        head.headers.remove(field);
    }
    let body = body.collect().await.map_err(kube::Error::HyperError)?.to_bytes();
    let mut response = real.send(Request::from_parts(head, body.into())).await?;
    response.headers_mut().remove(TRANSFER_ENCODING);
    Ok(response.map(BodyExt::boxed_unsync))
}
