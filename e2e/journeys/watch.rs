//! The watches through an outage of the API server, and without one of the kinds: what was read last stays in force, no
//! kind's trouble is another's, and what changes afterwards is live within seconds.

use std::time::Duration;

use portcullis::controller::Live;
use portcullis::controller::world::ObjectName;
use serde_json::json;

use crate::support::bed::Bed;
use crate::support::controller::{InProcess, PORTCULLIS, client};
use crate::support::objects::{self, allow_group, policy};

const NAMESPACE: &str = "watch";

/// A change after the API server's return is live within this time of when a process that starts then has seen it.
const BACK: Duration = Duration::from_secs(5);

/// How long to look for what must not come.
const NEVER: Duration = Duration::from_secs(2);

pub async fn journey(bed: &Bed) {
    bed.clear();
    bed.cluster.apply(&objects::installation(&bed.authority.pem));
    bed.cluster.apply(&[objects::namespace(NAMESPACE), objects::service(NAMESPACE, "first")]);
    let mut running = InProcess::follow(&client(&bed.cluster, PORTCULLIS).await, &[NAMESPACE]);
    running.until("a first compile", |live| has_service(live, "first")).await;

    a_change_after_an_outage_is_live_within_seconds(bed, &mut running).await;
    a_kind_that_is_gone_stops_no_other(bed, &mut running).await;
    running.end().await;
}

async fn a_change_after_an_outage_is_live_within_seconds(bed: &Bed, running: &mut InProcess) {
    bed.cluster.kill_api_server().await;
    // Long enough that every back-off has grown to its end.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let held = running.live.borrow().clone().expect("it is live");
    assert!(held.world.services.contains_key(&ObjectName::new(NAMESPACE, "first")), "what was read stays");
    bed.cluster.restart_api_server().await;
    bed.cluster.apply(&[
        objects::service(NAMESPACE, "second"),
        policy(NAMESPACE, "second", &allow_group("staff")),
        objects::ingress(NAMESPACE, "second", "second.localhost", &json!({})),
    ]);
    let second = ObjectName::new(NAMESPACE, "second");
    let sees = |live: &Live| {
        let world = &live.world;
        let all = has_service(live, "second").is_some()
            && world.policies.contains_key(&second)
            && world.ingresses.contains_key(&second);
        all.then_some(())
    };
    // It has nothing to wait out, and takes as long as this machine does.
    let mut fresh = InProcess::follow(&client(&bed.cluster, PORTCULLIS).await, &[NAMESPACE]);
    fresh.until("the change, in a process that starts now", sees).await;
    fresh.end().await;
    assert!(running.within(BACK, sees).await.is_some(), "not live within {BACK:?} of that");
}

async fn a_kind_that_is_gone_stops_no_other(bed: &Bed, running: &mut InProcess) {
    bed.cluster.kubectl(&["delete", "crd", "policies.portcullis.dev"]);
    running.until("no policy any more", |live| live.world.policies.is_empty().then_some(())).await;
    bed.cluster.apply(&[objects::service(NAMESPACE, "third")]);
    running.until("a change of another kind", |live| has_service(live, "third")).await;

    let mut fresh = InProcess::follow(&client(&bed.cluster, PORTCULLIS).await, &[NAMESPACE]);
    assert!(fresh.within(NEVER, |_| Some(())).await.is_none(), "nothing is live before every kind was listed");
    bed.cluster.apply_folder("crds");
    fresh.until("a first compile, once the kind is there", |live| has_service(live, "third")).await;
    fresh.end().await;

    bed.cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=300s"]);
    bed.cluster.apply(&[policy(NAMESPACE, "again", &allow_group("staff"))]);
    let again = ObjectName::new(NAMESPACE, "again");
    running
        .until("a policy of the kind that is back", |live| live.world.policies.contains_key(&again).then_some(()))
        .await;
}

fn has_service(live: &Live, name: &str) -> Option<()> {
    live.world.services.contains_key(&ObjectName::new(NAMESPACE, name)).then_some(())
}
