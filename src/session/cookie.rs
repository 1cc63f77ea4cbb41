//! The `Cookie` and `Set-Cookie` lines of the session. Every cookie of ours begins with [`COOKIE_NAME`] and stays
//! between the browser and us.

use std::borrow::Cow;
use std::iter;
use std::time::Duration;

use memchr::memchr;

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
pub fn upstream_cookies<'a>(mut lines: impl Iterator<Item = &'a [u8]>) -> Option<Cow<'a, [u8]>> {
    let (first, second) = (lines.next()?, lines.next());
    if second.is_none() {
        let (mut ours, mut others) = (false, false);
        for pair in pairs(first) {
            *(if is_our_cookie(pair) { &mut ours } else { &mut others }) = true;
        }
        match (ours, others) {
            (false, _) => return Some(Cow::Borrowed(first)),
            (true, false) => return None,
            (true, true) => {}
        }
    }
    let mut kept = iter::once(first).chain(second).chain(lines).flat_map(pairs).filter(|pair| !is_our_cookie(pair));
    let mut line = kept.next()?.to_vec();
    for pair in kept {
        line.extend_from_slice(b"; ");
        line.extend_from_slice(pair);
    }
    Some(Cow::Owned(line))
}

/// The pairs of a `Cookie` field, without the blanks between them; quotes mean nothing (RFC 6265 section 5.4).
pub(super) fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    let split = iter::from_fn(move || {
        let line = rest?;
        let end = memchr(b';', line);
        rest = end.map(|end| &line[end + 1..]);
        Some(&line[..end.unwrap_or(line.len())])
    });
    split.map(|pair| trim(pair, |byte| matches!(byte, b' ' | b'\t'))).filter(|pair| !pair.is_empty())
}

/// A `Set-Cookie` value as every cookie of ours is set: for this host and path `/` alone, never to scripts or plain
/// HTTP, with top-level navigation from other sites.
pub(super) fn set_cookie(name: &str, value: &str, lasts: Duration) -> String {
    format!("{name}={value}; Path=/; Max-Age={}; Secure; HttpOnly; SameSite=Lax", lasts.as_secs())
}

/// Whether any server could read one of our names in a `name=value` pair: blanks, quotes, other text around it, a
/// nameless pair and upper case are all taken for it.
pub fn is_our_cookie(pair: &[u8]) -> bool {
    let pair = trim(pair, |byte| matches!(byte, b'=' | b' ' | b'\t'));
    let name = &pair[..memchr(b'=', pair).unwrap_or(pair.len())];
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

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;
    use crate::session::clear_login_cookie;
    use crate::session::tests::{HOUR, host, start};

    fn upstream(lines: &[&str]) -> Option<String> {
        let kept = upstream_cookies(lines.iter().map(|line| line.as_bytes()))?;
        Some(String::from_utf8(kept.into_owned()).unwrap())
    }

    #[test]
    fn our_cookies_are_set_with_every_guard() {
        let ring = KeyRing::generate();
        let ticket = Ticket::new([7; 32], start());
        let host = host("app.example.com");
        assert_eq!(
            session_cookie(&ring, &host, &ticket, HOUR),
            format!(
                "__Host-portcullis={}; Path=/; Max-Age=3600; Secure; HttpOnly; SameSite=Lax",
                ticket.encode(&ring, &host)
            )
        );
        assert_eq!(clear_session_cookie(), "__Host-portcullis=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax");
        assert_eq!(
            clear_login_cookie("01234567"),
            "__Host-portcullis-login-01234567=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"
        );
    }

    #[test]
    fn a_line_without_our_cookies_passes_as_it_came() {
        for line in
            ["a=1", "a=1;b=2;  c = \"x; y\"", "nameless", "", "portcullis=1; __Host-other=2", "x=__Host-portcullis"]
        {
            let lines = [line.as_bytes()];
            assert!(
                matches!(upstream_cookies(lines.into_iter()), Some(Cow::Borrowed(kept)) if kept == line.as_bytes())
            );
        }
        assert_eq!(upstream(&[]), None);
    }

    #[test]
    fn crumbs_become_one_line() {
        assert_eq!(upstream(&["a=1", "b=2; c=3"]).as_deref(), Some("a=1; b=2; c=3"));
    }

    #[test]
    fn our_cookies_never_reach_an_upstream_in_any_spelling() {
        let ours = [
            "__Host-portcullis=x",
            "__Host-portcullis",
            "__Host-portcullis=",
            " \t__Host-portcullis = x",
            "=__Host-portcullis=x",
            "==  __Host-portcullis=x",
            "__host-PORTCULLIS=x",
            "\u{2000}__Host-portcullis=x",
            "\"__Host-portcullis\"=x",
            "$Path __Host-portcullis=x",
            "__Host-portcullis-login-01234567=x",
            "__Host-portcullis-anything=x",
        ];
        for pair in ours {
            assert_eq!(upstream(&[pair]), None, "{pair:?}");
            assert_eq!(upstream(&[pair, pair]), None, "{pair:?}");
            for line in [format!("a=1;{pair}; b=\"2\""), format!("{pair};a=1; b=\"2\""), format!("a=1;b=\"2\" ;{pair}")]
            {
                assert_eq!(upstream(&[&line]).as_deref(), Some("a=1; b=\"2\""), "{line:?}");
            }
            assert_eq!(upstream(&["a=1", pair, "b=2"]).as_deref(), Some("a=1; b=2"), "{pair:?}");
        }
    }

    proptest! {
        #[test]
        fn every_other_cookie_passes_byte_for_byte(
            pairs in proptest::collection::vec("[!-:<>-~]{1,8}=[!-:<-~]{0,8}", 1..6),
            at in proptest::prelude::any::<proptest::sample::Index>(),
        ) {
            let expected = pairs.join("; ");
            let mut with_ours: Vec<&str> = pairs.iter().map(String::as_str).collect();
            with_ours.insert(at.index(pairs.len() + 1), "__Host-portcullis=x");
            prop_assert_eq!(upstream(&[&with_ours.join("; ")]), Some(expected.clone()));
            prop_assert_eq!(upstream(&with_ours), Some(expected));
        }
    }
}
