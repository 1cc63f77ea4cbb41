use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;

use super::*;
use crate::clock::Clock;
use crate::identity::Groups;
use crate::seal::KeyRing;
use crate::session::tests::{Faulty, HOUR, principal, replica, seconds, sign_in, start, tokens};
use crate::session::{Begun, Lookup, Store, Version};

/// A replica a minute before the access token of its one session ends.
async fn due(store: &Arc<Faulty>) -> (Sessions, Clock, Begun) {
    let (sessions, clock) = replica(&KeyRing::generate(), store);
    let begun = sessions.begin(sign_in()).await.unwrap();
    assert!(!begun.session.refresh_due(start() + seconds(539)));
    clock.advance(seconds(540));
    assert!(begun.session.refresh_due(clock.now()));
    (sessions, clock, begun)
}

fn renewed(refresh_token: &str, access_expires: Timestamp) -> Refresh {
    let principal = Principal { groups: Groups::new(["new"]), ..principal() };
    Refresh::Renewed(Box::new(Renewed { principal, tokens: tokens(refresh_token, access_expires) }))
}

fn token(session: &Session) -> &str {
    session.of.tokens.refresh.as_ref().unwrap().expose()
}

fn live(sessions: &Sessions, begun: &Begun) -> Arc<Session> {
    let Lookup::Live(session) = sessions.lookup(&begun.ticket) else { panic!("the session is live") };
    session
}

/// Refreshes past the end of the access token, so that the call waits for the answer.
async fn refresh(sessions: &Sessions, clock: &Clock, begun: &Begun, answer: Refresh) -> (Option<Arc<Session>>, usize) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let session = live(sessions, begun);
    while clock.now() < start() + seconds(600) {
        clock.advance(seconds(60));
    }
    let gone_on = sessions
        .refreshed(&session, |_| async move {
            counted.fetch_add(1, Ordering::Relaxed);
            answer
        })
        .await;
    (gone_on, calls.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_refresh_is_stored_and_seen_by_every_replica() {
    let ring = KeyRing::generate();
    let store = Arc::default();
    let (sessions, clock) = replica(&ring, &store);
    let begun = sessions.begin(sign_in()).await.unwrap();
    let (session, calls) = refresh(&sessions, &clock, &begun, renewed("second", start() + seconds(1200))).await;
    let session = session.unwrap();
    assert_eq!((token(&session), calls), ("second", 1));
    assert_eq!(session.headers.groups.as_ref().unwrap(), "new");
    assert!(!session.refresh_due(clock.now()));
    assert!(Arc::ptr_eq(&live(&sessions, &begun), &session));
    assert!(session.expires == begun.session.expires && session.issued == begun.session.issued, "its end stays");

    let (other, _) = replica(&ring, &store);
    let loaded = other.load(&begun.ticket).await.unwrap().unwrap();
    assert_eq!(loaded.of, session.of);
}

#[tokio::test]
async fn fifty_at_the_moment_of_refresh_cost_one_call_and_none_fails() {
    let store = Arc::default();
    let (sessions, clock, begun) = due(&store).await;
    clock.advance(seconds(60));
    let calls = Arc::new(AtomicUsize::new(0));
    let asked = Arc::new(tokio::sync::Semaphore::new(0));
    let callers = (0..50).map(|_| {
        let (sessions, session) = (sessions.clone(), Arc::clone(&begun.session));
        let (calls, asked) = (Arc::clone(&calls), Arc::clone(&asked));
        let answer = move |_| async move {
            calls.fetch_add(1, Ordering::Relaxed);
            asked.acquire().await.unwrap().forget();
            renewed("second", start() + seconds(1200))
        };
        async move { sessions.refreshed(&session, answer).await }
    });
    let answer = async {
        while calls.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        asked.add_permits(50);
    };
    let (refreshed, ()) = tokio::join!(futures_util::future::join_all(callers), answer);
    assert!(refreshed.iter().all(|session| token(session.as_ref().unwrap()) == "second"));
    assert_eq!(calls.load(Ordering::Relaxed), 1);

    // One that still holds the old session comes late.
    let late = sessions.refreshed(&begun.session, |_| async { panic!("it has been refreshed") }).await;
    assert_eq!(token(&late.unwrap()), "second");
}

#[tokio::test]
async fn while_the_access_token_lasts_nobody_waits() {
    let store = Arc::default();
    let (sessions, _, begun) = due(&store).await;
    let (answer, answered) = tokio::sync::oneshot::channel();
    let going_on = sessions.refreshed(&begun.session, |_| async { answered.await.unwrap() }).await;
    assert!(Arc::ptr_eq(&going_on.unwrap(), &begun.session));
    answer.send(renewed("second", start() + seconds(1200))).unwrap();
    while token(&live(&sessions, &begun)) == "first" {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_session_that_the_provider_ended_is_over_everywhere() {
    let store = Arc::default();
    let (sessions, clock, begun) = due(&store).await;
    let (session, calls) = refresh(&sessions, &clock, &begun, Refresh::Ended("invalid_grant".to_owned())).await;
    assert!(session.is_none());
    assert_eq!(calls, 1);
    assert!(matches!(sessions.lookup(&begun.ticket), Lookup::Gone));
    assert_eq!(store.inner.read(begun.session.key).await.unwrap(), None);
    tokio::time::timeout(Duration::from_secs(5), sessions.ended(&begun.session, 8 * HOUR)).await.unwrap();
    let again = sessions.refreshed(&begun.session, |_| async { panic!("it is over") }).await;
    assert!(again.is_none());
}

#[tokio::test]
async fn an_end_by_the_provider_that_the_store_did_not_take_is_made_up_for() {
    let store = Arc::<Faulty>::default();
    let (sessions, clock, begun) = due(&store).await;
    clock.advance(seconds(600));
    let refused = Arc::clone(&store);
    let ended = sessions.refreshed(&begun.session, |_| async move {
        refused.read_only.store(true, Ordering::Relaxed);
        Refresh::Ended("invalid_grant".to_owned())
    });
    assert!(ended.await.is_none());
    assert!(store.inner.read(begun.session.key).await.unwrap().is_some());
    store.read_only.store(false, Ordering::Relaxed);
    let removed = async {
        while store.inner.read(begun.session.key).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), removed).await.expect("it is removed once the store takes it");
}

#[tokio::test]
async fn another_person_never_takes_over_a_session() {
    let store = Arc::default();
    let (sessions, clock, begun) = due(&store).await;
    let mut other = principal();
    other.identity.subject = "another".to_owned().into();
    let answer = Renewed { principal: other, tokens: tokens("second", start() + seconds(1200)) };
    let (session, _) = refresh(&sessions, &clock, &begun, Refresh::Renewed(Box::new(answer))).await;
    assert!(session.is_none());
    assert!(matches!(sessions.lookup(&begun.ticket), Lookup::Gone));
}

#[tokio::test]
async fn a_provider_out_of_reach_ends_nothing_and_is_left_alone_for_a_while() {
    let store = Arc::default();
    let (sessions, clock, begun) = due(&store).await;
    let later = || Refresh::Later("503".to_owned());
    assert_eq!(refresh(&sessions, &clock, &begun, later()).await.1, 1);
    assert!(!live(&sessions, &begun).refresh_due(clock.now()));
    let (session, calls) = refresh(&sessions, &clock, &begun, later()).await;
    assert_eq!((token(&session.unwrap()), calls), ("first", 0));
    clock.advance(seconds(30));
    assert!(live(&sessions, &begun).refresh_due(clock.now()));
    let (session, calls) = refresh(&sessions, &clock, &begun, renewed("second", start() + seconds(1200))).await;
    assert_eq!((token(&session.unwrap()), calls), ("second", 1));
}

#[tokio::test]
async fn what_another_replica_refreshed_is_used() {
    let ring = KeyRing::generate();
    let store = Arc::default();
    let (here, clock) = replica(&ring, &store);
    let begun = here.begin(sign_in()).await.unwrap();
    let (there, other_clock) = replica(&ring, &store);
    there.load(&begun.ticket).await.unwrap().unwrap();
    refresh(&there, &other_clock, &begun, renewed("theirs", start() + seconds(1200))).await.0.unwrap();

    let (session, calls) = refresh(&here, &clock, &begun, renewed("ours", start() + seconds(1200))).await;
    assert_eq!((token(&session.unwrap()), calls), ("theirs", 0));
}

/// Two replicas past the end of the access token of one session that both know.
fn two(store: &Arc<Faulty>) -> [(Sessions, Clock); 2] {
    let ring = KeyRing::generate();
    let replicas = [replica(&ring, store), replica(&ring, store)];
    for (_, clock) in &replicas {
        clock.advance(seconds(600));
    }
    replicas
}

#[tokio::test]
async fn while_one_replica_refreshes_another_goes_on_and_asks_nobody() {
    let store: Arc<Faulty> = Arc::default();
    let [(here, _), (there, other_clock)] = two(&store);
    let begun = here.begin(sign_in()).await.unwrap();
    there.load(&begun.ticket).await.unwrap().unwrap();
    let meanwhile = {
        let (there, clock, begun) = (there.clone(), other_clock.clone(), begun.clone());
        move |_| async move {
            let (session, calls) = refresh(&there, &clock, &begun, renewed("theirs", start() + seconds(1200))).await;
            assert_eq!((token(&session.unwrap()), calls), ("first", 0));
            renewed("ours", start() + seconds(1200))
        }
    };
    let session = here.refreshed(&begun.session, meanwhile).await.unwrap();
    assert_eq!(token(&session), "ours");

    other_clock.advance(seconds(30));
    let (session, calls) = refresh(&there, &other_clock, &begun, renewed("theirs", start() + seconds(1200))).await;
    assert_eq!((token(&session.unwrap()), calls), ("ours", 0));
}

#[tokio::test]
async fn of_two_that_claim_at_once_one_asks() {
    let store: Arc<Faulty> = Arc::new(Faulty { gate: Some(tokio::sync::Semaphore::new(1)), ..Faulty::default() });
    let [(here, _), (there, _)] = two(&store);
    let begun = here.begin(sign_in()).await.unwrap();
    let known = there.load(&begun.ticket).await.unwrap().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let answer = || {
        let calls = Arc::clone(&calls);
        move |_| async move {
            calls.fetch_add(1, Ordering::Relaxed);
            renewed("second", start() + seconds(1200))
        }
    };
    // Both have read the unclaimed record before either goes on.
    let go_on = async {
        while store.reads.load(Ordering::Relaxed) < 3 {
            tokio::task::yield_now().await;
        }
        store.gate.as_ref().unwrap().add_permits(10);
    };
    let (ours, theirs, ()) =
        tokio::join!(here.refreshed(&begun.session, answer()), there.refreshed(&known, answer()), go_on);
    assert!(ours.is_some() && theirs.is_some());
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn after_a_claim_ran_out_the_stored_refresh_counts() {
    let store: Arc<Faulty> = Arc::default();
    let [(here, _), (there, other_clock)] = two(&store);
    let begun = here.begin(sign_in()).await.unwrap();
    there.load(&begun.ticket).await.unwrap().unwrap();
    let too_late = {
        let begun = begun.clone();
        move |_| async move {
            other_clock.advance(seconds(30));
            refresh(&there, &other_clock, &begun, renewed("theirs", start() + seconds(1200))).await.0.unwrap();
            renewed("ours", start() + seconds(1200))
        }
    };
    let session = here.refreshed(&begun.session, too_late).await.unwrap();
    assert_eq!(token(&session), "theirs");
}

#[tokio::test]
async fn the_claim_of_a_refresher_that_died_is_taken_over_when_it_runs_out() {
    let (ring, store) = (KeyRing::generate(), Arc::<Faulty>::default());
    let control = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (here, clock) = replica(&ring, &store);
    let dying = Sessions::new(Some(ring), store.clone(), clock.clone(), control.handle().clone(), HOUR);
    let begun = dying.begin(sign_in()).await.unwrap();
    clock.advance(seconds(600));
    here.load(&begun.ticket).await.unwrap().unwrap();

    let (asked, has_asked) = tokio::sync::oneshot::channel();
    let never = dying.refreshed(&begun.session, |_| async {
        asked.send(()).unwrap();
        std::future::pending().await
    });
    let dies = async {
        has_asked.await.unwrap();
        control.shutdown_background();
    };
    tokio::join!(never, dies);

    let (session, calls) = refresh(&here, &clock, &begun, renewed("ours", start() + seconds(1200))).await;
    assert_eq!((token(&session.unwrap()), calls), ("first", 0), "the claim lasts, and nobody waits for it");
    clock.advance(seconds(30));
    let (session, calls) = refresh(&here, &clock, &begun, renewed("ours", start() + seconds(1200))).await;
    assert_eq!((token(&session.unwrap()), calls), ("ours", 1));
}

#[tokio::test]
async fn a_session_ended_elsewhere_is_not_refreshed() {
    let ring = KeyRing::generate();
    let store = Arc::default();
    let (here, clock) = replica(&ring, &store);
    let begun = here.begin(sign_in()).await.unwrap();
    let (there, _) = replica(&ring, &store);
    there.end(&begun.ticket).await.unwrap();
    let (session, calls) = refresh(&here, &clock, &begun, renewed("second", start() + seconds(1200))).await;
    assert!(session.is_none());
    assert_eq!(calls, 0);
}

#[tokio::test]
async fn a_session_ended_during_its_refresh_stays_ended() {
    let store: Arc<Faulty> = Arc::default();
    let (sessions, clock, begun) = due(&store).await;
    clock.advance(seconds(60));
    let sign_out = {
        let (sessions, ticket) = (sessions.clone(), begun.ticket.clone());
        move |_| async move {
            sessions.end(&ticket).await.unwrap();
            renewed("second", start() + seconds(1200))
        }
    };
    assert!(sessions.refreshed(&begun.session, sign_out).await.is_none());
    assert!(matches!(sessions.lookup(&begun.ticket), Lookup::Gone));
    assert_eq!(store.inner.read(begun.session.key).await.unwrap(), None);
}

#[tokio::test]
async fn with_the_store_out_of_reach_no_token_is_spent() {
    for read_only in [false, true] {
        let store = Arc::default();
        let (sessions, clock, begun) = due(&store).await;
        let fault = if read_only { &store.read_only } else { &store.down };
        fault.store(true, Ordering::Relaxed);
        let (session, calls) = refresh(&sessions, &clock, &begun, renewed("second", start() + seconds(1200))).await;
        assert_eq!((token(&session.unwrap()), calls), ("first", 0));
    }
}

/// Refreshes to `second` while the store takes no writes.
async fn refresh_unsaved(sessions: &Sessions, store: &Arc<Faulty>, begun: &Begun) {
    let failing = Arc::clone(store);
    let answer = |_| async move {
        failing.read_only.store(true, Ordering::Relaxed);
        renewed("second", start() + seconds(1200))
    };
    let session = sessions.refreshed(&begun.session, answer).await.unwrap();
    assert_eq!(token(&session), "second");
    assert_eq!(token(&live(sessions, begun)), "second", "this process goes on with it");
}

/// Waits until the store has another version of a session than `former`; gives what a fresh replica reads.
async fn stored_after(former: Version, ring: &KeyRing, store: &Arc<Faulty>, begun: &Begun) -> Arc<Session> {
    let changed = async {
        while store.inner.read(begun.session.key).await.unwrap().unwrap().version == former {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), changed).await.expect("it is stored once the store takes it");
    replica(ring, store).0.load(&begun.ticket).await.unwrap().unwrap()
}

#[tokio::test]
async fn what_could_not_be_stored_is_used_and_stored_as_soon_as_it_can_be() {
    let (ring, store) = (KeyRing::generate(), Arc::<Faulty>::default());
    let (sessions, clock) = replica(&ring, &store);
    let begun = sessions.begin(sign_in()).await.unwrap();
    clock.advance(seconds(600));
    refresh_unsaved(&sessions, &store, &begun).await;
    let unsaved = live(&sessions, &begun).version;
    assert!(!live(&sessions, &begun).refresh_due(clock.now()), "the provider has nothing to do");

    store.read_only.store(false, Ordering::Relaxed);
    let stored = stored_after(unsaved, &ring, &store, &begun).await;
    assert_eq!((token(&stored), stored.claimed), ("second", None));
    assert_eq!(token(&live(&sessions, &begun)), "second");
}

#[tokio::test]
async fn what_could_not_be_stored_outlasts_the_cache() {
    let (ring, store) = (KeyRing::generate(), Arc::new(Faulty::watched()));
    let (sessions, clock) = replica(&ring, &store);
    sessions.0.cache.believe(start() + seconds(660));
    let begun = sessions.begin(sign_in()).await.unwrap();
    clock.advance(seconds(600));
    refresh_unsaved(&sessions, &store, &begun).await;
    let unsaved = sessions.0.cache.peek(begun.session.key).unwrap().version;
    sessions.0.cache.tidy(clock.now() + seconds(61));
    assert!(sessions.0.cache.peek(begun.session.key).is_none(), "nothing of a store out of sight is believed for ever");

    store.read_only.store(false, Ordering::Relaxed);
    let stored = stored_after(unsaved, &ring, &store, &begun).await;
    assert_eq!(token(&stored), "second");
}

#[tokio::test]
async fn what_could_not_be_stored_counts_more_than_a_later_claim() {
    let (ring, store) = (KeyRing::generate(), Arc::<Faulty>::default());
    let [(here, clock), (there, other_clock)] = [replica(&ring, &store), replica(&ring, &store)];
    let begun = here.begin(sign_in()).await.unwrap();
    clock.advance(seconds(600));
    let answer = {
        let (there, store, begun) = (there.clone(), Arc::clone(&store), begun.clone());
        move |_| async move {
            // The claim runs out, and another claims with the token that is spent by now.
            other_clock.advance(seconds(630));
            let known = there.load(&begun.ticket).await.unwrap().unwrap();
            assert!(there.0.claim(&known, other_clock.now()).await.is_ok());
            store.read_only.store(true, Ordering::Relaxed);
            renewed("second", start() + seconds(1200))
        }
    };
    let session = here.refreshed(&begun.session, answer).await.unwrap();
    assert_eq!(token(&session), "second");
    let claimed = store.inner.read(begun.session.key).await.unwrap().unwrap().version;
    store.read_only.store(false, Ordering::Relaxed);
    let stored = stored_after(claimed, &ring, &store, &begun).await;
    assert_eq!(token(&stored), "second");
}

#[tokio::test]
async fn what_could_not_be_stored_begins_no_session_anew_that_was_signed_out() {
    let store = Arc::<Faulty>::default();
    let (sessions, clock, begun) = due(&store).await;
    clock.advance(seconds(60));
    refresh_unsaved(&sessions, &store, &begun).await;
    assert!(sessions.end(&begun.ticket).await.is_err());
    store.read_only.store(false, Ordering::Relaxed);
    let removed = async {
        while store.inner.read(begun.session.key).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), removed).await.expect("it is removed once the store takes it");
    assert!(matches!(sessions.lookup(&begun.ticket), Lookup::Gone));
    assert_eq!(store.inner.read(begun.session.key).await.unwrap(), None);
}

#[tokio::test]
async fn a_refresh_that_panics_fails_nobody() {
    let store = Arc::default();
    let (sessions, clock, begun) = due(&store).await;
    clock.advance(seconds(60));
    let session = sessions.refreshed(&begun.session, |_| async { panic!("a defect") }).await;
    assert_eq!(token(&session.unwrap()), "first");
}
