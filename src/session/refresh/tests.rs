use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;

use super::*;
use crate::clock::Clock;
use crate::identity::Groups;
use crate::seal::KeyRing;
use crate::session::tests::{Faulty, HOUR, principal, replica, seconds, sign_in, start, tokens};
use crate::session::{Begun, Lookup, Store};

mod replicas;
mod unsaved;

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
    tokio::time::timeout(Duration::from_secs(30), sessions.ended(&begun.session, 8 * HOUR)).await.unwrap();
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
    tokio::time::timeout(Duration::from_secs(30), removed).await.expect("it is removed once the store takes it");
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

#[tokio::test]
async fn a_refresh_that_panics_fails_nobody() {
    let store = Arc::default();
    let (sessions, clock, begun) = due(&store).await;
    clock.advance(seconds(60));
    let session = sessions.refreshed(&begun.session, |_| async { panic!("a defect") }).await;
    assert_eq!(token(&session.unwrap()), "first");
}
