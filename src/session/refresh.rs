//! Refreshing: one refresher at a time for a session, in the process by single flight and among processes by a claim in
//! the record, stored by compare-and-set. A provider or a store that does not answer ends nothing; the session goes on
//! and it is tried again later.
//!
//! The claim is stored before the provider is asked, so that no two spend one token, and a store that takes nothing
//! costs none. What the provider gave is stored again and again until it is done: the old token may be worth nothing now.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::identity::Principal;

use super::model::signed;
use super::record::{self, Content};
use super::service::Inner;
use super::{NewSession, Session, Sessions, StoreError, Tokens};

/// Between two attempts, and how long a claim lasts.
const PAUSE: Duration = Duration::from_secs(30);
/// For the provider's answer, well within the claim.
const DEADLINE: Duration = Duration::from_secs(20);
/// Between attempts to store what a refresh gave: at first, doubled each time, and at most. Well within a claim, so that
/// no other replica spends the old token first.
const SAVE_AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What a provider answered to a refresh.
#[derive(Debug)]
pub enum Refresh {
    /// The session goes on with this.
    Renewed(Box<Renewed>),
    /// The provider ended it; why.
    Ended(String),
    /// It did not answer, or not now; why.
    Later(String),
}

/// What a refresh renewed, whole: what did not change is what the session had.
#[derive(Debug)]
pub struct Renewed {
    /// Who it is, which must be the person it was.
    pub principal: Principal,
    /// The tokens from now on.
    pub tokens: Tokens,
}

/// What a refresh gave, and of which session it was made.
struct Refreshed {
    of: Arc<Session>,
    content: Content,
}

impl Sessions {
    /// The session to go on with where [`Session::refresh_due`] says it is time, `None` where it has ended. `refresh`
    /// asks the provider, on the control runtime; of many callers one calls it. While the access token lasts nobody
    /// waits for the answer.
    pub async fn refreshed<F, A>(&self, session: &Arc<Session>, refresh: F) -> Option<Arc<Session>>
    where
        F: FnOnce(Arc<Session>) -> A + Send + 'static,
        A: Future<Output = Refresh> + Send + 'static,
    {
        let inner = &self.0;
        let flight = inner.refreshes.join(&inner.control, session.key, || {
            let (inner, session) = (Arc::clone(inner), Arc::clone(session));
            async move { inner.refresh(session, refresh).await }
        });
        let lasts = session.of.tokens.access_expires.is_some_and(|end| end > inner.clock.now());
        if lasts {
            return Some(Arc::clone(session));
        }
        flight.await.unwrap_or_else(|_| Some(Arc::clone(session)))
    }
}

impl Inner {
    async fn refresh<F, A>(self: &Arc<Self>, seen: Arc<Session>, refresh: F) -> Option<Arc<Session>>
    where
        F: FnOnce(Arc<Session>) -> A,
        A: Future<Output = Refresh>,
    {
        if seen.life.ended.is_cancelled() {
            return None;
        }
        // Whoever comes late finds that it has been done.
        let newest = self.cache.peek(seen.key).unwrap_or(seen);
        let now = self.clock.now();
        if !newest.refresh_due(now) {
            return Some(newest);
        }
        newest.life.rest(now, PAUSE);
        let session = match self.fetch(newest.key).await {
            Ok(stored) => stored?,
            Err(error) => return later(newest, &error),
        };
        if !session.access_ends_soon(now) || session.claimed.is_some_and(|until| until > now) {
            return Some(session);
        }
        let session = match self.claim(&session, now).await {
            Ok(claimed) => claimed?,
            Err(StoreError::Conflict) => return self.fetch(session.key).await.unwrap_or(Some(session)),
            Err(error) => return later(session, &error),
        };
        let answer = tokio::time::timeout(DEADLINE, refresh(Arc::clone(&session))).await;
        match answer.unwrap_or_else(|_| Refresh::Later("no answer in time".to_owned())) {
            Refresh::Renewed(renewed) if renewed.principal.identity == session.of.principal.identity => {
                let of = NewSession { principal: renewed.principal, tokens: renewed.tokens, ..session.of.clone() };
                let content = Content { of, claimed: None, ..session.content() };
                self.save(Refreshed { of: session, content }).await
            }
            Refresh::Renewed(_) => self.provider_ended(&session, "the refreshed identity is another person's").await,
            Refresh::Ended(reason) => self.provider_ended(&session, &reason).await,
            Refresh::Later(reason) => later(session, &reason),
        }
    }

    /// Claims the refresh of a session; `Conflict` where another process was faster.
    async fn claim(&self, session: &Session, now: Timestamp) -> Result<Option<Arc<Session>>, StoreError> {
        let content = Content { claimed: now.checked_add(signed(PAUSE)).ok(), ..session.content() };
        let sealed = record::seal(&self.ring(), session.key, &content);
        let version = self.store.replace(session.key, session.version, sealed, content.expires).await?;
        Ok(self.cache.put(Session::open(session.key, version, content)))
    }

    /// Stores what a refresh gave. Where the store does not take it, this process goes on with it and stores it as soon
    /// as that can be done, or until the session's own end.
    async fn save(self: &Arc<Self>, refreshed: Refreshed) -> Option<Arc<Session>> {
        let error = match self.keep(&refreshed).await {
            Ok(stored) => return stored,
            Err(error) => error,
        };
        let Refreshed { of, content } = &refreshed;
        tracing::warn!(key = %of.key, %error, "a refreshed session is not stored yet");
        let session = self.cache.put(Session::open(of.key, of.version, content.clone()))?;
        let inner = Arc::clone(self);
        self.control.spawn(async move { inner.save_again(refreshed).await });
        Some(session)
    }

    /// The cache keeps the session meanwhile, whoever else needs room, since its life is held here.
    async fn save_again(&self, refreshed: Refreshed) {
        let (mut pause, longest) = SAVE_AGAIN;
        while refreshed.content.expires > self.clock.now() {
            tokio::time::sleep(pause).await;
            pause = longest.min(pause * 2);
            if self.keep(&refreshed).await.is_ok() {
                tracing::info!(key = %refreshed.of.key, "a refreshed session is stored");
                return;
            }
        }
    }

    /// Stores what a refresh gave over what it was made of, and over any later claim to refresh that again; gives the
    /// session as the store has it then, `None` where it has ended.
    async fn keep(&self, refreshed: &Refreshed) -> Result<Option<Arc<Session>>, StoreError> {
        let Refreshed { of, content } = refreshed;
        let mut version = of.version;
        loop {
            let sealed = record::seal(&self.ring(), of.key, content);
            match self.store.replace(of.key, version, sealed, content.expires).await {
                Ok(version) => return Ok(self.cache.put(Session::open(of.key, version, content.clone()))),
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error),
            }
            // Somebody ended it, or the last attempt did get through, or another has refreshed or will.
            match self.fetch(of.key).await? {
                Some(stored) if stored.claimed.is_some() && stored.of.tokens.refresh == of.of.tokens.refresh => {
                    version = stored.version;
                }
                stored => return Ok(stored),
            }
        }
    }

    async fn provider_ended(self: &Arc<Self>, session: &Session, reason: &str) -> Option<Arc<Session>> {
        tracing::info!(key = %session.key, reason, "the provider ended a session");
        if let Err(error) = self.end(session.key).await {
            tracing::warn!(key = %session.key, %error, "an ended session is still in the store");
        }
        None
    }
}

fn later(session: Arc<Session>, reason: &dyn std::fmt::Display) -> Option<Arc<Session>> {
    tracing::warn!(key = %session.key, %reason, "a session is not refreshed yet");
    Some(session)
}

#[cfg(test)]
mod tests;
