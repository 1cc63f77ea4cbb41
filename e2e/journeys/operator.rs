//! What an administrator asks a running installation: what is wrong, who may pass, who is signed in; and the end of
//! sessions, which is within a second on every replica.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::bed::Bed;
use crate::support::objects::INSTALLATION;
use crate::support::portcullis::PROGRAM;
use crate::support::provider::{GUEST, STAFF};
use crate::support::replicas::Replicas;
use crate::support::scene::{HOST, NEIGHBOUR, NEIGHBOUR_APP, Scene};

/// Within this time a revoked session ends everywhere, or in that of two sign-ins where the machine is slower.
const REVOKED: Duration = Duration::from_secs(1);

pub async fn journey(bed: &Bed, name: &'static str, replicas: Replicas) {
    let scene = Scene::open_on(replicas, bed, name, 300).await;
    scene.publish_for_staff().await;
    scene.publish("other", NEIGHBOUR, json!({"portcullis.dev/access": "authenticated"})).await;
    what_is_served(&scene).await;
    who_is_signed_in(&scene, replicas).await;
    scene.stop().await;
}

async fn what_is_served(scene: &Scene<'_>) {
    assert!(ask(scene, &["check"]).is_ok(), "nothing is wrong");
    let routes = ask(scene, &["routes", "--output", "json"]).expect("routes can be listed");
    let routes: Vec<Value> = serde_json::from_str(&routes).expect("it is JSON");
    let who: Vec<_> = routes.iter().map(|route| (route["host"].clone(), route["who"][0].clone())).collect();
    assert_eq!(who, [(json!(HOST), json!("group staff")), (json!(NEIGHBOUR), json!("anyone signed in"))]);
    assert_eq!(ask(scene, &["routes", "--unprotected", "--output", "json"]).as_deref(), Ok("[]\n"));

    let annotation = |change: &str| {
        let namespace = scene.namespace;
        scene.bed.cluster.kubectl(&["annotate", "ingress", "other", "--namespace", namespace, "--overwrite", change]);
    };
    annotation("portcullis.dev/acces=public");
    let wrong = ask(scene, &["check"]).expect_err("a misspelt annotation closes");
    let named = format!("error: Ingress {}/other: metadata.annotations[portcullis.dev/acces]", scene.namespace);
    assert!(wrong.contains(&named), "{wrong}");
    scene.comes_to(&scene.visitor(), NEIGHBOUR_APP, 503).await;
    annotation("portcullis.dev/acces-");
    scene.comes_to(&scene.visitor(), NEIGHBOUR_APP, 303).await;
}

async fn who_is_signed_in(scene: &Scene<'_>, replicas: Replicas) {
    let sessions = [&["sessions", "--namespace", INSTALLATION, "--session-store"], replicas.place(0).store].concat();
    let revoke = |arguments: &[&str]| ask(scene, &[&sessions[..], &["revoke"], arguments].concat());
    revoke(&["--all"]).expect("what other journeys left can be revoked");
    let from = Instant::now();
    let [ada, gus] = [scene.signed_in(NEIGHBOUR_APP, &STAFF).await, scene.signed_in(NEIGHBOUR_APP, &GUEST).await];
    let bound = REVOKED.max(from.elapsed());
    let listed = |arguments: &[&str]| -> Vec<Value> {
        let arguments = [&sessions[..], &["list", "--output", "json"], arguments].concat();
        serde_json::from_str(&ask(scene, &arguments).expect("sessions can be listed")).expect("it is JSON")
    };
    let users: Vec<_> = listed(&[]).iter().map(|session| session["subject"].clone()).collect();
    assert_eq!(users, [STAFF.login, GUEST.login]);
    let [session] = &listed(&["--user", STAFF.email, "--group", "staff"])[..] else { panic!("one is hers") };
    let mut fields: Vec<_> = session.as_object().expect("an object").keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["email", "expires", "groups", "host", "id", "issued", "provider", "subject"]);
    assert!(listed(&["--group", "nobody"]).is_empty());

    assert!(revoke(&[]).is_err(), "whose must be said");
    revoke(&["--id", session["id"].as_str().expect("a text")]).expect("hers can be revoked");
    scene.signed_out(&ada, NEIGHBOUR_APP, bound).await;
    assert_eq!(gus.status(NEIGHBOUR_APP).await, 200, "his goes on");
    revoke(&["--provider", "corp"]).expect("all of a provider can be revoked");
    scene.signed_out(&gus, NEIGHBOUR_APP, bound).await;
    assert!(listed(&[]).is_empty());
    assert_eq!(
        scene.signed_in(NEIGHBOUR_APP, &STAFF).await.status(NEIGHBOUR_APP).await,
        200,
        "whoever signs in anew is let in"
    );
}

/// What the program prints, or all that it says where it fails.
fn ask(scene: &Scene<'_>, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(PROGRAM);
    let output = command.env("KUBECONFIG", &scene.bed.cluster.admin).args(arguments).output().expect("it runs");
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("it prints text"));
    if output.status.success() { Ok(out) } else { Err(out + &err) }
}
