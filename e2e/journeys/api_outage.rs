//! The API server is gone for a minute while people work: nobody who is signed in notices, nobody new gets in, and what is
//! changed afterwards takes effect without a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{interval, sleep};

use crate::support::bed::Bed;
use crate::support::client::{Ask, Client};
use crate::support::eventually::eventually;
use crate::support::objects::{allow_group, policy};
use crate::support::provider::STAFF;
use crate::support::scene::{APP, Scene};

/// How long it is gone.
const OUTAGE: Duration = Duration::from_secs(60);

/// People who work meanwhile.
const PEOPLE: usize = 5;

pub async fn journey(bed: &Bed) {
    let scene = Scene::open(bed, "api-outage", 30).await;
    scene.publish_for_staff().await;
    let over = Arc::new(AtomicBool::new(false));
    let mut working = Vec::new();
    for _ in 0..PEOPLE {
        let person = scene.visitor();
        assert_eq!(person.sign_in(APP, &STAFF).await.status, 200);
        working.push(tokio::spawn(work(person, Arc::clone(&over))));
    }

    bed.cluster.kill_api_server().await;
    let late = scene.visitor();
    let refused = late.sign_in(APP, &STAFF).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    sleep(OUTAGE).await;
    bed.cluster.restart_api_server().await;

    over.store(true, Ordering::Relaxed);
    for person in working {
        let requests = person.await.expect("no request failed");
        assert!(requests > 100, "{requests} requests are no traffic");
    }
    a_change_takes_effect(&scene).await;
    scene.portcullis.stop().await;
}

/// Asks ten times a second until told to stop; how often it did.
async fn work(person: Client, over: Arc<AtomicBool>) -> usize {
    let mut tick = interval(Duration::from_millis(100));
    let mut requests = 0;
    while !over.load(Ordering::Relaxed) {
        tick.tick().await;
        let answer = person.send(Ask::get(APP)).await;
        assert_eq!(answer.status, 200, "request {requests}: {}", answer.text());
        requests += 1;
    }
    requests
}

async fn a_change_takes_effect(scene: &Scene<'_>) {
    let person = eventually("a new sign-in succeeds again", Duration::from_secs(40), async || {
        let person = scene.visitor();
        (person.sign_in(APP, &STAFF).await.status == 200).then_some(person)
    })
    .await;
    scene.bed.cluster.apply(&[policy(scene.namespace, "staff", &allow_group("others"))]);
    person.comes_to(APP, 403).await;
}
