//! A Policy is broken in ways that the API server lets pass, deleted and restored: its route is closed meanwhile, it says
//! why in three places, and the neighbour never notices.

use serde_json::{Value, json};

use crate::support::bed::Bed;
use crate::support::client::Client;
use crate::support::eventually::{SOON, eventually};
use crate::support::objects::{allow_group, attached, policy};
use crate::support::provider::{GUEST, STAFF};
use crate::support::replicas::Replicas;
use crate::support::scene::{APP, NEIGHBOUR, NEIGHBOUR_APP, Scene};

/// A field that a person meant as `methods`.
const MISSPELT: &str = "mehtods";

pub async fn journey(bed: &Bed, name: &'static str, replicas: Replicas) {
    let scene = Scene::open_on(replicas, bed, name, 300).await;
    scene.publish_for_staff().await;
    scene.publish("other", NEIGHBOUR, json!({"portcullis.dev/access": "public"})).await;
    let person = scene.visitor();
    assert_eq!(person.sign_in(APP, &STAFF).await.status, 200);

    for validation in ["--validate=warn", "--validate=ignore"] {
        bed.cluster.apply_with(&[validation], &[misspelt(scene.namespace)]);
        scene.comes_to(&person, APP, 503).await;
        says_why(&scene).await;
        scene.comes_to(&person, NEIGHBOUR_APP, 200).await;
        restore(&scene, &person).await;
    }

    bed.cluster.kubectl(&["delete", "policies.portcullis.dev", "staff", "--namespace", scene.namespace]);
    scene.comes_to(&person, APP, 503).await;
    scene.event("app", "staff").await;
    scene.comes_to(&person, NEIGHBOUR_APP, 200).await;
    restore(&scene, &person).await;
    attached_by_its_own_target(&scene, &person).await;
    scene.stop().await;
}

/// An Ingress that names no Policy has the default of its class, which lets nobody pass, until a Policy names the Ingress,
/// and again when that is gone: nothing dangles, so nothing is closed as broken.
async fn attached_by_its_own_target(scene: &Scene<'_>, person: &Client) {
    let cluster = &scene.bed.cluster;
    scene.publish("other", NEIGHBOUR, json!({})).await;
    scene.comes_to(person, NEIGHBOUR_APP, 403).await;

    let members = policy(scene.namespace, "members", &allow_group("staff"));
    cluster.apply(&[attached("other", members)]);
    scene.comes_to(person, NEIGHBOUR_APP, 303).await;
    // The provider knows them already, and asks nothing.
    assert_eq!(person.browse(NEIGHBOUR_APP).await.status, 200);
    let stranger = scene.visitor();
    assert_eq!(stranger.sign_in(NEIGHBOUR_APP, &GUEST).await.status, 403);

    cluster.kubectl(&["delete", "policies.portcullis.dev", "members", "--namespace", scene.namespace]);
    scene.comes_to(person, NEIGHBOUR_APP, 403).await;
    scene.comes_to(person, APP, 200).await;
}

/// A rule that would let the staff do everything if the field that narrows it were dropped in silence.
fn misspelt(namespace: &str) -> Value {
    let request = json!({MISSPELT: ["GET"], "paths": ["/"]});
    let rule = json!({"name": "members", "effect": "Allow", "request": request, "principal": {"groups": ["staff"]}});
    policy(namespace, "staff", &json!([rule]))
}

async fn restore(scene: &Scene<'_>, person: &Client) {
    scene.bed.cluster.apply(&[policy(scene.namespace, "staff", &allow_group("staff"))]);
    scene.comes_to(person, APP, 200).await;
    eventually("`kubectl get policy` calls it accepted", SOON, async || {
        (condition(scene)["status"] == "True").then_some(())
    })
    .await;
}

async fn says_why(scene: &Scene<'_>) {
    let field = format!("request.{MISSPELT}");
    eventually("the field in the Policy's status", SOON, async || {
        let accepted = condition(scene);
        let says = accepted["message"].as_str().is_some_and(|message| message.contains(&field));
        (says && accepted["status"] == "False").then_some(())
    })
    .await;
    let table = scene.bed.cluster.kubectl(&["get", "policies.portcullis.dev", "--namespace", scene.namespace]);
    assert!(table.contains(&field) && table.contains("False"), "{table}");
    scene.event("staff", &field).await;
    assert!(scene.log().contains(&field), "the log names the field");
}

/// The condition `Accepted` of the Policy, where it speaks of the newest generation.
fn condition(scene: &Scene) -> Value {
    let policy = scene.bed.cluster.read(&["policies.portcullis.dev", "staff", "--namespace", scene.namespace]);
    let conditions = policy["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let newest = |condition: &Value| condition["observedGeneration"] == policy["metadata"]["generation"];
    conditions.into_iter().find(|one| one["type"] == "Accepted" && newest(one)).unwrap_or_default()
}
