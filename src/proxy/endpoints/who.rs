//! `/.portcullis/`: who is signed in on this host.

use crate::audit::Kind;
use crate::session::{StoreError, TicketState};

use super::super::authenticate::find;
use super::super::pages::Page;
use super::super::rejection::Rejection;
use super::{Answer, Asked};

/// Says who is signed in, at whatever provider.
pub async fn answer(asked: Asked<'_>) -> Result<Answer, Rejection> {
    let session = match asked.shared.sessions.ticket(asked.host(), asked.cookies()) {
        TicketState::Valid(ticket) => find(asked.shared, &ticket).await?,
        TicketState::Absent | TicketState::Forged | TicketState::Duplicate => None,
        TicketState::Unreadable => return Err(StoreError::Keys.into()),
    };
    let Some(session) = session else {
        return Ok(Answer::page(&Page::anonymous(asked.id), asked, "who_am_i"));
    };
    let who = &session.of.principal;
    let page = Page::signed_in(who, session.expires, asked.id);
    Ok(Answer::page(&page, asked, "who_am_i").about(Kind::Answered, who.identity.clone()))
}
