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
    /// Until when one process alone may refresh it.
    pub(super) claimed: Option<Timestamp>,
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
    nonce: String,
    issued: Timestamp,
    expires: Timestamp,
    refresh_claimed: Option<Timestamp>,
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
        let NewSession { principal, provider, host, lifetimes, sid, acr, amr, auth_time, nonce, tokens } =
            content.of.clone();
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
            nonce: nonce.expose().clone(),
            issued: content.issued,
            expires: content.expires,
            refresh_claimed: content.claimed,
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
            nonce: Secret::new(self.nonce),
            tokens,
        };
        Some(Content { of, issued: self.issued, expires: self.expires, claimed: self.refresh_claimed })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::{HOUR, seconds, sign_in, start};

    fn content() -> Content {
        Content {
            of: sign_in(),
            issued: start(),
            expires: start() + seconds(8 * 3600),
            claimed: Some(start() + seconds(30)),
        }
    }

    /// The plain text of a record, changed, sealed again as if it were ours.
    fn resealed(ring: &KeyRing, key: RecordKey, change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
        let plain = ring.open(Purpose::Session, &key.to_string(), &seal(ring, key, &content())).unwrap();
        let mut record = serde_json::from_slice(plain.expose()).unwrap();
        change(&mut record);
        ring.seal(Purpose::Session, &key.to_string(), &serde_json::to_vec(&record).unwrap())
    }

    #[test]
    fn a_record_gives_back_the_session_whole() {
        let ring = KeyRing::generate();
        let key = RecordKey([1; 32]);
        assert_eq!(open(&ring, key, &seal(&ring, key, &content())), Ok(content()));

        let bare = Content {
            of: NewSession {
                sid: None,
                acr: None,
                amr: Vec::new(),
                auth_time: None,
                tokens: Tokens::default(),
                lifetimes: Lifetimes { absolute: HOUR, idle: HOUR },
                ..sign_in()
            },
            claimed: None,
            ..content()
        };
        assert_eq!(open(&ring, key, &seal(&ring, key, &bare)), Ok(bare));
    }

    #[test]
    fn a_record_does_not_open_in_the_place_of_another() {
        let ring = KeyRing::generate();
        let sealed = seal(&ring, RecordKey([1; 32]), &content());
        assert_eq!(open(&ring, RecordKey([2; 32]), &sealed), Err(DoesNotOpen));
    }

    #[test]
    fn a_record_of_another_version_or_with_unknown_parts_does_not_open() {
        let ring = KeyRing::generate();
        let key = RecordKey([1; 32]);
        assert!(open(&ring, key, &resealed(&ring, key, |_| {})).is_ok());
        let next = resealed(&ring, key, |record| record["version"] = 2.into());
        assert_eq!(open(&ring, key, &next), Err(DoesNotOpen));
        let more = resealed(&ring, key, |record| record["admin"] = true.into());
        assert_eq!(open(&ring, key, &more), Err(DoesNotOpen));
        let email = resealed(&ring, key, |record| record["email"] = "not an address".into());
        assert_eq!(open(&ring, key, &email), Err(DoesNotOpen));
    }

    #[test]
    fn nothing_of_a_session_is_readable_in_its_record() {
        let ring = KeyRing::generate();
        let sealed = seal(&ring, RecordKey([1; 32]), &content());
        for canary in ["jane", "example.com", "24400320", "staff", "first", "sid-1", "the nonce"] {
            assert!(!sealed.windows(canary.len()).any(|part| part == canary.as_bytes()), "{canary}");
        }
    }

    #[test]
    fn a_printed_session_hides_its_tokens() {
        let printed = format!("{:?}", content());
        for secret in ["first", "the id token", "the nonce"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
}
