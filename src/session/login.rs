//! Login cookies: one sealed login attempt each, so that a stranger's request stores nothing with us. What an attempt
//! is, is the business of `oidc`; here it is bytes with an age.

use std::time::Duration;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use jiff::Timestamp;

use crate::host::Host;
use crate::seal::{self, KeyRing, Purpose};
use crate::secret::Secret;

use super::cookie::{COOKIE_NAME, pairs, set_cookie};

/// How many login attempts a browser may have open at once.
pub const MAX_LOGINS: usize = 5;

/// Bytes of the attempts that stay beside a new one. Sealed and with it that is about 5 KiB, of the 8 KiB that all cookies
/// of a request may have.
const MAX_KEPT_BYTES: usize = 2048;

const LASTS: Duration = Duration::from_secs(600);
const SECONDS: usize = 8;

/// A login attempt that a browser brought back.
#[derive(Debug)]
pub struct OpenLogin {
    /// Eight hex digits that name its cookie.
    pub id: String,
    /// When it began.
    pub begun: Timestamp,
    /// What [`login_cookie`] was given.
    pub attempt: Secret<Vec<u8>>,
}

/// The `Set-Cookie` value that holds a login attempt for ten minutes, under a name of its own.
pub fn login_cookie(ring: &KeyRing, host: &Host, attempt: &[u8], now: Timestamp) -> String {
    let id = HEXLOWER.encode(&seal::random::<4>());
    let plain = Secret::new([&now.as_second().to_be_bytes(), attempt].concat());
    let sealed = ring.seal(Purpose::Login, &place(host, &id), plain.expose());
    set_cookie(&name(&id), &BASE64URL_NOPAD.encode(&sealed), LASTS)
}

/// The login attempts in the values of a request's `Cookie` fields, oldest first; what does not open, or began more
/// than ten minutes ago, is none.
pub fn open_login_cookies<'a>(
    ring: &KeyRing,
    host: &Host,
    lines: impl IntoIterator<Item = &'a [u8]>,
    now: Timestamp,
) -> Vec<OpenLogin> {
    let mut logins: Vec<_> = login_pairs(lines)
        .filter_map(|(id, value)| open(ring, host, id, value))
        .filter(|login| now.duration_since(login.begun).unsigned_abs() <= LASTS)
        .collect();
    logins.sort_by_key(|login| login.begun);
    logins
}

/// The `Set-Cookie` values that make room for one more login attempt: they take away what no longer opens, and the
/// oldest beyond [`MAX_LOGINS`], or beyond what fits into a request.
pub fn crowded_out_logins<'a>(
    ring: &KeyRing,
    host: &Host,
    lines: impl IntoIterator<Item = &'a [u8]> + Clone,
    now: Timestamp,
) -> Vec<String> {
    let open = open_login_cookies(ring, host, lines.clone(), now);
    let mut bytes = 0;
    let fits = |login: &&OpenLogin| {
        bytes += login.attempt.expose().len();
        bytes <= MAX_KEPT_BYTES
    };
    let kept: Vec<_> = open.iter().rev().take(MAX_LOGINS - 1).take_while(fits).collect();
    let crowded = login_pairs(lines).filter(|(id, _)| kept.iter().all(|login| login.id != *id));
    crowded.map(|(id, _)| clear_login_cookie(id)).collect()
}

/// The `Set-Cookie` value that takes a login attempt away.
pub fn clear_login_cookie(id: &str) -> String {
    set_cookie(&name(id), "", Duration::ZERO)
}

fn open(ring: &KeyRing, host: &Host, id: &str, value: &[u8]) -> Option<OpenLogin> {
    let sealed = BASE64URL_NOPAD.decode(value).ok()?;
    let plain = ring.open(Purpose::Login, &place(host, id), &sealed).ok()?;
    let (seconds, attempt) = plain.expose().split_first_chunk::<SECONDS>()?;
    let begun = Timestamp::from_second(i64::from_be_bytes(*seconds)).ok()?;
    Some(OpenLogin { id: id.to_owned(), begun, attempt: Secret::new(attempt.to_vec()) })
}

/// Id and value of each cookie that is named as a login attempt.
fn login_pairs<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    lines.into_iter().flat_map(pairs).filter_map(|pair| {
        let rest = pair.strip_prefix(COOKIE_NAME.as_bytes())?.strip_prefix(b"-login-")?;
        let (id, value) = rest.split_at_checked(8)?;
        let id = str::from_utf8(id).ok().filter(|id| id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))?;
        Some((id, value.strip_prefix(b"=")?))
    })
}

fn name(id: &str) -> String {
    format!("{COOKIE_NAME}-login-{id}")
}

/// The place of the sealed attempt: host and id, so that it opens under its own name alone.
fn place(host: &Host, id: &str) -> String {
    format!("{host}/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::{host, seconds, start};

    fn app() -> Host {
        host("app.example.com")
    }

    /// The pair that a browser sends back for a `Set-Cookie` value.
    fn pair(set_cookie: &str) -> String {
        set_cookie.split("; ").next().unwrap().to_owned()
    }

    fn open_at(ring: &KeyRing, pairs: &[String], now: Timestamp) -> Vec<Vec<u8>> {
        let logins = open_login_cookies(ring, &app(), pairs.iter().map(String::as_bytes), now);
        logins.iter().map(|login| login.attempt.expose().clone()).collect()
    }

    fn crowded_out(ring: &KeyRing, pairs: &[String], now: Timestamp) -> Vec<String> {
        crowded_out_logins(ring, &app(), pairs.iter().map(String::as_bytes).collect::<Vec<_>>(), now)
    }

    #[test]
    fn a_login_attempt_comes_back_for_ten_minutes() {
        let ring = KeyRing::generate();
        let cookie = login_cookie(&ring, &app(), b"attempt", start());
        let (name, rest) = cookie.split_once('=').unwrap();
        assert_eq!(name.len(), "__Host-portcullis-login-".len() + 8);
        assert!(rest.ends_with("; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax"), "{rest}");

        let pairs = [pair(&cookie)];
        assert_eq!(open_at(&ring, &pairs, start() + seconds(600)), [b"attempt".to_vec()]);
        assert_eq!(open_at(&ring, &pairs, start() + seconds(601)), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_login_attempt_of_another_host_name_or_ring_is_none() {
        let ring = KeyRing::generate();
        let pairs = [pair(&login_cookie(&ring, &app(), b"attempt", start()))];
        let lines = || pairs.iter().map(String::as_bytes);
        assert!(open_login_cookies(&ring, &host("other.example.com"), lines(), start()).is_empty());
        assert!(open_login_cookies(&KeyRing::generate(), &app(), lines(), start()).is_empty());

        let (name, value) = pairs[0].split_once('=').unwrap();
        let other_id = if name.ends_with('0') { "1" } else { "0" };
        let renamed = format!("{}{other_id}={value}", &name[..name.len() - 1]);
        let bad_id = format!("{}Z={value}", &name[..name.len() - 1]);
        let flipped = format!("{name}={}", value.replace(['A', 'B', 'C'], "D"));
        let none: Vec<Vec<u8>> = Vec::new();
        for changed in [renamed, bad_id, flipped, pairs[0][..40].to_owned(), format!("{name}=")] {
            assert_eq!(open_at(&ring, std::slice::from_ref(&changed), start()), none, "{changed}");
        }
    }

    #[test]
    fn several_attempts_come_back_oldest_first() {
        let ring = KeyRing::generate();
        let at = |offset: i64| pair(&login_cookie(&ring, &app(), &[offset as u8], start() + seconds(offset)));
        let pairs = [at(3), at(1), at(2)];
        assert_eq!(open_at(&ring, &pairs, start() + seconds(3)), [[1], [2], [3]]);
    }

    #[test]
    fn a_sixth_attempt_takes_the_place_of_the_oldest() {
        let ring = KeyRing::generate();
        let at = |offset: i64| pair(&login_cookie(&ring, &app(), b"", start() + seconds(offset)));
        let mut pairs: Vec<_> = (0..4).map(at).collect();
        assert_eq!(crowded_out(&ring, &pairs, start()), Vec::<String>::new(), "there is room for a fifth");
        pairs.push(at(4));
        pairs.push(at(5));
        let name = |pair: &str| pair.split_once('=').unwrap().0.to_owned();
        let cleared: Vec<_> = crowded_out(&ring, &pairs, start()).iter().map(|line| name(line)).collect();
        assert_eq!(cleared, [name(&pairs[0]), name(&pairs[1])]);
    }

    #[test]
    fn what_does_not_open_makes_room_first() {
        let ring = KeyRing::generate();
        let pairs = [
            "__Host-portcullis-login-00000000=rubbish".to_owned(),
            pair(&login_cookie(&ring, &app(), b"", start())),
            pair(&login_cookie(&ring, &app(), b"", start() - seconds(700))),
        ];
        let cleared = crowded_out(&ring, &pairs, start());
        let expired = pairs[2].split_once('=').unwrap().0.rsplit_once('-').unwrap().1;
        assert_eq!(cleared, [clear_login_cookie("00000000"), clear_login_cookie(expired)]);
    }
}
