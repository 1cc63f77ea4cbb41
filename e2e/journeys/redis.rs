//! Two replicas share sessions in Redis: who signs in at one is signed in at the other, and signed out there as soon. While
//! Redis is gone nobody who is signed in notices, and nobody new gets in. What rests in it shows nothing.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::bed::Bed;
use crate::support::client::{Ask, Client};
use crate::support::dump;
use crate::support::eventually::{SOON, eventually};
use crate::support::objects::INSTALLATION;
use crate::support::portcullis::{Place, Portcullis};
use crate::support::provider::STAFF;
use crate::support::redis::Redis;
use crate::support::scene::{APP, Scene};

const SECRET: &str = "portcullis-redis";

/// Where the other replica listens.
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The longest that a session signed out at one replica goes on at another, or two sign-ins where the machine is slower.
const REVOKED: Duration = Duration::from_secs(1);

pub async fn journey(bed: &Bed) {
    let folder = bed.folder("redis");
    let mut redis = Redis::start(&folder, &bed.authority).await;
    bed.cluster.apply(&[redis.secret(SECRET)]);
    let store = ["redis", "--redis-secret", &format!("{INSTALLATION}/{SECRET}")];
    let one = Place { data: "127.0.0.1", admin: "127.0.0.1", store: &store };
    let mut scene = Scene::open_at(bed, "redis", 300, &one).await;
    scene.publish_for_staff().await;
    let address = OTHER.to_string();
    let place = Place { data: &address, admin: &address, store: &store };
    let mut other = Portcullis::start_at(&place, &bed.folder("redis/other"), &bed.cluster.portcullis, &bed.authority);
    other.ready().await;
    let before = scene.session_secrets();

    signed_out_at_one_is_signed_out_at_the_other(&scene).await;
    let person = scene.signed_in(APP, &STAFF).await;
    assert_eq!(scene.session_secrets(), before, "no session rests in a Secret");
    let stranger = dump::stranger(&scene).await;
    redis.plant(&dump::canary());
    let dump = redis.dump();
    assert!(dump.iter().any(|file| dump::contains(file, b"PXAT")), "the session rests in Redis");
    dump::shows_nothing(&dump, &scene, &stranger).await;
    assert!(!dump.iter().any(|file| dump::names_the_client(file)), "the client rests in its Secret alone");

    // Each has it in its cache from here on.
    assert_eq!((person.status(APP).await, person.at(OTHER).status(APP).await), (200, 200));
    redis.kill();
    nobody_new_gets_in(&scene, &person).await;
    redis.restart().await;
    eventually("a sign-in", SOON, async || (scene.visitor().sign_in(APP, &STAFF).await.status == 200).then_some(()))
        .await;

    // A replica that dies takes no session along.
    scene.portcullis.kill();
    assert_eq!(person.at(OTHER).status(APP).await, 200);
    scene.portcullis = Portcullis::start_at(&one, &scene.folder, &bed.cluster.portcullis, &bed.authority);
    scene.portcullis.ready().await;
    assert_eq!(person.status(APP).await, 200);
    other.stop().await;
    scene.portcullis.stop().await;
}

async fn signed_out_at_one_is_signed_out_at_the_other(scene: &Scene<'_>) {
    let from = Instant::now();
    let person = scene.signed_in(APP, &STAFF).await;
    let bound = REVOKED.max(2 * from.elapsed());
    let elsewhere = person.at(OTHER);
    assert_eq!(elsewhere.status(APP).await, 200);
    let cookies = person.copy();
    let signed_out = elsewhere.send(Ask::post(&format!("{APP}/.portcullis/logout"), "")).await;
    assert_eq!(signed_out.status, 303);
    let gone = async || (cookies.status(APP).await == 401).then_some(());
    eventually("the session to be gone at the first replica", bound, gone).await;
    let received = scene.app.received().len();
    assert_eq!((cookies.status(APP).await, cookies.at(OTHER).status(APP).await), (401, 401));
    assert_eq!(scene.app.received().len(), received, "nothing reaches the app");
}

/// Redis is gone: who is in a cache goes on, others are told to come back later.
async fn nobody_new_gets_in(scene: &Scene<'_>, person: &Client) {
    assert_eq!((person.status(APP).await, person.at(OTHER).status(APP).await), (200, 200));
    let late = scene.visitor().sign_in(APP, &STAFF).await;
    assert_eq!(late.status, 503, "{}", late.text());
    assert!(late.headers.contains_key("retry-after"), "{:?}", late.headers);
    assert_eq!((person.status(APP).await, person.at(OTHER).status(APP).await), (200, 200));
}
