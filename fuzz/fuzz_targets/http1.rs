//! Whatever is accepted of a stream of bytes, hyper's server reads alike. The first two octets say where it is cut.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use portcullis::proxy::http1::reading::{alike, thread};
use tokio::runtime::Runtime;

static THREAD: LazyLock<Runtime> = LazyLock::new(thread);

fuzz_target!(|input: &[u8]| {
    let [first, second, bytes @ ..] = input else { return };
    let cuts = [first, second].map(|cut| usize::from(*cut) % (bytes.len() + 1));
    if let Err(difference) = alike(&THREAD, bytes, cuts.into()) {
        panic!("{difference} of {}", bytes.escape_ascii());
    }
});
