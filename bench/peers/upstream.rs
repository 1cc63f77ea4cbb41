//! The upstream: 1 KiB to every request, over kept-alive HTTP/1.1.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// What every response holds.
pub const BODY: &[u8] = &[b'x'; 1024];

/// The endpoint in `objects.yaml`.
const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 244, 1, 1)), 3000);

/// Starts it on an address of a pod.
pub async fn start() -> SocketAddr {
    let listener = TcpListener::bind(ADDRESS).await.expect("`scripts/in-netns` has every pod's address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).expect("a TCP socket");
            let service = service_fn(|_: Request<Incoming>| async {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(BODY))))
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    ADDRESS
}
