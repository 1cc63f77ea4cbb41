use futures_util::stream;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use super::*;
use crate::clock::Clock;

type Given = watcher::Result<Event<DeserializeGuard<Service>>>;

fn service(name: &str, spec: &Value) -> DeserializeGuard<Service> {
    let metadata = json!({
        "name": name,
        "namespace": "shop",
        "annotations": {LAST_APPLIED: "{}", "kept": "yes"},
        "managedFields": [
            {"manager": "kubectl", "operation": "Apply"},
            {"manager": "us", "operation": "Apply", "fieldsV1": {"f:status": {}}},
        ],
    });
    serde_json::from_value(json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})).unwrap()
}

/// The batches that a watch makes of events, in short.
async fn batches(events: Vec<Given>, count: usize) -> Vec<(bool, Vec<String>)> {
    batches_seen(events, count, &Freshness::unlimited()).await
}

/// The same where what is served may be only so old.
async fn batches_seen(events: Vec<Given>, count: usize, freshness: &Freshness) -> Vec<(bool, Vec<String>)> {
    let (batches, mut received) = mpsc::channel(16);
    let watch = Watch {
        kind: "Service",
        metrics: Metrics::new(),
        sight: freshness.sight(),
        change: Change::Service,
        field_manager: "us".to_owned(),
        batches,
        held: BTreeSet::new(),
        listing: None,
        listed: false,
    };
    let following = tokio::spawn(watch.follow(stream::iter(events).chain(stream::pending())));
    let mut seen = Vec::new();
    while seen.len() < count {
        let batch = received.recv().await.unwrap();
        seen.push((batch.first_list, batch.changes.iter().map(short).collect()));
    }
    following.abort();
    seen
}

fn short(change: &Change) -> String {
    let Change::Service(name, object) = change else { panic!("no other kind is watched here") };
    match object {
        None => format!("-{name}"),
        Some(Stored::Undecodable(why)) => format!("?{name}: {why}"),
        Some(Stored::Decoded(service)) => {
            let managers: Vec<_> = service.managed_fields().iter().filter_map(|m| m.manager.as_deref()).collect();
            assert_eq!(managers, ["us"]);
            assert_eq!(service.annotations().keys().collect::<Vec<_>>(), ["kept"]);
            format!("+{name}")
        }
    }
}

fn gone() -> watcher::Error {
    watcher::Error::NoResourceVersion
}

#[tokio::test]
async fn a_relist_keeps_the_former_set_until_it_is_whole() {
    let object = |name| service(name, &json!({}));
    let events = vec![
        Ok(Event::Init),
        Ok(Event::InitApply(object("a"))),
        Ok(Event::InitApply(object("b"))),
        Ok(Event::InitDone),
        Err(gone()),
        Ok(Event::Init),
        Ok(Event::InitApply(object("b"))),
        Err(gone()),
        Ok(Event::Init),
        Ok(Event::InitApply(object("c"))),
        Ok(Event::InitDone),
        Ok(Event::Delete(object("c"))),
    ];
    let expected = [
        (true, vec!["+shop/a".to_owned(), "+shop/b".to_owned()]),
        (false, ["-shop/a", "-shop/b", "+shop/c", "-shop/c"].map(str::to_owned).to_vec()),
    ];
    assert_eq!(batches(events, 2).await, expected);
}

#[tokio::test]
async fn an_object_that_does_not_decode_spoils_no_other() {
    let events = vec![
        Ok(Event::Init),
        Ok(Event::InitApply(service("a", &json!({"ports": "none"})))),
        Ok(Event::InitApply(service("b", &json!({})))),
        Ok(Event::InitDone),
    ];
    let seen = batches(events, 1).await;
    assert!(seen[0].1[0].starts_with("?shop/a: ") && seen[0].1[1] == "+shop/b", "{seen:?}");
}

#[tokio::test]
async fn a_watch_that_fails_is_out_of_sight_until_it_is_answered() {
    let clock = Clock::manual(Timestamp::UNIX_EPOCH);
    let stale_after = async |events: Vec<Given>, count| {
        let freshness = Freshness::limited(Duration::from_secs(60), clock.clone());
        batches_seen(events, count, &freshness).await;
        clock.advance(SignedDuration::from_secs(61));
        freshness.is_stale()
    };
    let failed = || vec![Ok(Event::Init), Ok(Event::InitDone), Err(gone())];
    assert!(stale_after(failed(), 1).await);
    let again = [Ok(Event::Init), Ok(Event::InitApply(service("a", &json!({})))), Ok(Event::InitDone)];
    assert!(!stale_after(failed().into_iter().chain(again).collect(), 2).await, "it was answered");
}

#[test]
fn pauses_grow_to_a_second_and_no_further() {
    let longest = [0, 1, 2, 3, 4, 40].map(|failures| pause(failures, u32::MAX).as_millis());
    assert_eq!(longest, [100, 200, 400, 800, 1000, 1000]);
    let shortest = [0, 1, 4].map(|failures| pause(failures, 0).as_millis());
    assert_eq!(shortest, [50, 100, 500]);
}
