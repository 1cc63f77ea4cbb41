//! A small HTTP/1.1 server for what is not the data plane: the admin listener, and in `dev` the demo provider and the echo
//! upstream. Bodies are whole and capped.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

/// The largest body that is read.
const BODY: usize = 64 * 1024;

/// From accept to the end of a head, and between requests.
const HEAD: Duration = Duration::from_secs(30);

/// Waits before accepting again after an error such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// Binds an address, or says which one is taken and which flag moves it.
pub async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; choose another with `{flag}`"))
}

/// Serves a listener until it is dropped.
pub async fn serve<H, F>(listener: TcpListener, handler: H)
where
    H: Fn(SocketAddr, Request<Bytes>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => drop(tokio::spawn(connection(stream, peer, handler.clone()))),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// A response of plain text.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", body)
}

/// A response of a media type.
pub fn typed(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(media_type));
    fields.insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    response
}

async fn connection<H, F>(stream: TcpStream, peer: SocketAddr, handler: H)
where
    H: Fn(SocketAddr, Request<Bytes>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let handler = handler.clone();
        async move {
            let (head, body) = request.into_parts();
            Ok::<_, Infallible>(match Limited::new(body, BODY).collect().await {
                Ok(body) => handler(peer, Request::from_parts(head, body.to_bytes())).await,
                Err(_) => text(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large or broke off\n"),
            })
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, %peer, "a connection ended early");
    }
}
