use std::sync::Arc;

use futures_util::StreamExt;
use serde_json::{Value, json};

use super::*;
use crate::clock::Clock;
use crate::seal::{FakeApi, KeyRing, Refusal};
use crate::session::tests::{seconds, sign_in, start};
use crate::session::{Begun, Change, Lookup, Sessions, contract};

fn store(api: &FakeApi) -> SecretStore {
    SecretStore::new(api.client(), "portcullis", 5000)
}

fn one() -> RecordKey {
    RecordKey([1; 32])
}

fn later() -> Timestamp {
    start() + seconds(8 * 3600)
}

async fn next(changes: &mut Changes) -> Change {
    tokio::time::timeout(Duration::from_secs(30), changes.next()).await.expect("a change comes").unwrap()
}

/// The store's own reading of its only record.
async fn record(store: &SecretStore) -> StoredRecord {
    store.read(one()).await.unwrap().unwrap()
}

#[tokio::test]
async fn the_contract_holds() {
    contract::holds_for(&store(&FakeApi::default()), start()).await;
}

#[tokio::test]
async fn a_secret_tells_nothing_of_its_session_but_the_hour_of_its_end() {
    let api = FakeApi::default();
    let sessions = Sessions::new(
        Some(KeyRing::generate()),
        Arc::new(store(&api)),
        Clock::manual(start()),
        tokio::runtime::Handle::current(),
        Duration::from_secs(600),
    );
    let Begun { session, .. } = sessions.begin(sign_in()).await.unwrap();
    let mut secret = api.secrets().remove(0);
    let sealed = secret["data"]["record"].take();
    secret["metadata"]["uid"].take();
    secret["metadata"]["resourceVersion"].take();
    let name = format!("pcs-{}", session.key);
    assert_eq!(name.len(), 56);
    assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
    let hour = later().as_second() / 3600;
    assert_eq!(
        secret,
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "portcullis.dev/session", "data": {"record": null},
            "metadata": {
                "name": name, "namespace": "portcullis", "labels": {"portcullis.dev/session-ends": hour.to_string()},
                "uid": null, "resourceVersion": null,
            },
        })
    );
    let sealed = data_encoding::BASE64.decode(sealed.as_str().unwrap().as_bytes()).unwrap();
    for canary in ["jane", "example.com", "24400320", "staff", "first", "sid-1"] {
        assert!(!sealed.windows(canary.len()).any(|part| part == canary.as_bytes()), "{canary}");
    }
}

#[tokio::test]
async fn a_removal_names_the_object_it_means() {
    let api = FakeApi::default();
    let store = store(&api);
    store.create(one(), b"sealed".to_vec(), later()).await.unwrap();
    // Somebody writes between look and delete.
    api.refuse([Refusal::None, Refusal::Status(409, "the object has been modified")]);
    store.remove(one()).await.unwrap();
    assert_eq!(api.secrets(), Vec::<Value>::new());
    let deletes = api.requests().iter().filter(|request| request.starts_with("DELETE")).count();
    assert_eq!(deletes, 2);
}

#[tokio::test]
async fn what_the_api_server_answers_has_a_name() {
    let cases = [
        (Refusal::Status(403, "exceeded quota: sessions"), "full"),
        (Refusal::Status(403, "secrets is forbidden"), "refused"),
        (Refusal::Status(422, "invalid"), "refused"),
        (Refusal::Status(409, "exists"), "conflict"),
        (Refusal::Status(500, "etcd is gone"), "unreachable"),
        (Refusal::Status(429, "too many requests"), "unreachable"),
        (Refusal::Reset, "unreachable"),
    ];
    for (refusal, expected) in cases {
        let api = FakeApi::default();
        api.refuse([refusal]);
        let name = match store(&api).create(one(), Vec::new(), later()).await.unwrap_err() {
            StoreError::Unreachable(_) => "unreachable",
            StoreError::Refused(_) => "refused",
            StoreError::Conflict => "conflict",
            StoreError::Full(_) => "full",
            StoreError::Keys => "keys",
        };
        assert_eq!(name, expected);
    }
}

#[tokio::test]
async fn a_silent_api_server_is_unreachable_in_time() {
    let api = FakeApi::default();
    api.refuse([Refusal::Silence]);
    let error = store(&api).read(one()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_found_out_by_the_next() {
    let api = FakeApi::default();
    let store = store(&api);
    let first = store.create(one(), b"first".to_vec(), later()).await.unwrap();
    api.refuse([Refusal::Lost]);
    assert!(store.replace(one(), first, b"second".to_vec(), later()).await.is_err());
    let again = store.replace(one(), first, b"second".to_vec(), later()).await;
    assert!(matches!(again, Err(StoreError::Conflict)), "{again:?}");
    assert_eq!(record(&store).await.sealed, b"second");
}

#[tokio::test]
async fn a_sweep_leaves_what_it_does_not_know_and_deletes_a_batch_at_most() {
    let api = FakeApi::default();
    let store = store(&api);
    api.put(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls"}, "type": "kubernetes.io/tls"}));
    api.put(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "odd", "labels": {LABEL: "never"}}}));
    for number in 0..BATCH + 3 {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        store.create(RecordKey(key), Vec::new(), start()).await.unwrap();
    }
    let now = start() + seconds(3601);
    assert_eq!(store.sweep(now).await.unwrap(), BATCH);
    assert_eq!(store.sweep(now).await.unwrap(), 3);
    assert_eq!(store.sweep(now).await.unwrap(), 0);
    let names: Vec<_> = api.secrets().iter().map(|secret| secret["metadata"]["name"].clone()).collect();
    assert_eq!(names, ["odd", "tls"]);
}

#[tokio::test]
async fn a_watch_tells_what_is_there_and_what_happens() {
    let api = FakeApi::default();
    let store = store(&api);
    store.create(one(), b"first".to_vec(), later()).await.unwrap();
    api.put(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "other", "labels": {LABEL: "1"}}}));
    let first = record(&store).await;
    let mut changes = store.changes(Box::new(Vec::new)).unwrap();
    assert_eq!(next(&mut changes).await, Change::Reset { records: vec![(one(), first.clone())], version: Version(2) });
    assert_eq!(next(&mut changes).await, Change::Current);

    store.replace(one(), first.version, b"second".to_vec(), later()).await.unwrap();
    assert_eq!(next(&mut changes).await, Change::Put(one(), record(&store).await));
    store.remove(one()).await.unwrap();
    assert_eq!(next(&mut changes).await, Change::Removed(one()));
    let mark = json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"resourceVersion": "9"}});
    api.tell("BOOKMARK", &mark);
    assert_eq!(next(&mut changes).await, Change::Current);
}

#[tokio::test]
async fn beyond_the_limit_nothing_new_is_taken_until_something_goes() {
    let api = FakeApi::default();
    let store = SecretStore::new(api.client(), "portcullis", 2);
    let [one, two, three] = [1, 2, 3].map(|first| RecordKey([first; 32]));
    store.create(one, b"first".to_vec(), later()).await.unwrap();
    let mut changes = store.changes(Box::new(Vec::new)).unwrap();
    assert!(matches!(next(&mut changes).await, Change::Reset { .. }));
    assert_eq!(next(&mut changes).await, Change::Current);
    let version = store.create(two, b"first".to_vec(), later()).await.unwrap();
    assert!(matches!(next(&mut changes).await, Change::Put(..)));

    let before = api.requests().len();
    let refused = store.create(three, b"first".to_vec(), later()).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the session store is full: 2 sessions rest in Secrets, where 2 may; use `--session-store redis`, or raise \
         `--max-session-secrets`"
    );
    assert_eq!(api.requests().len(), before, "the API server is not asked");
    store.replace(two, version, b"second".to_vec(), later()).await.unwrap();
    assert!(matches!(next(&mut changes).await, Change::Put(..)));
    store.remove(one).await.unwrap();
    assert_eq!(next(&mut changes).await, Change::Removed(one));
    store.create(three, b"first".to_vec(), later()).await.unwrap();
}

#[tokio::test]
async fn a_watch_that_ends_in_time_goes_on_where_it_was() {
    let api = FakeApi::default();
    let store = store(&api);
    let mut changes = store.changes(Box::new(Vec::new)).unwrap();
    next(&mut changes).await;
    next(&mut changes).await;
    store.create(one(), b"first".to_vec(), later()).await.unwrap();
    assert!(matches!(next(&mut changes).await, Change::Put(..)));
    api.end_watches();
    assert_eq!(next(&mut changes).await, Change::Current, "nothing was missed");
    let last = api.requests().pop().unwrap();
    assert!(last.contains("watch=true") && last.contains("resourceVersion=1"), "{last}");
}

#[tokio::test]
async fn a_watch_that_fails_is_told_and_goes_on_where_it_was() {
    let api = FakeApi::default();
    let store = store(&api);
    let mut changes = store.changes(Box::new(Vec::new)).unwrap();
    next(&mut changes).await;
    next(&mut changes).await;
    store.create(one(), b"first".to_vec(), later()).await.unwrap();
    next(&mut changes).await;
    api.refuse([Refusal::Reset, Refusal::Status(500, "etcd is gone")]);
    api.end_watches();
    assert!(matches!(next(&mut changes).await, Change::Lost(_)));
    assert!(matches!(next(&mut changes).await, Change::Lost(_)));
    assert_eq!(next(&mut changes).await, Change::Current);
}

#[tokio::test]
async fn a_watch_that_is_too_old_lists_again() {
    let api = FakeApi::default();
    let store = store(&api);
    let mut changes = store.changes(Box::new(Vec::new)).unwrap();
    next(&mut changes).await;
    next(&mut changes).await;
    let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"});
    api.tell("ERROR", &gone);
    assert_eq!(next(&mut changes).await, Change::Lost("too old".to_owned()));
    assert!(matches!(next(&mut changes).await, Change::Reset { .. }));
    assert_eq!(next(&mut changes).await, Change::Current);

    api.refuse([Refusal::Status(410, "too old")]);
    api.end_watches();
    assert_eq!(next(&mut changes).await, Change::Lost("too old".to_owned()));
    assert!(matches!(next(&mut changes).await, Change::Reset { .. }));
    assert_eq!(next(&mut changes).await, Change::Current);
}

#[tokio::test]
async fn a_list_that_fails_is_tried_again() {
    let api = FakeApi::default();
    api.refuse([Refusal::Reset, Refusal::Status(403, "secrets is forbidden")]);
    let mut changes = store(&api).changes(Box::new(Vec::new)).unwrap();
    assert!(matches!(next(&mut changes).await, Change::Lost(_)));
    assert_eq!(next(&mut changes).await, Change::Lost("the session store refused: secrets is forbidden".to_owned()));
    assert!(matches!(next(&mut changes).await, Change::Reset { .. }));
}

#[tokio::test]
async fn two_replicas_see_each_others_sign_ins_and_sign_outs_and_ask_for_nothing() {
    let api = FakeApi::default();
    let ring = KeyRing::generate();
    let replica = || {
        let control = tokio::runtime::Handle::current();
        let clock = Clock::manual(start());
        Sessions::new(Some(ring.clone()), Arc::new(store(&api)), clock, control, Duration::from_secs(600))
    };
    let (here, there) = (replica(), replica());
    let stranger = crate::session::Ticket::new([9; 32], start() - seconds(60));
    while !matches!(here.lookup(&stranger), Lookup::Gone) || !matches!(there.lookup(&stranger), Lookup::Gone) {
        tokio::task::yield_now().await;
    }
    let Begun { ticket, .. } = there.begin(sign_in()).await.unwrap();
    while !matches!(here.lookup(&ticket), Lookup::Live(_)) {
        tokio::task::yield_now().await;
    }
    there.end(&ticket).await.unwrap();
    while !matches!(here.lookup(&ticket), Lookup::Gone) {
        tokio::task::yield_now().await;
    }
    let reads =
        api.requests().iter().filter(|request| request.starts_with("GET ") && request.contains("/pcs-")).count();
    assert_eq!(reads, 1, "the removal alone looks before it deletes: {:?}", api.requests());
}
