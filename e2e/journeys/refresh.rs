//! Fifty requests at the moment of refresh, at a provider that takes its time and ends the grant of whoever uses a refresh
//! token twice: it is asked once, and nobody notices. Where the access token still lasts nobody waits for it; where it has
//! ended all wait, for the one answer.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::support::bed::Bed;
use crate::support::client::{Ask, Client};
use crate::support::eventually::{SOON, eventually};
use crate::support::provider::STAFF;
use crate::support::replicas::Replicas;
use crate::support::scene::{APP, Scene};

/// How long the provider takes: longer than fifty requests on a busy machine, and well within what it is given.
const DELAY: Duration = Duration::from_secs(5);

/// So many requests at once.
const REQUESTS: usize = 50;

/// How long an access token lasts: it is due for refresh from the first, and its end falls into the journey.
const ACCESS_TOKEN_SECONDS: u32 = 30;

pub async fn journey(bed: &Bed, name: &'static str, replicas: Replicas) {
    let scene = Scene::open_on(replicas, bed, name, ACCESS_TOKEN_SECONDS).await;
    scene.publish_for_staff().await;
    let (early, late) = (scene.visitor(), scene.visitor());
    early.sign_in_only(APP, &STAFF).await;
    late.sign_in_only(APP, &STAFF).await;
    assert!(scene.provider.outcomes("refresh_token").await.is_null(), "nobody has refreshed yet");
    scene.provider.delay(DELAY).await;

    let took = fifty_pass(&early).await;
    assert!(took < DELAY, "while the access token lasts nobody waits, but these took {took:?}");
    eventually("the refresh, at the provider", SOON, async || {
        (scene.provider.outcomes("refresh_token").await == json!({"success": 1})).then_some(())
    })
    .await;

    // The end of the access token is nothing but time.
    sleep(Duration::from_secs(ACCESS_TOKEN_SECONDS.into())).await;
    let took = fifty_pass(&late).await;
    assert!(took >= DELAY, "with the access token at its end all wait, but these took {took:?}");
    assert_eq!(scene.provider.outcomes("refresh_token").await, json!({"success": 2}));
    scene.stop().await;
}

/// Sends fifty requests at once, each over a connection that is open already; how long until the last was answered.
async fn fifty_pass(person: &Client) -> Duration {
    let url = APP.parse().expect("an address");
    let connections = join_all((0..REQUESTS).map(|_| person.connect(&url))).await;
    let from = Instant::now();
    let answers = connections.into_iter().map(|connection| async {
        let answer = connection.expect("it connects").send(Ask::get(APP)).await;
        answer.expect("it is answered").status
    });
    let statuses = join_all(answers).await;
    assert_eq!(statuses, [200; REQUESTS]);
    from.elapsed()
}
