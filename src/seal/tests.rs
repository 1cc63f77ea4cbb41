use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use serde_json::{Value, json};

use super::*;

/// A ring whose form was changed.
fn changed(ring: &KeyRing, change: impl FnOnce(&mut Value)) -> Result<KeyRing, RingError> {
    let mut form = serde_json::from_slice(ring.serialize().expose()).unwrap();
    change(&mut form);
    KeyRing::parse(&serde_json::to_vec(&form).unwrap())
}

/// The next key of a list becomes the active one.
fn rotate(list: &mut Value) {
    let keys = list.as_array_mut().unwrap();
    keys[0]["state"] = json!("decrypt-only");
    let key = data_encoding::BASE64.encode(&random::<32>());
    keys.push(json!({"id": 2, "state": "active", "key": key}));
}

fn opens(ring: &KeyRing, purpose: Purpose, place: &str, blob: &[u8]) -> Option<Vec<u8>> {
    ring.open(purpose, place, blob).ok().map(|plain| plain.expose().clone())
}

proptest! {
    #[test]
    fn what_was_sealed_opens_at_its_place_and_nowhere_else(
        plain in vec(any::<u8>(), 0..300), place in "[a-z0-9.-]{1,40}", other in "[a-z0-9.-]{1,40}",
    ) {
        let ring = KeyRing::generate();
        let blob = ring.seal(Purpose::Session, &place, &plain);
        prop_assert_eq!(opens(&ring, Purpose::Session, &place, &blob), Some(plain));
        prop_assert_eq!(opens(&ring, Purpose::Login, &place, &blob), None);
        prop_assert_eq!(opens(&KeyRing::generate(), Purpose::Session, &place, &blob), None);
        prop_assert!(place == other || opens(&ring, Purpose::Session, &other, &blob).is_none());
    }

    #[test]
    fn no_changed_bit_opens(plain in vec(any::<u8>(), 0..60), bit in any::<proptest::sample::Index>()) {
        let ring = KeyRing::generate();
        let mut blob = ring.seal(Purpose::Session, "place", &plain);
        let bit = bit.index(blob.len() * 8);
        blob[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(opens(&ring, Purpose::Session, "place", &blob), None);
    }

    #[test]
    fn bytes_of_any_kind_do_not_open(blob in vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(opens(&KeyRing::generate(), Purpose::Session, "place", &blob), None);
    }
}

#[test]
fn no_shortened_or_lengthened_blob_opens() {
    let ring = KeyRing::generate();
    let mut blob = ring.seal(Purpose::Session, "place", b"plain");
    for length in 0..blob.len() {
        assert_eq!(opens(&ring, Purpose::Session, "place", &blob[..length]), None, "{length} bytes");
    }
    blob.push(0);
    assert_eq!(opens(&ring, Purpose::Session, "place", &blob), None);
}

#[test]
fn the_same_text_is_never_sealed_twice_alike() {
    let ring = KeyRing::generate();
    assert_ne!(ring.seal(Purpose::Session, "place", b"plain"), ring.seal(Purpose::Session, "place", b"plain"));
}

#[test]
fn records_of_another_installation_do_not_open_even_under_the_same_keys() {
    let ring = KeyRing::generate();
    let other = changed(&ring, |form| form["cluster"] = json!("another")).unwrap();
    let blob = ring.seal(Purpose::Session, "place", b"plain");
    assert_eq!(opens(&other, Purpose::Session, "place", &blob), None);
}

#[test]
fn a_record_does_not_open_under_another_key_of_the_ring() {
    let ring = KeyRing::generate();
    let both = changed(&ring, |form| rotate(&mut form["sealing"])).unwrap();
    let mut blob = ring.seal(Purpose::Session, "place", b"plain");
    blob[1] = 2;
    assert_eq!(opens(&both, Purpose::Session, "place", &blob), None);
}

#[test]
fn a_rotated_ring_reads_the_old_and_writes_the_new() {
    let old = KeyRing::generate();
    let rotated = changed(&old, |form| {
        rotate(&mut form["sealing"]);
        rotate(&mut form["mac"]);
    })
    .unwrap();
    let sealed = old.seal(Purpose::Session, "place", b"plain");
    assert_eq!(opens(&rotated, Purpose::Session, "place", &sealed), Some(b"plain".to_vec()));
    let sealed = rotated.seal(Purpose::Session, "place", b"plain");
    assert_eq!((sealed[1], opens(&old, Purpose::Session, "place", &sealed)), (2, None));

    let mac = old.cookie_mac("host", b"body");
    assert!(rotated.verify_cookie_mac(old.mac_epoch(), "host", b"body", &mac));
    let mac = rotated.cookie_mac("host", b"body");
    assert_eq!(rotated.mac_epoch(), 2);
    assert!(!old.verify_cookie_mac(2, "host", b"body", &mac));
    assert_eq!(old.store_key(&[7; 32]), rotated.store_key(&[7; 32]), "rotation ends no session");
}

#[test]
fn a_pending_key_reads_and_does_not_seal() {
    let ring = KeyRing::generate();
    let key = data_encoding::BASE64.encode(&[5; 32]);
    let next = |state: &'static str| {
        let key = key.clone();
        move |form: &mut Value| {
            form["sealing"].as_array_mut().unwrap().push(json!({"id": 2, "state": state, "key": key}))
        }
    };
    let pending = changed(&ring, next("pending")).unwrap();
    assert_eq!(pending.seal(Purpose::Session, "place", b"plain")[1], 1);
    let ahead = changed(&ring, |form| {
        form["sealing"][0]["state"] = json!("decrypt-only");
        next("active")(form);
    })
    .unwrap();
    let sealed = ahead.seal(Purpose::Session, "place", b"plain");
    assert_eq!(opens(&pending, Purpose::Session, "place", &sealed), Some(b"plain".to_vec()));
}

#[test]
fn the_mac_of_a_cookie_holds_for_its_host_body_and_epoch() {
    let ring = KeyRing::generate();
    let mac = ring.cookie_mac("a.example", b"body");
    let epoch = ring.mac_epoch();
    assert!(ring.verify_cookie_mac(epoch, "a.example", b"body", &mac));
    assert!(!ring.verify_cookie_mac(epoch, "b.example", b"body", &mac));
    assert!(!ring.verify_cookie_mac(epoch, "a.example", b"boby", &mac));
    assert!(!ring.verify_cookie_mac(epoch + 1, "a.example", b"body", &mac));
    assert!(!KeyRing::generate().verify_cookie_mac(epoch, "a.example", b"body", &mac));
}

#[test]
fn the_serialized_form_gives_the_ring_back() {
    let ring = KeyRing::generate();
    let read = KeyRing::parse(ring.serialize().expose()).unwrap();
    assert_eq!(read.serialize(), ring.serialize());
    assert_eq!(opens(&read, Purpose::Login, "x", &ring.seal(Purpose::Login, "x", b"y")), Some(b"y".to_vec()));
}

#[test]
fn a_form_that_is_none_is_refused_with_its_place_and_without_its_text() {
    let ring = KeyRing::generate();
    let refusal = |change: &dyn Fn(&mut Value)| changed(&ring, change).unwrap_err().to_string();
    let of = |reason: &str| format!("the key ring is unreadable: {reason}");
    assert_eq!(refusal(&|form| form["version"] = json!(2)), of("version 2 is unknown, 1 is read here"));
    assert_eq!(refusal(&|form| form["cluster"] = json!("")), of("`cluster` is empty"));
    assert_eq!(refusal(&|form| form["sealing"] = json!([])), of("`sealing` needs exactly one active key"));
    assert_eq!(
        refusal(&|form| {
            rotate(&mut form["mac"]);
            form["mac"][0]["state"] = json!("active");
        }),
        of("`mac` needs exactly one active key")
    );
    assert_eq!(
        refusal(&|form| {
            rotate(&mut form["mac"]);
            form["mac"][1]["id"] = json!(1);
        }),
        of("`mac` has two keys of one id")
    );
    let short = data_encoding::BASE64.encode(b"topsecret");
    for field in ["sealing", "mac"] {
        let refused = refusal(&|form| form[field][0]["key"] = json!(short));
        assert_eq!(refused, of(&format!("a key of `{field}` is not 32 bytes in base64")));
    }
    assert_eq!(refusal(&|form| form["lookup"] = json!("!")), of("a key of `lookup` is not 32 bytes in base64"));

    for text in
        [&b""[..], b"topsecret", b"{\"version\":1,\"lookup\":{\"topsecret\":1}}", b"{\"version\":1,\"topsecret\":1}"]
    {
        let refused = KeyRing::parse(text).unwrap_err().to_string();
        assert!(
            refused.starts_with("the key ring is unreadable: it is not the JSON of a key ring (line "),
            "{refused}"
        );
        assert!(!refused.contains("topsecret"), "{refused}");
    }
}

#[test]
fn nothing_of_a_ring_is_printed() {
    let ring = KeyRing::generate();
    let printed = format!("{ring:?}");
    let form: Value = serde_json::from_slice(ring.serialize().expose()).unwrap();
    let key = data_encoding::BASE64.decode(form["lookup"].as_str().unwrap().as_bytes()).unwrap();
    assert!(!printed.contains(form["lookup"].as_str().unwrap()) && !printed.contains(&format!("{key:?}")), "{printed}");
}
