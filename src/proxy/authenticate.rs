//! Who asks: cookie, ticket, session, refreshed where that is due; else nobody.
//!
//! A cookie that is forged, doubled, of another host or of a session that ended is worth nothing, and no error. A store
//! that does not answer is one: nobody counts as anonymous because we could not look.

use std::sync::Arc;

use http::HeaderValue;

use crate::identity::Principal;
use crate::oidc::{Oidc, Original, Provider, RefreshError};
use crate::route::SessionLimits;
use crate::session::{Lifetimes, Lookup, Refresh, Renewed, Session, StoreError, Ticket, TicketState, Tokens};

use super::admit::{CanonicalRequest, Conn};
use super::rejection::Rejection;
use super::service::Shared;

/// Who asks.
pub enum Caller {
    /// Nobody that we know; why, by stable name.
    Nobody(&'static str),
    /// Somebody with a session.
    Person(Person),
}

/// Somebody with a session.
pub struct Person {
    /// The session.
    pub session: Arc<Session>,
    /// The `Set-Cookie` value that keeps it from idling out, where that is due.
    pub renewal: Option<String>,
}

impl Caller {
    /// Who it is, where known.
    pub fn principal(&self) -> Option<&Principal> {
        self.session().map(|session| &session.of.principal)
    }

    /// The session, where there is one.
    pub fn session(&self) -> Option<&Session> {
        match self {
            Self::Nobody(_) => None,
            Self::Person(person) => Some(&person.session),
        }
    }
}

/// Finds out who asks for a route whose people sign in at `provider` and whose sessions have `limits`.
pub async fn authenticate(
    shared: &Shared,
    (request, conn): (&CanonicalRequest, &Conn),
    provider: Option<&Arc<Provider>>,
    limits: SessionLimits,
) -> Result<Caller, Rejection> {
    let cookies = request.cookies().map(HeaderValue::as_bytes);
    let ticket = match shared.sessions.ticket_again(request.host(), cookies, &conn.last_ticket) {
        TicketState::Absent => return Ok(Caller::Nobody("sign_in_required")),
        TicketState::Forged => return Ok(Caller::Nobody("forged_session_cookie")),
        TicketState::Duplicate => return Ok(Caller::Nobody("duplicate_session_cookie")),
        TicketState::Unreadable => return Err(StoreError::Keys.into()),
        TicketState::Valid(ticket) => ticket,
    };
    let Some(session) = find(shared, &ticket).await? else { return Ok(Caller::Nobody("session_ended")) };
    let Some(provider) = provider.filter(|provider| is_of(&session, provider)) else {
        return Ok(Caller::Nobody("foreign_provider"));
    };
    let limits = Lifetimes { absolute: limits.lifetime, idle: limits.idle };
    let now = shared.clock.now();
    // Another route of the host may have let it begin with longer ones.
    if session.exceeds(limits, &ticket, now) {
        return Ok(Caller::Nobody("session_ended"));
    }
    let session = if session.refresh_due(now) {
        match Box::pin(refresh(shared, &session, provider)).await {
            Some(session) => session,
            None => return Ok(Caller::Nobody("session_ended")),
        }
    } else {
        session
    };
    let renewal = shared.sessions.renewal(&session, &ticket, limits.idle, now);
    Ok(Caller::Person(Person { session, renewal }))
}

/// Whether the session began at this provider. One of the same issuer may admit other people, and the groups of another
/// issuer are worth nothing.
fn is_of(session: &Session, provider: &Provider) -> bool {
    session.of.provider == *provider.name && session.of.principal.identity.issuer == provider.issuer
}

/// The live session of a ticket: from the cache, else from the store.
pub async fn find(shared: &Shared, ticket: &Ticket) -> Result<Option<Arc<Session>>, Rejection> {
    match shared.sessions.lookup(ticket) {
        Lookup::Live(session) => Ok(Some(session)),
        Lookup::Gone => Ok(None),
        // Boxed, as is what else is rare: the future of a request is moved as a whole.
        Lookup::Unknown => Ok(Box::pin(shared.sessions.load(ticket)).await?),
    }
}

async fn refresh(shared: &Shared, session: &Arc<Session>, provider: &Arc<Provider>) -> Option<Arc<Session>> {
    let (oidc, metrics, provider) = (shared.oidc.clone(), shared.metrics.clone(), Arc::clone(provider));
    let asked = move |session| async move {
        let answer = ask(&oidc, provider, session).await;
        metrics.refresh(match &answer {
            Refresh::Renewed(_) => "success",
            Refresh::Ended(_) => "ended",
            Refresh::Later(_) => "later",
        });
        answer
    };
    shared.sessions.refreshed(session, asked).await
}

/// Asks the provider for the session's next tokens.
async fn ask(oidc: &Oidc, provider: Arc<Provider>, session: Arc<Session>) -> Refresh {
    let Some(token) = session.of.tokens.refresh.clone() else {
        return Refresh::Later("the session has no refresh token".to_owned());
    };
    let original = Original { nonce: session.of.nonce.clone(), auth_time: session.of.auth_time };
    match oidc.refresh(provider, (session.of.principal.clone(), original), token).await {
        Ok(refreshed) => Refresh::Renewed(Box::new(Renewed {
            principal: refreshed.principal,
            tokens: Tokens {
                refresh: Some(refreshed.refresh_token),
                access_expires: refreshed.access_expires,
                id_token: refreshed.id_token.or_else(|| session.of.tokens.id_token.clone()),
            },
        })),
        Err(RefreshError::Ended(reason)) => Refresh::Ended(reason),
        Err(RefreshError::Later(reason)) => Refresh::Later(reason),
    }
}
