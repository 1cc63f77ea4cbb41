//! Sessions in Secrets: the store keeps its contract, replicas hear of each other, whoever writes Secrets can end a session
//! and never make, swap or edit one, and what has expired is collected.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use jiff::Timestamp;
use portcullis::clock::Clock;
use portcullis::config::MAX_SESSION_SECRETS;
use portcullis::host::Host;
use portcullis::seal;
use portcullis::session::{Lookup, SecretStore, Sessions, Ticket, TicketState, contract};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::support::bed::Bed;
use crate::support::client::{Ask, Client};
use crate::support::controller::{PORTCULLIS, client};
use crate::support::eventually::{SOON, eventually};
use crate::support::objects::INSTALLATION;
use crate::support::provider::STAFF;
use crate::support::replicas::Replicas;
use crate::support::scene::{APP, HOST, Scene};

/// The longest that a session signed out at one replica goes on at another, or two sign-ins where the machine is slower.
const REVOKED: Duration = Duration::from_secs(1);

/// To become the leader, and to sweep.
const COLLECTED: Duration = Duration::from_secs(240);

pub async fn journey(bed: &Bed, name: &'static str, replicas: Replicas) {
    let store =
        || async { SecretStore::new(client(&bed.cluster, PORTCULLIS).await, INSTALLATION, MAX_SESSION_SECRETS) };
    let now = Clock::system().now();
    contract::holds_for(&store().await, now).await;
    plant_expired(bed, now);

    let scene = Scene::open_on(replicas, bed, name, 300).await;
    scene.publish_for_staff().await;
    another_replica_hears_of_it(&scene, store().await).await;
    a_swapped_or_edited_record_is_nobodys(&scene).await;
    eventually("the expired session to be collected", COLLECTED, async || {
        (!scene.session_secrets().contains(&"pcs-expired".to_owned())).then_some(())
    })
    .await;
    scene.stop().await;
}

/// Somebody signs in at the program and out again; a replica in this process knows both without asking.
async fn another_replica_hears_of_it(scene: &Scene<'_>, store: SecretStore) {
    let keys = seal::load_or_create(client(&scene.bed.cluster, PORTCULLIS).await, INSTALLATION, "portcullis-keys");
    let ring = Some(keys.await.expect("the program made the ring, and this user may read it").ring);
    let replica = Sessions::new(ring, Arc::new(store), Clock::system(), Handle::current(), Duration::from_secs(600));
    let stranger = Ticket::new([0; 32], Clock::system().now());
    eventually("the first list", SOON, async || matches!(replica.lookup(&stranger), Lookup::Gone).then_some(())).await;

    let from = Instant::now();
    let person = scene.signed_in(APP, &STAFF).await;
    let bound = REVOKED.max(2 * from.elapsed());
    let host = Host::parse(HOST).expect("it is a host");
    let cookies = person.cookies(HOST).expect("signed in");
    let TicketState::Valid(ticket) = replica.ticket(&host, [cookies.as_bytes()]) else {
        panic!("both have the ring of the Secret")
    };
    let session = eventually("the other replica's session", bound, async || match replica.lookup(&ticket) {
        Lookup::Live(session) => Some(session),
        Lookup::Gone | Lookup::Unknown => None,
    })
    .await;
    assert_eq!(&*session.of.principal.identity.subject.0, STAFF.login);

    let signed_out = person.send(Ask::post(&format!("{APP}/.portcullis/logout"), "")).await;
    assert_eq!(signed_out.status, 303);
    let gone = async || matches!(replica.lookup(&ticket), Lookup::Gone).then_some(());
    eventually("the session to be gone at the other replica", bound, gone).await;
    tokio::time::timeout(SOON, replica.ended(&session, session.of.lifetimes.absolute))
        .await
        .expect("what lives by it ends too");
}

async fn a_swapped_or_edited_record_is_nobodys(scene: &Scene<'_>) {
    let (mine, my_secret) = scene.signed_in_with_secret().await;
    let (theirs, their_secret) = scene.signed_in_with_secret().await;
    let (neighbour, _) = scene.signed_in_with_secret().await;
    let (my_record, their_record) = (record(scene, &my_secret), record(scene, &their_secret));

    put_record(scene, &my_secret, &their_record);
    put_record(scene, &their_secret, &my_record);
    is_signed_out(scene, &mine).await;
    is_signed_out(scene, &theirs).await;

    put_record(scene, &my_secret, &my_record);
    for replica in scene.at_each(&mine) {
        eventually("the repaired session", SOON, async || (replica.status(APP).await == 200).then_some(())).await;
    }
    let mut edited = my_record.clone();
    *edited.last_mut().expect("a record is not empty") ^= 1;
    put_record(scene, &my_secret, &edited);
    is_signed_out(scene, &mine).await;
    assert_eq!(neighbour.status(APP).await, 200, "others go on");
}

/// Waits until the browser counts as signed out; from then on nothing of it reaches the app, while others do.
async fn is_signed_out(scene: &Scene<'_>, person: &Client) {
    scene.signed_out(person, APP, SOON).await;
    let before = scene.app.received().len();
    for replica in scene.at_each(person) {
        assert_eq!(replica.status(APP).await, 401);
    }
    assert_eq!(scene.app.received().len(), before);
}

fn record(scene: &Scene<'_>, secret: &str) -> Vec<u8> {
    let object: Value = scene.bed.cluster.read(&["secret", secret, "--namespace", INSTALLATION]);
    BASE64.decode(object["data"]["record"].as_str().expect("its record").as_bytes()).expect("Secrets are base64")
}

fn put_record(scene: &Scene<'_>, secret: &str, record: &[u8]) {
    let patch = json!({"data": {"record": BASE64.encode(record)}}).to_string();
    scene.bed.cluster.kubectl(&["patch", "secret", secret, "--namespace", INSTALLATION, "--patch", &patch]);
}

fn plant_expired(bed: &Bed, now: Timestamp) {
    let hour = now.as_second() / 3600 - 1;
    bed.cluster.apply(&[json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "portcullis.dev/session",
        "metadata": {
            "namespace": INSTALLATION,
            "name": "pcs-expired",
            "labels": {"portcullis.dev/session-ends": hour.to_string()},
        },
    })]);
}
