//! The events, as JSON lines: version, boot and sequence number first, then what happened. Never a query, a cookie, a
//! token, a body or an e-mail address.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;

use super::json::{Members, key};
use crate::clock::Clock;
use crate::identity::Told;
use crate::trace;

/// The version of the schema.
const VERSION: u64 = 1;

/// For how long one look at the wall clock is good, in nanoseconds.
const FRESH: u64 = 10_000_000;

/// 128 random bits: `X-Request-Id`, decision id and audit id in one; printed as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub u128);

/// The two hex digits of each byte.
const HEX: [[u8; 2]; 256] = {
    let (digits, mut pairs, mut byte) = (b"0123456789abcdef", [[0; 2]; 256], 0);
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};

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
    pub subject: Option<&'a Told>,
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
    /// How all lines of this run begin, see [`opening`].
    pub opening: &'a str,
    pub seq: u64,
    /// The time, as [`Time`] prints it.
    pub ts: &'a [u8],
    pub mono_ns: u64,
}

/// What a line says after its stamp.
pub(super) trait Says {
    /// Writes the members.
    fn say(&self, stamp: &Stamp<'_>, line: &mut Members<'_>);
}

/// The outcome of a decision.
pub(super) struct OutcomeOf {
    pub decided: Decided,
    pub outcome: OutcomeEvent,
}

/// The time of day in RFC 3339 to the microsecond. The wall clock is read every [`FRESH`], and the monotonic one, which every
/// line needs, goes on from there; the second is printed when it changes.
#[derive(Default)]
pub(super) struct Time {
    /// When the wall clock was read last, on the monotonic one, and what it said, in microseconds.
    read: Option<(u64, i64)>,
    second: Option<i64>,
    /// What was printed last.
    text: Vec<u8>,
}

/// How every line of a run begins.
pub(super) fn opening(boot: RequestId) -> String {
    format!(r#"{{"v":{VERSION},"boot":"{boot}","seq":"#)
}

/// Appends a line.
pub(super) fn write(out: &mut Vec<u8>, stamp: &Stamp<'_>, id: RequestId, what: &impl Says) {
    let mut line = Members(out);
    line.raw(stamp.opening);
    line.decimal(stamp.seq);
    line.plain(key!("ts" text), stamp.ts);
    line.number(key!("mono_ns"), stamp.mono_ns);
    line.plain(key!("id" text), &id.digits());
    what.say(stamp, &mut line);
    line.raw("}\n");
}

impl Says for Event<'_> {
    fn say(&self, _: &Stamp<'_>, line: &mut Members<'_>) {
        line.plain(key!("kind" text), self.kind.as_str().as_bytes());
        line.text(key!("reason" text), self.reason);
        if let Some(rule) = self.rule {
            line.text(key!("rule" text), rule);
        }
        if let Some(subject) = self.subject {
            line.raw(key!("subject"));
            line.raw(subject.as_json());
        }
        for (key, value) in
            [(key!("method" text), self.method), (key!("host" text), self.host), (key!("path" text), self.path)]
        {
            if !value.is_empty() {
                line.text(key, value);
            }
        }
        if let Some(ingress) = self.ingress {
            line.text(key!("ingress" text), ingress);
        }
        if let Some(peer) = self.peer {
            line.address(key!("peer" text), peer);
        }
        line.number(key!("generation"), self.generation);
    }
}

impl Says for OutcomeOf {
    fn say(&self, stamp: &Stamp<'_>, line: &mut Members<'_>) {
        let OutcomeEvent { status, sent, received, complete, upstream, error } = self.outcome;
        line.raw(r#","kind":"Outcome""#);
        line.number(key!("of"), self.decided.seq);
        line.number(key!("duration_us"), stamp.mono_ns.saturating_sub(self.decided.mono_ns) / 1_000);
        line.number(key!("status"), u64::from(status));
        line.number(key!("sent"), sent);
        line.number(key!("received"), received);
        line.raw(if complete { r#","complete":true"# } else { r#","complete":false"# });
        if let Some(Upstream { endpoint }) = upstream {
            line.endpoint(r#","upstream":{"endpoint":""#, endpoint);
            line.raw("}");
        }
        if let Some(error) = error {
            line.text(key!("error" text), error);
        }
    }
}

impl Time {
    /// The text of the time that it is at `mono_ns`, now on the monotonic clock.
    pub(super) fn print(&mut self, clock: &Clock, mono_ns: u64) -> &[u8] {
        let since = self.read.and_then(|(read, wall)| Some((mono_ns.checked_sub(read)?, wall)));
        let micros = match since {
            Some((since @ ..FRESH, wall)) => wall + (since / 1_000) as i64,
            _ => {
                let wall = clock.now().as_microsecond();
                self.read = Some((mono_ns, wall));
                wall
            }
        };
        let (second, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
        if self.second != Some(second) {
            self.second = Some(second);
            self.text = Timestamp::from_second(second).unwrap_or_default().to_string().replace('Z', ".000000Z").into();
        }
        let mut rest = micros as u32;
        if let Some([digits @ .., _]) = self.text.last_chunk_mut::<7>() {
            for digit in digits.iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
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
        for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(self.0.to_be_bytes()) {
            *pair = HEX[usize::from(byte)];
        }
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
    use jiff::SignedDuration;

    use super::{Clock, FRESH, Time};

    #[test]
    fn a_time_is_printed_to_the_microsecond_within_a_second_and_across_and_follows_a_clock_that_is_set() {
        let clock = Clock::manual("2026-01-02T03:04:05Z".parse().unwrap());
        let mut time = Time::default();
        for (step, text) in [
            (0, "2026-01-02T03:04:05.000000Z"),
            (42, "2026-01-02T03:04:05.000042Z"),
            (999_957, "2026-01-02T03:04:05.999999Z"),
            (1, "2026-01-02T03:04:06.000000Z"),
            (-999_999, "2026-01-02T03:04:05.000001Z"),
            (-86_400_000_000 - 1, "2026-01-01T03:04:05.000000Z"),
        ] {
            clock.advance(SignedDuration::from_micros(step));
            assert_eq!(str::from_utf8(time.print(&clock, clock.monotonic_ns())), Ok(text));
        }
    }

    #[test]
    fn between_two_looks_at_the_wall_clock_the_monotonic_one_goes_on() {
        let clock = Clock::manual("2026-01-02T03:04:05.999999Z".parse().unwrap());
        let mut time = Time::default();
        assert_eq!(time.print(&clock, 7), b"2026-01-02T03:04:05.999999Z");
        assert_eq!(time.print(&clock, 2_007), b"2026-01-02T03:04:06.000001Z");
        clock.advance(SignedDuration::from_hours(1));
        assert_eq!(time.print(&clock, 6 + FRESH), b"2026-01-02T03:04:06.009998Z");
        assert_eq!(time.print(&clock, 7 + FRESH), b"2026-01-02T04:04:05.999999Z");
    }
}
