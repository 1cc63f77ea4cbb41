//! Fifty requests at the moment of refresh, at a provider that takes its time and ends the grant of whoever uses a refresh
//! token twice: it is asked once, and nobody notices.

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::bed::Bed;
use crate::support::client::Ask;
use crate::support::eventually::SOON;
use crate::support::provider::STAFF;
use crate::support::scene::{APP, HOST, Scene};

/// How long the provider takes.
const DELAY_MS: u32 = 2_000;

/// So many requests at once.
const REQUESTS: usize = 50;

/// An access token so short that its refresh falls into the journey.
const ACCESS_TOKEN_SECONDS: u32 = 30;

pub async fn journey(bed: &Bed) {
    let scene = Scene::open(bed, "refresh", ACCESS_TOKEN_SECONDS).await;
    scene.publish_for_staff().await;
    let person = scene.visitor();
    assert_eq!(person.sign_in(APP, &STAFF).await.status, 200);
    scene.provider.delay(DELAY_MS).await;

    let cookies = person.cookies(HOST).expect("signed in");
    let deadline = Instant::now() + 3 * SOON;
    // Every request is one of fifty, so the refresh falls among fifty, whenever it comes.
    while scene.provider.outcomes("refresh_token").await.is_null() {
        assert!(Instant::now() < deadline, "no refresh in twice the life of the access token");
        fifty_pass(&scene, &cookies).await;
    }
    // The provider counts before it waits, so these come while it waits, and after it has answered.
    for _ in 0..10 {
        fifty_pass(&scene, &cookies).await;
    }
    assert_eq!(scene.provider.outcomes("refresh_token").await, json!({"success": 1}));
    scene.portcullis.stop().await;
}

async fn fifty_pass(scene: &Scene<'_>, cookies: &str) {
    let mut requests = JoinSet::new();
    for _ in 0..REQUESTS {
        let (client, cookies) = (scene.visitor(), cookies.to_owned());
        requests.spawn(async move { client.send(Ask::get(APP).with("cookie", cookies)).await.status });
    }
    let statuses = requests.join_all().await;
    assert!(statuses.iter().all(|&status| status == 200), "{statuses:?}");
}
