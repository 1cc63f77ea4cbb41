//! Who is asking: issuer and subject, and what the issuer said of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// An issuer identifier, byte for byte as the provider writes it (OpenID Connect Core section 2, `iss`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Issuer(pub Arc<str>);

/// A subject identifier, unique within its issuer (OpenID Connect Core section 2, `sub`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Subject(pub Arc<str>);

/// Issuer and subject: the one key of a person. An e-mail address never is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// Who vouches.
    pub issuer: Issuer,
    /// For whom.
    pub subject: Subject,
}

/// An identity as the audit trail tells it: a JSON object of both.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told(Box<str>);

/// One e-mail address that the issuer has verified, ASCII-lower-cased.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email(Arc<str>);

/// The fingerprint of a group name (or any other text that rules compare byte for byte): the first 128 bits of its
/// BLAKE3 hash, so that a decision compares integers and never text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GroupKey(u128);

/// The groups of a principal: names as the issuer wrote them, and their sorted keys.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Groups {
    names: Arc<[Arc<str>]>,
    keys: Arc<[GroupKey]>,
}

/// An identity with what its issuer said of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Principal {
    /// The identity.
    pub identity: Identity,
    /// The verified e-mail address, where there is one.
    pub email: Option<Email>,
    /// The full name for display.
    pub name: Option<Arc<str>>,
    /// The short name by which the person likes to be called.
    pub preferred_username: Option<Arc<str>>,
    /// The groups.
    pub groups: Groups,
    /// The claims that a policy asks for, by claim path.
    pub claims: BTreeMap<String, serde_json::Value>,
}

impl Identity {
    /// For the audit trail.
    pub fn told(&self) -> Told {
        let json = serde_json::json!({"iss": self.issuer, "sub": self.subject});
        Told(json.to_string().into())
    }
}

impl Told {
    /// The JSON.
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

impl Email {
    /// Takes exactly one plain address (`local@domain`, dot-atoms only), lower-cased; anything else is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (local, domain) = text.split_once('@')?;
        (text.len() <= 254 && is_dot_atom(local) && is_domain(domain)).then(|| Self(text.to_ascii_lowercase().into()))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the `@`.
    pub fn domain(&self) -> &str {
        self.0.split_once('@').map_or("", |(_, domain)| domain)
    }
}

impl GroupKey {
    /// The key of a name.
    pub fn of(name: &str) -> Self {
        let hash = blake3::hash(name.as_bytes());
        let (half, _) = hash.as_bytes().split_first_chunk().expect("a BLAKE3 hash has 32 bytes");
        Self(u128::from_be_bytes(*half))
    }
}

impl Groups {
    /// The groups of these names, order kept, duplicates dropped.
    pub fn new<I: IntoIterator<Item = S>, S: Into<Arc<str>>>(names: I) -> Self {
        let mut keys = BTreeSet::new();
        let names =
            names.into_iter().map(Into::into).filter(|name: &Arc<str>| keys.insert(GroupKey::of(name))).collect();
        Self { names, keys: keys.into_iter().collect() }
    }

    /// The names, in the issuer's order.
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// The keys, sorted.
    pub fn keys(&self) -> &[GroupKey] {
        &self.keys
    }

    /// Whether the group is among them. Keys are hashes and so spread evenly: where one would be is known but for a few
    /// places.
    pub fn contains(&self, key: GroupKey) -> bool {
        let guess = ((key.0 >> 64) * self.keys.len() as u128) >> 64;
        let (below, above) = self.keys.split_at(guess as usize);
        above.iter().take_while(|other| **other <= key).any(|other| *other == key)
            || below.iter().rev().take_while(|other| **other >= key).any(|other| *other == key)
    }
}

impl From<String> for Issuer {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Issuer> for String {
    fn from(issuer: Issuer) -> Self {
        issuer.0.as_ref().to_owned()
    }
}

impl From<String> for Subject {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.0.as_ref().to_owned()
    }
}

impl TryFrom<String> for Email {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not one plain e-mail address")
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0.as_ref().to_owned()
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The local part without quotes and comments (RFC 5322 section 3.2.3, RFC 5321 section 4.5.3.1.1).
fn is_dot_atom(local: &str) -> bool {
    let is_atext = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    local.len() <= 64 && local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atext))
}

/// A DNS name in its ASCII form, no address literal.
fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = domain.rsplit('.').next().unwrap_or(domain);
    domain.split('.').all(is_label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_lower_cased() {
        let email = Email::parse("Alice.O'Neil+x@Sub.Example.COM").unwrap();
        assert_eq!((email.as_str(), email.domain()), ("alice.o'neil+x@sub.example.com", "sub.example.com"));
    }

    #[test]
    fn anything_but_one_plain_address_is_none() {
        let long_local = format!("{}@example.com", "a".repeat(65));
        let long_domain = format!("a@{}.com", ["a"; 126].join("."));
        for text in [
            "",
            "@",
            "alice",
            "alice@",
            "@example.com",
            "attacker@evil.com@company.com",
            "a@evil@company",
            "\"a@b\"@example.com",
            "\"alice\"@example.com",
            "alice(comment)@example.com",
            "alice@example.com(comment)",
            "Alice <alice@example.com>",
            "alice@example.com, bob@example.com",
            "alice@example.com;bob@example.com",
            " alice@example.com",
            "alice@example.com ",
            "alice@example.com\n",
            "alice\0@example.com",
            "alice@example.com\0.evil.com",
            "аlice@example.com",
            "alice@exаmple.com",
            ".alice@example.com",
            "alice.@example.com",
            "al..ice@example.com",
            "alice@example..com",
            "alice@.example.com",
            "alice@example.com.",
            "alice@-example.com",
            "alice@exa_mple.com",
            "alice@[192.0.2.7]",
            "alice@192.0.2.7",
            &long_local,
            &long_domain,
        ] {
            assert_eq!(Email::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_stored_address_is_parsed_again() {
        assert_eq!(serde_json::from_str::<Email>(r#""A@b.c""#).unwrap(), Email("a@b.c".into()));
        assert!(serde_json::from_str::<Email>(r#""a@b@c""#).is_err());
    }

    #[test]
    fn groups_keep_their_order_and_drop_duplicates() {
        let groups = Groups::new(["staff", "admins", "staff", "Staff"]);
        let mut keys = ["staff", "admins", "Staff"].map(GroupKey::of);
        keys.sort();
        assert_eq!(groups.names(), ["staff", "admins", "Staff"].map(Arc::from));
        assert_eq!(groups.keys(), keys);
    }

    #[test]
    fn a_group_is_found_among_few_and_among_many() {
        for count in [0, 1, 2, 50, 1000] {
            let name = |at| format!("group-{at}");
            let groups = Groups::new((0..count).map(name));
            assert!((0..count).all(|at| groups.contains(GroupKey::of(&name(at)))));
            assert!(!(count..count + 100).any(|at| groups.contains(GroupKey::of(&name(at)))));
        }
        let edges = Groups { names: Arc::default(), keys: [GroupKey(0), GroupKey(1), GroupKey(u128::MAX)].into() };
        assert_eq!(
            [0, 1, 2, u128::MAX - 1, u128::MAX].map(|key| edges.contains(GroupKey(key))),
            [true, true, false, false, true]
        );
    }

    #[test]
    fn a_key_is_the_first_half_of_the_blake3_hash() {
        assert_eq!(GroupKey::of(""), GroupKey(0xaf13_49b9_f5f9_a1a6_a040_4dea_36dc_c949));
    }
}
