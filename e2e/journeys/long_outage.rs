//! The API server is gone for longer than `--session-staleness`, with all parts at work. The program's clock runs fast, so
//! that its ten minutes pass in two: people go on for that long and not longer, then nobody is let in where it counts who
//! asks, and when the API server is back everybody has the session that they had.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::bed::Bed;
use crate::support::client::{Ask, Client};
use crate::support::eventually::eventually;
use crate::support::objects::{allow_group, policy};
use crate::support::portcullis::{Portcullis, hurried};
use crate::support::provider::STAFF;
use crate::support::scene::{APP, NEIGHBOUR, NEIGHBOUR_APP, Scene};
use crate::support::traffic::Traffic;

/// Seconds of the program in one of ours: as many as leave its deadlines long enough for a busy machine.
const SPEED: u32 = 5;

/// Seconds of an access token that nobody refreshes: by the program's clock, what the provider issues then is too old.
const NEVER_DUE: u32 = 7200;

/// How long people go on, `--session-staleness`; the store's last word may be a watch of half a minute old by then.
const STALENESS: SignedDuration = SignedDuration::from_mins(10);

/// The same, less that watch and a while.
const AT_LEAST: SignedDuration = SignedDuration::from_mins(8);

/// By how much the trail may lag behind what happens.
const LAG: SignedDuration = SignedDuration::from_secs(60);

/// How old what is known may be, `--max-policy-age`.
const POLICY_AGE: &str = "13m";

/// Until all of it has passed by our clock, and a while.
const OVER: Duration = Duration::from_secs(400);

pub async fn journey(bed: &Bed) {
    let mut scene = Scene::open(bed, "long-outage", NEVER_DUE).await;
    scene.portcullis.stop().await;
    let mut program = hurried(SPEED);
    program.env("PORTCULLIS_MAX_POLICY_AGE", POLICY_AGE);
    scene.portcullis = Portcullis::start_by(program, &scene.folder, &bed.cluster.portcullis, &bed.authority);
    scene.portcullis.ready().await;
    scene.publish_for_staff().await;
    scene.publish("other", NEIGHBOUR, json!({"portcullis.dev/access": "public"})).await;
    let person = scene.signed_in(APP, &STAFF).await;
    let traffic = Traffic::start(&scene).await;
    let sessions = scene.session_secrets();

    let before = told(&scene);
    bed.cluster.kill_api_server().await;
    let after = told(&scene);
    nobody_new_gets_in(&scene).await;
    eventually("minutes of the outage", OVER, async || (told(&scene) >= before + AT_LEAST).then_some(())).await;
    traffic.end().await;
    people_are_told_to_come_back(&scene, &person, (before, after)).await;
    assert_eq!(scene.visitor().status(APP).await, 401);
    what_is_too_old_passes_nobody(&scene, &person).await;

    bed.cluster.restart_api_server().await;
    person.comes_to(APP, 200).await;
    assert_eq!(person.status(NEIGHBOUR_APP).await, 200);
    assert_eq!(scene.session_secrets(), sessions, "no session is lost");
    bed.cluster.apply(&[policy(scene.namespace, "staff", &allow_group("others"))]);
    person.comes_to(APP, 403).await;
    scene.stop().await;
}

/// Whoever has a session goes on for as long as what the store said last is believed, then gets 503 as long as it is
/// silent; what is for everybody goes on.
async fn people_are_told_to_come_back(scene: &Scene<'_>, person: &Client, (before, after): (Timestamp, Timestamp)) {
    let refused = eventually("the end of what is believed", OVER, async || {
        let answer = person.send(Ask::get(APP)).await;
        assert!(matches!(answer.status, 200 | 503), "{}: {}", answer.status, answer.text());
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert!(refused.headers.contains_key("retry-after"), "{:?}", refused.headers);
    let audit = scene.audit();
    let allowed = audit.iter().filter(|event| event["reason"] == "rule_allows");
    let last = allowed.map(|event| at(&event["ts"])).max().expect("there was traffic");
    assert!(last.duration_since(before) >= AT_LEAST, "{last} is too soon after {before}");
    assert!(last.duration_since(after) <= STALENESS + LAG, "{last} is too long after {after}");

    let received = scene.app.received().len();
    assert_eq!(person.status(APP).await, 503);
    assert_eq!(person.status(NEIGHBOUR_APP).await, 200);
    assert_eq!(scene.app.received().len(), received + 1, "the neighbour's alone");
}

/// Once what is known is older than it may be, nothing is for everybody any more.
async fn what_is_too_old_passes_nobody(scene: &Scene<'_>, person: &Client) {
    eventually("the end of what may be known", OVER, async || {
        let status = person.status(NEIGHBOUR_APP).await;
        assert!(matches!(status, 200 | 503), "{status}");
        (status == 503).then_some(())
    })
    .await;
    let received = scene.app.received().len();
    let refused = person.send(Ask::get(NEIGHBOUR_APP)).await;
    assert_eq!(refused.status, 503);
    assert!(refused.headers.contains_key("retry-after"), "{:?}", refused.headers);
    assert_eq!(scene.app.received().len(), received, "nothing reaches an app");
    let reasons = scene.audit().into_iter().map(|event| event["reason"].clone());
    assert!(reasons.into_iter().any(|reason| reason == "policies_stale"), "the trail says why");
    let ages = scene.portcullis.metrics().await;
    let age = |line: &str| line.strip_prefix("portcullis_watch_age_seconds{kind=\"Policy\"} ")?.parse::<f64>().ok();
    assert!(ages.lines().find_map(age).expect("its age is told") > 600.0, "{ages}");
}

/// Without a session nobody passes, and nobody can begin one.
async fn nobody_new_gets_in(scene: &Scene<'_>) {
    let late = scene.visitor();
    assert_eq!(late.status(APP).await, 401);
    let refused = late.sign_in(APP, &STAFF).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.headers.contains_key("retry-after"), "{:?}", refused.headers);
    assert_eq!(late.status(APP).await, 401);
}

/// The program's time, as its trail has it.
fn told(scene: &Scene) -> Timestamp {
    at(&scene.portcullis.newest_audit()["ts"])
}

fn at(time: &Value) -> Timestamp {
    time.as_str().and_then(|text| text.parse().ok()).expect("the trail has the time of each event")
}
