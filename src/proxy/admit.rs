//! One canonical request, or a refusal.
//!
//! [`admit`] reads the raw head once. Router, policy and forwarder take only the [`CanonicalRequest`]: no raw target
//! travels past here, and of the inbound fields only what [`CanonicalRequest`] hands out.

use std::fmt;

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, COOKIE, ORIGIN};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, request};

use crate::budget::Limits;
use crate::host::{Authority, Host};
use crate::path::{BadPath, Target};
use crate::trace::Trace;

pub use super::conn::{Conn, Scheme, Transport};
use super::headers::tokens;
use super::rejection::{Refusal, Rejection};
use super::tunnel::asks_for_websocket;

/// `Cookie` fields of one request; HTTP/2 may split the cookie string into as many (RFC 9113 section 8.2.3).
const COOKIE_CRUMBS: usize = 32;

/// The longest method that is served.
const METHOD_BYTES: usize = 32;

/// One request as everything behind `admit` sees it.
pub struct CanonicalRequest {
    method: Method,
    host: Host,
    authority: HeaderValue,
    port: Option<u16>,
    target: Target,
    wire: PathAndQuery,
    version: Version,
    fields: HeaderMap,
    websocket: bool,
    trailers: bool,
    traced: bool,
}

/// Why a request is refused before anything is decided over it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadRequest {
    /// `CONNECT`, `TRACE`, or no upper-case token.
    #[error("the method is not served")]
    Method,
    /// Neither HTTP/1.0, HTTP/1.1 nor HTTP/2.
    #[error("the version of HTTP is not served")]
    Version,
    /// Neither `Host` nor `:authority`.
    #[error("the request names no host")]
    NoHost,
    /// More than one `Host` (RFC 9112 section 3.2).
    #[error("the request has more than one `Host`")]
    ManyHosts,
    /// A host that is none.
    #[error("the request names a malformed host")]
    MalformedHost,
    /// `Host` says another thing than the target or `:authority`.
    #[error("`Host` and the authority of the target differ")]
    HostsDiffer,
    /// Neither origin form nor absolute form (RFC 9112 section 3.2).
    #[error("the target is in a form that is not served")]
    TargetForm,
    /// A target that is not canonical.
    #[error("{0}")]
    Target(BadPath),
    /// `Content-Length` is not one number in canonical digits.
    #[error("`Content-Length` is malformed")]
    ContentLength,
    /// `Transfer-Encoding` is not exactly `chunked`, or not on HTTP/1.1.
    #[error("`Transfer-Encoding` is not `chunked`")]
    TransferEncoding,
    /// An `Expect` other than `100-continue` (RFC 9110 section 10.1.1).
    #[error("the expectation is not understood")]
    Expectation,
    /// More lines or bytes than granted.
    #[error("the head is too large")]
    HeadTooLarge,
    /// More or longer cookies than granted.
    #[error("the cookies are too many or too long")]
    CookiesTooLarge,
    /// More than one `Authorization`.
    #[error("the request has more than one `Authorization`")]
    ManyAuthorizations,
    /// An upgrade with a body.
    #[error("the upgrade has a body")]
    UpgradeBody,
    /// It came through this process before (`Via`).
    #[error("the request came through here before")]
    Loop,
}

impl CanonicalRequest {
    /// The method, upper case.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The host asked for.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port that the client wrote beside the host.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Path and query.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The version of HTTP that the client speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The values of the `Cookie` fields, ours among them.
    pub fn cookies(&self) -> impl Iterator<Item = &HeaderValue> {
        self.fields.get_all(COOKIE).iter()
    }

    /// A field that came exactly once and is text: what comes twice is as good as absent.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        let mut values = self.fields.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    }

    /// Whether its head is one of a CORS preflight, which browsers send without credentials (Fetch, section 4.8).
    pub fn is_preflight(&self) -> bool {
        self.method == Method::OPTIONS
            && [&ORIGIN, &ACCESS_CONTROL_REQUEST_METHOD].into_iter().all(|name| self.header(name).is_some())
            && ![&COOKIE, &AUTHORIZATION].into_iter().any(|name| self.fields.contains_key(name))
    }

    /// Whether the client takes trailers (RFC 9110 section 10.1.4).
    pub(super) fn accepts_trailers(&self) -> bool {
        self.trailers
    }

    /// Whether the client asks to go on as a WebSocket.
    pub fn is_websocket(&self) -> bool {
        self.websocket
    }

    /// Continues a trace, in the place of what the client says of one.
    pub(super) fn continue_trace(&mut self, trace: &Trace) {
        trace.write(&mut self.fields);
        self.traced = true;
    }

    /// Whether `traceparent` is ours.
    pub(super) fn is_traced(&self) -> bool {
        self.traced
    }

    /// Host and port as the client wrote them, canonical.
    pub(super) fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// The target as it is sent: the canonical one, byte for byte.
    pub(super) fn wire_target(&self) -> &PathAndQuery {
        &self.wire
    }

    /// All inbound fields, for `headers` alone.
    pub(super) fn fields(&self) -> &HeaderMap {
        &self.fields
    }
}

/// Without query and fields, which hold codes, cookies and tokens.
impl fmt::Debug for CanonicalRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut printed = f.debug_struct("CanonicalRequest");
        printed.field("method", &self.method).field("host", &self.host).field("path", &self.target.path().as_str());
        printed.finish_non_exhaustive()
    }
}

/// Makes the canonical request of a raw head.
pub fn admit(parts: request::Parts, conn: &Conn, limits: &Limits) -> Result<CanonicalRequest, BadRequest> {
    check_method(&parts.method)?;
    let read = Read::of(&parts.headers, conn)?;
    read.check_sizes(parts.headers.len(), limits)?;
    read.check_framing(parts.version)?;
    if read.looped {
        return Err(BadRequest::Loop);
    }
    let (authority, Authority { host, port }) = authority_of(&parts.uri, read.host, parts.version)?;
    let (target, wire) = target_of(&parts.uri)?;
    let websocket = read.upgrades && asks_for_websocket(&parts)?;
    let trailers = read.trailers;
    let request::Parts { method, version, headers: fields, .. } = parts;
    let traced = false;
    Ok(CanonicalRequest { method, host, authority, port, target, wire, version, fields, websocket, trailers, traced })
}

/// Methods are upper-case tokens; `CONNECT` and `TRACE` are never forwarded.
fn check_method(method: &Method) -> Result<(), BadRequest> {
    let name = method.as_str();
    let upper = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    let served = !matches!(*method, Method::CONNECT | Method::TRACE);
    if upper && served && name.len() <= METHOD_BYTES { Ok(()) } else { Err(BadRequest::Method) }
}

/// What admission reads of the fields, in one pass. Those of which one is allowed are there at most once.
#[derive(Default)]
struct Read<'a> {
    host: Option<&'a HeaderValue>,
    content_length: Option<&'a HeaderValue>,
    transfer_encoding: Option<&'a HeaderValue>,
    expect: Option<&'a HeaderValue>,
    authorization: Option<&'a HeaderValue>,
    upgrades: bool,
    trailers: bool,
    /// It came through this process before.
    looped: bool,
    bytes: usize,
    crumbs: usize,
    cookie_bytes: usize,
}

impl<'a> Read<'a> {
    fn of(fields: &'a HeaderMap, conn: &Conn) -> Result<Self, BadRequest> {
        let mut read = Self::default();
        for (name, value) in fields {
            let name = name.as_str();
            read.bytes += name.len() + value.len();
            let (one, twice) = match name {
                "host" => (&mut read.host, BadRequest::ManyHosts),
                "content-length" => (&mut read.content_length, BadRequest::ContentLength),
                "transfer-encoding" => (&mut read.transfer_encoding, BadRequest::TransferEncoding),
                "expect" => (&mut read.expect, BadRequest::Expectation),
                "authorization" => (&mut read.authorization, BadRequest::ManyAuthorizations),
                "cookie" => {
                    read.crumbs += 1;
                    read.cookie_bytes += value.len();
                    continue;
                }
                "upgrade" => {
                    read.upgrades = true;
                    continue;
                }
                "te" => {
                    read.trailers |= tokens(value).any(|token| token.eq_ignore_ascii_case("trailers"));
                    continue;
                }
                "via" => {
                    read.looped |= conn.signed(value);
                    continue;
                }
                _ => continue,
            };
            if one.replace(value).is_some() {
                return Err(twice);
            }
        }
        Ok(read)
    }

    /// Counts lines, and the bytes of names and values, alike for both versions.
    fn check_sizes(&self, lines: usize, limits: &Limits) -> Result<(), BadRequest> {
        if lines > limits.header_lines || self.bytes > limits.header_bytes {
            return Err(BadRequest::HeadTooLarge);
        }
        if self.crumbs > COOKIE_CRUMBS || self.cookie_bytes > limits.cookie_bytes {
            return Err(BadRequest::CookiesTooLarge);
        }
        Ok(())
    }

    /// Framing and expectation, stricter than the parser before us: nothing here may be read in two ways.
    fn check_framing(&self, version: Version) -> Result<(), BadRequest> {
        if !matches!(version, Version::HTTP_10 | Version::HTTP_11 | Version::HTTP_2) {
            return Err(BadRequest::Version);
        }
        if let Some(encoding) = self.transfer_encoding
            && !(version == Version::HTTP_11 && encoding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        {
            return Err(BadRequest::TransferEncoding);
        }
        if let Some(length) = self.content_length {
            let digits = length.as_bytes();
            let canonical = digits == b"0" || digits.first().is_some_and(|first| (b'1'..=b'9').contains(first));
            if !canonical || !digits.iter().all(u8::is_ascii_digit) {
                return Err(BadRequest::ContentLength);
            }
        }
        match self.expect {
            Some(expectation) if !expectation.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
                Err(BadRequest::Expectation)
            }
            _ => Ok(()),
        }
    }
}

/// Host and port: `Host` and the target's own authority say the same, as far as they are there (RFC 9112 section 3.2).
fn authority_of(
    uri: &Uri,
    field: Option<&HeaderValue>,
    version: Version,
) -> Result<(HeaderValue, Authority), BadRequest> {
    if field.is_none() && version != Version::HTTP_2 {
        return Err(BadRequest::NoHost);
    }
    let field = field.map(|value| {
        let text = value.to_str().map_err(|_| BadRequest::MalformedHost)?;
        Ok((value, text, parse_authority(text)?))
    });
    let of_target = uri.authority().map(|authority| parse_authority(authority.as_str())).transpose()?;
    match (field.transpose()?, of_target) {
        (None, None) => Err(BadRequest::NoHost),
        (Some((_, _, named)), Some(other)) if named != other => Err(BadRequest::HostsDiffer),
        (Some((value, text, authority)), _) => Ok((canonical_authority(&authority, text, Some(value))?, authority)),
        (None, Some(authority)) => {
            let text = uri.authority().map_or("", |text| text.as_str());
            Ok((canonical_authority(&authority, text, None)?, authority))
        }
    }
}

fn parse_authority(text: &str) -> Result<Authority, BadRequest> {
    Authority::parse(text).map_err(|_| BadRequest::MalformedHost)
}

/// The field value of an authority: the client's own where that is canonical already.
fn canonical_authority(
    authority: &Authority,
    text: &str,
    value: Option<&HeaderValue>,
) -> Result<HeaderValue, BadRequest> {
    let host = authority.host.as_str();
    match (value, authority.port) {
        (Some(value), None) if text == host => Ok(value.clone()),
        (Some(value), Some(_)) if text.starts_with(host) && text[host.len()..].starts_with(':') => Ok(value.clone()),
        (_, None) => HeaderValue::from_str(host).map_err(|_| BadRequest::MalformedHost),
        (_, Some(port)) => HeaderValue::from_str(&format!("{host}:{port}")).map_err(|_| BadRequest::MalformedHost),
    }
}

/// The canonical target of an origin-form or absolute-form target, parsed and as it is sent.
fn target_of(uri: &Uri) -> Result<(Target, PathAndQuery), BadRequest> {
    let served = match (uri.scheme_str(), uri.authority()) {
        (None, None) => true,
        (Some(scheme), Some(_)) => scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"),
        _ => false,
    };
    if !served {
        return Err(BadRequest::TargetForm);
    }
    let raw = uri.path_and_query().ok_or(BadRequest::TargetForm)?;
    if !raw.as_str().starts_with('/') {
        return Err(BadRequest::TargetForm);
    }
    let target = Target::parse(raw.as_str()).map_err(BadRequest::Target)?;
    if target.path().as_str() == raw.path() && target.query() == raw.query() {
        return Ok((target, raw.clone()));
    }
    let wire = PathAndQuery::try_from(target.to_string()).map_err(|_| BadRequest::TargetForm)?;
    Ok((target, wire))
}

impl From<BadRequest> for Rejection {
    fn from(bad: BadRequest) -> Self {
        let refusal = match bad {
            BadRequest::Method => Refusal::MethodNotSupported,
            BadRequest::Expectation => Refusal::ExpectationFailed,
            BadRequest::HeadTooLarge | BadRequest::CookiesTooLarge | BadRequest::Target(BadPath::TooLong) => {
                Refusal::HeadTooLarge
            }
            BadRequest::Loop => Refusal::Loop,
            _ => Refusal::BadRequest,
        };
        refusal.because(bad.to_string())
    }
}

#[cfg(test)]
mod tests;
