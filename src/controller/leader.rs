//! Who writes: of all replicas, the one that holds a Lease (coordination.k8s.io/v1).
//!
//! The lease guards nothing but duplicate work: what the leader writes is idempotent, and losing it touches neither the
//! data path nor a status. Whether a lease has run out is judged by how long *our* clock has seen it unchanged, so that
//! clocks need not agree.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, Error};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// How long a lease lasts without a renewal, in seconds.
const LEASE_SECONDS: i32 = 15;

/// How often the holder renews.
const RENEW: Duration = Duration::from_secs(4);

/// After this long without a renewal the holder stops writing: well before another may begin.
const GIVE_UP: Duration = Duration::from_secs(10);

/// How often the others look, and the holder where a renewal failed.
const RETRY: Duration = Duration::from_secs(2);

/// The longest a call to the API server may take.
const CALL: Duration = Duration::from_secs(3);

/// One that would lead.
pub struct Candidate {
    /// How to reach the API server.
    pub client: Client,
    /// The namespace of the Lease.
    pub namespace: String,
    /// The name of the Lease.
    pub name: String,
    /// What tells this process from all others, also from its former self.
    pub identity: String,
    /// The time that is written into the Lease, for people.
    pub clock: Clock,
}

/// A lease as it was last seen, and since when it has looked like this.
#[derive(Debug)]
struct Seen {
    holder: String,
    renewed: Option<MicroTime>,
    lasts: Duration,
    since: Instant,
}

impl Candidate {
    /// Tells `leading` whether this process leads, until `stop`; then gives the lease back at once. Await the end: a lease that
    /// is not given back holds up the next leader until it runs out.
    pub async fn run(self, leading: watch::Sender<bool>, stop: CancellationToken) {
        let mut seen = None;
        let mut valid_until = Instant::now();
        let mut silent = false;
        loop {
            let began = Instant::now();
            let answer = timeout(CALL, self.try_hold(&mut seen)).await;
            let was_silent = std::mem::replace(&mut silent, !matches!(answer, Ok(Ok(_))));
            match answer {
                Ok(Ok(held)) => {
                    valid_until = if held { began + GIVE_UP } else { began };
                    self.tell(&leading, held);
                }
                _ if was_silent => {}
                Ok(Err(error)) => tracing::warn!(%error, "cannot take or renew the lease, trying again"),
                Err(_) => tracing::warn!("the API server does not answer about the lease, trying again"),
            }
            let again = if valid_until == began + GIVE_UP { RENEW } else { RETRY };
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(again) => {}
                () = tokio::time::sleep_until(valid_until), if *leading.borrow() => self.tell(&leading, false),
            }
        }
        if *leading.borrow() {
            self.tell(&leading, false);
            if !matches!(timeout(CALL, self.give_back()).await, Ok(Ok(()))) {
                tracing::warn!("the lease could not be given back, it will run out");
            }
        }
    }

    fn tell(&self, leading: &watch::Sender<bool>, now: bool) {
        let changed = leading.send_if_modified(|leading| std::mem::replace(leading, now) != now);
        if changed {
            tracing::info!(leading = now, lease = self.name, "leadership");
        }
    }

    /// Takes or renews the lease where that is ours to do; gives whether we hold it.
    async fn try_hold(&self, seen: &mut Option<Seen>) -> Result<bool, Error> {
        let Some(lease) = self.api().get_opt(&self.name).await? else {
            let fresh = Lease {
                metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                spec: Some(self.held(&LeaseSpec::default())),
            };
            return won(self.api().create(&PostParams::default(), &fresh).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        if !may_take(&self.identity, &spec, seen, Instant::now()) {
            return Ok(false);
        }
        // The resourceVersion that was read makes this a compare-and-set.
        let ours = Lease { spec: Some(self.held(&spec)), ..lease };
        won(self.api().replace(&self.name, &PostParams::default(), &ours).await)
    }

    /// The lease in our hand.
    fn held(&self, former: &LeaseSpec) -> LeaseSpec {
        let now = Some(MicroTime(self.clock.now()));
        let ours = former.holder_identity.as_deref() == Some(&self.identity);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            acquire_time: if ours { former.acquire_time.clone() } else { now.clone() },
            renew_time: now,
            lease_transitions: Some(former.lease_transitions.unwrap_or_default() + i32::from(!ours)),
            ..LeaseSpec::default()
        }
    }

    /// Leaves the lease to whoever comes first.
    async fn give_back(&self) -> Result<(), Error> {
        let lease = self.api().get(&self.name).await?;
        let spec = lease.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_deref() == Some(&self.identity) {
            let spec = LeaseSpec { holder_identity: None, lease_duration_seconds: Some(1), ..spec };
            self.api().replace(&self.name, &PostParams::default(), &Lease { spec: Some(spec), ..lease }).await?;
        }
        Ok(())
    }

    fn api(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

/// Whether the lease is ours already, nobody's, or unchanged for as long as it lasts.
fn may_take(identity: &str, spec: &LeaseSpec, seen: &mut Option<Seen>, now: Instant) -> bool {
    let holder = spec.holder_identity.clone().unwrap_or_default();
    if holder.is_empty() || holder == identity {
        return true;
    }
    match seen {
        Some(seen) if seen.holder == holder && seen.renewed == spec.renew_time => now >= seen.since + seen.lasts,
        _ => {
            let seconds = spec.lease_duration_seconds.unwrap_or(LEASE_SECONDS);
            let lasts = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
            *seen = Some(Seen { holder, renewed: spec.renew_time.clone(), lasts, since: now });
            false
        }
    }
}

/// A conflict means that another was faster.
fn won(written: Result<Lease, Error>) -> Result<bool, Error> {
    match written {
        Ok(_) => Ok(true),
        Err(Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, renewed: &str) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            renew_time: Some(MicroTime(renewed.parse().unwrap())),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_that_is_renewed_is_left_alone_whatever_its_clock_says() {
        let mut seen = None;
        let start = Instant::now();
        for (after, renewed) in
            [(0, "1999-01-01T00:00:00Z"), (14, "1999-01-01T00:00:01Z"), (28, "1999-01-01T00:00:02Z")]
        {
            let now = start + Duration::from_secs(after);
            assert!(!may_take("us", &lease("them", renewed), &mut seen, now), "after {after} s");
        }
    }

    #[test]
    fn a_lease_that_stays_unchanged_runs_out_on_our_clock() {
        let mut seen = None;
        let start = Instant::now();
        let theirs = lease("them", "2999-01-01T00:00:00Z");
        let taken = [0, 10, 14, 15].map(|s| may_take("us", &theirs, &mut seen, start + Duration::from_secs(s)));
        assert_eq!(taken, [false, false, false, true]);
    }

    #[test]
    fn a_lease_of_ours_or_of_nobody_is_taken_at_once() {
        assert!(may_take("us", &lease("us", "2026-01-01T00:00:00Z"), &mut None, Instant::now()));
        assert!(may_take("us", &LeaseSpec::default(), &mut None, Instant::now()));
    }
}
