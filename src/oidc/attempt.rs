//! A login attempt between the redirect and the callback: what is remembered in a sealed cookie, and what comes back.

use std::collections::{HashSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use crate::secret::Secret;

use super::error::LoginError;

/// How long an attempt may take.
const LIFETIME: SignedDuration = SignedDuration::from_mins(10);
/// Used states that are remembered.
const MAX_USED: usize = 1 << 16;

/// One login attempt, sealed in its own cookie between redirect and callback.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoginAttempt {
    /// The provider's name.
    pub provider: String,
    /// `state`.
    pub state: Secret<String>,
    /// `nonce`.
    pub nonce: Secret<String>,
    /// The PKCE verifier (RFC 7636).
    pub verifier: Secret<String>,
    /// Where to land: path and query of the same host.
    pub return_to: String,
    /// When it began; it ends ten minutes later.
    pub begun: Timestamp,
}

/// What a login begins with.
#[derive(Clone, Debug)]
pub struct LoginStart {
    /// Where the browser goes.
    pub authorization_url: String,
    /// What its cookie holds.
    pub attempt: LoginAttempt,
}

/// The query of the callback, each parameter at most once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Callback {
    /// `code`.
    pub code: Option<Secret<String>>,
    /// `state`.
    pub state: Option<Secret<String>>,
    /// `iss` (RFC 9207).
    pub issuer: Option<String>,
    /// `error`.
    pub error: Option<String>,
}

/// The states that came back, the newest of them: each is good once. What is forgotten has expired, or is pushed out by
/// many later sign-ins, and then the provider still takes its code but once.
#[derive(Default, Debug)]
pub(super) struct UsedStates {
    known: HashSet<String>,
    order: VecDeque<(Timestamp, String)>,
}

/// The form in the cookie.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    #[serde(rename = "p")]
    provider: &'a str,
    #[serde(rename = "s")]
    state: &'a str,
    #[serde(rename = "n")]
    nonce: &'a str,
    #[serde(rename = "v")]
    verifier: &'a str,
    #[serde(rename = "r")]
    return_to: std::borrow::Cow<'a, str>,
    #[serde(rename = "t")]
    begun: i64,
}

impl LoginAttempt {
    /// The form that is sealed in the cookie: about 200 bytes and the return target.
    pub fn to_bytes(&self) -> Secret<Vec<u8>> {
        let wire = Wire {
            provider: &self.provider,
            state: self.state.expose(),
            nonce: self.nonce.expose(),
            verifier: self.verifier.expose(),
            return_to: self.return_to.as_str().into(),
            begun: self.begun.as_second(),
        };
        Secret::new(serde_json::to_vec(&wire).expect("text and a number have a JSON form"))
    }

    /// What [`LoginAttempt::to_bytes`] made, with the time in seconds.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let wire: Wire<'_> = serde_json::from_slice(bytes).ok()?;
        Some(Self {
            provider: wire.provider.to_owned(),
            state: Secret::new(wire.state.to_owned()),
            nonce: Secret::new(wire.nonce.to_owned()),
            verifier: Secret::new(wire.verifier.to_owned()),
            return_to: wire.return_to.into_owned(),
            begun: Timestamp::from_second(wire.begun).ok()?,
        })
    }

    /// Whether it has ended, or comes from a clock that is more than a minute ahead.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.begun);
        age > LIFETIME || age < SignedDuration::from_mins(-1)
    }
}

impl Callback {
    /// Parses a query (`application/x-www-form-urlencoded`). Other parameters are the provider's own affair.
    pub fn parse(query: &str) -> Result<Self, LoginError> {
        let code = parameter(query, "code", 4096)?;
        let state = parameter(query, "state", 256)?;
        Ok(Self {
            code: code.map(Secret::new),
            state: state.map(Secret::new),
            issuer: parameter(query, "iss", 2048)?,
            error: parameter(query, "error", 256)?,
        })
    }
}

/// The one value of a parameter, of at most `longest` bytes; an empty one is none (RFC 6749 section 3.1).
fn parameter(query: &str, name: &'static str, longest: usize) -> Result<Option<String>, LoginError> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut values = pairs.filter(|(key, _)| decode(key).as_deref() == Some(name)).map(|(_, value)| value);
    let (first, second) = (values.next(), values.next());
    let Some(value) = first else { return Ok(None) };
    match decode(value) {
        Some(value) if second.is_none() && value.len() <= longest => Ok(Some(value).filter(|value| !value.is_empty())),
        _ => Err(LoginError::Parameter(name)),
    }
}

fn decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(Into::into)
}

impl UsedStates {
    /// Takes note of a state; whether it is its first use.
    pub fn take(&mut self, state: &Secret<String>, now: Timestamp) -> bool {
        while let Some((at, _)) = self.order.front()
            && (self.order.len() >= MAX_USED || now.duration_since(*at) > LIFETIME)
        {
            let (_, oldest) = self.order.pop_front().expect("there is a front");
            self.known.remove(&oldest);
        }
        let first = self.known.insert(state.expose().clone());
        if first {
            self.order.push_back((now, state.expose().clone()));
        }
        first
    }
}
