//! SIGTERM: what runs is finished, each protocol is told in its own words, and the process ends well.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::plane::Client;
use crate::process::Dev;
use crate::upstream::{Reply, Upstream};

const APP: &str = "
apiVersion: v1
kind: Service
metadata: {namespace: shop, name: app}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: shop, name: app-1, labels: {kubernetes.io/service-name: app}}
addressType: IPv4
ports: [{name: http, port: PORT}]
endpoints: [{addresses: [127.0.0.1]}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  namespace: shop
  name: app
  annotations: {portcullis.dev/access: public, portcullis.dev/ssl-redirect: 'false'}
spec:
  ingressClassName: portcullis
  rules:
  - host: shop.localhost
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: app, port: {number: 80}}}}]}
";

const SLOW: &str = "GET /slow HTTP/1.1\r\nhost: shop.localhost\r\n\r\n";

const UPGRADE: &str = "GET /socket HTTP/1.1\r\nhost: shop.localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-accept: x\r\n\r\n";

/// What slow requests wait for.
type Gate = Arc<(Mutex<bool>, Condvar)>;

/// An app that is slow where asked for `/slow`, and echoes where asked to upgrade.
fn app(gate: &Gate) -> Upstream {
    let gate = Arc::clone(gate);
    Upstream::scripted(move |seen| {
        if seen.line().starts_with("GET /socket") {
            return Reply::SendThenEcho(SWITCH.into());
        }
        if seen.line().starts_with("GET /slow") {
            let (open, opened) = &*gate;
            drop(opened.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
        }
        Reply::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec())
    })
}

fn echoes(socket: &mut Client, text: &str) -> bool {
    let mut back = vec![0; text.len()];
    socket.send(text).stream.read_exact(&mut back).is_ok() && back == text.as_bytes()
}

/// HTTP/2 frame by frame (RFC 9113).
struct Http2(StreamOwned<ClientConnection, TcpStream>);

/// Kinds of frames (RFC 9113 section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

impl Http2 {
    /// Asks for `/slow` in stream 1.
    fn ask_slowly(dev: &Dev) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(dev.authority()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = "shop.localhost".try_into().unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut this = Self(StreamOwned::new(connection, TcpStream::connect(dev.https()).unwrap()));
        this.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        this.send(SETTINGS, 0, 0, b"");
        // `:method: GET`, `:scheme: https`, `:path: /slow`, `:authority: shop.localhost` (RFC 7541 section 6).
        this.send(HEADERS, 5, 1, b"\x82\x87\x04\x05/slow\x01\x0eshop.localhost");
        this
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u8, payload: &[u8]) {
        let head = [0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, stream];
        self.0.write_all(&[&head, payload].concat()).unwrap();
    }

    /// Kind, flags and stream of the next frame; `None` at the end. Pings are answered.
    fn next(&mut self) -> Option<(u8, u8, u8)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        self.0.read_exact(&mut payload).ok()?;
        if head[3] == PING && head[4] == 0 {
            self.send(PING, 1, 0, &payload);
        }
        Some((head[3], head[4], head[8]))
    }

    /// Reads until a frame of a kind; it must come.
    fn until(&mut self, kind: u8) -> (u8, u8, u8) {
        std::iter::from_fn(|| self.next()).find(|frame| frame.0 == kind).unwrap_or_else(|| panic!("no frame {kind}"))
    }
}

#[test]
fn everything_open_is_told_and_finished() {
    let gate = Gate::default();
    let app = app(&gate);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("app.yaml"), APP.replace("PORT", &app.address.port().to_string())).unwrap();
    let dev = Dev::start(Some(folder.path()));
    let mut socket = Client::connect(dev.http());
    assert_eq!(socket.ask(UPGRADE).status, 101);
    let mut idle = Client::connect(dev.http());
    assert_eq!(idle.ask("GET / HTTP/1.1\r\nhost: shop.localhost\r\n\r\n").status, 200);
    let mut busy = Client::connect(dev.http());
    busy.send(SLOW);
    let mut http2 = Http2::ask_slowly(&dev);
    while app.seen().iter().filter(|seen| seen.line().starts_with("GET /slow")).count() < 2 {
        std::thread::yield_now();
    }

    dev.terminate();
    http2.until(GOAWAY);
    assert!(idle.is_closed());
    assert!(echoes(&mut socket, "still open"));
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    let answer = busy.answer().unwrap();
    assert_eq!((answer.status, answer.values("connection"), &*answer.body), (200, vec!["close"], &b"ok"[..]));
    assert!(busy.is_closed());
    // END_STREAM (RFC 9113 section 6.1) may come in a frame of its own.
    while http2.until(DATA) != (DATA, 1, 1) {}
    while http2.next().is_some() {}
    assert!(echoes(&mut socket, "to the last"));
    drop(socket);
    assert!(dev.ends().success());
}
