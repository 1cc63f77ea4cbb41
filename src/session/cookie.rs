//! `Set-Cookie` lines of the session.

use crate::host::Host;
use crate::seal::KeyRing;

use super::Ticket;

/// The session cookie's name.
pub const COOKIE_NAME: &str = "__Host-portcullis";

/// The `Set-Cookie` value that gives a browser its ticket.
pub fn session_cookie(ring: &KeyRing, host: &Host, ticket: &Ticket) -> String {
    let _ = (ring, host, ticket);
    todo!()
}

/// The `Set-Cookie` value that takes it away.
pub fn clear_session_cookie() -> String {
    todo!()
}
