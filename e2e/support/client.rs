//! A plain HTTP client: a program, or a person's browser without a screen. It trusts the tests' authority alone, keeps
//! cookies a host, and finds every `*.localhost` on this machine.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Url;

use super::authority::Authority;
use super::eventually::{PAUSE, SOON};
use super::provider::Person;

/// From the first byte sent to the last received.
const PATIENCE: Duration = Duration::from_secs(60);

/// As many redirects as a sign-in needs, and then some.
const REDIRECTS: usize = 12;

/// A request.
#[derive(Clone)]
pub struct Ask {
    method: Method,
    url: Url,
    fields: Vec<(&'static str, String)>,
    body: Bytes,
}

/// A response, whole.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Where it came from, after any redirects.
    pub url: Url,
}

/// The client. Each request has a connection of its own; see [`Client::connect`] for one that is kept.
pub struct Client {
    tls: Arc<ClientConfig>,
    cookies: Arc<Mutex<Cookies>>,
    /// Where every `*.localhost` is.
    localhost: Ipv4Addr,
    /// The address that it calls from; where that is unspecified the system chooses one.
    own: Ipv4Addr,
}

/// By host and name.
type Cookies = BTreeMap<String, BTreeMap<String, String>>;

/// A connection that is kept, for one request after another to one host.
pub struct Kept {
    sender: SendRequest<Full<Bytes>>,
    cookies: Option<String>,
}

impl Ask {
    /// A program's `GET`.
    pub fn get(url: &str) -> Self {
        let url = url.parse().unwrap_or_else(|error| panic!("`{url}`: {error}"));
        Self { method: Method::GET, url, fields: Vec::new(), body: Bytes::new() }
    }

    /// A program's `POST`.
    pub fn post(url: &str, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, body: body.into(), ..Self::get(url) }
    }

    /// The same with a header field.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// The same as a browser sends it when a person goes somewhere.
    pub fn navigating(self) -> Self {
        self.with("accept", "text/html,application/xhtml+xml")
            .with("sec-fetch-mode", "navigate")
            .with("sec-fetch-dest", "document")
    }
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON ({}): {}", self.status, self.text()))
    }
}

impl Client {
    /// A client without cookies.
    pub fn new(authority: &Authority) -> Self {
        Self {
            tls: Arc::new(trusting(authority)),
            cookies: Arc::default(),
            localhost: Ipv4Addr::LOCALHOST,
            own: Ipv4Addr::UNSPECIFIED,
        }
    }

    /// The same browser, led to another address of this machine.
    pub fn at(&self, localhost: Ipv4Addr) -> Self {
        Self { tls: Arc::clone(&self.tls), cookies: Arc::clone(&self.cookies), localhost, own: self.own }
    }

    /// The same browser, calling from an address of this machine.
    pub fn from(&self, own: Ipv4Addr) -> Self {
        Self { own, ..self.at(self.localhost) }
    }

    /// Another browser on the same machine, without cookies.
    pub fn fresh(&self) -> Self {
        Self { cookies: Arc::default(), ..self.at(self.localhost) }
    }

    /// Another browser with the cookies that this one has now.
    pub fn copy(&self) -> Self {
        let cookies = self.cookies.lock().expect("nobody panics with it").clone();
        Self { cookies: Arc::new(Mutex::new(cookies)), ..self.at(self.localhost) }
    }

    /// Sends a request and reads the whole answer; redirects are not followed.
    pub async fn send(&self, ask: Ask) -> Answer {
        sound(self.try_send(ask).await)
    }

    /// The status that an address answers with.
    pub async fn status(&self, url: &str) -> u16 {
        self.send(Ask::get(url)).await.status
    }

    /// Sends as [`Client::send`] does, where a failure is an answer; it begins with the address.
    pub async fn try_send(&self, ask: Ask) -> io::Result<Answer> {
        let url = ask.url.clone();
        let answer = async { self.connect(&url).await?.send(ask).await }.await;
        let answer = answer.map_err(|error| io::Error::new(error.kind(), format!("{url}: {error}")))?;
        self.remember(&url, &answer.headers);
        Ok(answer)
    }

    /// Goes to an address as a person does, over redirects to a page.
    pub async fn browse(&self, url: &str) -> Answer {
        sound(self.follow(Ask::get(url), None).await)
    }

    /// Goes to an address, signs in at the provider where it is asked to, and comes back.
    pub async fn sign_in(&self, url: &str, person: &Person) -> Answer {
        sound(self.try_sign_in(url, person.login).await)
    }

    /// The same by what the person types, where a failure to connect is an answer.
    pub async fn try_sign_in(&self, url: &str, login: &str) -> io::Result<Answer> {
        self.follow(self.filled_form(url, login).await?, None).await
    }

    /// The same but for the last step: the session is there, and no request has used it.
    pub async fn sign_in_only(&self, url: &str, person: &Person) {
        let url: Url = url.parse().expect("an address");
        let form = sound(self.filled_form(url.as_str(), person.login).await);
        let last = sound(self.follow(form, Some(&url)).await);
        assert_eq!(last.headers[header::LOCATION], url.as_str(), "{}", last.text());
    }

    /// Goes to an address again and again, until it answers with a status.
    pub async fn comes_to(&self, url: &str, status: u16) {
        let deadline = Instant::now() + SOON;
        loop {
            let last = self.send(Ask::get(url).navigating()).await;
            if last.status == status {
                return;
            }
            assert!(Instant::now() < deadline, "{url} answers {}, not {status}: {}", last.status, last.text());
            sleep(PAUSE).await;
        }
    }

    /// The cookies of a host as a `Cookie` field has them.
    pub fn cookies(&self, host: &str) -> Option<String> {
        let all = self.cookies.lock().expect("nobody panics with it");
        let of_host = all.get(host).filter(|cookies| !cookies.is_empty())?;
        Some(of_host.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; "))
    }

    /// Opens a connection to keep; it sends the cookies that the client has now.
    pub async fn connect(&self, url: &Url) -> io::Result<Kept> {
        let host = url.host_str().expect("an http address has a host");
        let port = url.port_or_known_default().expect("http and https have one");
        let cookies = self.cookies(host);
        let sender = if url.scheme() == "https" {
            http1_over(self.tls(host, port, &[b"http/1.1"]).await?).await?
        } else {
            http1_over(self.dial(host, port).await?).await?
        };
        Ok(Kept { sender, cookies })
    }

    /// A bare TLS connection that offers some protocols.
    pub async fn tls(&self, host: &str, port: u16, protocols: &[&[u8]]) -> io::Result<TlsStream<TcpStream>> {
        let mut config = (*self.tls).clone();
        config.alpn_protocols = protocols.iter().map(|&protocol| protocol.to_owned()).collect();
        let name = ServerName::try_from(host.to_owned()).expect("a host name");
        TlsConnector::from(Arc::new(config)).connect(name, self.dial(host, port).await?).await
    }

    async fn dial(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let address = match host.parse() {
            Ok(address) => address,
            Err(_) if host.ends_with("localhost") => self.localhost.into(),
            Err(_) => panic!("`{host}` is not on this machine"),
        };
        let stream = if self.own.is_unspecified() {
            TcpStream::connect(SocketAddr::new(address, port)).await?
        } else {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(self.own.into(), 0))?;
            socket.connect(SocketAddr::new(address, port)).await?
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn filled_form(&self, url: &str, login: &str) -> io::Result<Ask> {
        let form = self.follow(Ask::get(url), None).await?;
        assert!(form.url.path().starts_with("/interaction/"), "no sign-in form at {}: {}", form.url, form.text());
        Ok(Ask::post(form.url.as_str(), format!("login={login}"))
            .with("content-type", "application/x-www-form-urlencoded")
            .with("origin", form.url.origin().ascii_serialization()))
    }

    /// Follows redirects to a page, or to the one that leads to `short_of`.
    async fn follow(&self, ask: Ask, short_of: Option<&Url>) -> io::Result<Answer> {
        let mut answer = self.try_send(ask.navigating()).await?;
        for _ in 0..REDIRECTS {
            if !(300..400).contains(&answer.status) {
                return Ok(answer);
            }
            let location = answer.headers[header::LOCATION].to_str().expect("an address");
            let next = answer.url.join(location).unwrap_or_else(|error| panic!("`{location}`: {error}"));
            if short_of == Some(&next) {
                return Ok(answer);
            }
            answer = self.try_send(Ask::get(next.as_str()).navigating()).await?;
        }
        panic!("after {REDIRECTS} redirects still none the wiser, at {}", answer.url)
    }

    fn remember(&self, url: &Url, fields: &HeaderMap) {
        let mut all = self.cookies.lock().expect("nobody panics with it");
        let of_host = all.entry(url.host_str().unwrap_or_default().to_owned()).or_default();
        for line in fields.get_all(header::SET_COOKIE) {
            let line = line.to_str().expect("cookies are text");
            let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
            let (name, value) = pair.split_once('=').expect("a cookie has a name");
            let attributes = attributes.to_ascii_lowercase();
            if attributes.contains("max-age=0") || attributes.contains("expires=thu, 01 jan 1970") {
                of_host.remove(name);
            } else {
                of_host.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

impl Kept {
    /// Sends a request and reads the whole answer.
    pub async fn send(&mut self, ask: Ask) -> io::Result<Answer> {
        let url = ask.url.clone();
        let exchange = async {
            let response = self.sender.send_request(self.request(ask)).await.map_err(io::Error::other)?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
            Ok(Answer { status: head.status.as_u16(), headers: head.headers, body, url })
        };
        timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    fn request(&self, ask: Ask) -> Request<Full<Bytes>> {
        let target = &ask.url[url::Position::BeforePath..url::Position::AfterQuery];
        let authority = &ask.url[url::Position::BeforeHost..url::Position::AfterPort];
        let mut request = Request::builder().method(ask.method).uri(target).header(header::HOST, authority);
        for (name, value) in ask.fields {
            request = request.header(name, value);
        }
        if let Some(cookies) = &self.cookies {
            request = request.header(header::COOKIE, cookies);
        }
        request.body(Full::new(ask.body)).expect("a sound request")
    }
}

fn sound<T>(answer: io::Result<T>) -> T {
    answer.unwrap_or_else(|error| panic!("{error}"))
}

/// The serial number of the certificate that a server presented.
pub fn presented_serial(stream: &TlsStream<TcpStream>) -> u64 {
    let chain = stream.get_ref().1.peer_certificates().expect("the handshake is over");
    let (_, certificate) = x509_parser::parse_x509_certificate(&chain[0]).expect("a certificate");
    certificate.serial.to_string().parse().expect("the tests' serial numbers are small")
}

fn trusting(authority: &Authority) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("our own PEM");
    roots.add(certificate).expect("our own certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = versions.expect("the provider has them").with_root_certificates(roots).with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    config
}

async fn http1_over<S>(stream: S) -> io::Result<SendRequest<Full<Bytes>>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Its end shows in the sender.
    tokio::spawn(connection);
    Ok(sender)
}
