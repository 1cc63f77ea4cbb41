//! The key ring while the process runs: read again every few seconds, learned where it changed, and brought to the end of
//! its rotation by the replica that leads. A ring that cannot be read closes sign-in, and is never replaced.

use std::time::Duration;

use kube::Client;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::clock::Clock;
use crate::controller::report::{Finding, Kind, ObjectRef, Severity};
use crate::controller::world::ObjectName;
use crate::seal::{self, RingError, StoredRing};
use crate::session::Sessions;

/// The Secret of the key ring.
pub const SECRET: &str = "portcullis-keys";

/// Between two readings.
const READ: Duration = Duration::from_secs(5);

/// From the first sight of pending keys to their use: several readings, so that every replica has them by then.
const LEARN: Duration = Duration::from_secs(30);

/// Between attempts to read the ring at the start.
const AGAIN: Duration = Duration::from_secs(1);

/// Keeps the ring.
pub struct Keeper {
    client: Client,
    namespace: String,
    sessions: Sessions,
    clock: Clock,
    /// What was learned last; nothing where the ring cannot be read.
    known: Option<StoredRing>,
    /// Since when the keys of this version are pending.
    pending: Option<Instant>,
    silent: bool,
    trouble: watch::Sender<Option<Finding>>,
}

/// The ring at the start: waited for while the API server is out of reach; nothing where it is there and broken.
pub async fn first(client: &Client, namespace: &str) -> Option<StoredRing> {
    loop {
        match seal::load_or_create(client.clone(), namespace, SECRET).await {
            Ok(stored) => return Some(stored),
            Err(RingError::Broken { .. }) => return None,
            Err(error) => tracing::warn!(%error, "no key ring yet, trying again"),
        }
        sleep(AGAIN).await;
    }
}

impl Keeper {
    /// A keeper that goes on from a ring, and what is wrong with it, as long as something is.
    pub fn new(
        client: Client,
        namespace: String,
        sessions: Sessions,
        clock: Clock,
        known: Option<StoredRing>,
    ) -> (Self, watch::Receiver<Option<Finding>>) {
        let (trouble, told) = watch::channel(None);
        (Self { client, namespace, sessions, clock, known, pending: None, silent: false, trouble }, told)
    }

    /// Keeps it, for ever; `leads` says whether this replica leads.
    pub async fn run(mut self, leads: watch::Receiver<bool>) {
        loop {
            let leading = *leads.borrow();
            self.look(leading, Instant::now()).await;
            sleep(READ).await;
        }
    }

    async fn look(&mut self, leading: bool, now: Instant) {
        match StoredRing::read(self.client.clone(), &self.namespace, SECRET).await {
            Ok(stored) => {
                self.learn(stored, now);
                if leading && self.pending.is_some_and(|since| now >= since + LEARN) {
                    self.promote(now).await;
                }
            }
            Err(error) => self.fail(&error),
        }
    }

    fn learn(&mut self, stored: StoredRing, now: Instant) {
        self.silent = false;
        self.tell(None);
        if self.known.as_ref().is_some_and(|known| known.is_same(&stored)) {
            // Also the ring of the start.
            self.pending = self.pending.or(stored.ring.has_pending().then_some(now));
            return;
        }
        tracing::info!(keys = ?stored.ring.keys(), "the key ring was read");
        self.sessions.learn(stored.ring.clone());
        self.pending = stored.ring.has_pending().then_some(now);
        self.known = Some(stored);
    }

    /// Every replica has read the pending keys: they are used from now on.
    async fn promote(&mut self, now: Instant) {
        let Some(stored) = self.known.take() else { return };
        let promoted = stored.ring.promoted(self.clock.now());
        match stored.replace(self.client.clone(), &promoted).await {
            Ok(stored) => self.learn(stored, now),
            // The next reading tells how it stands.
            Err(error) => tracing::warn!(%error, "pending keys are not used yet"),
        }
    }

    fn fail(&mut self, error: &RingError) {
        match finding(error) {
            Some(finding) => {
                self.known = None;
                self.sessions.lose_keys();
                self.tell(Some(finding));
            }
            None if !std::mem::replace(&mut self.silent, true) => {
                tracing::warn!(%error, "the key ring is not read again yet, the last one is used");
            }
            None => {}
        }
    }

    fn tell(&self, finding: Option<Finding>) {
        let news = self.trouble.send_if_modified(|told| {
            let news = *told != finding;
            told.clone_from(&finding);
            news
        });
        match finding {
            Some(finding) if news => {
                let Finding { object, message, remedy, .. } = finding;
                tracing::error!(secret = %object.name, problem = message, remedy, "nobody can sign in");
            }
            None if news => tracing::info!("the key ring is read again, people can sign in"),
            _ => {}
        }
    }
}

/// What an administrator must mend; nothing where waiting helps.
fn finding(error: &RingError) -> Option<Finding> {
    let (secret, message, remedy) = match error {
        RingError::Broken { secret, reason } => (
            secret,
            format!("there is no key ring that this version reads ({reason}), so nobody can sign in"),
            "restore it from a backup; or delete it and restart every replica, which makes fresh keys and signs \
             everybody out",
        ),
        RingError::Missing { secret } => (
            secret,
            "the key ring is gone, so nobody can sign in".to_owned(),
            "restore it from a backup; or restart every replica, which makes fresh keys and signs everybody out",
        ),
        RingError::Unreadable(_) | RingError::Changed { .. } | RingError::OutOfReach { .. } => return None,
    };
    let (namespace, name) = secret.split_once('/').unwrap_or_default();
    Some(Finding {
        object: ObjectRef { kind: Kind::Secret, name: ObjectName::new(namespace, name) },
        field: "/data/ring".to_owned(),
        reason: "KeyRingUnreadable",
        severity: Severity::Error,
        message,
        remedy: remedy.to_owned(),
    })
}

#[cfg(test)]
mod tests;
