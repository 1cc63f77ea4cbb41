//! What a refresh gave and the store did not take.

use super::*;
use crate::session::Version;

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
    tokio::time::timeout(Duration::from_secs(30), changed).await.expect("it is stored once the store takes it");
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
    tokio::time::timeout(Duration::from_secs(30), removed).await.expect("it is removed once the store takes it");
    assert!(matches!(sessions.lookup(&begun.ticket), Lookup::Gone));
    assert_eq!(store.inner.read(begun.session.key).await.unwrap(), None);
}
