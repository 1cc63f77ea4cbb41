//! No bytes open that the ring has not sealed, and a ring is unreadable or what its form says: read again it is the same,
//! and opens what it has sealed.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use portcullis::seal::{KeyRing, Purpose};

static RING: LazyLock<KeyRing> = LazyLock::new(KeyRing::generate);

fuzz_target!(|input: &[u8]| {
    for purpose in [Purpose::Session, Purpose::Login] {
        assert!(RING.open(purpose, "place", input).is_err());
    }
    let sealed = RING.seal(Purpose::Session, "place", input);
    let opened = RING.open(Purpose::Session, "place", &sealed).expect("it was sealed here");
    assert_eq!(opened.expose(), input);
    assert!(RING.open(Purpose::Login, "place", &sealed).is_err());
    let Ok(ring) = KeyRing::parse(input) else { return };
    let again = KeyRing::parse(ring.serialize().expose()).expect("what a ring says of itself is a ring");
    let sealed = ring.seal(Purpose::Session, "place", b"plain");
    assert_eq!(again.open(Purpose::Session, "place", &sealed).expect("the same keys").expose(), b"plain");
    assert_eq!(again.serialize(), ring.serialize());
});
