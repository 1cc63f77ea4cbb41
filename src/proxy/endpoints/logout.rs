//! `/.portcullis/logout`: ends the session here, then in the store, then at the provider.

use std::sync::Arc;

use http::header::{HeaderName, ORIGIN};

use crate::audit::Kind;
use crate::session::{Session, StoreError, TicketState, clear_session_cookie};

use super::super::authenticate::find;
use super::super::rejection::{Refusal, Rejection};
use super::{Answer, Asked};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Ends the session of the request; without one it looks the same.
pub async fn sign_out(asked: Asked<'_>) -> Result<Answer, Rejection> {
    if !from_own_page(asked) {
        return Err(Refusal::CrossSite.into());
    }
    let done = format!("{}/.portcullis/signed-out", asked.origin());
    let answer = match end_session(asked).await? {
        Some(session) => {
            let onward = at_provider(asked, &session, done.clone()).await;
            let subject = session.of.principal.identity.clone();
            Answer::see_other(&onward.unwrap_or(done), "signed_out").about(Kind::SessionRevoked, subject)
        }
        None => Answer::see_other(&done, "signed_out"),
    };
    Ok(answer.with_cookie(&clear_session_cookie()))
}

/// Ends the session, and gives what it was where that is known. Here it ends at once; a store out of reach hears of it
/// when it is back.
async fn end_session(asked: Asked<'_>) -> Result<Option<Arc<Session>>, Rejection> {
    let sessions = &asked.shared.sessions;
    let ticket = match sessions.ticket(asked.host(), asked.cookies()) {
        TicketState::Valid(ticket) => ticket,
        TicketState::Absent | TicketState::Forged | TicketState::Duplicate => return Ok(None),
        TicketState::Unreadable => return Err(StoreError::Keys.into()),
    };
    let session = find(asked.shared, &ticket).await.ok().flatten();
    if let Err(error) = sessions.end(&ticket).await {
        tracing::warn!(id = %asked.id, %error, "a session that was signed out is still in the store");
    }
    Ok(session)
}

/// Whether a page of ours asks. Browsers say so in one field or the other; who says nothing is no browser that another
/// site could use.
fn from_own_page(asked: Asked<'_>) -> bool {
    match (asked.request.header(&SEC_FETCH_SITE), asked.request.header(&ORIGIN)) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => origin == asked.origin(),
        (None, None) => true,
    }
}

/// Where sign-out goes on to, where the provider has it.
async fn at_provider(asked: Asked<'_>, session: &Session, done: String) -> Option<String> {
    let provider = asked.snapshot.providers.get(session.of.provider.as_str())?;
    asked.shared.oidc.logout_url(Arc::clone(provider), session.of.tokens.id_token.clone(), done).await
}
