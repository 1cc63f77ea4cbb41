//! One issuer, followed: a task of its own reads metadata and keys, keeps the last good ones, and tries again.
//!
//! Readings are single flight. They come every ten minutes, sooner after a failure, and at once for a key that is not
//! known, which happens at most every 30 s whatever tokens are shown to us.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use crate::clock::Clock;
use crate::identity::Issuer;

use super::discovery::{self, DiscoveryError, Keys, Metadata};
use super::error::IssuerFault;
use super::http::Client;
use super::provider::Provider;

/// Between good readings; a key that the issuer withdraws is gone after this.
const INTERVAL: Duration = Duration::from_secs(600);
/// The longest pause after a failure, so that an issuer that is back is ready within seconds.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// Between readings for a key that is not known.
const ASK_INTERVAL: SignedDuration = SignedDuration::from_secs(30);
/// How long a sign-in waits for a reading.
const PATIENCE: Duration = Duration::from_secs(10);
/// Sign-ins that may wait for an issuer at once.
pub const MAX_SIGN_INS: usize = 256;
/// Characters of a failure that are kept.
const DETAIL_LENGTH: usize = 256;

/// What tells issuers apart: the identifier, and what decides how it is reached.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Source {
    pub issuer: Issuer,
    ca_bundle: Option<Arc<[u8]>>,
    loopback_http: bool,
}

/// An issuer as last read, and the client that reached it.
#[derive(Debug)]
pub(super) struct Live {
    pub client: Client,
    pub metadata: Metadata,
    pub keys: Keys,
}

/// The handle of the task; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Followed {
    state: watch::Receiver<State>,
    asks: Arc<Asks>,
    /// One for each issuer, so that a slow one closes no sign-in but its own.
    sign_ins: Arc<Semaphore>,
}

/// Why an issuer could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IssuerFailure {
    /// In kind.
    pub fault: IssuerFault,
    /// In words, as it may be logged and shown: what the issuer wrote is in it, so it is cut, and control characters are
    /// blanks.
    pub detail: Arc<str>,
}

/// What readings gave.
#[derive(Clone, Default, Debug)]
pub(super) struct State {
    /// The last good one.
    pub live: Option<Arc<Live>>,
    /// When that was.
    pub read_at: Option<Timestamp>,
    /// Why the last reading failed, where it did.
    pub failure: Option<IssuerFailure>,
    /// The newest ask that is answered.
    answered: u64,
}

/// Readings that were asked for, counted.
#[derive(Default, Debug)]
struct Asks {
    last: Mutex<Option<(u64, Timestamp)>>,
    wake: Notify,
}

impl Source {
    /// Where this provider's issuer is read from.
    pub fn of(provider: &Provider) -> Self {
        Self {
            issuer: provider.issuer.clone(),
            ca_bundle: provider.ca_bundle.clone(),
            loopback_http: provider.loopback_http,
        }
    }
}

impl From<DiscoveryError> for IssuerFailure {
    fn from(error: DiscoveryError) -> Self {
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        let detail: String = error.to_string().chars().map(printable).take(DETAIL_LENGTH).collect();
        Self { fault: error.fault(), detail: detail.into() }
    }
}

impl State {
    /// Takes in a reading; the log has each failure that is not the last one again.
    fn take(&mut self, reading: Result<Live, DiscoveryError>, issuer: &Issuer, now: Timestamp) {
        match reading.map_err(IssuerFailure::from) {
            Ok(live) => {
                self.live = Some(Arc::new(live));
                self.read_at = Some(now);
                self.failure = None;
            }
            Err(failure) => {
                if self.failure.as_ref() != Some(&failure) {
                    let IssuerFailure { fault, detail } = &failure;
                    tracing::warn!(%issuer, ?fault, %detail, "the issuer's metadata or keys were not read");
                }
                self.failure = Some(failure);
            }
        }
    }
}

impl Followed {
    /// Begins to follow an issuer on the control runtime.
    pub fn begin(source: Source, clock: Clock, control: &tokio::runtime::Handle) -> Self {
        let (sender, state) = watch::channel(State::default());
        let asks = Arc::new(Asks::default());
        control.spawn(follow(source, clock, Arc::clone(&asks), sender));
        Self { state, asks, sign_ins: Arc::new(Semaphore::new(MAX_SIGN_INS)) }
    }

    /// What is known now.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// A place for one more sign-in, where there is one.
    pub fn sign_in_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.sign_ins).try_acquire_owned().ok()
    }

    /// The issuer as last read; waits for the first reading, and says why there is none.
    pub async fn live(&self) -> Result<Arc<Live>, Arc<str>> {
        self.settled(|state| state.live.is_some() || state.failure.is_some()).await;
        let State { live, failure, .. } = self.state();
        let why = || failure.map_or_else(|| "its metadata is still being read".into(), |failure| failure.detail);
        live.ok_or_else(why)
    }

    /// The issuer read again, because a key is not known; where that was done within 30 s, as it was read then.
    pub async fn read_again(&self, now: Timestamp) -> Result<Arc<Live>, Arc<str>> {
        let ask = self.asks.ask(now);
        self.settled(|state| state.answered >= ask).await;
        self.live().await
    }

    /// Waits a while for the state to be so, or for the task's end.
    async fn settled(&self, so: impl FnMut(&State) -> bool) {
        let mut state = self.state.clone();
        let _ = tokio::time::timeout(PATIENCE, state.wait_for(so)).await;
    }
}

impl Asks {
    /// The number of a new ask, or of the last one where it is young.
    fn ask(&self, now: Timestamp) -> u64 {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match *last {
            Some((number, at)) if now.duration_since(at).abs() < ASK_INTERVAL => number,
            earlier => {
                let number = earlier.map_or(0, |(number, _)| number) + 1;
                *last = Some((number, now));
                self.wake.notify_one();
                number
            }
        }
    }

    fn newest(&self) -> u64 {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).map_or(0, |(number, _)| number)
    }
}

async fn follow(source: Source, clock: Clock, asks: Arc<Asks>, state: watch::Sender<State>) {
    let client = match Client::new(source.ca_bundle.as_deref(), source.loopback_http) {
        Ok(client) => client,
        Err(error) => {
            state.send_modify(|state| state.take(Err(error.into()), &source.issuer, clock.now()));
            return;
        }
    };
    let mut failures = 0;
    loop {
        let answered = asks.newest();
        let reading = discovery::read(&client, &source.issuer, source.loopback_http).await;
        failures = if reading.is_ok() { 0 } else { failures + 1 };
        let reading = reading.map(|(metadata, keys)| Live { client: client.clone(), metadata, keys });
        state.send_modify(|state| {
            state.answered = answered;
            state.take(reading, &source.issuer, clock.now());
        });
        tokio::select! {
            () = tokio::time::sleep(pause(failures)) => {}
            () = asks.wake.notified() => {}
            () = state.closed() => return,
        }
    }
}

/// One second after the first failure, doubled after each, up to five.
fn pause(failures: u32) -> Duration {
    match failures {
        0 => INTERVAL,
        n => Duration::from_secs(1 << (n - 1).min(3)).min(MAX_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_hostile_issuer_writes_forges_no_line_and_fills_no_log() {
        let hostile = format!("https://op\n2026 INFO forged\u{1b}[2K{}", "x".repeat(1 << 20));
        let IssuerFailure { fault, detail: told } = DiscoveryError::OtherIssuer(hostile).into();
        assert_eq!((fault, told.chars().count()), (IssuerFault::Mismatch, DETAIL_LENGTH));
        assert!(told.starts_with("the metadata is of the issuer `https://op 2026 INFO forged [2Kxxx"), "{told}");
    }
}
