//! Keys rotate and nobody is signed out; a key that is taken away takes its sessions with it; a ring that cannot be read
//! closes sign-in and nothing else.

use std::process::Command;
use std::time::Duration;

use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::support::bed::Bed;
use crate::support::client::Client;
use crate::support::eventually::{SOON, eventually};
use crate::support::objects::INSTALLATION;
use crate::support::portcullis::Portcullis;
use crate::support::program::output;
use crate::support::provider::STAFF;
use crate::support::scene::{APP, NEIGHBOUR, NEIGHBOUR_APP, Scene};

/// Half a minute for all replicas to read pending keys, and a while for somebody to lead.
const IN_USE: Duration = Duration::from_secs(240);

const RING: &str = "portcullis-keys";

pub async fn journey(bed: &Bed) {
    let mut scene = Scene::open(bed, "keys", 300).await;
    scene.publish_for_staff().await;
    scene.publish("open", NEIGHBOUR, json!({"portcullis.dev/access": "public"})).await;
    let before = scene.signed_in(APP, &STAFF).await;
    let first = active(bed);
    let rotated = keys(bed, &["rotate"]);
    assert!(rotated.contains("pending"), "{rotated}");

    // The keys of an earlier journey may be in use again: what counts is that there are others now.
    eventually("the new keys to be in use", IN_USE, async || {
        assert_eq!(before.status(APP).await, 200, "nobody is signed out on the way");
        (active(bed) != first).then_some(())
    })
    .await;
    let after = eventually("a session under the new key", SOON, async || {
        let (person, epoch) = signed_in_with_epoch(&scene).await;
        (Some(epoch) == active(bed).parse().ok()).then_some(person)
    })
    .await;
    assert_eq!((before.status(APP).await, after.status(APP).await), (200, 200));
    let kept = keys(bed, &["retire"]);
    assert!(kept.contains("Keys retired: 0") && kept.contains("opens only"), "what is in use is kept: {kept}");

    keys(bed, &["retire", "--now"]);
    eventually("the end of what the old key sealed", SOON, async || (before.status(APP).await == 401).then_some(()))
        .await;
    assert_eq!(after.status(APP).await, 200, "others go on");
    let good = ring(bed);
    put_ring(bed, &json!(BASE64.encode(b"rubbish")));
    sign_in_is_closed_and_told(&scene, &after).await;

    // A replica that starts now has no keys at all.
    scene.portcullis.stop().await;
    scene.portcullis = Portcullis::start(&scene.folder, &bed.cluster.portcullis, &bed.authority);
    scene.portcullis.ready().await;
    assert_eq!(scene.visitor().browse(NEIGHBOUR_APP).await.status, 200, "what is open is served");
    let received = scene.app.received().len();
    assert_eq!((after.status(APP).await, scene.visitor().browse(APP).await.status), (503, 503));
    assert_eq!(scene.app.received().len(), received, "nothing reaches the app");
    assert_eq!(ring(bed), json!(BASE64.encode(b"rubbish")), "it is never replaced");

    put_ring(bed, &good);
    eventually("the session to be read again", SOON, async || (after.status(APP).await == 200).then_some(())).await;
    assert_eq!(scene.signed_in(APP, &STAFF).await.status(APP).await, 200);
    scene.portcullis.stop().await;
}

/// Waits until nobody can sign in for the ring that cannot be read, and the administrator is told.
async fn sign_in_is_closed_and_told(scene: &Scene<'_>, person: &Client) {
    let closed = async || (scene.visitor().browse(APP).await.status == 503).then_some(());
    eventually("sign-in to be closed", SOON, closed).await;
    assert_eq!(person.status(APP).await, 200, "who is signed in goes on");
    eventually("an Event about the ring", SOON, async || {
        let events = scene.bed.cluster.read(&["events.events.k8s.io", "--namespace", INSTALLATION]);
        let mut all = events["items"].as_array().expect("a list").iter();
        all.any(|event| {
            event["regarding"]["name"] == RING
                && event["reason"] == "KeyRingUnreadable"
                && event["note"].as_str().is_some_and(|note| note.contains("restore it from a backup"))
        })
        .then_some(())
    })
    .await;
}

/// `portcullis keys`, as the administrator runs it.
fn keys(bed: &Bed, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.env("KUBECONFIG", &bed.cluster.admin).args(["keys", "--namespace", INSTALLATION]).args(arguments);
    output(&mut command)
}

/// The epoch that seals.
fn active(bed: &Bed) -> String {
    let table = keys(bed, &["list"]);
    let columns = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let row = table.lines().map(columns).find(|row| row[0] == "sealing" && row[2] == "active");
    row.unwrap_or_else(|| panic!("no active key: {table}")).swap_remove(1)
}

/// Somebody signed in, and the epoch under which that rests: the second byte of the record.
async fn signed_in_with_epoch(scene: &Scene<'_>) -> (Client, u8) {
    let (person, secret) = scene.signed_in_with_secret().await;
    let object: Value = scene.bed.cluster.read(&["secret", &secret, "--namespace", INSTALLATION]);
    let record = object["data"]["record"].as_str().expect("its record");
    (person, BASE64.decode(record.as_bytes()).expect("Secrets are base64")[1])
}

/// The ring as it rests.
fn ring(bed: &Bed) -> Value {
    bed.cluster.read(&["secret", RING, "--namespace", INSTALLATION])["data"]["ring"].clone()
}

fn put_ring(bed: &Bed, ring: &Value) {
    let patch = json!({"data": {"ring": ring}}).to_string();
    bed.cluster.kubectl(&["patch", "secret", RING, "--namespace", INSTALLATION, "--patch", &patch]);
}
