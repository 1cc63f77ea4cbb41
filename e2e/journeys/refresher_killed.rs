//! A replica is killed while it refreshes a session, at a provider that ends the grant of whoever uses a refresh token
//! twice. Where the provider had not answered yet, nobody notices, and the other replica refreshes once the claim has run
//! out. Where it had, the new token died with the process: when the claim has run out that one person signs in again.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::json;

use crate::support::bed::Bed;
use crate::support::eventually::{SOON, eventually};
use crate::support::provider::STAFF;
use crate::support::replicas::{ADDRESSES, Replicas};
use crate::support::scene::{APP, Scene};

/// Longer than it takes to kill a replica.
const DELAY: Duration = Duration::from_secs(15);

/// An access token is due for refresh from the first, and ends before the claim.
const ACCESS_TOKEN_SECONDS: u32 = 20;

/// Until a claim has run out, which takes half a minute, and a while.
const CLAIM_OVER: Duration = Duration::from_secs(180);

pub async fn journey(bed: &Bed, name: &'static str, replicas: Replicas) {
    let mut scene = Scene::open_on(replicas, bed, name, ACCESS_TOKEN_SECONDS).await;
    scene.publish_for_staff().await;
    let [first, other] = ADDRESSES.map(|address| address.parse::<Ipv4Addr>().expect("an address"));
    let [lucky, unlucky] = [scene.visitor(), scene.visitor()];
    lucky.sign_in_only(APP, &STAFF).await;
    unlucky.sign_in_only(APP, &STAFF).await;

    scene.provider.delay(DELAY).await;
    assert_eq!(unlucky.at(first).status(APP).await, 200);
    eventually("the answer to one refresh, on its way", SOON, async || {
        (scene.provider.outcomes("refresh_token").await == json!({"success": 1})).then_some(())
    })
    .await;
    scene.provider.delay_before(DELAY).await;
    assert_eq!(lucky.at(first).status(APP).await, 200);
    eventually("the other refresh, on its way", SOON, async || {
        (scene.provider.outcomes("held").await == json!({"none": 1})).then_some(())
    })
    .await;
    scene.portcullis.kill();
    scene.provider.delay(Duration::ZERO).await;

    let (mut refreshed, mut refused) = (false, false);
    eventually("the end of both claims", CLAIM_OVER, async || {
        assert_eq!(lucky.at(other).status(APP).await, 200, "nobody notices");
        let status = unlucky.at(other).status(APP).await;
        assert!(status == 401 || status == 200 && !refused, "{status}");
        refused = status == 401;
        refreshed = scene.provider.outcomes("refresh_token").await["success"] == 2;
        (refreshed && refused).then_some(())
    })
    .await;
    let reused = scene.provider.reused().await;
    assert!(matches!(&reused[..], [token] if token.account == STAFF.login), "one token was used twice: {reused:?}");
    scene.portcullis = replicas.start(bed, &scene.folder, 0);
    scene.portcullis.ready().await;
    for replica in [first, other] {
        assert_eq!((lucky.at(replica).status(APP).await, unlucky.at(replica).status(APP).await), (200, 401));
    }
    // The provider knows them and asks nothing.
    assert_eq!(unlucky.browse(APP).await.status, 200);
    scene.stop().await;
}
