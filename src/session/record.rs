//! The session record, version 1: what rests sealed in a store. An e-mail address is in it only once verified.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::identity::{Email, Groups, Identity, Principal};
use crate::seal::{DoesNotOpen, KeyRing, Purpose};
use crate::secret::Secret;

use super::{Lifetimes, NewSession, RecordKey, Tokens};

const VERSION: u32 = 1;

/// A session's content with its ends.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Content {
    pub(super) of: NewSession,
    pub(super) issued: Timestamp,
    pub(super) expires: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: u32,
    #[serde(flatten)]
    identity: Identity,
    email: Option<Email>,
    name: Option<String>,
    preferred_username: Option<String>,
    groups: Vec<String>,
    claims: BTreeMap<String, serde_json::Value>,
    provider: String,
    host: String,
    lifetimes: Lifetimes,
    sid: Option<String>,
    acr: Option<String>,
    amr: Vec<String>,
    auth_time: Option<Timestamp>,
    issued: Timestamp,
    expires: Timestamp,
    #[serde(with = "exposed")]
    refresh_token: Option<Secret<String>>,
    access_expires: Option<Timestamp>,
    #[serde(with = "exposed")]
    id_token: Option<Secret<String>>,
}

/// Seals a session for the record of `key`.
pub(super) fn seal(ring: &KeyRing, key: RecordKey, content: &Content) -> Vec<u8> {
    let plain = serde_json::to_vec(&Record::from(content)).expect("strings, numbers and times are JSON");
    ring.seal(Purpose::Session, &key.to_string(), Secret::new(plain).expose())
}

/// Opens the record of `key`; a record that opens but is none of version 1 is refused alike.
pub(super) fn open(ring: &KeyRing, key: RecordKey, sealed: &[u8]) -> Result<Content, DoesNotOpen> {
    let plain = ring.open(Purpose::Session, &key.to_string(), sealed)?;
    let record: Record = serde_json::from_slice(plain.expose()).map_err(|_| DoesNotOpen)?;
    record.content().ok_or(DoesNotOpen)
}

impl From<&Content> for Record {
    fn from(content: &Content) -> Self {
        let NewSession { principal, provider, host, lifetimes, sid, acr, amr, auth_time, tokens } = content.of.clone();
        Self {
            version: VERSION,
            groups: principal.groups.names().iter().map(ToString::to_string).collect(),
            identity: principal.identity,
            email: principal.email,
            name: principal.name.as_deref().map(str::to_owned),
            preferred_username: principal.preferred_username.as_deref().map(str::to_owned),
            claims: principal.claims,
            provider,
            host: host.as_str().to_owned(),
            lifetimes,
            sid,
            acr,
            amr,
            auth_time,
            issued: content.issued,
            expires: content.expires,
            refresh_token: tokens.refresh,
            access_expires: tokens.access_expires,
            id_token: tokens.id_token,
        }
    }
}

impl Record {
    fn content(self) -> Option<Content> {
        if self.version != VERSION {
            return None;
        }
        let principal = Principal {
            identity: self.identity,
            email: self.email,
            name: self.name.map(Into::into),
            preferred_username: self.preferred_username.map(Into::into),
            groups: Groups::new(self.groups),
            claims: self.claims,
        };
        let tokens =
            Tokens { refresh: self.refresh_token, access_expires: self.access_expires, id_token: self.id_token };
        let of = NewSession {
            principal,
            provider: self.provider,
            host: Host::parse(&self.host).ok()?,
            lifetimes: self.lifetimes,
            sid: self.sid,
            acr: self.acr,
            amr: self.amr,
            auth_time: self.auth_time,
            tokens,
        };
        Some(Content { of, issued: self.issued, expires: self.expires })
    }
}

/// A secret as plain text, for the inside of a sealed record alone.
mod exposed {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Secret;

    pub(super) fn serialize<S: Serializer>(secret: &Option<Secret<String>>, to: S) -> Result<S::Ok, S::Error> {
        secret.as_ref().map(Secret::expose).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret<String>>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(Secret::new))
    }
}
