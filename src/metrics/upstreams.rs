//! The health of upstreams, without a label for any of them: how many endpoints there are, and how many of them do not take
//! connections.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// For how long an endpoint counts as failing, unless it takes a connection before.
const REMEMBERED: Duration = Duration::from_secs(60);

/// How many failing endpoints are told apart.
const TOLD_APART: usize = 4096;

/// The endpoints that did not take the last connection.
#[derive(Debug, Default)]
pub(super) struct Failing {
    since: Mutex<HashMap<SocketAddr, Instant>>,
    /// How many there are, so that nobody waits for the lock while all is well.
    count: AtomicUsize,
}

impl Failing {
    /// Whether an endpoint took a connection.
    pub(super) fn note(&self, endpoint: SocketAddr, took: bool, now: Instant) {
        if took && self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if took {
            since.remove(&endpoint);
        } else if since.len() < TOLD_APART || since.contains_key(&endpoint) {
            since.insert(endpoint, now);
        }
        self.count.store(since.len(), Ordering::Relaxed);
    }

    /// How many there are.
    pub(super) fn count(&self, now: Instant) -> usize {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.retain(|_, failed| now.duration_since(*failed) < REMEMBERED);
        self.count.store(since.len(), Ordering::Relaxed);
        since.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_fails_until_it_takes_a_connection_or_is_not_asked_for_a_minute() {
        let (failing, start) = (Failing::default(), Instant::now());
        let endpoint = |last| SocketAddr::from(([10, 0, 0, last], 80));
        failing.note(endpoint(1), true, start);
        assert_eq!(failing.count(start), 0);
        failing.note(endpoint(1), false, start);
        failing.note(endpoint(1), false, start + Duration::from_secs(30));
        failing.note(endpoint(2), false, start + Duration::from_secs(30));
        assert_eq!(failing.count(start + Duration::from_secs(60)), 2);
        failing.note(endpoint(2), true, start + Duration::from_secs(61));
        assert_eq!(failing.count(start + Duration::from_secs(61)), 1);
        assert_eq!(failing.count(start + Duration::from_secs(90)), 0);
    }
}
