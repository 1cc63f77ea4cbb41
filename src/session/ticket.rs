//! The session cookie's value: `version(1) ‖ mac epoch(1) ‖ handle(32) ‖ last seen, minutes(4) ‖ mac(16)`, base64url.

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;

use crate::host::Host;
use crate::seal::KeyRing;

use super::cookie::{COOKIE_NAME, pairs};

const VERSION: u8 = 1;
const BODY: usize = 38;
const MAC: usize = 16;
const TEXT: usize = 72;

/// A session cookie whose MAC is ours, for this host.
#[derive(Clone, PartialEq, Eq)]
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

impl TicketState {
    /// Finds the ticket in the values of a request's `Cookie` fields. The name is compared byte for byte; what is no
    /// pair is passed over.
    pub fn find<'a>(ring: &KeyRing, host: &Host, lines: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut values = lines
            .into_iter()
            .flat_map(pairs)
            .filter_map(|pair| pair.strip_prefix(COOKIE_NAME.as_bytes())?.strip_prefix(b"="));
        match (values.next(), values.next()) {
            (None, _) => Self::Absent,
            (Some(_), Some(_)) => Self::Duplicate,
            (Some(value), None) => Ticket::parse(ring, host, value).map_or(Self::Forged, Self::Valid),
        }
    }
}

impl Ticket {
    /// A ticket for a handle.
    pub fn new(handle: [u8; 32], last_seen: Timestamp) -> Self {
        Self { handle, last_seen }
    }

    /// Checks a cookie value for a host: its length, then its MAC, and only then what it says.
    pub fn parse(ring: &KeyRing, host: &Host, value: &[u8]) -> Option<Self> {
        if value.len() != TEXT {
            return None;
        }
        let mut bytes = [0; BODY + MAC];
        BASE64URL_NOPAD.decode_mut(value, &mut bytes).ok()?;
        let (body, mac) = bytes.split_last_chunk::<MAC>()?;
        let (&[version, epoch], rest) = body.split_first_chunk()?;
        if !ring.verify_cookie_mac(epoch, host.as_str(), body, mac) || version != VERSION {
            return None;
        }
        let (handle, minutes) = rest.split_first_chunk()?;
        let minutes = u32::from_be_bytes(minutes.try_into().ok()?);
        Some(Self { handle: *handle, last_seen: Timestamp::from_second(i64::from(minutes) * 60).ok()? })
    }

    /// The cookie value for a host.
    pub fn encode(&self, ring: &KeyRing, host: &Host) -> String {
        // Rounded up, so that nobody loses a part of the idle time to it.
        let minutes = u32::try_from((self.last_seen.as_second() + 59) / 60).unwrap_or(0);
        let mut bytes = Vec::with_capacity(BODY + MAC);
        bytes.extend_from_slice(&[VERSION, ring.mac_epoch()]);
        bytes.extend_from_slice(&self.handle);
        bytes.extend_from_slice(&minutes.to_be_bytes());
        bytes.extend_from_slice(&ring.cookie_mac(host.as_str(), &bytes));
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// The opaque handle.
    pub fn handle(&self) -> &[u8; 32] {
        &self.handle
    }

    /// When the cookie was issued; a parsed one tells it to the minute, rounded up.
    pub fn last_seen(&self) -> Timestamp {
        self.last_seen
    }
}

/// Without the handle, which is as good as the cookie.
impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("last_seen", &self.last_seen).finish_non_exhaustive()
    }
}
