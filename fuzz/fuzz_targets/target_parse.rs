//! A target is refused, or canonical: parsed again it is the same, and neither reading leaves its place.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::path::Target;

fuzz_target!(|raw: &str| {
    let Ok(target) = Target::parse(raw) else { return };
    assert_eq!(Target::parse(&target.to_string()).as_ref(), Ok(&target));
    let path = target.path();
    for reading in [path.as_str()].into_iter().chain(path.lenient()) {
        assert!(reading.starts_with('/'));
        assert!(!reading.split('/').any(|element| element == "." || element == ".."), "{reading}");
    }
});
