//! A refresh where several processes have the session.

use super::*;

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
