//! No `Cookie` field is a session that nobody began, and none of our cookies is among what an upstream gets.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use portcullis::host::Host;
use portcullis::seal::KeyRing;
use portcullis::session::{COOKIE_NAME, TicketState, upstream_cookies};

static RING: LazyLock<KeyRing> = LazyLock::new(KeyRing::generate);

fuzz_target!(|input: &[u8]| {
    let lines = || input.split(|octet| *octet == b'\n');
    let host = Host::parse("app.test").expect("it is a host");
    assert!(!matches!(TicketState::find(Some(&RING), &host, lines()), TicketState::Valid(_)));
    let Some(kept) = upstream_cookies(lines()) else { return };
    for pair in kept.split(|octet| *octet == b';') {
        let pair = pair.trim_ascii_start();
        let begins =
            pair.get(..COOKIE_NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(COOKIE_NAME.as_bytes()));
        assert!(!begins, "{}", kept.escape_ascii());
    }
});
