//! TLS as clients meet it: versions, order, certificates by name and their change, hosts that are not of the connection.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis::budget::Limits;
use portcullis::tls::Certificate;
use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, HandshakeKind, NamedGroup, ProtocolVersion, SupportedCipherSuite,
    SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::anyone;
use crate::plane::{Client, Plane, certificate, open, snapshot_of};
use crate::upstream::Upstream;

/// A client configuration with these suites, groups and versions.
fn config(
    suites: &[SupportedCipherSuite],
    groups: &[&'static dyn SupportedKxGroup],
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
) -> Arc<ClientConfig> {
    let provider = CryptoProvider { cipher_suites: suites.to_vec(), kx_groups: groups.to_vec(), ..default_provider() };
    let mut config = anyone::config(provider, versions);
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A client configuration that takes any certificate.
pub fn ordinary(alpn: &[&str]) -> Arc<ClientConfig> {
    config(ALL_CIPHER_SUITES, &default_provider().kx_groups, &[&TLS13, &TLS12], alpn)
}

/// A connection for a name.
pub async fn connect(
    address: SocketAddr,
    name: &str,
    config: Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(config).connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await
}

/// An HTTP/2 connection.
pub async fn h2(address: SocketAddr, name: &str) -> SendRequest<Full<Bytes>> {
    h2_with_window(address, name, 64 * 1024).await
}

/// An HTTP/2 connection whose streams begin with this window.
pub async fn h2_with_window(address: SocketAddr, name: &str, window: u32) -> SendRequest<Full<Bytes>> {
    let stream = connect(address, name, ordinary(&["h2"])).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut builder = Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// The certificate that is shown for a name.
pub async fn shown(address: SocketAddr, name: &str) -> Vec<u8> {
    let stream = connect(address, name, ordinary(&[])).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn leaf(certificate: &Certificate) -> Vec<u8> {
    certificate.key.cert[0].to_vec()
}

/// The first line of the answer to the last request of a connection.
pub async fn ask(stream: &mut TlsStream<TcpStream>, host: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    // A peer that closes without close_notify has still answered.
    drop(stream.read_to_string(&mut text).await);
    text.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn suites_and_groups_follow_our_order() {
    let plane = Plane::of(&[]);
    let backwards: Vec<_> = ALL_CIPHER_SUITES.iter().rev().copied().collect();
    let groups = [kx_group::SECP256R1, kx_group::X25519, kx_group::X25519MLKEM768];
    plane.block_on(async {
        for (version, suite) in [
            (&TLS13, CipherSuite::TLS13_AES_256_GCM_SHA384),
            (&TLS12, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
        ] {
            let stream = connect(plane.https, "app.test", config(&backwards, &groups, &[version], &[])).await.unwrap();
            let session = stream.get_ref().1;
            assert_eq!(session.negotiated_cipher_suite().unwrap().suite(), suite);
        }
        let no_aes_256 = [
            cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        ];
        let stream = connect(plane.https, "app.test", config(&no_aes_256, &groups, &[&TLS12], &[])).await.unwrap();
        let suite = stream.get_ref().1.negotiated_cipher_suite().unwrap().suite();
        assert_eq!(suite, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256);
        let hybrid_first = [kx_group::X25519MLKEM768, kx_group::X25519];
        let stream = connect(plane.https, "app.test", config(ALL_CIPHER_SUITES, &hybrid_first, &[&TLS13], &[])).await;
        let group = stream.unwrap().get_ref().1.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, NamedGroup::X25519MLKEM768);
        let p384 =
            connect(plane.https, "app.test", config(ALL_CIPHER_SUITES, &[kx_group::SECP384R1], &[&TLS13], &[])).await;
        assert!(p384.is_err());
    });
}

#[test]
fn versions_and_protocols_are_agreed_on() {
    let plane = Plane::of(&[]);
    plane.block_on(async {
        for (offered, agreed) in [(&["h2", "http/1.1"][..], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&[], None)]
        {
            let stream = connect(plane.https, "app.test", ordinary(offered)).await.unwrap();
            let session = stream.get_ref().1;
            assert_eq!(session.alpn_protocol(), agreed.map(str::as_bytes), "{offered:?}");
            assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        }
        assert!(connect(plane.https, "app.test", ordinary(&["spdy/3"])).await.is_err());
    });
}

#[test]
fn certificates_go_by_name_and_change_without_a_restart() {
    let upstream = Upstream::ok();
    let routes = || vec![open("app.test", &[upstream.address])];
    let (default, app, wild) =
        (certificate(&["default.test"]), certificate(&["app.test"]), certificate(&["*.wild.test"]));
    let mut plane = Plane::start(
        snapshot_of(routes(), &[Arc::clone(&default), Arc::clone(&app), Arc::clone(&wild)]),
        Limits::default(),
    );
    let address = plane.https;
    let mut open_before = plane.block_on(async {
        assert_eq!(shown(address, "app.test").await, leaf(&app));
        assert_eq!(shown(address, "APP.test").await, leaf(&app));
        assert_eq!(shown(address, "a.wild.test").await, leaf(&wild));
        assert_eq!(shown(address, "a.b.wild.test").await, leaf(&default));
        assert_eq!(shown(address, "unknown.test").await, leaf(&default));
        connect(address, "app.test", ordinary(&[])).await.unwrap()
    });
    let renewed = certificate(&["app.test"]);
    plane.publish(snapshot_of(routes(), &[default, Arc::clone(&renewed), wild]));
    plane.block_on(async {
        assert_eq!(shown(address, "app.test").await, leaf(&renewed));
        assert_eq!(ask(&mut open_before, "app.test").await, "HTTP/1.1 200 OK");
    });
}

#[test]
fn without_a_certificate_the_handshake_fails() {
    let plane = Plane::start(snapshot_of(Vec::new(), &[]), Limits::default());
    plane.block_on(async { assert!(connect(plane.https, "app.test", ordinary(&[])).await.is_err()) });
}

#[test]
fn a_host_that_the_certificate_does_not_cover_is_421() {
    let upstream = Upstream::ok();
    let names = ["app.test", "other.test", "a.wild.test", "b.wild.test"];
    let routes = names.iter().map(|name| open(name, &[upstream.address])).collect();
    let certificates = [certificate(&["app.test"]), certificate(&["other.test"]), certificate(&["*.wild.test"])];
    let plane = Plane::start(snapshot_of(routes, &certificates), Limits::default());
    plane.block_on(async {
        for (name, host, status) in [
            ("app.test", "app.test", "HTTP/1.1 200 OK"),
            ("app.test", "APP.test.:443", "HTTP/1.1 200 OK"),
            ("app.test", "other.test", "HTTP/1.1 421 Misdirected Request"),
            ("a.wild.test", "b.wild.test", "HTTP/1.1 200 OK"),
            ("a.wild.test", "c.a.wild.test", "HTTP/1.1 421 Misdirected Request"),
            ("127.0.0.1", "app.test", "HTTP/1.1 200 OK"),
            // A name that no host can have is shown the default certificate, which is good for its own host alone.
            ("no_host.test", "app.test", "HTTP/1.1 200 OK"),
            ("no_host.test", "other.test", "HTTP/1.1 421 Misdirected Request"),
        ] {
            let mut stream = connect(plane.https, name, ordinary(&[])).await.unwrap();
            assert_eq!(ask(&mut stream, host).await, status, "{name} {host}");
        }
        let mut sender = h2(plane.https, "app.test").await;
        for (host, status) in [("app.test", 200), ("other.test", 421), ("app.test", 200)] {
            let request = Request::get(format!("https://{host}/")).body(Full::default()).unwrap();
            assert_eq!(sender.send_request(request).await.unwrap().status(), status, "{host}");
        }
    });
}

#[test]
fn a_server_name_that_is_none_fails_the_handshake() {
    let plane = Plane::of(&[Upstream::ok().address]);
    let name = ServerName::try_from("app.test").unwrap();
    let mut hello = Vec::new();
    ClientConnection::new(ordinary(&[]), name).unwrap().write_tls(&mut hello).unwrap();
    let at = hello.windows(8).position(|part| part == b"app.test").unwrap();
    hello[at + 3] = b' ';
    // A fatal alert, `illegal_parameter` (RFC 8446 section 6).
    assert_eq!(Client::connect(plane.https).send(hello).rest(), [21, 3, 3, 0, 2, 2, 47]);
}

#[test]
fn sessions_resume_by_ticket_and_never_early() {
    let plane = Plane::of(&[Upstream::ok().address]);
    let config = ordinary(&[]);
    plane.block_on(async {
        let mut kinds = Vec::new();
        for _ in 0..3 {
            let mut stream = connect(plane.https, "app.test", Arc::clone(&config)).await.unwrap();
            kinds.push(stream.get_ref().1.handshake_kind().unwrap());
            ask(&mut stream, "app.test").await;
        }
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed]);
        let mut early = (*config).clone();
        early.enable_early_data = true;
        let stream = connect(plane.https, "app.test", Arc::new(early)).await.unwrap();
        assert!(!stream.get_ref().1.is_early_data_accepted());
    });
}

#[test]
fn a_hello_in_single_bytes_is_the_same_hello() {
    let (default, app) = (certificate(&["default.test"]), certificate(&["app.test"]));
    let plane = Plane::start(snapshot_of(Vec::new(), &[default, Arc::clone(&app)]), Limits::default());
    plane.block_on(async {
        let stream = TcpStream::connect(plane.https).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::try_from("app.test").unwrap();
        let stream = TlsConnector::from(ordinary(&[])).connect(name, Trickle(stream)).await.unwrap();
        assert_eq!(stream.get_ref().1.peer_certificates().unwrap()[0].to_vec(), leaf(&app));
    });
}

/// Writes one byte at a time.
struct Trickle(TcpStream);

impl tokio::io::AsyncRead for Trickle {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl tokio::io::AsyncWrite for Trickle {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.0).poll_write(cx, &bytes[..1.min(bytes.len())])
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// What the server says first: its settings, as identifiers and values (RFC 9113 section 6.5.1), and the window of the
/// connection.
pub async fn h2_settings(address: SocketAddr) -> (Vec<(u16, u32)>, u32) {
    let mut stream = connect(address, "app.test", ordinary(&["h2"])).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let (kind, settings) = h2_frame(&mut stream).await;
    assert_eq!(kind, 4, "the first frame is SETTINGS");
    let setting = |bytes: &[u8]| {
        let (id, value) = bytes.split_at(2);
        (u16::from_be_bytes(id.try_into().unwrap()), u32::from_be_bytes(value.try_into().unwrap()))
    };
    let window = loop {
        if let (8, more) = h2_frame(&mut stream).await {
            break 0xffff + u32::from_be_bytes(more.try_into().unwrap());
        }
    };
    (settings.chunks(6).map(setting).collect(), window)
}

/// The kind and the payload of the next frame (RFC 9113 section 4.1).
async fn h2_frame(stream: &mut TlsStream<TcpStream>) -> (u8, Vec<u8>) {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    let mut payload = vec![0; usize::from(head[2]) + 256 * usize::from(head[1])];
    stream.read_exact(&mut payload).await.unwrap();
    (head[3], payload)
}

/// Whether the server closes an HTTP/2 connection over these frames, long before the usual time for being idle.
pub async fn h2_ends(address: SocketAddr, frames: &[u8]) -> bool {
    let stream = connect(address, "app.test", ordinary(&["h2"])).await.unwrap();
    let (mut reads, mut writes) = tokio::io::split(stream);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let flood = [preface, frames].concat();
    // The server may close while the flood still runs.
    let sending = tokio::spawn(async move { drop(writes.write_all(&flood).await) });
    let mut received = Vec::new();
    let within = std::time::Duration::from_secs(45);
    let ended = tokio::time::timeout(within, reads.read_to_end(&mut received)).await.is_ok();
    sending.abort();
    ended
}
