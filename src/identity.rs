//! Who is asking: issuer and subject, and what the issuer said of them.

use std::collections::BTreeMap;
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

impl Email {
    /// Takes exactly one plain address (`local@domain`, dot-atoms only), lower-cased; anything else is none.
    pub fn parse(text: &str) -> Option<Self> {
        let _ = text;
        todo!()
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the `@`.
    pub fn domain(&self) -> &str {
        todo!()
    }
}

impl GroupKey {
    /// The key of a name.
    pub fn of(name: &str) -> Self {
        let _ = name;
        todo!()
    }
}

impl Groups {
    /// The groups of these names, order kept, duplicates dropped.
    pub fn new<I: IntoIterator<Item = S>, S: Into<Arc<str>>>(names: I) -> Self {
        let _ = names.into_iter().map(Into::into).collect::<Vec<Arc<str>>>();
        todo!()
    }

    /// The names, in the issuer's order.
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// The keys, sorted.
    pub fn keys(&self) -> &[GroupKey] {
        &self.keys
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
