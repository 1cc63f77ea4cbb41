//! The sessions of a store as an administrator sees them: whose, where and how long, and never a token.

use jiff::Timestamp;

use crate::host::Host;
use crate::identity::Principal;
use crate::seal::KeyRing;

use super::record::{self, Content};
use super::{RecordKey, Store, StoreError};

/// A session as it rests.
#[derive(Clone, PartialEq, Debug)]
pub struct Resting {
    /// The key of its record.
    pub key: RecordKey,
    /// Whose it is.
    pub principal: Principal,
    /// The provider by name.
    pub provider: String,
    /// The host that it is for.
    pub host: Host,
    /// When it began.
    pub issued: Timestamp,
    /// When it ends, whatever happens.
    pub expires: Timestamp,
}

/// All sessions of a store.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Roster {
    /// Those that are not over, by their ends.
    pub sessions: Vec<Resting>,
    /// How many records the ring does not open: nobody's sessions.
    pub unreadable: usize,
}

impl Roster {
    /// Reads and opens all records.
    pub async fn read(store: &dyn Store, ring: &KeyRing, now: Timestamp) -> Result<Self, StoreError> {
        let mut roster = Self::default();
        for (key, stored) in store.list().await? {
            match record::open(ring, key, &stored.sealed) {
                Ok(content) if content.expires > now => roster.sessions.push(Resting::new(key, content)),
                Ok(_) => {}
                Err(_) => roster.unreadable += 1,
            }
        }
        roster.sessions.sort_by_key(|session| (session.expires, session.key));
        Ok(roster)
    }
}

impl Resting {
    fn new(key: RecordKey, Content { of, issued, expires, .. }: Content) -> Self {
        Self { key, principal: of.principal, provider: of.provider, host: of.host, issued, expires }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::MemoryStore;
    use crate::session::tests::{host, principal, seconds, sign_in, start};

    #[tokio::test]
    async fn what_is_over_or_does_not_open_is_nobodys_session() {
        let (ring, store) = (KeyRing::generate(), MemoryStore::default());
        let end = start() + seconds(600);
        for (first, ring, expires) in [(1, &ring, end), (2, &ring, start()), (3, &KeyRing::generate(), end)] {
            let key = RecordKey([first; 32]);
            let content = Content { of: sign_in(), issued: start(), expires, claimed: None };
            store.create(key, record::seal(ring, key, &content), end).await.unwrap();
        }
        let expected = Resting {
            key: RecordKey([1; 32]),
            principal: principal(),
            provider: "corp".to_owned(),
            host: host("app.example.com"),
            issued: start(),
            expires: end,
        };
        let roster = Roster::read(&store, &ring, start()).await.unwrap();
        assert_eq!(roster, Roster { sessions: vec![expected], unreadable: 1 });
    }
}
