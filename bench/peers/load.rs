//! The load: kept-alive connections over TLS 1.3, each with as many requests at once as its protocol is used with.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Proxy;
use crate::portcullis::HOST;
use crate::upstream::BODY;

/// What is spoken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, 64 connections with one request each.
    Http1,
    /// HTTP/2, 16 connections with four requests each.
    Http2,
}

/// Who asks: signed in, with a cookie that is forwarded where nothing is done with it.
#[derive(Clone)]
pub struct Visitor {
    roots: RootCertStore,
    cookie: String,
}

/// A load on one proxy.
pub struct Load<'a> {
    proxy: &'a Proxy,
    protocol: Protocol,
    done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Visitor {
    /// One who trusts this authority.
    pub fn new(authority: &str, cookie: String) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).expect("our own PEM")).expect("an anchor");
        Self { roots, cookie }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        })
    }
}

impl<'a> Load<'a> {
    /// A load that is not yet running.
    pub fn new(proxy: &'a Proxy, protocol: Protocol) -> Self {
        Self { proxy, protocol, done: Arc::default(), stop: Arc::default() }
    }

    /// Loads for a while; gives how many requests were answered, each with the right status and body.
    pub async fn run(self, how_long: Duration) -> u64 {
        let tasks = match self.protocol {
            Protocol::Http1 => self.connect_http1().await,
            Protocol::Http2 => self.connect_http2().await,
        };
        tokio::time::sleep(how_long).await;
        self.stop.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await.expect("no request failed");
        }
        self.done.load(Ordering::Relaxed)
    }

    async fn connect_http1(&self) -> Vec<tokio::task::JoinHandle<()>> {
        let mut tasks = Vec::new();
        for _ in 0..64 {
            let (sender, connection) =
                http1::handshake(TokioIo::new(self.connect(b"http/1.1").await)).await.expect("a connection");
            tokio::spawn(connection);
            let (request, done, stop) = (self.request("/"), Arc::clone(&self.done), Arc::clone(&self.stop));
            let mut sender = sender;
            tasks.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    sender.ready().await.expect("the connection is kept alive");
                    check(sender.send_request(request.clone()).await.expect("an answer")).await;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        tasks
    }

    async fn connect_http2(&self) -> Vec<tokio::task::JoinHandle<()>> {
        let mut tasks = Vec::new();
        for _ in 0..16 {
            let stream = TokioIo::new(self.connect(b"h2").await);
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.expect("a connection");
            tokio::spawn(connection);
            for _ in 0..4 {
                let request = self.request(&format!("https://{HOST}/"));
                let (mut sender, done, stop) = (sender.clone(), Arc::clone(&self.done), Arc::clone(&self.stop));
                tasks.push(tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        sender.ready().await.expect("the connection is kept alive");
                        check(sender.send_request(request.clone()).await.expect("an answer")).await;
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }));
            }
        }
        tasks
    }

    fn request(&self, target: &str) -> Request<Empty<Bytes>> {
        let mut request = Request::get(target).header("cookie", &self.proxy.visitor.cookie).header("accept", "*/*");
        if self.protocol == Protocol::Http1 {
            request = request.header("host", HOST);
        }
        request.body(Empty::new()).expect("a request")
    }

    async fn connect(&self, alpn: &[u8]) -> TlsStream<TcpStream> {
        let mut config =
            ClientConfig::builder().with_root_certificates(self.proxy.visitor.roots.clone()).with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        let stream = TcpStream::connect(self.proxy.address).await.expect("the proxy listens");
        stream.set_nodelay(true).expect("a TCP socket");
        let name = ServerName::try_from(HOST).expect("a host name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake")
    }
}

async fn check(response: http::Response<hyper::body::Incoming>) {
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    assert!(body == BODY, "the body is another one: {} bytes", body.len());
}
