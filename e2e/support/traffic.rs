//! People who work while something goes wrong: each of their requests has to succeed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::interval;

use super::client::{Ask, Client};
use super::provider::STAFF;
use super::scene::{APP, Scene};

/// So many people.
const PEOPLE: usize = 5;

/// People at work.
pub struct Traffic {
    over: Arc<AtomicBool>,
    working: Vec<JoinHandle<usize>>,
}

impl Traffic {
    /// Signs everybody in and begins.
    pub async fn start(scene: &Scene<'_>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let mut working = Vec::new();
        for _ in 0..PEOPLE {
            let person = scene.visitor();
            assert_eq!(person.sign_in(APP, &STAFF).await.status, 200);
            working.push(tokio::spawn(work(person, Arc::clone(&over))));
        }
        Self { over, working }
    }

    /// Ends it.
    ///
    /// # Panics
    /// Where a request failed, or where there were hardly any.
    pub async fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        for person in self.working {
            let requests = person.await.expect("no request failed");
            assert!(requests > 20, "{requests} requests are no traffic");
        }
    }
}

/// Asks ten times a second until told to stop; how often it did.
async fn work(person: Client, over: Arc<AtomicBool>) -> usize {
    let mut tick = interval(Duration::from_millis(100));
    let mut requests = 0;
    while !over.load(Ordering::Relaxed) {
        tick.tick().await;
        let answer = person.send(Ask::get(APP)).await;
        assert_eq!(answer.status, 200, "request {requests}: {}", answer.text());
        requests += 1;
    }
    requests
}
