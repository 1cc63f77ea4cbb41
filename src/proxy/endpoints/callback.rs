//! `/.portcullis/callback/{provider}`: finishes a sign-in, begins the session and leads to where the person wanted to go.

use std::sync::Arc;

use crate::audit::Kind;
use crate::oidc::{Callback, LoginAttempt, LoginError, Provider, VerifiedLogin};
use crate::route::Route;
use crate::session::{Lifetimes, NewSession, OpenLogin, TicketState, Tokens, clear_login_cookie, open_login_cookies};

use super::super::pages::Page;
use super::super::rejection::{Refusal, Rejection};
use super::super::return_path::ReturnPath;
use super::{Answer, Asked};

/// A login attempt that a browser brought back, and the id of its cookie.
struct Held {
    cookie: String,
    attempt: LoginAttempt,
}

/// Finishes a sign-in at the provider of this name. The attempt's cookie is spent, whatever comes of it.
pub async fn answer(asked: Asked<'_>, provider: &str) -> Result<Answer, Rejection> {
    let provider = asked.snapshot.providers.get(provider).ok_or(Refusal::NotFound)?;
    let query = asked.request.target().query().unwrap_or_default();
    let keys = asked.shared.sessions.keys()?;
    let opened = open_login_cookies(&keys, asked.host(), asked.cookies(), asked.shared.clock.now());
    let (held, callback) = match Callback::parse(query).and_then(|callback| held(opened, callback)) {
        Ok(held) => held,
        Err(error) => return Ok(failed(asked, &Rejection::from(&error), &ReturnPath::front_page())),
    };
    let return_to = ReturnPath::parse(&held.attempt.return_to);
    let answer = match finish(asked, provider, held.attempt, callback, &return_to).await {
        Ok(answer) => answer,
        Err(rejection) => failed(asked, &rejection, &return_to),
    };
    Ok(answer.with_cookie(&clear_login_cookie(&held.cookie)))
}

/// The attempt whose `state` the callback brings back.
fn held(opened: Vec<OpenLogin>, callback: Callback) -> Result<(Held, Callback), LoginError> {
    let state = callback.state.as_ref().ok_or(LoginError::StateMissing)?;
    let mut attempts = opened.into_iter().filter_map(|login| {
        let attempt = LoginAttempt::from_bytes(login.attempt.expose())?;
        Some(Held { cookie: login.id, attempt })
    });
    let held = attempts.find(|held| held.attempt.state == *state).ok_or(LoginError::StateForeign)?;
    Ok((held, callback))
}

/// Redeems the code and begins the session.
async fn finish(
    asked: Asked<'_>,
    provider: &Arc<Provider>,
    attempt: LoginAttempt,
    callback: Callback,
    return_to: &ReturnPath,
) -> Result<Answer, Rejection> {
    let (route, _) = asked.sign_in_route(return_to).ok_or(Refusal::NoProvider)?;
    let redirect_uri = asked.redirect_uri(provider);
    let login = asked.shared.oidc.finish(Arc::clone(provider), redirect_uri, attempt, callback).await;
    let login = login.map_err(|error| Rejection::from(&error))?;
    let subject = login.principal.identity.clone();
    let begun = asked.shared.sessions.begin(new_session(asked, provider, route, login)).await?;
    end_replaced_session(asked).await;
    let cookie = asked.shared.sessions.cookie(&begun.session, &begun.ticket);
    let location = format!("{}{}", asked.origin(), return_to.as_str());
    asked.shared.metrics.sign_in("success");
    let answer = Answer::see_other(&location, "signed_in").about(Kind::AuthenticationSucceeded, subject);
    Ok(answer.with_cookie(&cookie))
}

fn new_session(asked: Asked<'_>, provider: &Provider, route: &Route, login: VerifiedLogin) -> NewSession {
    let limits = route.settings.session;
    NewSession {
        principal: login.principal,
        provider: provider.name.to_string(),
        host: asked.host().clone(),
        lifetimes: Lifetimes { absolute: limits.lifetime, idle: limits.idle },
        sid: login.sid,
        acr: login.acr,
        amr: login.amr,
        auth_time: login.original.auth_time,
        nonce: login.original.nonce,
        tokens: Tokens { refresh: login.refresh_token, access_expires: login.access_expires, id_token: login.id_token },
    }
}

/// Ends the session whose cookie is being replaced: nobody holds it any more.
async fn end_replaced_session(asked: Asked<'_>) {
    if let TicketState::Valid(ticket) = asked.shared.sessions.ticket(asked.host(), asked.cookies())
        && let Err(error) = asked.shared.sessions.end(&ticket).await
    {
        tracing::warn!(%error, "a replaced session stays in the store until it expires");
    }
}

fn failed(asked: Asked<'_>, rejection: &Rejection, return_to: &ReturnPath) -> Answer {
    tracing::info!(id = %asked.id, reason = rejection.name, detail = %rejection.detail, "sign-in failed");
    asked.shared.metrics.sign_in(rejection.name);
    let page = Page::failed_sign_in(&rejection.notice(), return_to, asked.id);
    let answer = Answer::refusal(rejection, &page, asked.form());
    Answer { kind: Kind::AuthenticationFailed, ..answer }
}
