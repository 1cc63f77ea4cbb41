//! The session cookie's value: `version(1) ‖ mac epoch(1) ‖ handle(32) ‖ last seen, minutes(4) ‖ mac(16)`, base64url.

use jiff::Timestamp;

use crate::host::Host;
use crate::seal::KeyRing;

/// A session cookie whose MAC is ours, for this host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ticket {
    handle: [u8; 32],
    last_seen: Timestamp,
}

/// What the cookies of a request say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TicketState {
    /// No session cookie.
    Absent,
    /// A cookie that is not ours, or of another host or epoch.
    Forged,
    /// More than one session cookie.
    Duplicate,
    /// Ours.
    Valid(Ticket),
}

impl Ticket {
    /// A ticket for a new handle.
    pub fn new(handle: [u8; 32], last_seen: Timestamp) -> Self {
        Self { handle, last_seen }
    }

    /// Checks a cookie value for a host.
    pub fn parse(ring: &KeyRing, host: &Host, value: &[u8]) -> Option<Self> {
        let _ = (ring, host, value);
        todo!()
    }

    /// The cookie value for a host.
    pub fn encode(&self, ring: &KeyRing, host: &Host) -> String {
        let _ = (ring, host);
        todo!()
    }

    /// The opaque handle.
    pub fn handle(&self) -> &[u8; 32] {
        &self.handle
    }

    /// When the cookie was issued, to the minute.
    pub fn last_seen(&self) -> Timestamp {
        self.last_seen
    }
}
