//! A small browser: TLS that trusts the house's certificate, a cookie jar, redirects followed by hand.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::house::{House, soon};

/// What a browser says of itself when a person follows a link.
pub const NAVIGATION: Fields<'static> = &[
    ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-site", "none"),
];

/// Fields of a request.
pub type Fields<'a> = &'a [(&'a str, &'a str)];

/// The session cookie's name.
pub const SESSION: &str = "__Host-portcullis";

/// A browser. A clone has the same cookies and goes its own way.
#[derive(Clone)]
pub struct Browser {
    /// What it trusts.
    pub tls: Arc<ClientConfig>,
    https: SocketAddr,
    http: SocketAddr,
    /// By host and name.
    pub jar: BTreeMap<(String, String), String>,
}

/// A WebSocket that the upstream has agreed to.
pub struct Socket(Stream);

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// One answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// All values of a field.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    /// The one value of a field.
    pub fn value(&self, name: &str) -> &str {
        let [value] = self.values(name)[..] else { panic!("not one `{name}` in {}", self.head) };
        value
    }

    /// The body as an object.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.body))
    }
}

impl Browser {
    pub fn new(house: &House) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(house.certificate.key.cert[0].clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = Arc::new(tls.with_root_certificates(roots).with_no_client_auth());
        Self { tls, https: house.https, http: house.http, jar: BTreeMap::new() }
    }

    /// GET with exactly these fields beside the cookies.
    pub fn get(&mut self, host: &str, target: &str, fields: Fields<'_>) -> Answer {
        self.ask("GET", host, target, fields)
    }

    /// What happens when a person follows a link to `target`.
    pub fn navigate(&mut self, host: &str, target: &str) -> Answer {
        self.ask("GET", host, target, NAVIGATION)
    }

    /// Any request over HTTPS.
    pub fn ask(&mut self, method: &str, host: &str, target: &str, fields: Fields<'_>) -> Answer {
        self.ask_as(host, method, host, target, fields)
    }

    /// The same over a connection that was opened for another name.
    pub fn ask_as(&mut self, sni: &str, method: &str, host: &str, target: &str, fields: Fields<'_>) -> Answer {
        let request = self.request(method, host, target, fields, "close");
        self.over_tls(sni, host, &request)
    }

    /// POST with a body.
    pub fn post(&mut self, host: &str, target: &str, fields: Fields<'_>, body: &str) -> Answer {
        let request = self.request("POST", host, target, fields, "close") + body;
        self.over_tls(host, host, &request)
    }

    /// GET that asks to go on in another protocol.
    pub fn upgrade(&mut self, host: &str, target: &str, fields: Fields<'_>) -> Answer {
        let request = self.request("GET", host, target, fields, "upgrade, close");
        self.over_tls(host, host, &request)
    }

    /// The same where the upstream agrees.
    pub fn socket(&self, host: &str, target: &str, fields: Fields<'_>) -> Socket {
        let mut stream = self.stream(host);
        stream.write_all(self.request("GET", host, target, fields, "upgrade").as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        Socket(stream)
    }

    /// Follows a link, and leaves at that moment instead of waiting for its answer.
    pub fn gives_up(&self, host: &str, target: &str, at: impl Fn() -> Option<()>) {
        let mut stream = self.stream(host);
        stream.write_all(self.request("GET", host, target, NAVIGATION, "keep-alive").as_bytes()).unwrap();
        soon("moment to leave", at);
    }

    /// A request over plain HTTP, without cookies: ours are `Secure`.
    pub fn ask_plainly(&self, method: &str, host: &str, target: &str) -> Answer {
        let nobody = Self { jar: BTreeMap::new(), ..self.clone() };
        exchange(connect(self.http), &nobody.request(method, host, target, &[], "close"))
    }

    /// Follows a link, signs in where asked, and lands.
    pub fn sign_in(&mut self, house: &House, host: &str, target: &str) -> Answer {
        let callback = self.until_callback(house, host, target);
        let finished = self.navigate(host, &callback);
        assert_eq!(finished.status, 303, "{}", finished.body);
        let landing = finished.value("location").strip_prefix(&house.origin(host)).unwrap().to_owned();
        self.navigate(host, &landing)
    }

    /// Follows a link up to the answer of the provider: gives the target of the callback.
    pub fn until_callback(&mut self, house: &House, host: &str, target: &str) -> String {
        let authorization_url = self.until_provider(host, target);
        let query = house.provider.approve(&authorization_url);
        let url = url::Url::parse(&authorization_url).unwrap();
        let (_, redirect_uri) = url.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap();
        format!("{}?{query}", redirect_uri.strip_prefix(&house.origin(host)).unwrap())
    }

    /// Follows a link up to the provider: gives the authorization URL.
    pub fn until_provider(&mut self, host: &str, target: &str) -> String {
        let challenged = self.navigate(host, target);
        assert_eq!(challenged.status, 303, "{}", challenged.body);
        let begun = self.navigate(host, challenged.value("location"));
        assert_eq!(begun.status, 303, "{}", begun.body);
        begun.value("location").to_owned()
    }

    /// The session cookie's value of a host.
    pub fn session(&self, host: &str) -> Option<String> {
        self.jar.get(&(host.to_owned(), SESSION.to_owned())).cloned()
    }

    /// Sets or replaces a cookie by hand.
    pub fn plant(&mut self, host: &str, name: &str, value: &str) {
        self.jar.insert((host.to_owned(), name.to_owned()), value.to_owned());
    }

    /// Names of the login cookies of a host.
    pub fn logins(&self, host: &str) -> Vec<&str> {
        let names = self.jar.keys().filter(|(of, _)| of == host).map(|(_, name)| name.as_str());
        names.filter(|name| name.starts_with("__Host-portcullis-login-")).collect()
    }

    fn over_tls(&mut self, sni: &str, host: &str, request: &str) -> Answer {
        let answer = exchange(self.stream(sni), request);
        self.keep(host, &answer);
        answer
    }

    fn stream(&self, sni: &str) -> Stream {
        let name = ServerName::try_from(sni.to_owned()).unwrap();
        let connection = ClientConnection::new(Arc::clone(&self.tls), name).unwrap();
        StreamOwned::new(connection, connect(self.https))
    }

    fn request(&self, method: &str, host: &str, target: &str, fields: Fields<'_>, connection: &str) -> String {
        let cookies = self.jar.iter().filter(|((of, _), _)| of == host);
        let cookies: Vec<_> = cookies.map(|((_, name), value)| format!("{name}={value}")).collect();
        let mut request = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: {connection}\r\n");
        if !cookies.is_empty() {
            request += &format!("cookie: {}\r\n", cookies.join("; "));
        }
        for (name, value) in fields {
            request += &format!("{name}: {value}\r\n");
        }
        request + "\r\n"
    }

    fn keep(&mut self, host: &str, answer: &Answer) {
        for line in answer.values("set-cookie") {
            let (name, rest) = line.split_once('=').unwrap();
            let (value, attributes) = rest.split_once(';').unwrap();
            let key = (host.to_owned(), name.to_owned());
            if attributes.contains("Max-Age=0;") || value.is_empty() {
                self.jar.remove(&key);
            } else {
                self.jar.insert(key, value.to_owned());
            }
        }
    }
}

impl Socket {
    /// Whether a text comes back.
    pub fn echoes(&mut self, text: &str) -> bool {
        let mut back = vec![0; text.len()];
        self.0.write_all(text.as_bytes()).is_ok() && self.0.read_exact(&mut back).is_ok() && back == text.as_bytes()
    }

    /// Waits for its end, where nothing more comes.
    pub fn ends(mut self) -> bool {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            // Without close_notify, but at its end.
            Err(error) => rest.is_empty() && error.kind() == ErrorKind::UnexpectedEof,
        }
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Sends a request and reads until the connection ends.
fn exchange(mut stream: impl Read + Write, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    // A peer that closes without close_notify has answered all the same.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer but {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}
