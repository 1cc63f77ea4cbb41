//! The events, as JSON lines: version, boot and sequence number first, then what happened. Never a query, a cookie, a
//! token, a body or an e-mail address.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use serde::ser::Serializer;

use crate::identity::Identity;

/// The version of the schema.
const VERSION: u8 = 1;

/// 128 random bits: `X-Request-Id`, decision id and audit id in one; printed as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub u128);

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Kind {
    /// The request may be forwarded.
    AuthorizationAllowed,
    /// The caller must sign in first.
    AuthorizationChallenged,
    /// The request is refused by policy or by a closed route.
    AuthorizationDenied,
    /// A person signed in; a session began.
    AuthenticationSucceeded,
    /// A sign-in failed.
    AuthenticationFailed,
    /// A session was ended by its person.
    SessionRevoked,
    /// The request was refused before any decision: malformed, misdirected, unknown.
    RequestRejected,
    /// One of our own pages or endpoints answered.
    Answered,
    /// The request ended without a decision.
    Abandoned,
}

/// One event beside its outcome. Everything is borrowed: recording allocates nothing.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Event<'a> {
    /// What happened.
    pub kind: Kind,
    /// Why, by stable name.
    pub reason: &'a str,
    /// The rule that decided, as `namespace/policy:rule`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'a str>,
    /// Who asked, where known.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "subject")]
    pub subject: Option<&'a Identity>,
    /// The method.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub method: &'a str,
    /// The host.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub host: &'a str,
    /// The canonical path, never the query.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub path: &'a str,
    /// The route, as `namespace/ingress`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<&'a str>,
    /// The socket peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// The generation of the snapshot that decided.
    pub generation: u64,
}

/// Who answered for us.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Upstream {
    /// The endpoint.
    pub endpoint: SocketAddr,
}

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct OutcomeEvent {
    /// The status sent, 0 where none was.
    pub status: u16,
    /// Body bytes sent to the client.
    pub sent: u64,
    /// Body bytes received from the client.
    pub received: u64,
    /// Whether the response ended as it should.
    pub complete: bool,
    /// Who answered for us, where someone did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Upstream>,
}

/// The place of a decision in the trail, to which its outcome refers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decided {
    /// Its sequence number.
    pub seq: u64,
    /// When, on the monotonic clock, in nanoseconds.
    pub mono_ns: u64,
}

/// What every line begins with.
#[derive(Serialize)]
pub(super) struct Line<'a, T> {
    v: u8,
    boot: &'a str,
    seq: u64,
    ts: jiff::Timestamp,
    mono_ns: u64,
    id: RequestId,
    #[serde(flatten)]
    what: T,
}

/// The outcome as a line: which decision it belongs to, and how long after it.
#[derive(Serialize)]
pub(super) struct OutcomeLine {
    kind: &'static str,
    of: u64,
    duration_us: u64,
    #[serde(flatten)]
    outcome: OutcomeEvent,
}

/// Position and time of a line.
#[derive(Clone, Copy)]
pub(super) struct Stamp<'a> {
    pub boot: &'a str,
    pub seq: u64,
    pub wall: jiff::Timestamp,
    pub mono_ns: u64,
}

impl<'a, T: Serialize> Line<'a, T> {
    pub(super) fn new(stamp: Stamp<'a>, id: RequestId, what: T) -> Self {
        Self { v: VERSION, boot: stamp.boot, seq: stamp.seq, ts: stamp.wall, mono_ns: stamp.mono_ns, id, what }
    }
}

impl OutcomeLine {
    pub(super) fn new(decided: Decided, now_ns: u64, outcome: OutcomeEvent) -> Self {
        let duration_us = now_ns.saturating_sub(decided.mono_ns) / 1_000;
        Self { kind: "Outcome", of: decided.seq, duration_us, outcome }
    }
}

impl Event<'static> {
    /// The event of a request that ended before anything was known or decided.
    pub fn abandoned() -> Self {
        Self {
            kind: Kind::Abandoned,
            reason: "abandoned",
            rule: None,
            subject: None,
            method: "",
            host: "",
            path: "",
            ingress: None,
            peer: None,
            generation: 0,
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn subject<S: Serializer>(subject: &Option<&Identity>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Subject<'a> {
        iss: &'a str,
        sub: &'a str,
    }
    subject.map(|identity| Subject { iss: &identity.issuer.0, sub: &identity.subject.0 }).serialize(serializer)
}
