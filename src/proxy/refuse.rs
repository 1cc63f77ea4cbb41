//! What a decision against the request looks like: a way to sign in, or who you are and what to do.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue, ORIGIN, VARY, WWW_AUTHENTICATE,
};
use http::{Method, Response};

use crate::audit::Kind;
use crate::policy::{Reason, Verdict};
use crate::route::{Access, Route};

use super::authenticate::Caller;
use super::endpoints::{Answer, Asked};
use super::negotiation::Hints;
use super::pages::{self, Page};
use super::rejection::{Refusal, Rejection};
use super::return_path::ReturnPath;

/// A browser that navigates is led to the sign-in; anything else is told with 401, and gets no cookie.
pub fn challenge(asked: Asked<'_>, route: &Route, caller: &Caller, verdict: Verdict) -> Result<Answer, Rejection> {
    if !matches!(route.access, Access::Guarded { provider: Some(_), .. }) {
        return Err(Refusal::NoProvider.into());
    }
    let request = asked.request;
    let hints = Hints::of(request);
    let readable = matches!(*request.method(), Method::GET | Method::HEAD);
    let answer = if readable && hints.navigation() && !request.is_websocket() {
        let login = pages::login_href(&ReturnPath::of(request.target()));
        Answer::see_other(&login, verdict.reason.as_str())
    } else {
        let return_to = match readable && !hints.script() {
            true => ReturnPath::of(request.target()),
            false => ReturnPath::front_page(),
        };
        let mut answer = unauthorized(asked, &return_to);
        allow_reading(&mut answer.response, asked, route);
        answer
    };
    let reason = match caller {
        Caller::Nobody(why) => why,
        Caller::Person(_) => verdict.reason.as_str(),
    };
    Ok(Answer { kind: Kind::AuthorizationChallenged, reason, rule: verdict.rule, ..answer })
}

/// Who you are, which decision it was, and the way out.
pub fn deny(asked: Asked<'_>, caller: &Caller, verdict: Verdict) -> Result<Answer, Rejection> {
    let rejection = match verdict.reason {
        Reason::AmbiguousPath => return Err(Refusal::AmbiguousPath.into()),
        reason => Refusal::Denied.named(reason.as_str()),
    };
    let notice = rejection.notice();
    let page = match caller.principal() {
        Some(who) => Page::denied(&notice, who, asked.id),
        None => Page::refusal(&notice, asked.id),
    };
    let subject = caller.principal().map(|who| who.identity.clone());
    Ok(Answer { rule: verdict.rule, subject, ..Answer::refusal(&rejection, &page, asked.form()) })
}

/// The 401 that names where to sign in.
pub fn unauthorized(asked: Asked<'_>, return_to: &ReturnPath) -> Answer {
    let login_url = format!("{}{}", asked.origin(), pages::login_href(return_to));
    let refusal = Refusal::SignInRequired;
    let mut response = Page::challenge(&refusal.notice(), &login_url, asked.id);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"portcullis\""));
    Answer { kind: Kind::AuthorizationChallenged, ..Answer::own(response, refusal.reason()) }
}

/// Lets a page of an origin that the route allows read the answer, so that it can send the person to sign in.
fn allow_reading<B>(response: &mut Response<B>, asked: Asked<'_>, route: &Route) {
    let Some(origin) = asked.request.header(&ORIGIN) else { return };
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("origin"));
    if route.settings.allowed_origins.iter().any(|allowed| **allowed == *origin)
        && let Ok(origin) = HeaderValue::from_str(origin)
    {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}
