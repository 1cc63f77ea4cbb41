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
    /// Where the browser goes; `state` and `nonce` are in it.
    pub authorization_url: Secret<String>,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[test]
    fn a_callback_is_decoded_once() {
        let query = "code=a%2Bb+c%2525&state=s&iss=https%3A%2F%2Fi%2F&session_state=1&session_state=2&error=";
        let expected = Callback {
            code: Some(secret("a+b c%25")),
            state: Some(secret("s")),
            issuer: Some("https://i/".to_owned()),
            error: None,
        };
        assert_eq!(Callback::parse(query), Ok(expected));
        assert_eq!(Callback::parse(""), Ok(Callback::default()));
    }

    #[test]
    fn a_parameter_that_is_repeated_long_or_no_text_is_refused() {
        for name in ["code", "state", "iss", "error"] {
            let encoded: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let long = "a".repeat(5_000);
            for query in [
                format!("{name}=1&{name}=1"),
                format!("{name}&{encoded}"),
                format!("{name}={long}"),
                format!("{name}=%C3"),
            ] {
                assert_eq!(Callback::parse(&query), Err(LoginError::Parameter(name)), "{query}");
            }
        }
    }

    #[test]
    fn used_states_are_bounded_and_forgotten_when_their_attempt_is_over() {
        let start = Timestamp::from_second(1_800_000_000).unwrap();
        let mut used = UsedStates::default();
        assert!(used.take(&secret("first"), start));
        assert!(!used.take(&secret("first"), start + LIFETIME));
        for n in 0..=MAX_USED {
            assert!(used.take(&secret(&n.to_string()), start));
        }
        assert_eq!((used.known.len(), used.order.len()), (MAX_USED, MAX_USED));
        assert!(!used.take(&secret(&MAX_USED.to_string()), start));
        assert!(used.take(&secret("later"), start + LIFETIME + SignedDuration::from_secs(1)));
        assert_eq!((used.known.len(), used.order.len()), (1, 1));
    }

    proptest! {
        #[test]
        fn an_attempt_survives_its_cookie(
            texts in prop::array::uniform3("[A-Za-z0-9_-]{43}"), return_to in "/\\PC{0,40}", begun in 0i64..4_000_000_000,
        ) {
            let [state, nonce, verifier] = texts.map(Secret::new);
            let begun = Timestamp::from_second(begun).unwrap();
            let attempt = LoginAttempt { provider: "corp".to_owned(), state, nonce, verifier, return_to, begun };
            prop_assert_eq!(LoginAttempt::from_bytes(attempt.to_bytes().expose()), Some(attempt));
        }

        #[test]
        fn no_query_and_no_bytes_panic(query in ".*", bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Callback::parse(&query);
            prop_assert_eq!(LoginAttempt::from_bytes(&bytes), None);
        }
    }
}
