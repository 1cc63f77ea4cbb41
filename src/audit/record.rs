//! The events, as JSON lines.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::identity::Identity;

/// 128 random bits: `X-Request-Id`, decision id and audit id in one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub u128);

/// What was decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Forwarded.
    Allow,
    /// Sent to sign in.
    Challenge,
    /// Refused.
    Deny,
    /// Answered by ourselves: own endpoints, redirects, 404.
    Own,
}

/// Who asked, as the trail keeps it: no e-mail address.
pub type Subject = Identity;

/// A decision.
#[derive(Clone, Debug)]
pub struct DecisionEvent {
    /// The id.
    pub id: RequestId,
    /// What was decided.
    pub effect: Effect,
    /// Why, by stable name.
    pub reason: &'static str,
    /// The rule that decided.
    pub rule: Option<Arc<str>>,
    /// Who asked.
    pub subject: Option<Subject>,
    /// The method.
    pub method: String,
    /// The host.
    pub host: String,
    /// The canonical path, never the query.
    pub path: String,
    /// `namespace/ingress`.
    pub ingress: Option<Arc<str>>,
    /// The socket peer.
    pub peer: IpAddr,
    /// The generation of the snapshot.
    pub generation: u64,
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OutcomeEvent {
    /// The status sent, 0 where none was.
    pub status: u16,
    /// Body bytes sent to the client.
    pub sent: u64,
    /// Body bytes received from the client.
    pub received: u64,
    /// Whether the response ended as it should.
    pub complete: bool,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
