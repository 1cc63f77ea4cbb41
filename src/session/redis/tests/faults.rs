//! What people notice when Redis fails, and that nothing is lost when it comes back.

use nix::sys::signal::Signal;

use super::server::{is_unreachable, until};
use super::*;

/// Writes everything to disk before it answers.
const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

#[tokio::test]
async fn killed_and_restarted_it_has_lost_nobody() {
    let mut server = Server::start(&DURABLE).await;
    let (here, there, ticket) = two_replicas([server.store(), server.store()]).await;
    server.kill();
    until("the loss to be known", async || is_unreachable(&there.begin(sign_in()).await)).await;
    assert!(is_live(&there, &ticket), "who is signed in goes on");
    let unknown = Ticket::new([9; 32], now());
    assert!(is_unreachable(&there.load(&unknown).await), "others are let in by nobody");

    server.restart().await;
    for replica in [&here, &there] {
        until("a sign-in", async || replica.begin(sign_in()).await.is_ok()).await;
    }
    assert!(is_live(&here, &ticket) && is_live(&there, &ticket));
    until("a sign-out", async || here.end(&ticket).await.is_ok()).await;
    until("word of a sign-out", async || is_gone(&there, &ticket)).await;
}

#[tokio::test]
async fn restarted_empty_it_has_signed_everybody_out() {
    let mut server = Server::start(&[]).await;
    let (here, there, ticket) = two_replicas([server.store(), server.store()]).await;
    server.kill();
    server.restart().await;
    until("the end of the session", async || is_gone(&here, &ticket) && is_gone(&there, &ticket)).await;
}

#[tokio::test]
async fn emptied_it_has_signed_everybody_out() {
    let server = Server::start(&[]).await;
    let (here, there, ticket) = two_replicas([server.store(), server.store()]).await;
    server.ask::<()>(&["FLUSHALL"]).await;
    until("the end of the session", async || is_gone(&here, &ticket) && is_gone(&there, &ticket)).await;
}

#[tokio::test]
async fn a_sign_out_while_a_replica_is_cut_off_is_known_when_it_is_back() {
    let server = Server::start(&[]).await;
    let (here, there, ticket) = two_replicas([server.store(), server.store()]).await;
    let Lookup::Live(session) = here.lookup(&ticket) else { panic!("it is live") };
    let mut both = redis::pipe();
    both.atomic().cmd("CLIENT").arg(&["KILL", "TYPE", "normal"]).cmd("DEL").arg(name(session.key));
    both.exec_async(&mut server.connection().await).await.unwrap();
    until("the end of the session", async || is_gone(&here, &ticket) && is_gone(&there, &ticket)).await;
}

#[tokio::test]
async fn paused_it_is_out_of_reach_in_time_and_heals() {
    let server = Server::start(&[]).await;
    let (here, there, ticket) = two_replicas([server.store(), server.store()]).await;
    server.signal(Signal::SIGSTOP);
    let refused = here.begin(sign_in()).await;
    assert!(is_unreachable(&refused), "{:?}", refused.err());
    assert!(is_live(&there, &ticket), "who is signed in goes on");
    server.signal(Signal::SIGCONT);
    until("a sign-in", async || here.begin(sign_in()).await.is_ok()).await;
    until("a sign-out", async || here.end(&ticket).await.is_ok()).await;
    until("word of a sign-out", async || is_gone(&there, &ticket)).await;
}

#[tokio::test]
async fn clients_paused_it_is_out_of_reach_in_time_and_heals() {
    let server = Server::start(&[]).await;
    let store = reached(server.store()).await;
    let key = RecordKey([1; 32]);
    store.create(key, b"sealed".to_vec(), later()).await.unwrap();
    server.ask::<()>(&["CLIENT", "PAUSE", "5000", "ALL"]).await;
    assert!(is_unreachable(&store.read(key).await));
    until("an answer", async || store.read(key).await.is_ok_and(|record| record.is_some())).await;
}

#[tokio::test]
async fn a_wrong_password_is_named_and_the_right_one_is_learned() {
    let server = Server::start(&["--requirepass", "hunter2"]).await;
    let (secret, followed) = watch::channel(settings(&[("url", &server.url()), ("password", "hunter3")]));
    let store = RedisStore::new(followed);
    let refused = store.read(RecordKey([1; 32])).await;
    let Err(StoreError::Refused(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("WRONGPASS") && !why.contains("hunter3"), "{why}");
    secret.send_replace(settings(&[("url", &server.url()), ("password", "hunter2")]));
    until("an answer", async || store.read(RecordKey([1; 32])).await.is_ok()).await;
}

#[tokio::test]
async fn a_missing_permission_is_named() {
    let server = Server::start(&[]).await;
    server.ask::<()>(&["ACL", "SETUSER", "reader", "on", ">hunter2", "~pcs-*", "+@read", "+@connection"]).await;
    let reader = store(&[("url", &server.url()), ("username", "reader"), ("password", "hunter2")]);
    assert!(reader.read(RecordKey([1; 32])).await.unwrap().is_none());
    let refused = reader.create(RecordKey([1; 32]), Vec::new(), later()).await;
    assert!(matches!(&refused, Err(StoreError::Refused(why)) if why.contains("eval")), "{refused:?}");
}

#[tokio::test]
async fn out_of_memory_it_takes_nothing_new_and_lets_go_of_what_it_has() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]).await;
    let store = reached(server.store()).await;
    let key = RecordKey([1; 32]);
    let version = store.create(key, b"sealed".to_vec(), later()).await.unwrap();
    server.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let refused = store.create(RecordKey([2; 32]), Vec::new(), later()).await;
    assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    let refused = store.replace(key, version, Vec::new(), later()).await;
    assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    assert_eq!(store.read(key).await.unwrap().unwrap().sealed, b"sealed");
    store.remove(key).await.unwrap();
    assert_eq!(store.read(key).await.unwrap(), None);
}

#[tokio::test]
async fn what_somebody_put_in_the_place_of_a_record_does_not_open_and_is_never_replaced() {
    let server = Server::start(&[]).await;
    let store = reached(server.store()).await;
    let key = RecordKey([1; 32]);
    for planted in ["", "planted", "1 2", "1 2000000000000000 sealed", "-1 2 sealed"] {
        server.ask::<()>(&["SET", &name(key), planted]).await;
        assert_eq!(store.read(key).await.unwrap(), Some(foreign()), "`{planted}`");
    }
    server.ask::<()>(&["DEL", &name(key)]).await;
    server.ask::<()>(&["SADD", &name(key), "member"]).await;
    assert_eq!(store.read(key).await.unwrap(), Some(foreign()));
    let refused = store.create(key, Vec::new(), later()).await;
    assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
    let refused = store.replace(key, Version(1), Vec::new(), later()).await;
    assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
}

#[tokio::test]
async fn a_planted_record_ends_its_session_and_no_other() {
    let server = Server::start(&[]).await;
    let (here, there, ticket) = two_replicas([server.store(), server.store()]).await;
    let Begun { ticket: neighbour, .. } = answered(async || here.begin(sign_in()).await).await;
    let Lookup::Live(session) = here.lookup(&ticket) else { panic!("it is live") };
    server.ask::<()>(&["SET", &name(session.key), "planted"]).await;
    until("the end of the session", async || is_gone(&here, &ticket) && is_gone(&there, &ticket)).await;
    until("the neighbour", async || is_live(&here, &neighbour) && is_live(&there, &neighbour)).await;
}

#[tokio::test]
async fn without_a_server_every_call_fails_at_once_and_the_store_comes_when_the_server_does() {
    let host = server::address();
    let store = store(&[("url", &format!("redis://{host}"))]);
    let key = RecordKey([1; 32]);
    assert!(is_unreachable(&store.create(key, Vec::new(), later()).await));
    let _server = Server::start_at(host, &[]).await;
    until("the store", async || store.create(key, Vec::new(), later()).await.is_ok()).await;
}
