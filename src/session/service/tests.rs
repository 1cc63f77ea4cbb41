use std::sync::atomic::Ordering;

use super::*;
use crate::session::tests::{Faulty, HOUR, host, principal, replica, seconds, sign_in, start};
use crate::session::{Lifetimes, Tokens, Version};

mod store;

fn is_live(lookup: &Lookup) -> bool {
    matches!(lookup, Lookup::Live(_))
}

fn is_gone(lookup: &Lookup) -> bool {
    matches!(lookup, Lookup::Gone)
}

fn is_unknown(lookup: &Lookup) -> bool {
    matches!(lookup, Lookup::Unknown)
}

fn is_unreachable<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unreachable(_)))
}

/// The record as the store has it.
async fn stored(store: &Faulty, session: &Session) -> StoredRecord {
    store.inner.read(session.key).await.unwrap().unwrap()
}

/// Puts other bytes into a record, as whoever may write Secrets could.
async fn overwrite(store: &Faulty, session: &Session, sealed: Vec<u8>) -> StoredRecord {
    let record = stored(store, session).await;
    store.inner.replace(session.key, record.version, sealed, record.expires).await.unwrap();
    stored(store, session).await
}

async fn ends_now(sessions: &Sessions, session: &Session) {
    tokio::time::timeout(Duration::from_secs(30), sessions.ended(session, 8 * HOUR))
        .await
        .expect("the session has ended");
}

#[tokio::test]
async fn a_session_is_live_from_sign_in_to_sign_out() {
    let (ring, store) = (KeyRing::generate(), Arc::default());
    let (sessions, _) = replica(&ring, &store);
    let Begun { session, ticket } = sessions.begin(sign_in()).await.unwrap();
    assert_eq!((&session.of, session.issued, session.expires), (&sign_in(), start(), start() + seconds(8 * 3600)));

    let Lookup::Live(found) = sessions.lookup(&ticket) else { panic!("it has just begun") };
    assert!(Arc::ptr_eq(&found, &session));

    sessions.end(&ticket).await.unwrap();
    assert!(is_gone(&sessions.lookup(&ticket)));
    assert!(sessions.load(&ticket).await.unwrap().is_none());
    assert_eq!(store.inner.read(session.key).await.unwrap(), None);
    ends_now(&sessions, &session).await;
}

#[tokio::test]
async fn every_sign_in_gets_a_handle_of_its_own() {
    let (sessions, _) = replica(&KeyRing::generate(), &Arc::default());
    let one = sessions.begin(sign_in()).await.unwrap();
    let two = sessions.begin(sign_in()).await.unwrap();
    assert_ne!(one.ticket, two.ticket);
    assert_ne!(one.session.key, two.session.key);
}

#[tokio::test]
async fn somebody_with_too_many_sessions_loses_the_oldest_and_nobody_else_does() {
    let store = Arc::default();
    let (sessions, clock) = replica(&KeyRing::generate(), &store);
    let mut other = sign_in();
    other.principal.identity.subject = "somebody-else".to_owned().into();
    let other = sessions.begin(other).await.unwrap();
    let mut theirs = Vec::new();
    for _ in 0..MAX_OF_A_PERSON {
        clock.advance(seconds(1));
        theirs.push(sessions.begin(sign_in()).await.unwrap());
    }
    assert!(theirs.iter().all(|begun| is_live(&sessions.lookup(&begun.ticket))));
    clock.advance(seconds(1));
    let last = sessions.begin(sign_in()).await.unwrap();
    let (oldest, newer) = theirs.split_first().unwrap();
    assert!(is_gone(&sessions.lookup(&oldest.ticket)));
    ends_now(&sessions, &oldest.session).await;
    assert_eq!(store.inner.read(oldest.session.key).await.unwrap(), None);
    assert!(newer.iter().chain([&last, &other]).all(|begun| is_live(&sessions.lookup(&begun.ticket))));
}

#[tokio::test]
async fn another_process_opens_the_session_from_the_store() {
    let (ring, store) = (KeyRing::generate(), Arc::default());
    let (first, _) = replica(&ring, &store);
    let (second, _) = replica(&ring, &store);
    let Begun { ticket, .. } = first.begin(sign_in()).await.unwrap();
    assert!(is_unknown(&second.lookup(&ticket)));
    let loaded = second.load(&ticket).await.unwrap().expect("it is in the store");
    assert_eq!(loaded.of, sign_in());
    assert!(is_live(&second.lookup(&ticket)));
}

#[tokio::test]
async fn fifty_who_ask_at_once_cost_one_read() {
    let (ring, store) =
        (KeyRing::generate(), Arc::new(Faulty { gate: Some(tokio::sync::Semaphore::new(0)), ..Faulty::default() }));
    let (first, _) = replica(&ring, &store);
    let (second, _) = replica(&ring, &store);
    let Begun { ticket, .. } = first.begin(sign_in()).await.unwrap();
    let loads = futures_util::future::join_all((0..50).map(|_| second.load(&ticket)));
    let open = async { store.gate.as_ref().unwrap().add_permits(50) };
    let (loaded, ()) = tokio::join!(loads, open);
    assert!(loaded.into_iter().all(|session| session.unwrap().is_some()));
    assert_eq!(store.reads.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_session_without_requests_idles_out() {
    let (sessions, clock) = replica(&KeyRing::generate(), &Arc::default());
    let Begun { ticket, .. } = sessions.begin(sign_in()).await.unwrap();
    clock.advance(seconds(3600));
    assert!(is_live(&sessions.lookup(&ticket)));
    clock.advance(seconds(1));
    assert!(is_gone(&sessions.lookup(&ticket)));
    assert!(sessions.load(&ticket).await.unwrap().is_none());
}

#[tokio::test]
async fn a_used_session_lives_to_its_absolute_end_and_no_longer() {
    let (ring, store) = (KeyRing::generate(), Arc::default());
    let (sessions, clock) = replica(&ring, &store);
    let Begun { session, mut ticket } = sessions.begin(sign_in()).await.unwrap();
    for _ in 0..8 * 4 - 1 {
        clock.advance(seconds(900));
        let renewed =
            sessions.renewal(&session, &ticket, HOUR, clock.now()).expect("a quarter of an hour is old enough");
        let value = renewed.split_once('=').unwrap().1.split(';').next().unwrap();
        ticket = Ticket::parse(&ring, &host("app.example.com"), value.as_bytes()).unwrap();
        assert!(is_live(&sessions.lookup(&ticket)));
    }
    clock.advance(seconds(900));
    assert!(is_gone(&sessions.lookup(&ticket)));
    assert!(sessions.load(&ticket).await.unwrap().is_none());
}

#[tokio::test]
async fn a_ticket_is_renewed_every_five_minutes_or_four_times_in_a_short_idle_time() {
    let (sessions, clock) = replica(&KeyRing::generate(), &Arc::default());
    let long = sessions.begin(sign_in()).await.unwrap();
    let idle = Duration::from_secs(240);
    let short =
        sessions.begin(NewSession { lifetimes: Lifetimes { absolute: 8 * HOUR, idle }, ..sign_in() }).await.unwrap();
    let renews = |begun: &Begun| sessions.renewal(&begun.session, &begun.ticket, HOUR, clock.now()).is_some();
    let renews_at_strict_route = || sessions.renewal(&long.session, &long.ticket, idle, clock.now()).is_some();
    clock.advance(seconds(59));
    assert_eq!((renews(&long), renews(&short), renews_at_strict_route()), (false, false, false));
    clock.advance(seconds(1));
    assert_eq!((renews(&long), renews(&short), renews_at_strict_route()), (false, true, true));
    clock.advance(seconds(240));
    assert_eq!((renews(&long), renews(&short)), (true, true));
}

#[tokio::test]
async fn a_cookie_lasts_no_longer_than_its_session() {
    let (sessions, clock) = replica(&KeyRing::generate(), &Arc::default());
    let Begun { session, ticket } = sessions.begin(sign_in()).await.unwrap();
    clock.advance(seconds(1000));
    let left = 8 * 3600 - 1000;
    assert!(sessions.cookie(&session, &ticket).contains(&format!("; Max-Age={left}; ")));
}

#[tokio::test]
async fn a_record_edited_by_one_byte_is_nobodys_session() {
    let (ring, store) = (KeyRing::generate(), Arc::default());
    let (first, _) = replica(&ring, &store);
    let Begun { session, ticket } = first.begin(sign_in()).await.unwrap();
    let good = stored(&store, &session).await.sealed;
    for at in [0, 1, 2, 20, 60, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        overwrite(&store, &session, bad).await;
        let (second, _) = replica(&ring, &store);
        assert!(second.load(&ticket).await.unwrap().is_none(), "byte {at}");
        assert!(is_gone(&second.lookup(&ticket)), "byte {at}");
    }
}

#[tokio::test]
async fn a_record_swapped_with_anothers_is_nobodys_session() {
    let (ring, store) = (KeyRing::generate(), Arc::default());
    let (first, _) = replica(&ring, &store);
    let mine = first.begin(sign_in()).await.unwrap();
    let mut other = principal();
    other.identity.subject = "another".to_owned().into();
    let theirs = first.begin(NewSession { principal: other, ..sign_in() }).await.unwrap();
    let sealed = stored(&store, &theirs.session).await.sealed;
    overwrite(&store, &mine.session, sealed).await;
    let (second, _) = replica(&ring, &store);
    assert!(second.load(&mine.ticket).await.unwrap().is_none());
    assert!(second.load(&theirs.ticket).await.unwrap().is_some(), "its own place is untouched");
}

#[tokio::test]
async fn an_edit_of_a_cached_session_ends_it_and_its_repair_begins_it_again() {
    let (ring, store) = (KeyRing::generate(), Arc::new(Faulty::watched()));
    let (sessions, _) = replica(&ring, &store);
    let Begun { session, ticket } = sessions.begin(sign_in()).await.unwrap();
    sessions.0.apply(Change::Current);
    let good = stored(&store, &session).await.sealed;
    let edited = overwrite(&store, &session, b"rubbish".to_vec()).await;
    sessions.0.apply(Change::Put(session.key, edited));
    assert!(is_gone(&sessions.lookup(&ticket)));
    ends_now(&sessions, &session).await;
    let repaired = overwrite(&store, &session, good).await;
    sessions.0.apply(Change::Put(session.key, repaired));
    assert!(is_live(&sessions.lookup(&ticket)));
}

#[tokio::test]
async fn an_expired_session_ends_what_lives_by_it() {
    let (sessions, clock) = replica(&KeyRing::generate(), &Arc::default());
    let Begun { session, ticket } = sessions.begin(sign_in()).await.unwrap();
    clock.advance(seconds(8 * 3600));
    sessions.0.cache.tidy(clock.now());
    ends_now(&sessions, &session).await;
    assert!(sessions.load(&ticket).await.unwrap().is_none(), "its record may still be there");
}

#[tokio::test]
async fn a_live_session_does_not_end_by_itself() {
    let (sessions, clock) = replica(&KeyRing::generate(), &Arc::default());
    let Begun { session, .. } = sessions.begin(sign_in()).await.unwrap();
    sessions.0.cache.tidy(clock.now());
    let ended = tokio::time::timeout(Duration::from_millis(50), sessions.ended(&session, 8 * HOUR)).await;
    assert!(ended.is_err());
}

#[tokio::test]
async fn what_lives_by_a_session_ends_with_the_lifetime_of_a_stricter_route() {
    let (sessions, clock) = replica(&KeyRing::generate(), &Arc::default());
    let Begun { session, .. } = sessions.begin(sign_in()).await.unwrap();
    clock.advance(seconds(3600));
    let at_route = |lifetime| tokio::time::timeout(Duration::from_millis(50), sessions.ended(&session, lifetime));
    assert!(at_route(HOUR).await.is_ok());
    assert!(at_route(2 * HOUR).await.is_err());
}

#[tokio::test]
async fn a_full_cache_makes_room_and_asks_the_store_for_what_left() {
    let (ring, store) = (KeyRing::generate(), Arc::new(Faulty::watched()));
    let (sessions, clock) = replica(&ring, &store);
    let cache = Cache::new(2);
    cache.believe(Timestamp::MAX);
    let mut held = None;
    for _ in 0..4 {
        let Begun { session, .. } = sessions.begin(sign_in()).await.unwrap();
        let record = stored(&store, &session).await;
        let content = record::open(&ring, session.key, &record.sealed).unwrap();
        let put = cache.put(Session::open(session.key, record.version, content)).unwrap();
        held.get_or_insert(put);
    }
    let held = held.unwrap();
    assert!(matches!(cache.find(held.key, clock.now()), Cached::Live(_)), "what is in use stays");
    assert!(matches!(cache.find(RecordKey([0; 32]), clock.now()), Cached::Unknown), "not all is here any more");
    cache.believe(Timestamp::MAX);
    assert!(matches!(cache.find(RecordKey([0; 32]), clock.now()), Cached::Unknown), "nor after the next word");
    cache.begin_reset();
    cache.believe(Timestamp::MAX);
    assert!(matches!(cache.find(RecordKey([0; 32]), clock.now()), Cached::Untold), "a new list is whole");
}

#[tokio::test]
async fn the_last_handle_ends_the_tasks() {
    let (sessions, _) = replica(&KeyRing::generate(), &Arc::new(Faulty::watched()));
    let weak = Arc::downgrade(&sessions.0);
    drop(sessions);
    assert!(weak.upgrade().is_none());
}

#[tokio::test]
async fn a_session_without_tokens_is_never_due() {
    let (sessions, clock) = replica(&KeyRing::generate(), &Arc::default());
    let Begun { session, .. } = sessions.begin(NewSession { tokens: Tokens::default(), ..sign_in() }).await.unwrap();
    clock.advance(seconds(8 * 3600));
    assert!(!session.refresh_due(clock.now()));
}
