//! Host names: what a client asks for ([`Authority`]), what a route serves ([`HostMatch`]).

use std::borrow::Borrow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use memchr::memrchr;

/// A host as it is matched: a lower-case DNS name or an IP literal, without port and trailing dot.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Host(Arc<str>);

/// The authority of a request (RFC 9110 section 7.2): a host and, where given, a port.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Authority {
    /// The host, canonical.
    pub host: Host,
    /// The port, where one was written.
    pub port: Option<u16>,
}

/// Which hosts a rule speaks of. `Ord` is precedence: exact, then wildcard, then any.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum HostMatch {
    /// This host alone.
    Exact(Host),
    /// `*.suffix`: hosts with exactly one more label than the suffix, which is held without `*.`.
    Wildcard(Host),
    /// Every host, IP literals too.
    Any,
}

/// Why a text is no host.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{}` is not a host name", .0.escape_debug())]
pub struct BadHost(pub String);

impl Host {
    /// Parses a DNS name or IP literal (`[..]` for version 6); upper case is folded, one trailing dot dropped.
    pub fn parse(text: &str) -> Result<Self, BadHost> {
        let bad = || BadHost(text.to_owned());
        if let Some(literal) = text.strip_prefix('[') {
            let address: Ipv6Addr = literal.strip_suffix(']').ok_or_else(bad)?.parse().map_err(|_| bad())?;
            return Ok(Self(format!("[{address}]").into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let wanted = if ends_in_number(name) { name.parse::<Ipv4Addr>().is_ok() } else { is_dns_name(name) };
        match wanted {
            true if name.bytes().any(|byte| byte.is_ascii_uppercase()) => Ok(Self(name.to_ascii_lowercase().into())),
            true => Ok(Self(name.into())),
            false => Err(bad()),
        }
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is an IP literal.
    pub fn is_ip(&self) -> bool {
        self.0.starts_with('[') || ends_in_number(&self.0)
    }

    /// The suffix of the one wildcard that covers it: what follows the first label of a DNS name.
    pub fn suffix(&self) -> Option<&str> {
        let (_, suffix) = self.0.split_once('.')?;
        (!self.is_ip()).then_some(suffix)
    }
}

impl Authority {
    /// Parses `host[:port]`; user information, lists and paths are refused.
    pub fn parse(text: &str) -> Result<Self, BadHost> {
        let bad = || BadHost(text.to_owned());
        let (host, port) = match memrchr(b':', text.as_bytes()) {
            Some(colon) if !text.ends_with(']') => {
                (&text[..colon], Some(parse_port(&text[colon + 1..]).ok_or_else(bad)?))
            }
            _ => (text, None),
        };
        Ok(Self { host: Host::parse(host).map_err(|_| bad())?, port })
    }
}

impl HostMatch {
    /// Parses the host of an Ingress rule: empty is [`HostMatch::Any`], `*.suffix` a wildcard.
    pub fn parse(text: &str) -> Result<Self, BadHost> {
        if text.is_empty() {
            return Ok(Self::Any);
        }
        let Some(suffix) = text.strip_prefix("*.") else { return Host::parse(text).map(Self::Exact) };
        match Host::parse(suffix) {
            Ok(suffix) if !suffix.is_ip() => Ok(Self::Wildcard(suffix)),
            _ => Err(BadHost(text.to_owned())),
        }
    }

    /// Whether `host` is meant.
    pub fn matches(&self, host: &Host) -> bool {
        match self {
            Self::Exact(exact) => exact == host,
            Self::Wildcard(suffix) => host.suffix() == Some(suffix.as_str()),
            Self::Any => true,
        }
    }
}

/// A hash map by host can be asked with a text: a suffix, or a name known to be canonical.
impl Borrow<str> for Host {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// As an Ingress rule writes it, but `*` for every host.
impl fmt::Display for HostMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => host.fmt(f),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)?;
        self.port.iter().try_for_each(|port| write!(f, ":{port}"))
    }
}

/// RFC 1123 section 2.1: letters, digits and hyphens, labels of 1 to 63 octets, 253 in all.
fn is_dns_name(name: &str) -> bool {
    name.len() <= 253 && name.as_bytes().split(|byte| *byte == b'.').all(is_label)
}

fn is_label(label: &[u8]) -> bool {
    (1..=63).contains(&label.len())
        && label.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        && !label.starts_with(b"-")
        && !label.ends_with(b"-")
}

/// What resolvers take for an address and never for a name: the last label is a number, decimal or hexadecimal.
fn ends_in_number(name: &str) -> bool {
    let name = name.as_bytes();
    let last = &name[memrchr(b'.', name).map_or(0, |dot| dot + 1)..];
    match last {
        [b'0', b'x' | b'X', digits @ ..] => digits.iter().all(u8::is_ascii_hexdigit),
        _ => !last.is_empty() && last.iter().all(u8::is_ascii_digit),
    }
}

/// 1 to 65535, without sign and leading zero.
fn parse_port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    plain.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    #[test]
    fn case_is_folded_and_one_trailing_dot_dropped() {
        assert_eq!(host("WWW.Example.COM."), Host("www.example.com".into()));
        assert_eq!(host("localhost"), Host("localhost".into()));
        assert_eq!(host("xn--mnchen-3ya.de"), Host("xn--mnchen-3ya.de".into()));
        assert_eq!(host("3com.com"), Host("3com.com".into()));
    }

    #[test]
    fn ip_literals_have_one_spelling() {
        assert_eq!(host("192.0.2.7").as_str(), "192.0.2.7");
        assert_eq!(host("[2001:DB8:0::1]").as_str(), "[2001:db8::1]");
        assert!(host("[::1]").is_ip() && host("192.0.2.7").is_ip() && !host("a.example").is_ip());
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long_label = "a".repeat(64);
        let long_name = ["a"; 128].join(".");
        for text in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a.b..",
            "-a.b",
            "a-.b",
            "a_b.c",
            "a b",
            "a,b",
            "a, b",
            "u@a",
            "a/x",
            "a:1",
            "a\0",
            "é.de",
            "%61",
            "*",
            "*.a",
            "::1",
            "[::1",
            "[::1]x",
            "[fe80::1%25eth0]",
            "[192.0.2.7]",
            "[::1].",
            "1.2.3",
            "256.0.0.1",
            "192.0.02.7",
            "0x7f.1",
            "127.0.0.0x1",
            "0x",
            "2130706433",
            &long_label,
            &long_name,
        ] {
            assert_eq!(Host::parse(text), Err(BadHost(text.to_owned())));
        }
    }

    #[test]
    fn an_authority_is_a_host_and_a_port() {
        let authority = |name, port| Ok(Authority { host: host(name), port });
        assert_eq!(Authority::parse("A.example:8443"), authority("a.example", Some(8443)));
        assert_eq!(Authority::parse("a.example."), authority("a.example", None));
        assert_eq!(Authority::parse("[::1]:80"), authority("[::1]", Some(80)));
        assert_eq!(Authority::parse("[::1]"), authority("[::1]", None));
        assert_eq!(Authority::parse("[::1]:80").unwrap().to_string(), "[::1]:80");
    }

    #[test]
    fn an_authority_that_is_more_or_less_is_refused() {
        for text in [
            "", ":80", "a, b", "a,b", "u@a", "u:p@a:80", "a/x", "a:80/x", "http://a", "a:", "a:0", "a:080", "a:+80",
            "a:65536", "a:80:80", "a: 80", " a", "a ", "a?x", "a#x", "::1:80", "[::1]80", "a\t",
        ] {
            assert_eq!(Authority::parse(text), Err(BadHost(text.to_owned())));
        }
    }

    #[test]
    fn wildcard_matches_exactly_one_more_label() {
        let wildcard = HostMatch::parse("*.Example.com").unwrap();
        assert_eq!(wildcard, HostMatch::Wildcard(host("example.com")));
        assert!(wildcard.matches(&host("a.example.com")));
        for other in ["example.com", "a.b.example.com", "aexample.com", "a.example.com.evil", "192.0.2.7"] {
            assert!(!wildcard.matches(&host(other)), "{other}");
        }
    }

    #[test]
    fn exact_matches_itself_and_any_matches_all() {
        let exact = HostMatch::parse("a.example").unwrap();
        assert!(exact.matches(&host("A.example.")) && !exact.matches(&host("b.a.example")));
        assert_eq!(HostMatch::parse(""), Ok(HostMatch::Any));
        assert!(HostMatch::Any.matches(&host("[::1]")));
    }

    #[test]
    fn a_wildcard_elsewhere_or_over_addresses_is_refused() {
        for text in ["*", "*.", "a.*.b", "*a.b", "*.*.b", "*.192.0.2.7", "*.[::1]", "a.b:80"] {
            assert_eq!(HostMatch::parse(text), Err(BadHost(text.to_owned())));
        }
    }

    #[test]
    fn order_is_precedence() {
        let mut hosts = ["", "*.b", "z.b", "a.b"].map(|text| HostMatch::parse(text).unwrap());
        hosts.sort();
        assert_eq!(hosts.map(|host| host.to_string()), ["a.b", "z.b", "*.b", "*"]);
    }

    #[test]
    fn an_error_shows_no_raw_control() {
        assert_eq!(Host::parse("a\r\nb").unwrap_err().to_string(), r"`a\r\nb` is not a host name");
    }
}
