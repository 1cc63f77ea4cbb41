//! Against real servers, on loopback addresses of their own.

mod clusters;
mod faults;
mod server;

use std::sync::Arc;

use redis::Value;

use super::*;
use crate::clock::Clock;
use crate::seal::KeyRing;
use crate::session::tests::{HOUR, seconds, sign_in};
use crate::session::{Begun, Change, Lookup, Sessions, Ticket, contract};
use server::{Server, answered, reached, settings, store, until};

fn now() -> Timestamp {
    Clock::system().now()
}

fn later() -> Timestamp {
    now() + seconds(8 * 3600)
}

fn replica(ring: &KeyRing, store: RedisStore) -> Sessions {
    let control = tokio::runtime::Handle::current();
    Sessions::new(Some(ring.clone()), Arc::new(store), Clock::system(), control, Duration::from_secs(600))
}

/// Whether the cache alone says that a session is live.
fn is_live(sessions: &Sessions, ticket: &Ticket) -> bool {
    matches!(sessions.lookup(ticket), Lookup::Live(_))
}

fn is_gone(sessions: &Sessions, ticket: &Ticket) -> bool {
    matches!(sessions.lookup(ticket), Lookup::Gone)
}

/// Two replicas that have heard of one session, begun at the first.
async fn two_replicas(stores: [RedisStore; 2]) -> (Sessions, Sessions, Ticket) {
    let ring = KeyRing::generate();
    let [here, there] = stores.map(|store| replica(&ring, store));
    let Begun { ticket, .. } = answered(async || here.begin(sign_in()).await).await;
    assert!(answered(async || there.load(&ticket).await).await.is_some());
    until("word that it is current", async || is_live(&here, &ticket) && is_live(&there, &ticket)).await;
    (here, there, ticket)
}

#[tokio::test]
async fn the_contract_holds() {
    let server = Server::start(&[]).await;
    contract::holds_for(&reached(server.store()).await, now()).await;
}

/// The rules of an ACL that let Portcullis do what it does, as in the documentation.
const ACL: &str = "user portcullis on >hunter2 resetkeys ~pcs-* resetchannels -@all +hello +ping +role +client|tracking \
                   +cluster|slots +eval +time +set +get +getrange +del +scan";

#[tokio::test]
async fn the_contract_holds_over_tls_for_an_acl_user() {
    let host = server::address();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (ca, certificate, key) = certificate(&host.to_string());
    std::fs::write(path("ca"), &ca).unwrap();
    std::fs::write(path("certificate"), certificate).unwrap();
    std::fs::write(path("key"), key).unwrap();
    std::fs::write(path("acl"), format!("user default off\n{ACL}\n")).unwrap();
    let files = ["ca", "certificate", "key", "acl"].map(path);
    let tls = ["--port", "0", "--tls-port", "6379", "--tls-auth-clients", "no", "--tls-ca-cert-file", &files[0]];
    let more = ["--tls-cert-file", &files[1], "--tls-key-file", &files[2], "--aclfile", &files[3]];
    let _server = Server::start_at(host, &[&tls[..], &more].concat()).await;
    let url = format!("rediss://{host}");
    let keys = [("url", &*url), ("username", "portcullis"), ("password", "hunter2"), ("ca.crt", &ca)];
    contract::holds_for(&reached(store(&keys)).await, now()).await;

    let (stranger, ..) = certificate_of_another();
    let distrusting =
        store(&[("url", &*url), ("username", "portcullis"), ("password", "hunter2"), ("ca.crt", &stranger)]);
    let error = distrusting.read(RecordKey([1; 32])).await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");

    let plain = store(&[("url", &format!("redis://{host}")), ("username", "portcullis"), ("password", "hunter2")]);
    assert!(plain.read(RecordKey([1; 32])).await.is_err(), "nothing is said in the clear");
}

fn certificate_of_another() -> (String, String, String) {
    certificate("192.0.2.1")
}

/// An authority, and a certificate by it with its key.
fn certificate(name: &str) -> (String, String, String) {
    let (ca, [(chain, key)]) = certificates([name]);
    (ca, chain, key)
}

/// An authority, and a certificate by it for each name, with its key.
fn certificates<const N: usize>(names: [&str; N]) -> (String, [(String, String); N]) {
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    // Redis takes a certificate for its own issuer where both have one name.
    ca.distinguished_name.push(rcgen::DnType::CommonName, "authority");
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let issue = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        (leaf.pem(), key.serialize_pem())
    };
    (ca_pem, names.map(issue))
}

#[tokio::test]
async fn where_redis_asks_for_a_certificate_the_contract_holds_with_ours_and_nothing_goes_without() {
    let host = server::address();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (ca, [(certificate, key), (ours, our_key)]) = certificates([&host.to_string(), "portcullis"]);
    std::fs::write(path("ca"), &ca).unwrap();
    std::fs::write(path("certificate"), certificate).unwrap();
    std::fs::write(path("key"), key).unwrap();
    let files = ["ca", "certificate", "key"].map(path);
    let tls = ["--port", "0", "--tls-port", "6379", "--tls-auth-clients", "yes", "--tls-ca-cert-file", &files[0]];
    let more = ["--tls-cert-file", &files[1], "--tls-key-file", &files[2]];
    let _server = Server::start_at(host, &[&tls[..], &more].concat()).await;
    let url = format!("rediss://{host}");
    let keys = [("url", &*url), ("ca.crt", &*ca), ("tls.crt", &*ours), ("tls.key", &*our_key)];
    contract::holds_for(&reached(store(&keys)).await, now()).await;

    let without = store(&keys[..2]).read(RecordKey([1; 32])).await;
    assert!(server::is_unreachable(&without), "{without:?}");
    let (_, strange, strange_key) = certificate_of_another();
    let strangers = store(&[keys[0], keys[1], ("tls.crt", &strange), ("tls.key", &strange_key)]);
    let strangers = strangers.read(RecordKey([1; 32])).await;
    assert!(server::is_unreachable(&strangers), "{strangers:?}");
}

#[tokio::test]
async fn what_rests_tells_nothing_of_its_session_but_its_end_when_it_is_gone() {
    let server = Server::start(&[]).await;
    let (here, _, ticket) = two_replicas([server.store(), server.store()]).await;
    let Lookup::Live(session) = here.lookup(&ticket) else { panic!("it is live") };
    let keys: Vec<String> = server.ask(&["KEYS", "*"]).await;
    assert_eq!(keys, [format!("pcs-{}", session.key)]);
    let record: Vec<u8> = server.ask(&["GET", &keys[0]]).await;
    let clear = format!("{} {} ", session.version.0, ends(session.expires)).into_bytes();
    assert!(record.starts_with(&clear), "{record:?}");
    let end: i64 = server.ask(&["EXPIRETIME", &keys[0]]).await;
    assert_eq!(end, ends(session.expires));
    let rests = [keys[0].as_bytes(), &record].concat();
    for canary in ["jane", "example.com", "24400320", "staff", "first", "sid-1"] {
        assert_eq!(memchr::memmem::find(&rests, canary.as_bytes()), None, "{canary}");
    }
}

#[tokio::test]
async fn a_record_is_gone_by_itself_at_its_end_and_replicas_hear_of_it() {
    let server = Server::start(&[]).await;
    let store = reached(server.store()).await;
    let mut changes = store.changes(Box::new(Vec::new)).unwrap();
    let key = RecordKey([1; 32]);
    store.create(key, b"sealed".to_vec(), now() + seconds(5)).await.unwrap();
    let mut told = Vec::new();
    until("the end", async || {
        told.push(futures_util::StreamExt::next(&mut changes).await.unwrap());
        told.contains(&Change::Removed(key))
    })
    .await;
    assert_eq!(store.read(key).await.unwrap(), None);
}

#[tokio::test]
async fn replicas_hear_of_each_others_sign_outs_and_what_lives_by_a_session_ends() {
    let server = Server::start(&[]).await;
    let (here, there, ticket) = two_replicas([server.store(), server.store()]).await;
    let Lookup::Live(session) = there.lookup(&ticket) else { panic!("it is live") };
    until("a sign-out", async || here.end(&ticket).await.is_ok()).await;
    until("its end elsewhere", async || is_gone(&there, &ticket)).await;
    there.ended(&session, 8 * HOUR).await;
}

#[tokio::test]
async fn a_session_that_nobody_holds_is_asked_for_once() {
    let server = Server::start(&[]).await;
    let ring = KeyRing::generate();
    let sessions = replica(&ring, reached(server.store()).await);
    let stranger = Ticket::new([9; 32], now());
    assert!(sessions.load(&stranger).await.unwrap().is_none());
    assert!(is_gone(&sessions, &stranger));
    let other = Ticket::new([8; 32], now());
    assert!(matches!(sessions.lookup(&other), Lookup::Unknown), "it may be in Redis");
}

#[tokio::test]
async fn of_two_refreshers_one_has_the_claim() {
    let server = Server::start(&[]).await;
    let (one, other) = (reached(server.store()).await, reached(server.store()).await);
    let key = RecordKey([1; 32]);
    let version = one.create(key, b"first".to_vec(), later()).await.unwrap();
    let claims = tokio::join!(
        one.replace(key, version, b"one".to_vec(), later()),
        other.replace(key, version, b"other".to_vec(), later())
    );
    let won = [claims.0.is_ok(), claims.1.is_ok()];
    assert!(won == [true, false] || won == [false, true], "{claims:?}");
}
