//! Which fields pass, in either direction.
//!
//! Outbound heads start empty. End-to-end fields are admitted one by one; framing, hop-by-hop, forwarding and identity
//! fields are ours alone, whatever the peer wrote and however it spelt it.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};

use http::header::{
    ALT_SVC, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderName, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    VIA,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use memchr::memmem;

use crate::audit::RequestId;
use crate::host::Host;
use crate::route::IdentityHeader;
use crate::session::{COOKIE_NAME, IdentityHeaders, is_our_cookie, upstream_cookies};
use crate::trace::TRACEPARENT;

use super::admit::CanonicalRequest;
use super::conn::{Conn, Scheme};
use super::upstream::Head;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const AUTH_USER: HeaderName = HeaderName::from_static("x-auth-request-user");
const AUTH_EMAIL: HeaderName = HeaderName::from_static("x-auth-request-email");
const AUTH_GROUPS: HeaderName = HeaderName::from_static("x-auth-request-groups");
const AUTH_USERNAME: HeaderName = HeaderName::from_static("x-auth-request-preferred-username");

/// Bytes of most heads.
const ROOM: usize = 1536;

/// Every field that an upstream is told of us, and what it says.
pub fn told() -> [(HeaderName, &'static str); 11] {
    [
        (AUTH_USER, "the user, where `identity-headers` asks for it"),
        (AUTH_EMAIL, "the verified e-mail address, where `identity-headers` asks for it"),
        (AUTH_GROUPS, "the groups between commas, where `identity-headers` asks for them"),
        (AUTH_USERNAME, "what the provider calls the user, where `identity-headers` asks for it"),
        (FORWARDED_FOR, "the address of the client"),
        (FORWARDED_PROTO, "`http` or `https`, as the client spoke"),
        (FORWARDED_HOST, "the host as browsers know it, with its port where that is not the usual one"),
        (FORWARDED_PORT, "the port as browsers know it"),
        (REQUEST_ID, "the id of the request, as audit and pages have it"),
        (VIA, "that we were there, behind what others wrote"),
        (
            TRACEPARENT,
            "the trace, with our span as the parent, where `--otlp-endpoint` is given; else as the client wrote it",
        ),
    ]
}

/// How this process signs `Via` (RFC 9110 section 7.6.3): a pseudonym that no other process has.
#[derive(Clone, Debug)]
pub struct Pseudonym(HeaderValue);

/// What one request adds to its outbound head.
pub(super) struct Outbound<'a> {
    pub conn: &'a Conn,
    pub id: RequestId,
    /// Host and port as the client wrote them, and what they are made of.
    pub authority: &'a HeaderValue,
    pub host: &'a Host,
    pub port: Option<u16>,
    pub framing: Framing,
    pub websocket: bool,
    /// Who asks, and which of it the upstream is told.
    pub identity: Option<(&'a IdentityHeaders, &'a [IdentityHeader])>,
}

/// How a body is delimited towards the upstream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    /// No body, and no field that says so.
    None,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

impl Outbound<'_> {
    /// The host with the port as browsers see it, whatever port the client wrote beside it.
    fn public_authority(&self) -> Cow<'_, [u8]> {
        match self.conn.unusual_port {
            port if port == self.port => self.authority.as_bytes().into(),
            None => self.host.as_str().as_bytes().into(),
            Some(port) => format!("{}:{port}", self.host).into_bytes().into(),
        }
    }
}

impl Pseudonym {
    /// A new one. Standard hash keys are random in each process, which is all the randomness this needs.
    pub fn new() -> Self {
        let unique = RandomState::new().hash_one(COOKIE_NAME);
        Self(HeaderValue::from_str(&format!("1.1 portcullis-{unique:016x}")).expect("plain ASCII"))
    }
}

impl Default for Pseudonym {
    fn default() -> Self {
        Self::new()
    }
}

impl Conn {
    /// Whether a `Via` says that this process was there before.
    pub(super) fn signed(&self, via: &HeaderValue) -> bool {
        let ours = &self.pseudonym.0.as_bytes()["1.1 ".len()..];
        memmem::find(via.as_bytes(), ours).is_some()
    }
}

/// The head that goes upstream, from the admitted fields of the client's and our own, as bytes (RFC 9112).
pub(super) fn outbound(request: &CanonicalRequest, ours: &Outbound<'_>) -> Vec<u8> {
    let mut head = Lines::of(request);
    head.add(&HOST, ours.authority.as_bytes());
    let client = request.fields();
    let listed = Listed::by(client);
    let ours_too = |name: &HeaderName| request.is_traced() && *name == TRACEPARENT;
    for (name, value) in client {
        if passes_upstream(name.as_str()) && (!listed.names(name) || ours_too(name)) {
            head.add(name, value.as_bytes());
        }
    }
    if let Some(cookie) = upstream_cookies(client.get_all(COOKIE).iter().map(HeaderValue::as_bytes)) {
        head.add(&COOKIE, &cookie);
    }
    add_framing(&mut head, ours);
    if request.accepts_trailers() && !ours.websocket {
        head.add(&TE, b"trailers");
        head.add(&CONNECTION, b"te");
    }
    add_forwarding(&mut head, ours);
    if let Some((rendered, wanted)) = ours.identity {
        add_identity(&mut head, rendered, wanted);
    }
    head.end()
}

/// A head as it is written. Names and values are those of checked types, which hold no line end.
struct Lines(Vec<u8>);

impl Lines {
    /// The request line.
    fn of(request: &CanonicalRequest) -> Self {
        let mut bytes = Vec::with_capacity(ROOM);
        for part in [request.method().as_str(), " ", request.wire_target().as_str(), " HTTP/1.1\r\n"] {
            bytes.extend_from_slice(part.as_bytes());
        }
        Self(bytes)
    }

    fn add(&mut self, name: &HeaderName, value: &[u8]) {
        self.0.extend_from_slice(name.as_str().as_bytes());
        self.0.extend_from_slice(b": ");
        self.0.extend_from_slice(value);
        self.0.extend_from_slice(b"\r\n");
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"\r\n");
        self.0
    }
}

/// Whether a comma-separated field has a token.
pub(super) fn has_token(fields: &HeaderMap, name: HeaderName, token: &str) -> bool {
    fields.get_all(name).iter().any(|value| tokens(value).any(|found| found.eq_ignore_ascii_case(token)))
}

/// What an upstream answered to.
pub(super) struct Answered<'a> {
    pub method: &'a Method,
    /// The length of the body, where it is known.
    pub exact: Option<u64>,
    /// Whether trailers go on to the client.
    pub trailers: bool,
}

/// The head that goes to the client, of an upstream's.
pub(super) fn inbound(upstream: Head, answered: &Answered<'_>) -> HeaderMap {
    let length = answered.length(&upstream);
    let mut head = upstream.fields;
    if answered.trailers {
        for trailer in upstream.trailers {
            head.append(TRAILER, trailer);
        }
    }
    if let Some(length) = length {
        head.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    head
}

/// The head that tells the client of its tunnel.
pub(super) fn switching(upstream: Head) -> HeaderMap {
    let mut head = upstream.fields;
    head.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    head.insert(UPGRADE, HeaderValue::from_static("websocket"));
    head
}

impl Answered<'_> {
    /// What `Content-Length` says: the length of the body, or of the one that was not sent.
    fn length(&self, upstream: &Head) -> Option<u64> {
        match upstream.status {
            _ if *self.method == Method::HEAD => upstream.length,
            StatusCode::NOT_MODIFIED => upstream.length,
            StatusCode::NO_CONTENT => None,
            _ => self.exact,
        }
    }
}

/// Trailers that go on to the client: nothing that frames, routes or identifies (RFC 9110 section 6.5.1).
pub(super) fn admitted_trailers(trailers: &HeaderMap) -> HeaderMap {
    let passes = |name: &HeaderName| {
        !is_ours_to_make(name.as_str()) && !is_reserved(name.as_str()) && *name != SET_COOKIE && *name != ALT_SVC
    };
    trailers.iter().filter(|(name, _)| passes(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn passes_upstream(name: &str) -> bool {
    let passes = |name: &str| !is_ours_to_make(name) && !is_reserved(name);
    // CGI and its heirs read an underscore like a hyphen, and some whatever is neither letter nor digit.
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    !name.contains('_')
        && if name.chars().all(plain) { passes(name) } else { passes(&name.replace(|c| !plain(c), "-")) }
}

/// Whether a field of a response goes on to the client.
pub(super) fn passes_downstream(name: &HeaderName, value: &HeaderValue) -> bool {
    let text = name.as_str();
    if *name == SET_COOKIE {
        return !is_our_cookie(value.as_bytes());
    }
    let ours = text.starts_with("x-portcullis-") || text.starts_with("x-auth-request-");
    *name != ALT_SVC && !ours && !text.starts_with("proxy-") && !is_ours_to_make(text)
}

/// Fields that belong to one connection (RFC 9110 section 7.6.1) or to framing, and those that each side makes anew.
fn is_ours_to_make(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "content-length"
            | "cookie"
            | "expect"
            | "host"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Names and beginnings of names by which upstreams believe what a proxy says: ours to write, never the client's.
fn is_reserved(name: &str) -> bool {
    name.bytes().next().is_some_and(|first| reserved_at(first).iter().any(|reserved| name.starts_with(reserved)))
}

/// Every beginning of a reserved name.
pub fn reserved() -> impl Iterator<Item = &'static str> {
    (b'a'..=b'z').flat_map(reserved_at).copied()
}

/// The reserved beginnings with this letter.
fn reserved_at(first: u8) -> &'static [&'static str] {
    match first {
        b'c' => &["client-cert"],
        b'e' => &["early-data"],
        b'f' => &["forwarded"],
        b'h' => &["http2-settings"],
        // Also `Proxy`, of which CGI and its heirs make `HTTP_PROXY`.
        b'p' => &["proxy"],
        b's' => &["ssl-client-"],
        b't' => &["true-client-ip"],
        b'x' => &[
            "x-auth-request-",
            "x-client-cert",
            "x-client-ip",
            "x-cluster-client-ip",
            "x-envoy-",
            "x-forwarded",
            "x-http-method",
            "x-method-override",
            "x-original-",
            "x-portcullis-",
            "x-real-ip",
            "x-request-id",
            "x-rewrite-",
            "x-ssl-client-",
        ],
        _ => &[],
    }
}

/// The names that `Connection` lists (RFC 9110 section 7.6.1): they belong to the sender's connection.
struct Listed<'a>(Vec<&'a str>);

impl<'a> Listed<'a> {
    fn by(fields: &'a HeaderMap) -> Self {
        let common = ["close", "keep-alive", "te", "upgrade"];
        let listed = fields.get_all(CONNECTION).iter().flat_map(tokens);
        Self(listed.filter(|token| !common.iter().any(|name| token.eq_ignore_ascii_case(name))).collect())
    }

    fn names(&self, name: &HeaderName) -> bool {
        self.0.iter().any(|listed| listed.eq_ignore_ascii_case(name.as_str()))
    }
}

/// The tokens of a comma-separated field.
pub(super) fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.to_str().unwrap_or_default().split(',').map(str::trim).filter(|token| !token.is_empty())
}

fn add_framing(head: &mut Lines, ours: &Outbound<'_>) {
    match ours.framing {
        Framing::None => {}
        Framing::Length(length) => head.add(&CONTENT_LENGTH, length.to_string().as_bytes()),
        Framing::Chunked => head.add(&TRANSFER_ENCODING, b"chunked"),
    }
    if ours.websocket {
        head.add(&CONNECTION, b"upgrade");
        head.add(&UPGRADE, b"websocket");
    }
}

fn add_forwarding(head: &mut Lines, ours: &Outbound<'_>) {
    let proto: &[u8] = match ours.conn.scheme() {
        Scheme::Http => b"http",
        Scheme::Https => b"https",
    };
    head.add(&FORWARDED_FOR, ours.conn.forwarded_for.as_bytes());
    head.add(&FORWARDED_PROTO, proto);
    head.add(&FORWARDED_HOST, &ours.public_authority());
    head.add(&FORWARDED_PORT, ours.conn.forwarded_port.as_bytes());
    head.add(&REQUEST_ID, &ours.id.digits());
    head.add(&VIA, ours.conn.pseudonym.0.as_bytes());
}

/// Who asks, as the route wants to be told. A field is there with a value of ours or not at all.
fn add_identity(head: &mut Lines, rendered: &IdentityHeaders, wanted: &[IdentityHeader]) {
    for header in wanted {
        let (name, value) = match header {
            IdentityHeader::User => (AUTH_USER, &rendered.user),
            IdentityHeader::Email => (AUTH_EMAIL, &rendered.email),
            IdentityHeader::Groups => (AUTH_GROUPS, &rendered.groups),
            IdentityHeader::PreferredUsername => (AUTH_USERNAME, &rendered.preferred_username),
        };
        if let Some(value) = value {
            head.add(&name, value.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
