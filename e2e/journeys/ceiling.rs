//! As many sessions in Secrets as may be: what they cost the control plane and a replica, and that one more is refused with
//! a hint to Redis, while who is signed in goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use portcullis::clock::Clock;
use portcullis::config::MAX_SESSION_SECRETS;
use portcullis::host::Host;
use portcullis::identity::{Groups, Identity, Principal};
use portcullis::seal;
use portcullis::secret::Secret;
use portcullis::session::{Lifetimes, NewSession, SecretStore, Sessions, StoreError, Tokens};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::support::bed::Bed;
use crate::support::client::Ask;
use crate::support::controller::{PORTCULLIS, client};
use crate::support::eventually::{SOON, eventually};
use crate::support::objects::INSTALLATION;
use crate::support::provider::{ISSUER, STAFF};
use crate::support::scene::{APP, HOST, Scene};

/// How long the refresh token and the ID token of each are.
const TOKEN: usize = 1_200;

/// How many are written at once.
const AT_ONCE: usize = 16;

pub async fn journey(bed: &Bed) {
    let scene = Scene::open(bed, "ceiling", 300).await;
    scene.publish_for_staff().await;
    let person = scene.visitor();
    assert_eq!(person.sign_in(APP, &STAFF).await.status, 200);
    let (memory, written) = (scene.portcullis.resident(), etcd_bytes(bed));

    let from = Instant::now();
    fill(&scene).await.expect("there is room");
    let took = from.elapsed();
    let full = eventually("a refused sign-in", SOON, async || {
        let answer = scene.visitor().sign_in(APP, &STAFF).await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert!(full.headers.contains_key("retry-after"), "{:?}", full.headers);
    assert!(scene.portcullis.log().contains("use `--session-store redis`"), "the administrator is told what helps");
    assert_eq!(person.send(Ask::get(APP)).await.status, 200, "who is signed in goes on");
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{MAX_SESSION_SECRETS} sessions: written in {:.1} s, {:.0} MiB more in etcd with its log, {:.0} MiB \
         more in a replica",
        took.as_secs_f64(),
        mib(etcd_bytes(bed).saturating_sub(written)),
        mib(scene.portcullis.resident().saturating_sub(memory)),
    );

    empty(bed);
    eventually("room", SOON, async || (scene.visitor().sign_in(APP, &STAFF).await.status == 200).then_some(())).await;
    scene.portcullis.stop().await;
}

/// Signs people in past the limit of the program, until there are as many sessions as may be.
async fn fill(scene: &Scene<'_>) -> Result<(), StoreError> {
    let client = client(&scene.bed.cluster, PORTCULLIS).await;
    let keys = seal::load_or_create(client.clone(), INSTALLATION, "portcullis-keys").await;
    let ring = Some(keys.expect("the program made the ring, and this user may read it").ring);
    let store = Arc::new(SecretStore::new(client, INSTALLATION, usize::MAX));
    let staleness = Duration::from_secs(600);
    let sessions = Sessions::new(ring, store, Clock::system(), Handle::current(), staleness);
    let missing = MAX_SESSION_SECRETS - scene.session_secrets().len();
    let sign_ins = (0..missing).map(|number| sessions.begin(sign_in(number)));
    stream::iter(sign_ins).buffer_unordered(AT_ONCE).try_for_each(async |_| Ok(())).await
}

fn sign_in(number: usize) -> NewSession {
    let identity = Identity { issuer: ISSUER.to_owned().into(), subject: format!("person-{number}").into() };
    let token = || Some(Secret::new("x".repeat(TOKEN)));
    NewSession {
        principal: Principal {
            identity,
            email: None,
            name: None,
            preferred_username: None,
            groups: Groups::new([STAFF.group]),
            claims: BTreeMap::new(),
        },
        provider: "corp".to_owned(),
        host: Host::parse(HOST).expect("it is a host"),
        lifetimes: Lifetimes { absolute: Duration::from_secs(8 * 3600), idle: Duration::from_secs(3600) },
        sid: None,
        acr: None,
        amr: Vec::new(),
        auth_time: None,
        nonce: Secret::new(String::new()),
        tokens: Tokens { refresh: token(), access_expires: None, id_token: token() },
    }
}

fn empty(bed: &Bed) {
    let all = format!("/api/v1/namespaces/{INSTALLATION}/secrets?labelSelector=portcullis.dev/session-ends");
    bed.cluster.kubectl(&["delete", "--raw", &all]);
}

fn etcd_bytes(bed: &Bed) -> u64 {
    bed.cluster.etcd_dump().iter().map(|file| file.len() as u64).sum()
}
