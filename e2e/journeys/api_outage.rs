//! The API server is gone for a minute while people work: nobody who is signed in notices, nobody new gets in where sessions
//! rest in Secrets, and what is changed afterwards takes effect without a restart.

use std::time::Duration;

use tokio::time::sleep;

use crate::support::bed::Bed;
use crate::support::eventually::{SOON, eventually};
use crate::support::objects::{allow_group, policy};
use crate::support::provider::STAFF;
use crate::support::replicas::Replicas;
use crate::support::scene::{APP, Scene};
use crate::support::traffic::Traffic;

/// How long it is gone.
const OUTAGE: Duration = Duration::from_secs(60);

pub async fn journey(bed: &Bed, name: &'static str, replicas: Replicas) {
    let scene = Scene::open_on(replicas, bed, name, 30).await;
    scene.publish_for_staff().await;
    let traffic = Traffic::start(&scene).await;

    bed.cluster.kill_api_server().await;
    let late = scene.visitor().sign_in(APP, &STAFF).await;
    let in_redis = matches!(replicas, Replicas::TwoOnRedis);
    assert_eq!(late.status, if in_redis { 200 } else { 503 }, "{}", late.text());
    sleep(OUTAGE).await;
    bed.cluster.restart_api_server().await;

    traffic.end().await;
    a_change_takes_effect(&scene).await;
    scene.stop().await;
}

async fn a_change_takes_effect(scene: &Scene<'_>) {
    let person = eventually("a new sign-in succeeds again", SOON, async || {
        let person = scene.visitor();
        (person.sign_in(APP, &STAFF).await.status == 200).then_some(person)
    })
    .await;
    scene.bed.cluster.apply(&[policy(scene.namespace, "staff", &allow_group("others"))]);
    scene.comes_to(&person, APP, 403).await;
}
