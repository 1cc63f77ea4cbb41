//! `/.portcullis/login`: begins a sign-in and sends the browser to the provider.

use std::sync::Arc;

use crate::session::{crowded_out_logins, login_cookie};

use super::super::negotiation::Hints;
use super::super::pages::Page;
use super::super::refuse::unauthorized;
use super::super::rejection::{Refusal, Rejection};
use super::super::return_path::ReturnPath;
use super::{Answer, Asked};

/// Begins a sign-in that ends at the `return` parameter.
pub async fn answer(asked: Asked<'_>) -> Result<Answer, Rejection> {
    let raw = asked.parameter("return");
    let return_to = raw.as_deref().map_or_else(ReturnPath::front_page, ReturnPath::parse);
    // A script cannot show the provider's page; it would only pile up attempts.
    if Hints::of(asked.request).script() {
        return Ok(unauthorized(asked, &return_to));
    }
    let (_, provider) = asked.sign_in_route(&return_to).ok_or(Refusal::NoProvider)?;
    let keys = asked.shared.sessions.keys()?;
    let redirect_uri = asked.redirect_uri(provider);
    let begun = asked.shared.oidc.begin(Arc::clone(provider), redirect_uri, return_to.as_str().to_owned()).await;
    let start = match begun {
        Ok(start) => start,
        Err(error) => {
            let rejection = Rejection::from(&error);
            let page = Page::failed_sign_in(&rejection.notice(), &return_to, asked.id);
            return Ok(Answer::refusal(&rejection, &page, asked.form()));
        }
    };
    let (host, now) = (asked.host(), asked.shared.clock.now());
    let cookie = login_cookie(&keys, host, start.attempt.to_bytes().expose(), now);
    let answer = Answer::see_other(start.authorization_url.expose(), "sign_in_begun").with_cookie(&cookie);
    let crowded_out = crowded_out_logins(&keys, host, asked.cookies(), now);
    Ok(crowded_out.iter().fold(answer, |answer, line| answer.with_cookie(line)))
}
