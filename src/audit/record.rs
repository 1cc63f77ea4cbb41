//! The events, as JSON lines: version, boot and sequence number first, then what happened. Never a query, a cookie, a
//! token, a body or an e-mail address.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use data_encoding::HEXLOWER;
use jiff::Timestamp;

use super::json::Object;
use crate::identity::Identity;
use crate::trace;

/// The version of the schema.
const VERSION: u64 = 1;

/// 128 random bits: `X-Request-Id`, decision id and audit id in one; printed as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub u128);

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// What happened.
    pub kind: Kind,
    /// Why, by stable name.
    pub reason: &'a str,
    /// The rule that decided, as `namespace/policy:rule`.
    pub rule: Option<&'a str>,
    /// Who asked, where known.
    pub subject: Option<&'a Identity>,
    /// The method.
    pub method: &'a str,
    /// The host.
    pub host: &'a str,
    /// The canonical path, never the query.
    pub path: &'a str,
    /// The route, as `namespace/ingress`.
    pub ingress: Option<&'a str>,
    /// The socket peer.
    pub peer: Option<IpAddr>,
    /// The generation of the snapshot that decided.
    pub generation: u64,
}

/// Who answered for us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Upstream {
    /// The endpoint.
    pub endpoint: SocketAddr,
}

/// How a request ended.
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
    /// Who answered for us, where someone did.
    pub upstream: Option<Upstream>,
    /// Why nobody did, by stable name.
    pub error: Option<&'static str>,
}

/// The place of a decision in the trail, to which its outcome refers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decided {
    /// Its sequence number.
    pub seq: u64,
    /// When, on the monotonic clock, in nanoseconds.
    pub mono_ns: u64,
}

/// Where and when a line stands.
#[derive(Clone, Copy)]
pub(super) struct Stamp<'a> {
    pub boot: &'a [u8; 32],
    pub seq: u64,
    /// The time, as [`Time`] prints it.
    pub ts: &'a str,
    pub mono_ns: u64,
}

/// What a line says after its stamp.
pub(super) trait Says {
    /// Writes the members.
    fn say(&self, stamp: &Stamp<'_>, line: &mut Object<'_>);
}

/// The outcome of a decision.
pub(super) struct OutcomeOf {
    pub decided: Decided,
    pub outcome: OutcomeEvent,
}

/// The time of day in RFC 3339 to the microsecond. The second is printed when it changes.
#[derive(Default)]
pub(super) struct Time {
    second: Option<i64>,
    text: String,
}

/// Appends a line.
pub(super) fn write(out: &mut Vec<u8>, stamp: &Stamp<'_>, id: RequestId, what: &impl Says) {
    let mut line = Object::open(out);
    line.number("v", VERSION);
    line.hex("boot", stamp.boot);
    line.number("seq", stamp.seq);
    line.text("ts", stamp.ts);
    line.number("mono_ns", stamp.mono_ns);
    line.hex("id", &id.digits());
    what.say(stamp, &mut line);
    drop(line);
    out.push(b'\n');
}

impl Says for Event<'_> {
    fn say(&self, _: &Stamp<'_>, line: &mut Object<'_>) {
        line.text("kind", self.kind.as_str());
        line.text("reason", self.reason);
        if let Some(rule) = self.rule {
            line.text("rule", rule);
        }
        if let Some(Identity { issuer, subject }) = self.subject {
            let mut object = line.object("subject");
            object.text("iss", &issuer.0);
            object.text("sub", &subject.0);
        }
        for (key, value) in [("method", self.method), ("host", self.host), ("path", self.path)] {
            if !value.is_empty() {
                line.text(key, value);
            }
        }
        if let Some(ingress) = self.ingress {
            line.text("ingress", ingress);
        }
        if let Some(peer) = self.peer {
            line.address("peer", peer);
        }
        line.number("generation", self.generation);
    }
}

impl Says for OutcomeOf {
    fn say(&self, stamp: &Stamp<'_>, line: &mut Object<'_>) {
        let OutcomeEvent { status, sent, received, complete, upstream, error } = self.outcome;
        line.text("kind", "Outcome");
        line.number("of", self.decided.seq);
        line.number("duration_us", stamp.mono_ns.saturating_sub(self.decided.mono_ns) / 1_000);
        line.number("status", u64::from(status));
        line.number("sent", sent);
        line.number("received", received);
        line.truth("complete", complete);
        if let Some(Upstream { endpoint }) = upstream {
            line.object("upstream").endpoint("endpoint", endpoint);
        }
        if let Some(error) = error {
            line.text("error", error);
        }
    }
}

impl Time {
    /// The text of a time.
    pub(super) fn print(&mut self, at: Timestamp) -> &str {
        let (second, micros) = (at.as_second(), at.subsec_microsecond());
        if self.second != Some(second) || micros < 0 {
            self.second = Some(second);
            self.text = format!("{at:.6}");
        } else {
            let mut digits = *b".000000Z";
            let mut rest = micros.unsigned_abs();
            for digit in digits[1..7].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
            self.text.truncate(self.text.len() - digits.len());
            self.text.push_str(str::from_utf8(&digits).expect("ASCII digits"));
        }
        &self.text
    }
}

impl Kind {
    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationAllowed => "AuthorizationAllowed",
            Self::AuthorizationChallenged => "AuthorizationChallenged",
            Self::AuthorizationDenied => "AuthorizationDenied",
            Self::AuthenticationSucceeded => "AuthenticationSucceeded",
            Self::AuthenticationFailed => "AuthenticationFailed",
            Self::SessionRevoked => "SessionRevoked",
            Self::RequestRejected => "RequestRejected",
            Self::Answered => "Answered",
            Self::Abandoned => "Abandoned",
        }
    }
}

impl<'a> Event<'a> {
    /// What the trace of the request tells of it.
    pub(super) fn traced(&self, id: &'a str) -> trace::Decided<'a> {
        let decision = match self.kind {
            Kind::AuthorizationAllowed => "allowed",
            Kind::AuthorizationChallenged => "challenged",
            Kind::AuthorizationDenied => "denied",
            _ => "none",
        };
        let Self { reason, method, ingress, .. } = *self;
        trace::Decided { id, decision, reason, method, ingress, allowed: self.kind == Kind::AuthorizationAllowed }
    }
}

impl OutcomeEvent {
    /// What the trace of the request tells of it.
    pub(super) fn traced(&self) -> trace::Ended {
        trace::Ended {
            status: self.status,
            upstream: self.upstream.map(|upstream| upstream.endpoint),
            error: self.error,
        }
    }
}

impl RequestId {
    /// The 32 hex digits.
    pub fn digits(self) -> [u8; 32] {
        let mut digits = [0; 32];
        HEXLOWER.encode_mut(&self.0.to_be_bytes(), &mut digits);
        digits
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

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::Time;

    #[test]
    fn a_time_is_printed_to_the_microsecond_within_a_second_and_across() {
        let mut time = Time::default();
        let start: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        for (micros, text) in [
            (0, "2026-01-02T03:04:05.000000Z"),
            (42, "2026-01-02T03:04:05.000042Z"),
            (999_999, "2026-01-02T03:04:05.999999Z"),
            (1_000_000, "2026-01-02T03:04:06.000000Z"),
            (1, "2026-01-02T03:04:05.000001Z"),
        ] {
            assert_eq!(time.print(start + SignedDuration::from_micros(micros)), text);
        }
    }
}
