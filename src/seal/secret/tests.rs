use data_encoding::BASE64;
use serde_json::{Value, json};

use super::fake_api::{FakeApi, Refusal};
use super::*;

async fn load(api: &FakeApi) -> Result<KeyRing, RingError> {
    load_or_create(api.client(), "portcullis", "portcullis-keys").await.map(|stored| stored.ring)
}

fn holding(data: &Value) -> FakeApi {
    let api = FakeApi::default();
    api.put(json!({
        "apiVersion": "v1", "kind": "Secret", "data": data, "metadata": {
            "name": "portcullis-keys", "namespace": "portcullis", "annotations": {FILLED: "true"},
        },
    }));
    api
}

#[tokio::test]
async fn the_first_start_creates_the_ring_and_the_next_reads_it() {
    let api = FakeApi::default();
    let created = load(&api).await.unwrap();
    let secrets = api.secrets();
    assert_eq!(secrets.len(), 1);
    assert_eq!((&secrets[0]["type"], &secrets[0]["metadata"]["name"]), (&json!(TYPE), &json!("portcullis-keys")));
    assert!(secrets[0]["immutable"].is_null());

    let read = load(&api).await.unwrap();
    assert_eq!(read.serialize(), created.serialize());
    assert_eq!(api.secrets(), secrets, "reading changes nothing");
}

#[tokio::test]
async fn a_secret_that_came_with_the_installation_is_filled_once() {
    let api = FakeApi::default();
    api.put(json!({
        "apiVersion": "v1", "kind": "Secret", "type": TYPE,
        "metadata": {"name": "portcullis-keys", "namespace": "portcullis", "labels": {"app": "a"}},
    }));
    let made = load(&api).await.unwrap();
    let secrets = api.secrets();
    assert_eq!((secrets.len(), &secrets[0]["metadata"]["labels"]["app"]), (1, &json!("a")));
    assert_eq!(load(&api).await.unwrap().serialize(), made.serialize());
    assert_eq!(api.secrets(), secrets, "reading changes nothing");
}

#[tokio::test]
async fn of_two_that_start_at_once_both_have_the_ring_of_the_first() {
    let api = FakeApi::default();
    let first = load(&api).await.unwrap();
    // The second looked before the first created.
    api.refuse([Refusal::Status(404, "not found")]);
    let second = load(&api).await.unwrap();
    assert_eq!(second.serialize(), first.serialize());
}

#[tokio::test]
async fn a_present_but_unreadable_ring_is_told_and_never_replaced() {
    let broken = [
        (json!({"ring": BASE64.encode(b"{\"version\":1}")}), "it is not the JSON of a key ring"),
        (json!({"ring": BASE64.encode(b"{\"version\":9}")}), "version 9 is unknown, 1 is read here"),
        (json!({"ring": ""}), "it is not the JSON of a key ring"),
        (json!({"rings": ""}), "its data has no key `ring`"),
        (Value::Null, "its data has no key `ring`"),
    ];
    for (data, reason) in broken {
        let api = holding(&data);
        let before = api.secrets();
        let error = load(&api).await.unwrap_err().to_string();
        assert!(error.starts_with("the Secret `portcullis/portcullis-keys` holds no key ring"), "{error}");
        assert!(error.contains(reason) && error.contains("delete it"), "{error}");
        assert_eq!(api.secrets(), before);
        assert!(api.requests().iter().all(|request| request.starts_with("GET ")), "{:?}", api.requests());
    }
}

#[tokio::test]
async fn an_api_server_that_refuses_is_told_with_the_name_of_the_secret() {
    for at in 0..2 {
        let api = FakeApi::default();
        api.refuse((0..at).map(|_| Refusal::None).chain([Refusal::Status(403, "secrets is forbidden")]));
        let error = load(&api).await.unwrap_err().to_string();
        assert!(
            error.starts_with("the key ring in the Secret `portcullis/portcullis-keys` is out of reach: "),
            "{error}"
        );
        assert!(error.contains("secrets is forbidden"), "{error}");
        assert_eq!(api.secrets(), Vec::<Value>::new());
    }
}

async fn read(api: &FakeApi) -> Result<StoredRing, RingError> {
    StoredRing::read(api.client(), "portcullis", "portcullis-keys").await
}

#[tokio::test]
async fn a_ring_is_replaced_by_its_next_form_and_nothing_else_of_its_secret_changes() {
    let api = FakeApi::default();
    load(&api).await.unwrap();
    let before = api.secrets().remove(0);
    let stored = read(&api).await.unwrap();
    let next = stored.ring.with_pending(jiff::Timestamp::UNIX_EPOCH).unwrap();
    let replaced = stored.replace(api.client(), &next).await.unwrap();
    let again = read(&api).await.unwrap();
    assert!(again.is_same(&replaced) && again.ring.serialize() == next.serialize());
    let mut after = api.secrets().remove(0);
    assert_ne!(after["data"], before["data"]);
    for changed in ["data", "metadata"] {
        after[changed] = before[changed].clone();
    }
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_ring_that_somebody_changed_meanwhile_is_not_replaced() {
    let api = FakeApi::default();
    load(&api).await.unwrap();
    let (first, second) = (read(&api).await.unwrap(), read(&api).await.unwrap());
    let next = first.ring.with_pending(jiff::Timestamp::UNIX_EPOCH).unwrap();
    first.replace(api.client(), &next).await.unwrap();
    let refused = second.replace(api.client(), &KeyRing::generate()).await;
    assert!(matches!(refused, Err(RingError::Changed { .. })), "{refused:?}");
    assert_eq!(read(&api).await.unwrap().ring.serialize(), next.serialize());
}

#[tokio::test]
async fn a_ring_that_is_not_there_is_told() {
    let missing = read(&FakeApi::default()).await.unwrap_err().to_string();
    assert_eq!(missing, "there is no Secret `portcullis/portcullis-keys`; Portcullis makes it when it starts");
}
