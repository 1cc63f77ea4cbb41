//! The `Cookie` and `Set-Cookie` lines of the session. Every cookie of ours begins with [`COOKIE_NAME`] and stays
//! between the browser and us.

use std::borrow::Cow;
use std::time::Duration;

use crate::host::Host;
use crate::seal::KeyRing;

use super::Ticket;

/// The session cookie's name, and how the name of every other cookie of ours begins.
pub const COOKIE_NAME: &str = "__Host-portcullis";

/// The `Set-Cookie` value that gives a browser its ticket for as long as its session can last.
pub fn session_cookie(ring: &KeyRing, host: &Host, ticket: &Ticket, lasts: Duration) -> String {
    set_cookie(COOKIE_NAME, &ticket.encode(ring, host), lasts)
}

/// The `Set-Cookie` value that takes it away.
pub fn clear_session_cookie() -> String {
    set_cookie(COOKIE_NAME, "", Duration::ZERO)
}

/// What the upstream gets of a request's `Cookie` fields: one line (RFC 9113 section 8.2.3) without ours, `None` where
/// nothing is left. Borrowed where the one line that came holds nothing of ours.
pub fn upstream_cookies<'a>(lines: impl Iterator<Item = &'a [u8]> + Clone) -> Option<Cow<'a, [u8]>> {
    let mut all = lines.clone();
    let first = all.next()?;
    if all.next().is_none() && !pairs(first).any(is_ours) {
        return Some(Cow::Borrowed(first));
    }
    let mut kept = lines.flat_map(pairs).filter(|pair| !is_ours(pair));
    let mut line = kept.next()?.to_vec();
    for pair in kept {
        line.extend_from_slice(b"; ");
        line.extend_from_slice(pair);
    }
    Some(Cow::Owned(line))
}

/// The pairs of a `Cookie` field, without the blanks between them; quotes mean nothing (RFC 6265 section 5.4).
pub(super) fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b';')
        .map(|pair| trim(pair, |byte| matches!(byte, b' ' | b'\t')))
        .filter(|p| !p.is_empty())
}

/// A `Set-Cookie` value as every cookie of ours is set: for this host and path `/` alone, never to scripts or plain
/// HTTP, with top-level navigation from other sites.
pub(super) fn set_cookie(name: &str, value: &str, lasts: Duration) -> String {
    format!("{name}={value}; Path=/; Max-Age={}; Secure; HttpOnly; SameSite=Lax", lasts.as_secs())
}

/// Whether any server could read one of our names in the pair: blanks, quotes, other text around it, a nameless pair
/// and upper case are all taken for it.
fn is_ours(pair: &[u8]) -> bool {
    let pair = trim(pair, |byte| matches!(byte, b'=' | b' ' | b'\t'));
    let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
    name.windows(COOKIE_NAME.len()).any(|part| part.eq_ignore_ascii_case(COOKIE_NAME.as_bytes()))
}

fn trim(mut text: &[u8], blank: impl Fn(u8) -> bool) -> &[u8] {
    while let [first, rest @ ..] = text
        && blank(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && blank(*last)
    {
        text = rest;
    }
    text
}
