//! An API server that answers with errors, or slowly, or has forgotten what the watches knew, and a leader that is killed while
//! it writes a status. Meanwhile people work and notice nothing; what was changed meanwhile is live when it is over.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;
use tokio::time::sleep;

use crate::support::bed::Bed;
use crate::support::client::Ask;
use crate::support::controller::{PORTCULLIS, client};
use crate::support::eventually::{SOON, eventually};
use crate::support::faulty_api::{FaultyApi, Mood};
use crate::support::objects::{WATCHED, allow_group, ingress, policy};
use crate::support::portcullis::Portcullis;
use crate::support::provider::STAFF;
use crate::support::scene::{APP, NEIGHBOUR, NEIGHBOUR_APP, Scene};
use crate::support::traffic::Traffic;

/// Long enough that every back-off has grown to its end.
const LASTS: Duration = Duration::from_secs(5);

/// Less than what a sign-in waits for the store.
const SLOW: Duration = Duration::from_secs(2);

/// Until somebody leads where the leader before was killed, and a while.
const LED: Duration = Duration::from_secs(150);

pub async fn journey(bed: &Bed) {
    let mut scene = Scene::open(bed, "api-faults", 300).await;
    let api = FaultyApi::start(client(&bed.cluster, PORTCULLIS).await).await;
    scene.portcullis.stop().await;
    scene.portcullis = Portcullis::start(&scene.folder, &FaultyApi::kubeconfig(&scene.folder), &bed.authority);
    scene.portcullis.ready().await;
    scene.publish_for_staff().await;
    scene.publish("other", NEIGHBOUR, json!({"portcullis.dev/access": "public"})).await;
    let traffic = Traffic::start(&scene).await;
    let visitor = scene.visitor();
    visitor.comes_to(NEIGHBOUR_APP, 200).await;

    for (status, access, then) in
        [(StatusCode::INTERNAL_SERVER_ERROR, "authenticated", 303), (StatusCode::TOO_MANY_REQUESTS, "public", 200)]
    {
        api.turns(Mood::Refuses(status));
        set_access(&scene, access);
        sleep(LASTS).await;
        let refused = scene.visitor().sign_in(APP, &STAFF).await;
        assert_eq!(refused.status, 503, "{}", refused.text());
        let meanwhile = visitor.send(Ask::get(NEIGHBOUR_APP).navigating()).await;
        assert_ne!(meanwhile.status, then, "nothing is known of the change");
        api.turns(Mood::Sound);
        visitor.comes_to(NEIGHBOUR_APP, then).await;
        signs_in_again(&scene).await;
    }
    assert!(!api.has_listed("ingresses"), "a watch that was cut goes on where it was");

    api.turns(Mood::Slow(SLOW));
    assert_eq!(scene.visitor().sign_in(APP, &STAFF).await.status, 200);
    set_access(&scene, "authenticated");
    visitor.comes_to(NEIGHBOUR_APP, 303).await;

    everything_expires(&scene, &api).await;
    traffic.end().await;
    a_leader_dies_in_the_middle_of_a_status(&mut scene, &api).await;
    scene.portcullis.stop().await;
}

/// What is changed while nobody watches is compacted away, so that no watch can go on.
async fn everything_expires(scene: &Scene<'_>, api: &FaultyApi) {
    let cluster = &scene.bed.cluster;
    api.turns(Mood::Refuses(StatusCode::SERVICE_UNAVAILABLE));
    set_access(scene, "public");
    cluster.kubectl(&["delete", "service", "other", "--namespace", scene.namespace]);
    cluster.kill_api_server().await;
    cluster.compact(&scene.visitor()).await;
    cluster.restart_api_server().await;
    api.turns(Mood::Sound);
    scene.visitor().comes_to(NEIGHBOUR_APP, 503).await;
    eventually("a list of each kind", SOON, async || WATCHED.iter().all(|kind| api.has_listed(kind)).then_some(()))
        .await;
    signs_in_again(scene).await;
}

async fn a_leader_dies_in_the_middle_of_a_status(scene: &mut Scene<'_>, api: &FaultyApi) {
    let cluster = &scene.bed.cluster;
    api.turns(Mood::HoldsStatuses);
    cluster.apply(&[policy(scene.namespace, "late", &allow_group("staff"))]);
    let status = "/policies/late/status";
    eventually("a status on its way", SOON, async || api.has_received(&Method::PATCH, status).then_some(())).await;
    scene.portcullis.kill();
    let read = || cluster.read(&["policies.portcullis.dev", "late", "--namespace", scene.namespace]);
    assert!(read()["status"].is_null(), "it was not written");

    api.turns(Mood::Sound);
    scene.portcullis = Portcullis::start(&scene.folder, &FaultyApi::kubeconfig(&scene.folder), &scene.bed.authority);
    scene.portcullis.ready().await;
    eventually("the status, by the next leader", LED, async || {
        (read()["status"]["conditions"][0]["status"] == "True").then_some(())
    })
    .await;
}

fn set_access(scene: &Scene, access: &str) {
    let annotations = json!({"portcullis.dev/access": access});
    scene.bed.cluster.apply(&[ingress(scene.namespace, "other", NEIGHBOUR, &annotations)]);
}

async fn signs_in_again(scene: &Scene<'_>) {
    eventually("a new sign-in succeeds again", SOON, async || {
        (scene.visitor().sign_in(APP, &STAFF).await.status == 200).then_some(())
    })
    .await;
}
