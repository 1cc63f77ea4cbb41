//! The session itself.

use std::time::Duration;

use jiff::Timestamp;

use crate::identity::Principal;
use crate::secret::Secret;

/// How long sessions live, from the class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lifetimes {
    /// From sign-in to the end, whatever happens.
    pub absolute: Duration,
    /// Without a request.
    pub idle: Duration,
}

/// What the provider gave beside the identity.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// For refreshing.
    pub refresh: Option<Secret<String>>,
    /// When the access token ends, which is when to refresh.
    pub access_expires: Option<Timestamp>,
    /// For the hint of RP-initiated logout, kept only where sign-out needs it.
    pub id_token: Option<Secret<String>>,
}

/// What a session begins from.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Who signed in.
    pub principal: Principal,
    /// The provider by name.
    pub provider: String,
    /// The host the session is for.
    pub host: crate::host::Host,
    /// The provider's session id (`sid`), where given.
    pub sid: Option<String>,
    /// Authentication context class.
    pub acr: Option<String>,
    /// Authentication methods.
    pub amr: Vec<String>,
    /// When the person signed in at the provider.
    pub auth_time: Option<Timestamp>,
    /// Tokens.
    pub tokens: Tokens,
}

/// A live session as requests see it.
#[derive(Debug)]
pub struct Session {
    /// The name of its record.
    pub store_key: String,
    /// What it began from, as last refreshed.
    pub of: NewSession,
    /// When it began.
    pub issued: Timestamp,
    /// When it ends, whatever happens.
    pub expires: Timestamp,
}
