//! What others do to the store, and a store out of reach.

use std::sync::atomic::Ordering;

use super::*;

#[tokio::test]
async fn what_others_do_to_the_store_is_known_without_asking_it() {
    let (ring, store) = (KeyRing::generate(), Arc::new(Faulty::watched()));
    let (here, clock) = replica(&ring, &store);
    let (there, _) = replica(&ring, &store);
    let Begun { session, ticket } = there.begin(sign_in()).await.unwrap();
    assert!(is_unknown(&here.lookup(&ticket)), "nothing has been told yet");

    here.0.apply(Change::Reset { records: Vec::new(), version: Version(0) });
    here.0.apply(Change::Current);
    assert!(is_unknown(&here.lookup(&ticket)), "its browser may be faster than the word of it");
    clock.advance(NEWS + seconds(1));
    assert!(is_gone(&here.lookup(&ticket)), "as far as is known there is no such session");

    here.0.apply(Change::Put(session.key, stored(&store, &session).await));
    let Lookup::Live(seen) = here.lookup(&ticket) else { panic!("it has been told") };
    assert_eq!(seen.of, sign_in());

    here.0.apply(Change::Removed(session.key));
    assert!(is_gone(&here.lookup(&ticket)));
    ends_now(&here, &seen).await;
    assert_eq!(store.reads.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn changes_of_the_store_are_followed() {
    let (ring, store) = (KeyRing::generate(), Arc::<Faulty>::default());
    let (there, _) = replica(&ring, &store);
    let Begun { session, ticket } = there.begin(sign_in()).await.unwrap();
    let records = vec![(session.key, stored(&store, &session).await)];
    let (here, _) = replica(&ring, &store);
    let told = futures_util::stream::iter([Change::Reset { records, version: Version(1) }, Change::Current]);
    follow(Arc::downgrade(&here.0), Box::pin(told)).await;
    assert!(is_live(&here.lookup(&ticket)));
}

#[tokio::test]
async fn an_own_session_is_live_before_the_store_tells_of_it() {
    let (sessions, _) = replica(&KeyRing::generate(), &Arc::new(Faulty::watched()));
    sessions.0.apply(Change::Reset { records: Vec::new(), version: Version(0) });
    sessions.0.apply(Change::Current);
    let Begun { ticket, .. } = sessions.begin(sign_in()).await.unwrap();
    assert!(is_live(&sessions.lookup(&ticket)));
    // A list that was made before the session began says nothing about it.
    sessions.0.apply(Change::Reset { records: Vec::new(), version: Version(0) });
    assert!(is_live(&sessions.lookup(&ticket)));
}

#[tokio::test]
async fn a_list_ends_what_is_not_on_it() {
    let (ring, store) = (KeyRing::generate(), Arc::new(Faulty::watched()));
    let (sessions, _) = replica(&ring, &store);
    let one = sessions.begin(sign_in()).await.unwrap();
    let two = sessions.begin(sign_in()).await.unwrap();
    let records = vec![(two.session.key, stored(&store, &two.session).await)];
    sessions.0.apply(Change::Reset { records, version: two.session.version });
    sessions.0.apply(Change::Current);
    assert!(is_gone(&sessions.lookup(&one.ticket)));
    assert!(is_live(&sessions.lookup(&two.ticket)));
    ends_now(&sessions, &one.session).await;
}

#[tokio::test]
async fn a_late_word_does_not_bring_back_what_was_signed_out() {
    let (ring, store) = (KeyRing::generate(), Arc::new(Faulty::watched()));
    let (sessions, _) = replica(&ring, &store);
    let Begun { session, ticket } = sessions.begin(sign_in()).await.unwrap();
    sessions.0.apply(Change::Current);
    let record = stored(&store, &session).await;
    sessions.end(&ticket).await.unwrap();
    sessions.0.apply(Change::Put(session.key, record));
    assert!(is_gone(&sessions.lookup(&ticket)));
}

#[tokio::test]
async fn an_answer_under_way_does_not_bring_back_what_was_signed_out() {
    let (ring, store) =
        (KeyRing::generate(), Arc::new(Faulty { gate: Some(tokio::sync::Semaphore::new(0)), ..Faulty::default() }));
    let (first, _) = replica(&ring, &store);
    let Begun { ticket, .. } = first.begin(sign_in()).await.unwrap();
    let (sessions, _) = replica(&ring, &store);
    let load = tokio::spawn({
        let (sessions, ticket) = (sessions.clone(), ticket.clone());
        async move { sessions.load(&ticket).await }
    });
    while store.reads.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    sessions.end(&ticket).await.unwrap();
    store.gate.as_ref().unwrap().add_permits(1);
    assert!(load.await.unwrap().unwrap().is_none());
    assert!(is_gone(&sessions.lookup(&ticket)));
}

#[tokio::test]
async fn while_the_store_is_out_of_reach_cached_sessions_go_on_for_a_while() {
    let (ring, store) = (KeyRing::generate(), Arc::new(Faulty::watched()));
    let (sessions, clock) = replica(&ring, &store);
    let Begun { session, ticket } = sessions.begin(sign_in()).await.unwrap();
    sessions.0.apply(Change::Current);
    store.down.store(true, Ordering::Relaxed);
    sessions.0.apply(Change::Lost("connection refused".to_owned()));

    assert!(is_unreachable(&sessions.begin(sign_in()).await), "nobody new signs in");
    let stranger = Ticket::new([9; 32], start());
    assert!(is_unknown(&sessions.lookup(&stranger)));
    assert!(is_unreachable(&sessions.load(&stranger).await));

    clock.advance(seconds(600));
    sessions.0.cache.tidy(clock.now());
    assert!(is_live(&sessions.lookup(&ticket)));
    clock.advance(seconds(1));
    assert!(is_unknown(&sessions.lookup(&ticket)));
    assert!(is_unreachable(&sessions.load(&ticket).await));
    sessions.0.cache.tidy(clock.now());
    ends_now(&sessions, &session).await;

    store.down.store(false, Ordering::Relaxed);
    assert!(sessions.load(&ticket).await.unwrap().is_some(), "the store answers again");
    sessions.0.apply(Change::Current);
    assert!(is_live(&sessions.lookup(&ticket)));
}

#[tokio::test]
async fn a_sign_out_that_the_store_did_not_take_is_told_holds_here_and_is_made_up_for() {
    let (ring, store) = (KeyRing::generate(), Arc::<Faulty>::default());
    let (sessions, _) = replica(&ring, &store);
    let Begun { session, ticket } = sessions.begin(sign_in()).await.unwrap();
    store.down.store(true, Ordering::Relaxed);
    assert!(is_unreachable(&sessions.end(&ticket).await));
    assert!(is_gone(&sessions.lookup(&ticket)));
    assert!(store.inner.read(session.key).await.unwrap().is_some());

    store.down.store(false, Ordering::Relaxed);
    is_removed(&store, &session).await;
    assert!(is_gone(&sessions.lookup(&ticket)));
}

/// Waits until a record is gone from the store.
async fn is_removed(store: &Faulty, session: &Session) {
    let removed = async {
        while store.inner.read(session.key).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), removed).await.expect("it is removed once the store is back");
}

#[tokio::test]
async fn a_sign_out_of_a_session_that_is_not_known_here_is_made_up_for_too() {
    let (ring, store) = (KeyRing::generate(), Arc::<Faulty>::default());
    let (there, _) = replica(&ring, &store);
    let (here, _) = replica(&ring, &store);
    let Begun { session, ticket } = there.begin(sign_in()).await.unwrap();
    store.down.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        assert!(is_unreachable(&here.end(&ticket).await));
        assert_eq!(here.0.removing.len(), 1, "one task, however often it is asked for");
    }
    assert!(store.inner.read(session.key).await.unwrap().is_some());
    store.down.store(false, Ordering::Relaxed);
    is_removed(&store, &session).await;
    assert!(is_gone(&here.lookup(&ticket)));
}
