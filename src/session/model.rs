//! The session itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::identity::{Principal, Told};
use crate::secret::Secret;

use super::record::Content;
use super::{IdentityHeaders, RecordKey, Ticket, Version};

/// How long before the access token's end it is refreshed.
const REFRESH_AHEAD: SignedDuration = SignedDuration::from_secs(60);
/// How old a ticket may get before it is issued anew.
const REISSUE: SignedDuration = SignedDuration::from_secs(300);

/// How long sessions live, from the class; a session keeps those it began with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lifetimes {
    /// From sign-in to the end, whatever happens.
    pub absolute: Duration,
    /// Without a request.
    pub idle: Duration,
}

/// What the provider gave beside the identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// For refreshing; without it the session runs to its end as it began.
    pub refresh: Option<Secret<String>>,
    /// When the access token ends, which is when to refresh; without it the session is never refreshed.
    pub access_expires: Option<Timestamp>,
    /// For the hint of RP-initiated logout, kept only where sign-out needs it.
    pub id_token: Option<Secret<String>>,
}

/// What a session begins from.
#[derive(Clone, Debug, PartialEq)]
pub struct NewSession {
    /// Who signed in.
    pub principal: Principal,
    /// The provider by name.
    pub provider: String,
    /// The host the session is for.
    pub host: crate::host::Host,
    /// How long it lives.
    pub lifetimes: Lifetimes,
    /// The provider's session id (`sid`), where given.
    pub sid: Option<String>,
    /// Authentication context class.
    pub acr: Option<String>,
    /// Authentication methods.
    pub amr: Vec<String>,
    /// When the person signed in at the provider.
    pub auth_time: Option<Timestamp>,
    /// The nonce of the sign-in, which no refresh may contradict.
    pub nonce: Secret<String>,
    /// Tokens.
    pub tokens: Tokens,
}

/// A live session as requests see it. A refresh makes a new value; the old one stays as it was.
#[derive(Debug)]
pub struct Session {
    /// The key of its record.
    pub key: RecordKey,
    /// The version of its record.
    pub version: Version,
    /// What it began from, as last refreshed.
    pub of: NewSession,
    /// Who it is of, for the audit trail, rendered once.
    pub subject: Told,
    /// The identity headers, rendered once.
    pub headers: IdentityHeaders,
    /// When it began.
    pub issued: Timestamp,
    /// When it ends, whatever happens.
    pub expires: Timestamp,
    /// Until when one process alone may refresh it.
    pub(super) claimed: Option<Timestamp>,
    /// What all values of the session share.
    pub(super) life: Arc<Life>,
}

/// What outlives a refresh: whether the session has ended, and when its next refresh may be.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) ended: CancellationToken,
    /// In seconds since 1970.
    next_refresh: AtomicI64,
}

impl Session {
    /// A session as its record has it.
    pub(super) fn open(key: RecordKey, version: Version, content: Content) -> Self {
        let Content { of, issued, expires, claimed } = content;
        let headers = IdentityHeaders::of(&of.principal);
        let subject = of.principal.identity.told();
        Self { key, version, of, subject, headers, issued, expires, claimed, life: Life::new() }
    }

    /// What its record has.
    pub(super) fn content(&self) -> Content {
        Content { of: self.of.clone(), issued: self.issued, expires: self.expires, claimed: self.claimed }
    }

    /// Whether it is time to refresh: the access token ends within a minute, and the last attempt is long enough ago.
    pub fn refresh_due(&self, now: Timestamp) -> bool {
        let rested = self.life.next_refresh.load(Ordering::Relaxed) <= now.as_second();
        rested && self.access_ends_soon(now)
    }

    /// Whether there is an access token that ends within a minute, and something to refresh it with.
    pub(super) fn access_ends_soon(&self, now: Timestamp) -> bool {
        let tokens = &self.of.tokens;
        tokens.refresh.is_some() && tokens.access_expires.is_some_and(|end| end.duration_since(now) <= REFRESH_AHEAD)
    }

    /// Whether the session is over for a browser with this ticket: by age, or without a request for too long.
    pub(super) fn is_over(&self, ticket: &Ticket, now: Timestamp) -> bool {
        self.expires <= now || now.duration_since(ticket.last_seen()) > signed(self.of.lifetimes.idle)
    }

    /// Whether the session is older, or longer without a request, than a route lets sessions be.
    pub fn exceeds(&self, limits: Lifetimes, ticket: &Ticket, now: Timestamp) -> bool {
        let (age, rest) = (now.duration_since(self.issued), now.duration_since(ticket.last_seen()));
        age >= signed(limits.absolute) || rest > signed(limits.idle)
    }

    /// Whether the browser should get a fresh ticket: every five minutes, or four times in a short idle time, of the
    /// session or of the route that was asked for.
    pub(super) fn renews(&self, ticket: &Ticket, route_idle: Duration, now: Timestamp) -> bool {
        let age = now.duration_since(ticket.last_seen());
        age >= REISSUE.min(signed(self.of.lifetimes.idle.min(route_idle)) / 4)
    }
}

impl Life {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { ended: CancellationToken::new(), next_refresh: AtomicI64::new(i64::MIN) })
    }

    /// Lets no refresh happen for a while.
    pub(super) fn rest(&self, now: Timestamp, pause: Duration) {
        let next = now.as_second().saturating_add(signed(pause).as_secs());
        self.next_refresh.store(next, Ordering::Relaxed);
    }
}

/// The longest there is, where it does not fit.
pub(super) fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
