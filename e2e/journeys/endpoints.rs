//! An endpoint is replaced under load: each is a program of its own on its own address, the old one is killed once the new
//! one serves, and no request fails.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::app::{Received, start_program};
use crate::support::bed::Bed;
use crate::support::client::{Ask, Client};
use crate::support::eventually::{SOON, eventually};
use crate::support::objects;
use crate::support::provider::STAFF;
use crate::support::replicas::Replicas;
use crate::support::scene::{APP, Scene};

const OLD: &str = "10.244.4.1";
const NEW: &str = "10.244.4.2";

/// Connections that ask without pause.
const LOAD: usize = 8;

pub async fn journey(bed: &Bed, name: &'static str, replicas: Replicas) {
    let scene = Scene::open_on(replicas, bed, name, 300).await;
    let (old, new) = (address(OLD), address(NEW));
    let mut old_program = start_program(&old.to_string(), &scene.folder).await;
    let _new_program = start_program(&new.to_string(), &scene.folder).await;
    scene.publish_for_staff().await;
    bed.cluster.apply(&[objects::endpoints(scene.namespace, "app", &[OLD])]);
    let person = Arc::new(scene.visitor());
    person.sign_in(APP, &STAFF).await;
    for replica in scene.at_each(&person) {
        eventually("the old endpoint", SOON, async || (answered_by(&replica).await == old).then_some(())).await;
    }

    let (over, turned) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let ask = || ask(Arc::clone(&person), new, Arc::clone(&turned), Arc::clone(&over));
    let load: Vec<_> = (0..LOAD).map(|_| tokio::spawn(ask())).collect();
    bed.cluster.apply(&[objects::endpoints(scene.namespace, "app", &[NEW])]);
    // A request that was on its way to the old one is answered by it.
    eventually("the new endpoint, on every connection", SOON, async || {
        (turned.load(Ordering::Relaxed) == LOAD).then_some(())
    })
    .await;
    old_program.kill();
    for _ in 0..100 {
        assert_eq!(answered_by(&person).await, new);
    }
    over.store(true, Ordering::Relaxed);
    for connection in load {
        let addresses = connection.await.expect("no request failed");
        let turn = addresses.iter().position(|&by| by == new).expect("the new endpoint was reached");
        assert!(addresses[..turn].iter().all(|&by| by == old), "before it the old one answered");
        assert!(addresses[turn..].iter().all(|&by| by == new), "and never again after it");
    }
    scene.stop().await;
}

/// Asks over one connection until told to stop; who answered, in order. The first answer of the new endpoint is counted.
async fn ask(person: Arc<Client>, new: SocketAddr, turned: Arc<AtomicUsize>, over: Arc<AtomicBool>) -> Vec<SocketAddr> {
    let mut connection = person.connect(&APP.parse().expect("an address")).await.expect("it connects");
    let mut addresses = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let answer = connection.send(Ask::get(APP)).await.expect("it is answered");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let by = serde_json::from_slice::<Received>(&answer.body).expect("the app's own words").answered_by;
        if by == new && !addresses.contains(&new) {
            turned.fetch_add(1, Ordering::Relaxed);
        }
        addresses.push(by);
    }
    addresses
}

async fn answered_by(person: &Client) -> SocketAddr {
    let answer = person.send(Ask::get(APP)).await;
    serde_json::from_slice::<Received>(&answer.body).unwrap_or_else(|_| panic!("{}", answer.text())).answered_by
}

fn address(ip: &str) -> SocketAddr {
    SocketAddr::new(ip.parse().expect("an address"), objects::APP_PORT)
}
