//! A small HTTP/1.1 server for what is not the data plane: the admin listener, and in `dev` the demo provider and the echo
//! upstream. Bodies are whole and capped; GET and HEAD have none. Connections are capped, and none lasts for ever.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// What a listener grants its peers.
#[derive(Clone, Copy)]
struct Limits {
    /// Open connections; further ones wait to be accepted.
    connections: usize,
    /// From accept to the end of a head, and between requests.
    head: Duration,
    /// Bytes of a body.
    body_bytes: usize,
    /// From the head of a request to the end of its body.
    body: Duration,
    /// A connection; then it may end its request.
    life: Duration,
}

const LIMITS: Limits = Limits {
    connections: 1024,
    head: Duration::from_secs(30),
    body_bytes: 64 * 1024,
    body: Duration::from_secs(10),
    life: Duration::from_secs(300),
};

/// How long a connection whose life is over may take to end its request.
const GOODBYE: Duration = Duration::from_secs(10);

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
    serve_within(LIMITS, listener, handler).await;
}

async fn serve_within<H, F>(limits: Limits, listener: TcpListener, handler: H)
where
    H: Fn(SocketAddr, Request<Bytes>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(limits.connections));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let handler = handler.clone();
                tokio::spawn(async move {
                    connection(limits, stream, peer, handler).await;
                    drop(place);
                });
            }
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

async fn connection<H, F>(limits: Limits, stream: TcpStream, peer: SocketAddr, handler: H)
where
    H: Fn(SocketAddr, Request<Bytes>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let handler = handler.clone();
        async move {
            Ok::<_, Infallible>(match whole(limits, request).await {
                Ok(request) => handler(peer, request).await,
                Err(refusal) => refusal,
            })
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = match timeout(limits.life, served.as_mut()).await {
        Ok(ended) => ended,
        Err(_) => {
            served.as_mut().graceful_shutdown();
            timeout(GOODBYE, served).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "a connection ended early");
    }
}

/// A request with its body, which those that only read do not have.
async fn whole(limits: Limits, request: Request<Incoming>) -> Result<Request<Bytes>, Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    if matches!(head.method, Method::GET | Method::HEAD) {
        return Ok(Request::from_parts(head, Bytes::new()));
    }
    match timeout(limits.body, Limited::new(body, limits.body_bytes).collect()).await {
        Ok(Ok(body)) => Ok(Request::from_parts(head, body.to_bytes())),
        Ok(Err(_)) => Err(text(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large or broke off\n")),
        Err(_) => Err(text(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time\n")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    /// A listener that answers with the length of the body, and its address.
    async fn listening(limits: Limits) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve_within(limits, listener, |_, request: Request<Bytes>| async move {
            text(StatusCode::OK, request.body().len().to_string())
        }));
        address
    }

    /// Sends a request and reads until the answer's body is as expected or the connection ends.
    async fn ask(stream: &mut TcpStream, request: &str, end: &str) -> String {
        stream.write_all(request.as_bytes()).await.unwrap();
        let (mut answer, mut bytes) = (String::new(), [0; 1024]);
        while !answer.ends_with(&format!("\r\n\r\n{end}")) {
            match stream.read(&mut bytes).await {
                Ok(count @ 1..) => answer.push_str(&String::from_utf8_lossy(&bytes[..count])),
                _ => break,
            }
        }
        answer.lines().next().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_wait_for_a_place() {
        let address = listening(Limits { connections: 1, ..LIMITS }).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        assert_eq!(ask(&mut first, GET, "0").await, "HTTP/1.1 200 OK");
        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(GET.as_bytes()).await.unwrap();
        for _ in 0..10 {
            assert_eq!(ask(&mut first, GET, "0").await, "HTTP/1.1 200 OK");
        }
        assert!(second.try_read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
        drop(first);
        assert_eq!(ask(&mut second, "", "0").await, "HTTP/1.1 200 OK");
    }

    #[tokio::test]
    async fn a_body_must_be_small_and_come_in_time() {
        let limits = Limits { body_bytes: 10, body: Duration::from_millis(100), ..LIMITS };
        let address = listening(limits).await;
        for (length, sent, status) in [
            (10, "0123456789", "HTTP/1.1 200 OK"),
            (11, "01234567890", "HTTP/1.1 413 Payload Too Large"),
            (5, "01", "HTTP/1.1 408 Request Timeout"),
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let head = format!("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}");
            assert_eq!(ask(&mut stream, &format!("{head}\r\n\r\n{sent}"), "10").await, status);
        }
    }

    #[tokio::test]
    async fn the_body_of_a_get_is_not_waited_for() {
        let address = listening(LIMITS).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n";
        assert_eq!(ask(&mut stream, request, "0").await, "HTTP/1.1 200 OK");
    }

    #[tokio::test]
    async fn a_connection_does_not_last_for_ever() {
        let address = listening(Limits { life: Duration::from_millis(100), ..LIMITS }).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(ask(&mut stream, GET, "0").await, "HTTP/1.1 200 OK");
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    }
}
