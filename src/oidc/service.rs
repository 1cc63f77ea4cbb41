//! The handle that the proxy and the status writer hold: issuers by where they are read from, work on the control runtime.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;

use crate::clock::Clock;
use crate::identity::{Issuer, Principal};
use crate::secret::Secret;

use super::attempt::{Callback, LoginAttempt, LoginStart, UsedStates};
use super::error::LoginError;
use super::issuer::{Followed, IssuerFailure, Source, State};
use super::login::{self, VerifiedLogin};
use super::logout;
use super::provider::Provider;
use super::refresh::{self, RefreshError, Refreshed};
use super::token::Grant;
use super::verify::Original;

/// What is known of an issuer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IssuerHealth {
    /// Nothing yet.
    Unknown,
    /// Metadata and keys are there.
    Ready {
        /// When they were last read.
        read_at: Timestamp,
    },
    /// The last reading failed. What an earlier one gave is still used.
    Failed {
        /// Why.
        failure: IssuerFailure,
        /// When an earlier one went well, if one did.
        read_at: Option<Timestamp>,
    },
}

/// OpenID Connect for the process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Oidc {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    clock: Clock,
    control: tokio::runtime::Handle,
    issuers: Mutex<HashMap<Source, Arc<Followed>>>,
    used_states: Mutex<UsedStates>,
}

impl Oidc {
    /// A handle that works on `control`.
    pub fn new(clock: Clock, control: tokio::runtime::Handle) -> Self {
        let inner = Inner { clock, control, issuers: Mutex::default(), used_states: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Reads metadata and keys of a provider ahead of the first sign-in, and keeps them fresh.
    pub fn warm(&self, provider: &Provider) {
        self.followed(provider);
    }

    /// Follows the issuers of these providers and no others.
    pub fn retain<'a>(&self, providers: impl IntoIterator<Item = &'a Provider>) {
        let sources: HashSet<_> = providers.into_iter().map(Source::of).collect();
        lock(&self.inner.issuers).retain(|source, _| sources.contains(source));
    }

    /// What is known of an issuer; where it is reached in several ways, the worst of them.
    pub fn health(&self, issuer: &Issuer) -> IssuerHealth {
        let issuers = lock(&self.inner.issuers);
        let ways = issuers.iter().filter(|(source, _)| source.issuer == *issuer);
        let health = ways.map(|(_, followed)| IssuerHealth::of(followed.state()));
        health.max_by_key(IssuerHealth::badness).unwrap_or(IssuerHealth::Unknown)
    }

    /// Begins a login. `redirect_uri` is built from the public authority.
    pub async fn begin(
        &self,
        provider: Arc<Provider>,
        redirect_uri: String,
        return_to: String,
    ) -> Result<LoginStart, LoginError> {
        let live = self.followed(&provider).live().await;
        let live = live.map_err(|reason| login::unreachable(&provider, reason.as_ref().to_owned()))?;
        let now = self.inner.clock.now();
        Ok(login::begin(&live, &provider, &redirect_uri, return_to, now, &mut UnwrapErr(SysRng)))
    }

    /// Finishes it: redeems the code and verifies everything. An attempt is good for one call.
    pub async fn finish(
        &self,
        provider: Arc<Provider>,
        redirect_uri: String,
        attempt: LoginAttempt,
        callback: Callback,
    ) -> Result<VerifiedLogin, LoginError> {
        let clock = self.inner.clock.clone();
        let followed = self.followed(&provider);
        let place = followed.sign_in_place().ok_or(LoginError::Busy)?;
        login::check_attempt(&provider, &attempt, &callback, &mut lock(&self.inner.used_states), clock.now())?;
        let named = Arc::clone(&provider);
        let work = async move {
            let _place = place;
            let live = followed.live().await;
            let live = live.map_err(|reason| login::unreachable(&provider, reason.as_ref().to_owned()))?;
            let code = login::code(&live, &provider, callback)?;
            let grant = Grant::Code { code, verifier: attempt.verifier, redirect_uri };
            login::redeem(&followed, &live, &provider, &grant, &attempt.nonce, &clock).await
        };
        self.on_control(work).await.unwrap_or_else(|reason| Err(login::unreachable(&named, reason)))
    }

    /// Refreshes a session's tokens and principal, given who it is and what its sign-in said.
    pub async fn refresh(
        &self,
        provider: Arc<Provider>,
        before: (Principal, Original),
        refresh_token: Secret<String>,
    ) -> Result<Refreshed, RefreshError> {
        let clock = self.inner.clock.clone();
        let followed = self.followed(&provider);
        let work = async move {
            let live = followed.live().await.map_err(|reason| RefreshError::Later(reason.as_ref().to_owned()))?;
            let (principal, original) = before;
            refresh::refresh(&followed, &live, &provider, (principal, &original), refresh_token, &clock).await
        };
        self.on_control(work).await.unwrap_or_else(|reason| Err(RefreshError::Later(reason)))
    }

    /// Where sign-out goes on to (RP-Initiated Logout 1.0 section 2), where the provider has it and wants it.
    pub async fn logout_url(
        &self,
        provider: Arc<Provider>,
        id_token: Option<Secret<String>>,
        post_logout_redirect_uri: String,
    ) -> Option<String> {
        let live = self.followed(&provider).live().await.ok()?;
        logout::url(&live, &provider, id_token.as_ref(), &post_logout_redirect_uri)
    }

    fn followed(&self, provider: &Provider) -> Arc<Followed> {
        let Inner { clock, control, issuers, .. } = &*self.inner;
        let begin = |source: &Source| Arc::new(Followed::begin(source.clone(), clock.clone(), control));
        let mut issuers = lock(issuers);
        let source = Source::of(provider);
        Arc::clone(issuers.entry(source).or_insert_with_key(begin))
    }

    /// Runs work to its end on the control runtime, also when the caller goes away: a code is redeemed, or it is not.
    async fn on_control<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T, String> {
        self.inner.control.spawn(work).await.map_err(|_| "the control runtime ended the work".to_owned())
    }
}

impl IssuerHealth {
    fn of(state: State) -> Self {
        match state {
            State { failure: Some(failure), read_at, .. } => Self::Failed { failure, read_at },
            State { read_at: Some(read_at), .. } => Self::Ready { read_at },
            _ => Self::Unknown,
        }
    }

    fn badness(&self) -> u8 {
        match self {
            Self::Ready { .. } => 0,
            Self::Unknown => 1,
            Self::Failed { .. } => 2,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
