//! Annotations of an Ingress under `portcullis.dev/`: each name to a typed value, or to what is wrong with it.
//!
//! A name that is not known, or a bad value of one about access, closes the Ingress: a misspelt `allowed-groups` must
//! not open it. A bad value of another name leaves the default in place.

use std::collections::BTreeMap;
use std::time::Duration;

use super::parse_duration;

/// What all of our annotations begin with.
pub const PREFIX: &str = "portcullis.dev/";

/// The longest timeout: a deadline stays a point in time that a clock can tell.
const LONGEST_TIMEOUT: Duration = Duration::from_hours(24);

/// Every name without the prefix, what it takes, and what it does.
pub const KNOWN: [(&str, &str, &str); 16] = [
    (
        "access",
        "`public`, `authenticated` or `policy`",
        "who may pass; without it and without policies the class says so, by `access.default`",
    ),
    ("policies", "names of Policies of the same namespace", "attaches them"),
    ("provider", "the name of an IdentityProvider that the class offers", "where people sign in; else the first"),
    ("allowed-groups", "groups", "lets their members pass"),
    ("allowed-emails", "e-mail addresses", "lets those people pass"),
    ("allowed-email-domains", "domains", "lets everybody pass who has a verified address in one"),
    ("identity-headers", "any of `user`, `email`, `groups`, `preferred-username`", "tells them to the upstream"),
    ("ssl-redirect", "`true` or `false`", "plain HTTP leads to HTTPS; else where the Ingress has `tls`"),
    ("websocket", "`true` or `false`", "forwards WebSockets; else `true`"),
    (
        "cors-allow-origin",
        "origins such as `https://app.example.com`",
        "whose pages may read a 401 and open WebSockets",
    ),
    (
        "cors-preflight",
        "`true` or `false`",
        "lets CORS preflights pass before sign-in, without credentials; else `false`",
    ),
    ("connect-timeout", "a span of time such as `2s`", "bounds the opening of a connection to the upstream"),
    ("request-timeout", "a span of time", "bounds the whole exchange"),
    ("idle-timeout", "a span of time", "bounds the time in which nothing moves"),
    ("request-body-limit", "bytes such as `512Ki` or `10Mi`", "refuses larger bodies with 413"),
    ("backend-protocol", "`HTTP`", "what the upstream speaks"),
];

/// The annotations of an Ingress, as far as they could be read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Annotations {
    /// `access`.
    pub access: Option<AccessWord>,
    /// `policies`: names in the same namespace.
    pub policies: Vec<String>,
    /// `provider`: one that the class offers.
    pub provider: Option<String>,
    /// `allowed-groups`.
    pub allowed_groups: Vec<String>,
    /// `allowed-emails`.
    pub allowed_emails: Vec<String>,
    /// `allowed-email-domains`.
    pub allowed_email_domains: Vec<String>,
    /// `identity-headers`.
    pub identity_headers: Vec<IdentityHeaderWord>,
    /// `ssl-redirect`.
    pub ssl_redirect: Option<bool>,
    /// `websocket`.
    pub websocket: Option<bool>,
    /// `cors-allow-origin`: origins in the form in which browsers send them.
    pub cors_allow_origin: Vec<String>,
    /// `cors-preflight`.
    pub cors_preflight: Option<bool>,
    /// `connect-timeout`.
    pub connect_timeout: Option<Duration>,
    /// `request-timeout`.
    pub request_timeout: Option<Duration>,
    /// `idle-timeout`.
    pub idle_timeout: Option<Duration>,
    /// `request-body-limit`, in bytes.
    pub request_body_limit: Option<u64>,
    /// `backend-protocol`: what the Service port's `appProtocol` says otherwise.
    pub backend_protocol: Option<BackendProtocol>,
}

/// `access`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessWord {
    /// Everyone.
    Public,
    /// Everyone who is signed in.
    Authenticated,
    /// Whom policies allow; without any the Ingress is closed.
    Policy,
}

/// An entry of `identity-headers`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum IdentityHeaderWord {
    /// `user`.
    User,
    /// `email`.
    Email,
    /// `groups`.
    Groups,
    /// `preferred-username`.
    PreferredUsername,
}

/// `backend-protocol`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BackendProtocol {
    /// HTTP/1.1 without TLS, the one that is supported.
    Http,
}

/// An annotation that could not be taken as it is written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct BadAnnotation {
    /// The whole name, with prefix.
    pub name: String,
    /// What is wrong.
    pub message: String,
    /// What to write.
    pub remedy: String,
    /// Whether the Ingress is closed for it; otherwise the default holds.
    pub closes: bool,
}

/// Reads the annotations of an Ingress. Those of others are passed over.
pub fn read(annotations: &BTreeMap<String, String>) -> (Annotations, Vec<BadAnnotation>) {
    let mut read = Annotations::default();
    let mut bad = Vec::new();
    for (name, value) in annotations {
        let ours = name.get(..PREFIX.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(PREFIX));
        if !ours {
            continue;
        }
        // Another case of the prefix is a misspelling like any other, and must not be passed over.
        let taken = name.strip_prefix(PREFIX).ok_or(Defect::UnknownName).and_then(|key| read.take(key, value));
        if let Err(defect) = taken {
            bad.push(defect.of(name, value));
        }
    }
    (read, bad)
}

/// What is wrong with a value.
enum Defect {
    /// No such name.
    UnknownName,
    /// A value of a name about access.
    Access(&'static str),
    /// A value that would make us speak a protocol that we do not.
    Unsupported(&'static str),
    /// Any other value.
    Value(&'static str),
}

impl Annotations {
    fn take(&mut self, key: &str, value: &str) -> Result<(), Defect> {
        match key {
            "access" => self.access = Some(access(value)?),
            "policies" => self.policies = list(value).ok_or(Defect::Access("name Policies of the same namespace"))?,
            "provider" => self.provider = Some(one(value).ok_or(Defect::Access("name one IdentityProvider"))?),
            "allowed-groups" => self.allowed_groups = list(value).ok_or(Defect::Access("name groups"))?,
            "allowed-emails" => self.allowed_emails = list(value).ok_or(Defect::Access("name e-mail addresses"))?,
            "allowed-email-domains" => {
                self.allowed_email_domains = list(value).ok_or(Defect::Access("name domains such as `example.com`"))?;
            }
            "identity-headers" => self.identity_headers = identity_headers(value)?,
            "ssl-redirect" => self.ssl_redirect = Some(switch(value)?),
            "websocket" => self.websocket = Some(switch(value)?),
            "cors-allow-origin" => self.cors_allow_origin = origins(value)?,
            "cors-preflight" => self.cors_preflight = Some(switch(value)?),
            "connect-timeout" => self.connect_timeout = Some(timeout(value)?),
            "request-timeout" => self.request_timeout = Some(timeout(value)?),
            "idle-timeout" => self.idle_timeout = Some(timeout(value)?),
            "request-body-limit" => {
                self.request_body_limit = Some(
                    bytes(value)
                        .ok_or(Defect::Value("write a number of bytes such as `1048576`, `512Ki` or `10Mi`"))?,
                );
            }
            "backend-protocol" => {
                self.backend_protocol = Some(match value {
                    "HTTP" => BackendProtocol::Http,
                    _ => return Err(Defect::Unsupported("write `HTTP`, the one protocol that is supported yet")),
                });
            }
            _ => return Err(Defect::UnknownName),
        }
        Ok(())
    }
}

impl Defect {
    fn of(&self, name: &str, value: &str) -> BadAnnotation {
        let (message, remedy, closes) = match self {
            Self::UnknownName => ("is not known".to_owned(), "correct its name or remove it", true),
            Self::Access(remedy) => (format!("cannot be `{}`", shown(value)), *remedy, true),
            Self::Unsupported(remedy) => (format!("cannot be `{}`", shown(value)), *remedy, true),
            Self::Value(remedy) => (format!("cannot be `{}`, so the default holds", shown(value)), *remedy, false),
        };
        BadAnnotation {
            name: name.to_owned(),
            message: format!("the annotation `{name}` {message}"),
            remedy: remedy.to_owned(),
            closes,
        }
    }
}

/// As much of a value as a message can bear.
fn shown(value: &str) -> String {
    value.chars().take(64).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn access(value: &str) -> Result<AccessWord, Defect> {
    match value {
        "public" => Ok(AccessWord::Public),
        "authenticated" => Ok(AccessWord::Authenticated),
        "policy" => Ok(AccessWord::Policy),
        _ => Err(Defect::Access("write `public`, `authenticated` or `policy`")),
    }
}

fn identity_headers(value: &str) -> Result<Vec<IdentityHeaderWord>, Defect> {
    let header = |word: String| match word.as_str() {
        "user" => Some(IdentityHeaderWord::User),
        "email" => Some(IdentityHeaderWord::Email),
        "groups" => Some(IdentityHeaderWord::Groups),
        "preferred-username" => Some(IdentityHeaderWord::PreferredUsername),
        _ => None,
    };
    let headers: Option<Vec<_>> = list(value).and_then(|words| words.into_iter().map(header).collect());
    let mut headers = headers.ok_or(Defect::Value("name any of `user`, `email`, `groups`, `preferred-username`"))?;
    headers.sort_unstable();
    headers.dedup();
    Ok(headers)
}

fn switch(value: &str) -> Result<bool, Defect> {
    value.parse().map_err(|_| Defect::Value("write `true` or `false`"))
}

fn timeout(value: &str) -> Result<Duration, Defect> {
    let span = parse_duration(value).ok().filter(|span| !span.is_zero() && *span <= LONGEST_TIMEOUT);
    span.ok_or(Defect::Value("write a span of time such as `30s`, of a day at most"))
}

fn origins(value: &str) -> Result<Vec<String>, Defect> {
    let origins: Option<Vec<_>> = list(value).and_then(|words| words.iter().map(|word| origin(word)).collect());
    origins.ok_or(Defect::Value("name origins such as `https://app.example.com`; `*` is none"))
}

/// An origin as browsers send it (RFC 6454 section 6.2): lower case, without the scheme's own port.
fn origin(word: &str) -> Option<String> {
    let url = url::Url::parse(word).ok()?;
    let rest = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    let plain = rest && url.password().is_none() && !word.ends_with('/');
    (plain && matches!(url.scheme(), "https" | "http")).then(|| url.origin().ascii_serialization())
}

/// A number of bytes, with the binary and decimal suffixes of Kubernetes quantities.
fn bytes(value: &str) -> Option<u64> {
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = value.split_at(digits);
    let unit: u64 = match suffix {
        "" => 1,
        "k" => 1000,
        "M" => 1000 * 1000,
        "G" => 1000 * 1000 * 1000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// Entries between commas, trimmed; none may be empty.
fn list(value: &str) -> Option<Vec<String>> {
    value.split(',').map(one).collect()
}

fn one(value: &str) -> Option<String> {
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests;
