//! Members of JSON objects, written straight into a buffer (RFC 8259): one scan where a text needs no escape, and no detour
//! over anybody's data model, since every request writes two lines of them.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

/// How a member begins that is not the first, up to its value, of which a quote is part: one copy of constant length.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
    ($name:literal text) => {
        concat!(",\"", $name, "\":\"")
    };
}
pub(super) use key;

/// The inside of an object, written at the end of a buffer. Keys come as [`key`] makes them.
pub(super) struct Members<'a>(pub &'a mut Vec<u8>);

impl Members<'_> {
    /// What is JSON already.
    #[inline]
    pub(super) fn raw(&mut self, json: &str) {
        self.0.extend_from_slice(json.as_bytes());
    }

    /// A member that is text.
    #[inline(always)]
    pub(super) fn text(&mut self, key: &'static str, value: &str) {
        self.raw(key);
        self.rest_of_text(value);
    }

    /// A member that is text of ours, which needs no escape.
    #[inline]
    pub(super) fn plain(&mut self, key: &'static str, value: &[u8]) {
        debug_assert!(is_plain(value));
        self.raw(key);
        self.0.extend_from_slice(value);
        self.0.push(b'"');
    }

    /// A member that is a whole number.
    #[inline]
    pub(super) fn number(&mut self, key: &'static str, value: u64) {
        self.raw(key);
        self.decimal(value);
    }

    /// A member that is an address.
    #[inline]
    pub(super) fn address(&mut self, key: &'static str, value: IpAddr) {
        self.raw(key);
        self.ip(value);
        self.0.push(b'"');
    }

    /// A member that is an address and a port.
    #[inline]
    pub(super) fn endpoint(&mut self, key: &'static str, value: SocketAddr) {
        self.raw(key);
        if value.is_ipv4() {
            self.ip(value.ip());
            self.0.push(b':');
            self.decimal(u64::from(value.port()));
        } else {
            write!(self.0, "{value}").expect("text into memory");
        }
        self.0.push(b'"');
    }

    /// A whole number.
    #[inline]
    pub(super) fn decimal(&mut self, value: u64) {
        self.raw(itoa::Buffer::new().format(value));
    }

    /// What is behind the opening quote.
    fn rest_of_text(&mut self, value: &str) {
        if is_plain(value.as_bytes()) {
            self.0.extend_from_slice(value.as_bytes());
            self.0.push(b'"');
        } else {
            self.0.pop();
            serde_json::to_writer(&mut *self.0, value).expect("text into memory");
        }
    }

    fn ip(&mut self, value: IpAddr) {
        let IpAddr::V4(value) = value else {
            return write!(self.0, "{value}").expect("text into memory");
        };
        let (mut text, mut length) = ([0; 16], 0);
        let mut put = |byte| {
            text[length] = byte;
            length += 1;
        };
        for octet in value.octets() {
            if octet >= 100 {
                put(b'0' + octet / 100);
            }
            if octet >= 10 {
                put(b'0' + octet / 10 % 10);
            }
            put(b'0' + octet % 10);
            put(b'.');
        }
        self.0.extend_from_slice(&text[..length - 1]);
    }
}

/// Whether a text is its own JSON but for the quotes around it: no control character, quote or backslash. Eight bytes are
/// looked at at once, the last eight perhaps twice.
fn is_plain(text: &[u8]) -> bool {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    // A byte of ASCII from which more is taken than it has borrows, and so gets the highest bit that it did not have.
    let special = |bytes: &[u8; 8]| {
        let bytes = u64::from_le_bytes(*bytes);
        let is = |byte: u8| (bytes ^ (EACH * u64::from(byte))).wrapping_sub(EACH);
        (bytes.wrapping_sub(EACH * u64::from(b' ')) | is(b'"') | is(b'\\')) & !bytes & (EACH << 7)
    };
    let (eights, _) = text.as_chunks();
    match text.last_chunk() {
        Some(last) => eights.iter().fold(special(last), |found, bytes| found | special(bytes)) == 0,
        None => text.iter().all(|byte| *byte >= b' ' && *byte != b'"' && *byte != b'\\'),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use serde_json::{Value, json};

    use super::*;

    fn read(members: impl FnOnce(Members<'_>)) -> Value {
        let mut out = b"{\"first\":0".to_vec();
        members(Members(&mut out));
        out.push(b'}');
        serde_json::from_slice(&out).unwrap()
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_back(
            text in any::<String>(), number in any::<u64>(), id in any::<u128>(), address in any::<IpAddr>(), port in any::<u16>()
        ) {
            let endpoint = SocketAddr::new(address, port);
            let id = format!("{id:032x}");
            let read = read(|mut members| {
                members.text(key!("text" text), &text);
                members.number(key!("number"), number);
                members.plain(key!("id" text), id.as_bytes());
                members.address(key!("address" text), address);
                members.endpoint(key!("endpoint" text), endpoint);
            });
            let (address, endpoint) = (address.to_string(), endpoint.to_string());
            prop_assert_eq!(
                read,
                json!({"first": 0, "text": text, "number": number, "id": id, "address": address, "endpoint": endpoint})
            );
        }
    }

    #[test]
    fn whatever_needs_an_escape_is_escaped_wherever_it_stands() {
        for special in (0..=u8::MAX).map(char::from) {
            for (length, around) in (1..=24).flat_map(|length| [(length, 'x'), (length, '\u{a0}'), (length, ' ')]) {
                for at in 0..length {
                    let text: String = (0..length).map(|place| if place == at { special } else { around }).collect();
                    assert_eq!(
                        is_plain(text.as_bytes()),
                        serde_json::to_string(&text).unwrap() == format!("\"{text}\""),
                        "{text:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_address_of_version_4_is_written_as_it_is_read() {
        for octet in 0..=u8::MAX {
            for octets in [[octet, 0, 9, 10], [99, octet, 100, 199], [200, 255, octet, 1], [1, 20, 255, octet]] {
                let address = IpAddr::from(octets);
                assert_eq!(read(|mut members| members.address(key!("ip" text), address))["ip"], address.to_string());
            }
        }
    }
}
