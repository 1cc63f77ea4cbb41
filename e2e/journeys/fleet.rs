//! A thousand sign-ins at two replicas behind a balancer, while sessions are refreshed, signed out and revoked, and one
//! replica after the other is killed: a model knows what each session may be answered, and every answer is held against it.
//! A request may fail only where it had been led to a replica that was just then down.

mod crowd;
mod model;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::sleep;

use crate::support::bed::Bed;
use crate::support::objects::{INSTALLATION, allow_group, policy};
use crate::support::portcullis::PROGRAM;
use crate::support::program::output;
use crate::support::provider::{TEAM, team};
use crate::support::replicas::Replicas;
use crate::support::scene::{HOST, Scene};

use crowd::{Crowd, address};
use model::Verdict;

/// How many people come and go at once.
const AT_ONCE: usize = 24;

/// A session is refreshed as soon as somebody uses it, and again half a minute later.
const ACCESS_TOKEN_SECONDS: u32 = 20;

/// How long the provider takes to give tokens: long enough that replicas are killed while they wait for them.
const PROVIDER: Duration = Duration::from_millis(100);

/// So many replicas are killed at least.
const KILLS: usize = 4;

/// Between a replica's return and the end of the next.
const UP: Duration = Duration::from_secs(8);

pub async fn journey(bed: &Bed, name: &'static str, replicas: Replicas, sign_ins: usize) {
    let scene = Scene::open_on(replicas, bed, name, ACCESS_TOKEN_SECONDS).await;
    bed.cluster.apply(&[policy(name, "staff", &allow_group("staff"))]);
    let annotations = json!({"portcullis.dev/policies": "staff", "portcullis.dev/identity-headers": "user"});
    scene.publish("app", HOST, annotations).await;
    let Scene { provider, portcullis, beside, app: _app, folder, .. } = scene;
    provider.delay(PROVIDER).await;
    let beside = beside.expect("there are two");
    let crowd = Arc::new(Crowd::new(bed, provider, beside.balancer, sign_ins));
    let mut fleet = [portcullis, beside.portcullis];

    let people = join_all((0..AT_ONCE).map(|place| tokio::spawn(Arc::clone(&crowd).come_and_go(place))));
    let store = replicas.place(0).store;
    let revoking = tokio::spawn(revoke_teams(Arc::clone(&crowd), bed.cluster.admin.clone(), store));
    let everybody = tokio::spawn(people);
    let mut kills = 0;
    while !everybody.is_finished() {
        let down = kills % fleet.len();
        crowd.goes_down(down);
        fleet[down].kill();
        fleet[down] = replicas.start(bed, &folder, down);
        fleet[down].ready().await;
        crowd.is_up(down);
        kills += 1;
        sleep(UP).await;
    }
    everybody.await.expect("it ends").into_iter().for_each(|person| person.expect("no answer was wrong"));
    revoking.await.expect("every team was revoked");

    let asked = join_all((0..AT_ONCE).map(|place| tokio::spawn(Arc::clone(&crowd).ask_everybody(place))));
    asked.await.into_iter().for_each(|person| person.expect("no answer was wrong"));
    tells(name, &crowd, kills).await;
    for replica in fleet {
        replica.stop().await;
    }
}

/// As an administrator does, every third team that is complete.
async fn revoke_teams(crowd: Arc<Crowd>, kubeconfig: PathBuf, store: &'static [&'static str]) {
    for number in (0..crowd.teams()).step_by(3) {
        while !crowd.is_complete(number) {
            sleep(Duration::from_millis(200)).await;
        }
        let members = crowd.end_of(number * TEAM..(number + 1) * TEAM);
        let mut command = Command::new(PROGRAM);
        command.env("KUBECONFIG", &kubeconfig).args(["sessions", "--namespace", INSTALLATION, "--session-store"]);
        output(command.args(store).args(["revoke", "--group", &team(number)]));
        crowd.ended(&members);
        crowd.revoked.fetch_add(members.len(), Ordering::Relaxed);
        crowd.find_ended(address(AT_ONCE), &members).await;
    }
}

/// Prints what happened, and sees that everything did.
async fn tells(name: &str, crowd: &Crowd, kills: usize) {
    let refreshes = crowd.provider.outcomes("refresh_token").await;
    let refreshed = refreshes["success"].as_u64().unwrap_or_default();
    let [sign_ins, signed_out, revoked, broken, lost] =
        [&crowd.signed_in, &crowd.signed_out, &crowd.revoked, &crowd.broken, &crowd.lost]
            .map(|count| count.load(Ordering::Relaxed));
    let verdicts = crowd.verdicts();
    println!(
        "{name}: {sign_ins} sign-ins, {refreshed} refreshes, {signed_out} signed out, {revoked} revoked, {kills} replicas \
         killed, {broken} connections broken by that, {lost} sessions lost by it in mid-refresh; answers: {verdicts:?}"
    );
    let enough =
        [Verdict::Live, Verdict::Ended].iter().all(|kind| verdicts.get(kind).is_some_and(|&count| count > 300));
    assert!(enough, "both kinds of request happened: {verdicts:?}");
    assert!(refreshed > 100 && signed_out > 20 && revoked > 20 && kills >= KILLS, "everything happened");
}
