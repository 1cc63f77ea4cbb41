//! JSON objects, written straight into a buffer (RFC 8259): one scan where a text needs no escape, and no detour over
//! anybody's data model, since every request writes two of them.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

/// An object under way; it is closed when it is dropped.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    /// Opens one at the end of `out`.
    pub(super) fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// A member that is text.
    #[inline]
    pub(super) fn text(&mut self, key: &'static str, value: &str) {
        self.key(key);
        // Without an early end, so that the scan takes many bytes at once.
        let special = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
        if value.bytes().fold(false, |found, byte| found | special(byte)) {
            serde_json::to_writer(&mut *self.out, value).expect("text into memory");
        } else {
            self.quoted(value.as_bytes());
        }
    }

    /// A member that is a whole number.
    #[inline]
    pub(super) fn number(&mut self, key: &'static str, value: u64) {
        self.key(key);
        self.decimal(value);
    }

    /// A member that is true or false.
    #[inline]
    pub(super) fn truth(&mut self, key: &'static str, value: bool) {
        self.key(key);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A member that is text of hex digits.
    #[inline]
    pub(super) fn hex(&mut self, key: &'static str, digits: &[u8; 32]) {
        self.key(key);
        self.quoted(digits);
    }

    /// A member that is an address.
    #[inline]
    pub(super) fn address(&mut self, key: &'static str, value: IpAddr) {
        self.key(key);
        self.out.push(b'"');
        self.ip(value);
        self.out.push(b'"');
    }

    /// A member that is an address and a port.
    #[inline]
    pub(super) fn endpoint(&mut self, key: &'static str, value: SocketAddr) {
        self.key(key);
        self.out.push(b'"');
        if value.is_ipv4() {
            self.ip(value.ip());
            self.out.push(b':');
            self.decimal(u64::from(value.port()));
        } else {
            write!(self.out, "{value}").expect("text into memory");
        }
        self.out.push(b'"');
    }

    /// A member that is an object itself.
    #[inline]
    pub(super) fn object(&mut self, key: &'static str) -> Object<'_> {
        self.key(key);
        Object::open(self.out)
    }

    // Inlined, so that each key is one copy of constant length.
    #[inline(always)]
    fn key(&mut self, key: &'static str) {
        self.out.extend_from_slice(if self.empty { b"\"" } else { b",\"" });
        self.empty = false;
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn quoted(&mut self, plain: &[u8]) {
        self.out.push(b'"');
        self.out.extend_from_slice(plain);
        self.out.push(b'"');
    }

    fn decimal(&mut self, value: u64) {
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn ip(&mut self, value: IpAddr) {
        let IpAddr::V4(value) = value else {
            return write!(self.out, "{value}").expect("text into memory");
        };
        for (at, octet) in value.octets().into_iter().enumerate() {
            if at > 0 {
                self.out.push(b'.');
            }
            self.decimal(u64::from(octet));
        }
    }
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        self.out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_written_is_read_back(
            text in any::<String>(), number in any::<u64>(), truth in any::<bool>(), id in any::<u128>(),
            address in any::<IpAddr>(), port in any::<u16>()
        ) {
            let mut out = Vec::new();
            let endpoint = SocketAddr::new(address, port);
            {
                let mut object = Object::open(&mut out);
                object.text("text", &text);
                object.number("number", number);
                object.truth("truth", truth);
                let mut inner = object.object("inner");
                inner.hex("id", format!("{id:032x}").as_bytes().try_into().unwrap());
                inner.address("address", address);
                inner.endpoint("endpoint", endpoint);
            }
            let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
            let inner = json!({
                "id": format!("{id:032x}"), "address": address.to_string(), "endpoint": endpoint.to_string()
            });
            prop_assert_eq!(read, json!({"text": text, "number": number, "truth": truth, "inner": inner}));
        }
    }

    #[test]
    fn an_object_may_be_empty() {
        let mut out = Vec::new();
        drop(Object::open(&mut out));
        assert_eq!(out, b"{}");
    }
}
