use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::host::Host;
use crate::identity::{Groups, Identity, Principal};
use crate::seal::{FakeApi, KeyRing, KeyState, Refusal};
use crate::secret::Secret;
use crate::session::{Begun, Lifetimes, Lookup, MemoryStore, NewSession, Store, TicketState, Tokens};

const NAMESPACE: &str = "portcullis";
const HOST: &str = "app.example.com";

/// A replica: its keeper, its sessions in a store that it shares, and what its keeper says.
struct Replica {
    keeper: Keeper,
    sessions: Sessions,
    told: watch::Receiver<Option<Finding>>,
}

impl Replica {
    async fn start(api: &FakeApi, store: &Arc<MemoryStore>) -> Self {
        let (client, clock) = (api.client(), Clock::manual("2026-03-01T12:00:00Z".parse().unwrap()));
        let known = first(&client, NAMESPACE).await;
        let ring = known.as_ref().map(|stored| stored.ring.clone());
        let store: Arc<dyn Store> = store.clone();
        let (control, staleness) = (tokio::runtime::Handle::current(), Duration::from_secs(600));
        let sessions = Sessions::new(ring, store, clock.clone(), control, staleness);
        let (keeper, told) = Keeper::new(client, NAMESPACE.to_owned(), sessions.clone(), clock, known);
        Self { keeper, sessions, told }
    }

    /// The cookie of somebody who signs in here.
    async fn sign_in(&self) -> String {
        let Begun { session, ticket } = self.sessions.begin(jane()).await.unwrap();
        let cookie = self.sessions.cookie(&session, &ticket);
        cookie.split(';').next().unwrap().to_owned()
    }

    /// Whether who has this cookie is signed in.
    async fn knows(&self, cookie: &str) -> bool {
        let host = Host::parse(HOST).unwrap();
        let TicketState::Valid(ticket) = self.sessions.ticket(&host, [cookie.as_bytes()]) else { return false };
        match self.sessions.lookup(&ticket) {
            Lookup::Live(_) => true,
            Lookup::Gone => false,
            Lookup::Unknown => self.sessions.load(&ticket).await.unwrap().is_some(),
        }
    }
}

fn jane() -> NewSession {
    NewSession {
        principal: Principal {
            identity: Identity { issuer: "https://id.example".to_owned().into(), subject: somebody_new().into() },
            email: None,
            name: None,
            preferred_username: None,
            groups: Groups::default(),
            claims: [].into(),
        },
        provider: "corp".to_owned(),
        host: Host::parse(HOST).unwrap(),
        lifetimes: Lifetimes { absolute: Duration::from_secs(3600), idle: Duration::from_secs(3600) },
        sid: None,
        acr: None,
        amr: Vec::new(),
        auth_time: None,
        nonce: Secret::new(String::new()),
        tokens: Tokens::default(),
    }
}

/// A subject of its own for each sign-in, since one person has but so many sessions.
fn somebody_new() -> String {
    data_encoding::HEXLOWER.encode(&crate::seal::random::<8>())
}

async fn stored(api: &FakeApi) -> StoredRing {
    StoredRing::read(api.client(), NAMESPACE, SECRET).await.unwrap()
}

/// As `portcullis keys rotate` does.
async fn rotate(api: &FakeApi) {
    let stored = stored(api).await;
    let pending = stored.ring.with_pending("2026-03-01T12:00:00Z".parse().unwrap()).unwrap();
    stored.replace(api.client(), &pending).await.unwrap();
}

/// The epoch that seals.
fn active(ring: &KeyRing) -> u8 {
    ring.keys().iter().find(|key| key.state == KeyState::Active).unwrap().epoch
}

#[tokio::test]
async fn a_rotation_signs_nobody_out_at_any_replica_at_any_moment() {
    let (api, store) = (FakeApi::default(), Arc::default());
    let mut leader = Replica::start(&api, &store).await;
    let mut follower = Replica::start(&api, &store).await;
    let mut cookies = vec![leader.sign_in().await, follower.sign_in().await];
    rotate(&api).await;
    let start = Instant::now();
    for second in 0..50 {
        let now = start + Duration::from_secs(second);
        // Neither reads at the same time as the other.
        if second % 5 == 0 {
            leader.keeper.look(true, now).await;
        } else if second % 5 == 2 {
            follower.keeper.look(false, now).await;
        }
        cookies.push(leader.sign_in().await);
        cookies.push(follower.sign_in().await);
        for cookie in &cookies {
            assert!(leader.knows(cookie).await && follower.knows(cookie).await, "second {second}");
        }
    }
    let ring = stored(&api).await.ring;
    assert_eq!((active(&ring), ring.has_pending()), (2, false));
    assert_eq!(leader.sessions.keys().unwrap().serialize(), ring.serialize());
    assert_eq!(follower.sessions.keys().unwrap().serialize(), ring.serialize());
}

#[tokio::test]
async fn pending_keys_are_used_by_the_leader_alone_and_not_before_all_have_read_them() {
    let (api, store) = (FakeApi::default(), Arc::default());
    let mut replica = Replica::start(&api, &store).await;
    rotate(&api).await;
    let start = Instant::now();
    for (leading, after, expected) in [(true, 0, 1), (true, 29, 1), (false, 40, 1), (true, 40, 2)] {
        replica.keeper.look(leading, start + Duration::from_secs(after)).await;
        assert_eq!(active(&stored(&api).await.ring), expected, "leading: {leading}, after {after} s");
    }
}

#[tokio::test]
async fn a_retired_key_opens_nothing_any_more() {
    let (api, store) = (FakeApi::default(), Arc::default());
    let mut replica = Replica::start(&api, &store).await;
    let old = replica.sign_in().await;
    rotate(&api).await;
    let start = Instant::now();
    for after in [0, 30] {
        replica.keeper.look(true, start + Duration::from_secs(after)).await;
    }
    let new = replica.sign_in().await;
    let before = stored(&api).await;
    let retired = before.ring.retired(jiff::Timestamp::MAX);
    before.replace(api.client(), &retired).await.unwrap();
    replica.keeper.look(false, start).await;
    assert_eq!((replica.knows(&old).await, replica.knows(&new).await), (false, true));
}

#[tokio::test]
async fn a_ring_that_cannot_be_read_closes_sign_in_is_told_and_stays_as_it_is() {
    let (api, store) = (FakeApi::default(), Arc::default());
    let mut replica = Replica::start(&api, &store).await;
    let cookie = replica.sign_in().await;
    let good = api.secrets().remove(0);
    let mut broken = good.clone();
    broken["data"] = json!({"ring": data_encoding::BASE64.encode(b"rubbish")});
    api.put(broken);
    let rests = api.secrets();
    for leading in [true, false] {
        replica.keeper.look(leading, Instant::now()).await;
        assert!(replica.sessions.keys().is_err() && replica.sessions.begin(jane()).await.is_err());
        assert!(replica.knows(&cookie).await, "who is signed in goes on");
        let told = replica.told.borrow().clone().unwrap();
        assert_eq!(
            (told.reason, told.object.name.to_string().as_str()),
            ("KeyRingUnreadable", "portcullis/portcullis-keys")
        );
        assert!(told.message.contains("nobody can sign in") && told.remedy.contains("backup"), "{told:?}");
    }
    assert_eq!(api.secrets(), rests, "it is never replaced");

    // A replica that starts now has nothing to open cookies by, and takes nobody for anonymous.
    let mut fresh = Replica::start(&api, &store).await;
    fresh.keeper.look(false, Instant::now()).await;
    assert!(fresh.sessions.begin(jane()).await.is_err());
    let seen = fresh.sessions.ticket(&Host::parse(HOST).unwrap(), [cookie.as_bytes()]);
    assert_eq!(seen, TicketState::Unreadable);

    api.put(good);
    for replica in [&mut replica, &mut fresh] {
        replica.keeper.look(false, Instant::now()).await;
        assert_eq!(*replica.told.borrow(), None);
        assert!(replica.knows(&cookie).await);
        assert!(replica.sessions.begin(jane()).await.is_ok());
    }
}

#[tokio::test]
async fn an_api_server_that_does_not_answer_changes_nothing() {
    let (api, store) = (FakeApi::default(), Arc::default());
    let mut replica = Replica::start(&api, &store).await;
    api.refuse([Refusal::Status(500, "no"), Refusal::Reset]);
    for _ in 0..2 {
        replica.keeper.look(true, Instant::now()).await;
        assert!(replica.sessions.keys().is_ok() && replica.told.borrow().is_none());
    }
}
