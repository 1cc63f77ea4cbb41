//! The session cookie's value: `version(1) ‖ mac epoch(1) ‖ handle(32) ‖ last seen, minutes(4) ‖ mac(16)`, base64url.

use std::cell::RefCell;
use std::fmt;

use constant_time_eq::constant_time_eq;
use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;

use crate::host::Host;
use crate::seal::{KeyRing, RingMark};

use super::RecordKey;
use super::cookie::{COOKIE_NAME, pairs};

const VERSION: u8 = 1;
const BODY: usize = 38;
const MAC: usize = 16;
const TEXT: usize = 72;

/// A session cookie whose MAC is ours, for this host.
#[derive(Clone)]
pub struct Ticket {
    handle: [u8; 32],
    last_seen: Timestamp,
    /// What stands in a store for it, where that is known already.
    record: Option<RecordKey>,
}

/// The last ticket of a connection. The same cookie for the same host under the same ring says the same again, so it is compared,
/// in constant time, and not computed. It keeps no key.
#[derive(Clone, Default)]
pub struct LastTicket(RefCell<Option<Known>>);

#[derive(Clone)]
struct Known {
    ring: RingMark,
    host: Host,
    value: [u8; TEXT],
    ticket: Ticket,
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
    /// There is one, and no key to read it by.
    Unreadable,
    /// Ours.
    Valid(Ticket),
}

impl TicketState {
    /// Finds the ticket in the values of a request's `Cookie` fields. The name is compared byte for byte; what is no
    /// pair is passed over.
    pub fn find<'a>(ring: Option<&KeyRing>, host: &Host, lines: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self::parsed_by(ring, lines, |ring, value| Ticket::parse(ring, host, value))
    }

    /// The same for a connection, whose last ticket may be this one.
    pub fn find_again<'a>(
        ring: Option<&KeyRing>,
        host: &Host,
        lines: impl IntoIterator<Item = &'a [u8]>,
        last: &LastTicket,
    ) -> Self {
        Self::parsed_by(ring, lines, |ring, value| last.parse(ring, host, value))
    }

    fn parsed_by<'a>(
        ring: Option<&KeyRing>,
        lines: impl IntoIterator<Item = &'a [u8]>,
        parse: impl FnOnce(&KeyRing, &[u8]) -> Option<Ticket>,
    ) -> Self {
        let mut values = lines
            .into_iter()
            .flat_map(pairs)
            .filter_map(|pair| pair.strip_prefix(COOKIE_NAME.as_bytes())?.strip_prefix(b"="));
        match (values.next(), values.next(), ring) {
            (None, ..) => Self::Absent,
            (Some(_), Some(_), _) => Self::Duplicate,
            (Some(_), None, None) => Self::Unreadable,
            (Some(value), None, Some(ring)) => parse(ring, value).map_or(Self::Forged, Self::Valid),
        }
    }
}

impl LastTicket {
    /// [`Ticket::parse`], but for what was parsed last.
    fn parse(&self, ring: &KeyRing, host: &Host, value: &[u8]) -> Option<Ticket> {
        let mut last = self.0.borrow_mut();
        if let Some(known) = &*last
            && ring.has(&known.ring)
            && *host == known.host
            && constant_time_eq(&known.value, value)
        {
            return Some(known.ticket.clone());
        }
        let parsed = Ticket::parse(ring, host, value)?;
        let ticket = Ticket { record: Some(parsed.record(ring)), ..parsed };
        *last = Some(Known {
            ring: ring.mark(),
            host: host.clone(),
            value: value.try_into().ok()?,
            ticket: ticket.clone(),
        });
        Some(ticket)
    }
}

impl Ticket {
    /// A ticket for a handle.
    pub fn new(handle: [u8; 32], last_seen: Timestamp) -> Self {
        Self { handle, last_seen, record: None }
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
        Some(Self::new(*handle, Timestamp::from_second(i64::from(minutes) * 60).ok()?))
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

    /// What stands in a store for it.
    pub(super) fn record(&self, ring: &KeyRing) -> RecordKey {
        self.record.unwrap_or_else(|| RecordKey(ring.store_key(&self.handle)))
    }

    /// When the cookie was issued; a parsed one tells it to the minute, rounded up.
    pub fn last_seen(&self) -> Timestamp {
        self.last_seen
    }
}

impl PartialEq for Ticket {
    fn eq(&self, other: &Self) -> bool {
        (self.handle, self.last_seen) == (other.handle, other.last_seen)
    }
}

impl Eq for Ticket {}

/// Without the handle, which is as good as the cookie.
impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("last_seen", &self.last_seen).finish_non_exhaustive()
    }
}

/// Without the cookie.
impl fmt::Debug for LastTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LastTicket")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use serde_json::{Value, json};

    use super::*;
    use crate::session::tests::{host, seconds, start};

    fn find(ring: &KeyRing, lines: &[&str]) -> TicketState {
        TicketState::find(Some(ring), &host("app.example.com"), lines.iter().map(|line| line.as_bytes()))
    }

    /// A ring, a ticket, and the ticket as a cookie pair.
    fn issued() -> (KeyRing, Ticket, String) {
        let ring = KeyRing::generate();
        let ticket = Ticket::new([7; 32], start());
        let value = ticket.encode(&ring, &host("app.example.com"));
        (ring, ticket, format!("{COOKIE_NAME}={value}"))
    }

    /// The ring with another active MAC epoch, with the old one still read or not.
    fn rotated(ring: &KeyRing, keep: bool) -> KeyRing {
        let mut form: Value = serde_json::from_slice(ring.serialize().expose()).unwrap();
        let keys = form["mac"].as_array_mut().unwrap();
        keys[0]["state"] = json!("decrypt-only");
        keys.push(json!({"id": 2, "state": "active", "key": data_encoding::BASE64.encode(&[9; 32])}));
        if !keep {
            keys.remove(0);
        }
        KeyRing::parse(&serde_json::to_vec(&form).unwrap()).unwrap()
    }

    #[test]
    fn a_ticket_is_found_among_other_cookies_and_in_crumbs() {
        let (ring, ticket, pair) = issued();
        assert_eq!(pair.len(), COOKIE_NAME.len() + 1 + 72);
        let valid = TicketState::Valid(ticket);
        assert_eq!(find(&ring, &[&pair]), valid);
        assert_eq!(find(&ring, &[&format!("a=1; {pair}; b=2")]), valid);
        assert_eq!(find(&ring, &[&format!("a=1;\t{pair};b")]), valid);
        assert_eq!(find(&ring, &["a=1", &pair, "malformed"]), valid);
        assert_eq!(find(&ring, &[&format!("{COOKIE_NAME}-login-01234567=x; {pair}")]), valid);
    }

    #[test]
    fn no_cookie_of_our_name_is_no_ticket() {
        let (ring, _, pair) = issued();
        let none: [&[&str]; 3] = [&[], &["a=1; b=2"], &["", ";;", "="]];
        for lines in none {
            assert_eq!(find(&ring, lines), TicketState::Absent, "{lines:?}");
        }
        let other_names = [
            format!("\u{2000}{pair}"),
            format!("$Version=1, {pair}"),
            format!("\"{COOKIE_NAME}\"{}", &pair[COOKIE_NAME.len()..]),
            format!("={pair}"),
            format!("{COOKIE_NAME} {}", &pair[COOKIE_NAME.len()..]),
            pair.replacen("__Host", "__host", 1),
            pair.replacen("__Host-", "", 1),
            format!("x{pair}"),
            format!("\u{b}{pair}"),
        ];
        for line in other_names {
            assert_eq!(find(&ring, &[&line]), TicketState::Absent, "{line:?}");
        }
    }

    #[test]
    fn without_keys_a_session_cookie_is_neither_absent_nor_forged() {
        let (_, _, pair) = issued();
        let found = |line: &str| TicketState::find(None, &host("app.example.com"), [line.as_bytes()]);
        assert_eq!((found(&pair), found("a=1")), (TicketState::Unreadable, TicketState::Absent));
    }

    #[test]
    fn two_session_cookies_are_none_even_where_both_are_ours() {
        let (ring, _, pair) = issued();
        assert_eq!(find(&ring, &[&format!("{pair}; {pair}")]), TicketState::Duplicate);
        assert_eq!(find(&ring, &[&pair, &pair]), TicketState::Duplicate);
        assert_eq!(find(&ring, &[&format!("{COOKIE_NAME}=; {pair}")]), TicketState::Duplicate);
        assert_eq!(find(&ring, &[&format!("$Version=1; {pair}; {COOKIE_NAME}=x")]), TicketState::Duplicate);
    }

    #[test]
    fn a_forged_or_truncated_cookie_is_refused() {
        let (ring, _, pair) = issued();
        let forged = [
            format!("{COOKIE_NAME}="),
            format!("{COOKIE_NAME}={}", "A".repeat(72)),
            pair[..pair.len() - 1].to_owned(),
            pair[..COOKIE_NAME.len() + 30].to_owned(),
            format!("{pair}A"),
            format!("{pair}="),
            format!("{COOKIE_NAME}=\"{}\"", &pair[COOKIE_NAME.len() + 1..]),
            format!("{COOKIE_NAME}={}", "A".repeat(99_999)),
        ];
        for line in forged {
            assert_eq!(find(&ring, &[&line]), TicketState::Forged, "{line:?}");
        }
        assert_eq!(find(&KeyRing::generate(), &[&pair]), TicketState::Forged);
    }

    #[test]
    fn the_cookie_of_another_host_is_refused() {
        let (ring, ticket, _) = issued();
        let foreign = ticket.encode(&ring, &host("other.example.com"));
        assert_eq!(find(&ring, &[&format!("{COOKIE_NAME}={foreign}")]), TicketState::Forged);
    }

    #[test]
    fn the_cookie_of_another_epoch_is_refused_and_of_an_old_one_read() {
        let (ring, ticket, pair) = issued();
        assert_eq!(find(&rotated(&ring, true), &[&pair]), TicketState::Valid(ticket));
        assert_eq!(find(&rotated(&ring, false), &[&pair]), TicketState::Forged);
    }

    #[test]
    fn the_last_ticket_of_a_connection_is_believed_for_its_ring_and_host_alone() {
        let (ring, ticket, pair) = issued();
        let (last, ours) = (LastTicket::default(), host("app.example.com"));
        let again = |ring: &KeyRing, host: &Host, line: &str| {
            TicketState::find_again(Some(ring), host, [line.as_bytes()], &last)
        };
        for _ in 0..2 {
            let TicketState::Valid(found) = again(&ring, &ours, &pair) else { panic!("it is ours") };
            assert_eq!((found.last_seen(), found.handle()), (ticket.last_seen(), ticket.handle()));
            assert!(found.record == Some(ticket.record(&ring)));
        }
        assert_eq!(again(&ring, &host("other.example.com"), &pair), TicketState::Forged);
        assert_eq!(again(&rotated(&ring, false), &ours, &pair), TicketState::Forged);
        assert_eq!(again(&KeyRing::generate(), &ours, &pair), TicketState::Forged);
        assert_eq!(again(&ring, &ours, &pair[..pair.len() - 1]), TicketState::Forged);
        assert_eq!(again(&ring, &ours, &format!("{pair}; {pair}")), TicketState::Duplicate);
        assert_eq!(format!("{last:?}"), "LastTicket");
    }

    #[test]
    fn the_last_visit_is_told_to_the_minute_rounded_up() {
        let ring = KeyRing::generate();
        let host = host("app.example.com");
        for (offset, minute) in [(0, 0), (1, 60), (60, 60), (61, 120)] {
            let value = Ticket::new([7; 32], start() + seconds(offset)).encode(&ring, &host);
            assert_eq!(Ticket::parse(&ring, &host, value.as_bytes()).unwrap().last_seen(), start() + seconds(minute));
        }
    }

    #[test]
    fn a_printed_ticket_hides_its_handle() {
        let printed = format!("{:?}", TicketState::Valid(Ticket::new([0xAB; 32], start())));
        assert_eq!(printed, "Valid(Ticket { last_seen: 2026-03-01T12:00:00Z, .. })");
    }

    proptest! {
        #[test]
        fn no_changed_character_passes(at in 0_usize..72, with in "[A-Za-z0-9_-]") {
            let (ring, ticket, pair) = issued();
            let mut value = pair[COOKIE_NAME.len() + 1..].to_owned();
            let same = value[at..=at] == with;
            value.replace_range(at..=at, &with);
            let parsed = Ticket::parse(&ring, &host("app.example.com"), value.as_bytes());
            prop_assert_eq!(parsed, same.then_some(ticket));
        }

        #[test]
        fn cookies_of_any_bytes_are_no_ticket(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let found = TicketState::find(Some(&KeyRing::generate()), &host("app.example.com"), [line.as_slice()]);
            proptest::prop_assert!(!matches!(found, TicketState::Valid(_)));
        }
    }
}
