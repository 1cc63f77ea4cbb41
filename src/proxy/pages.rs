//! Answers of ours: what they say, independent of the form in which they are given.
//!
//! A [`Page`] is a value; `html` makes a document of it, [`Page::respond`] a response in the form that was asked for. No
//! page needs a script, none loads anything but our stylesheet, and none is kept by a cache.

mod html;

use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION, REFERRER_POLICY, RETRY_AFTER, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::audit::RequestId;
use crate::identity::Principal;

use super::negotiation::Form;
use super::rejection::Notice;
use super::return_path::ReturnPath;

/// One answer of ours.
#[derive(Clone, PartialEq, Debug)]
pub struct Page {
    status: StatusCode,
    title: &'static str,
    text: Vec<String>,
    facts: Vec<Fact>,
    actions: Vec<Action>,
    id: RequestId,
    /// After how many seconds to try again, where that may help.
    retry_after: Option<u16>,
    /// What a program gets, beside the decision id.
    json: Map<String, Value>,
}

/// Something that is so.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Fact {
    label: &'static str,
    value: String,
    /// The point in time that it tells, for machines.
    time: Option<String>,
}

/// What a person can do next.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Action {
    /// Go somewhere.
    Link { label: &'static str, href: String },
    /// Change something: a form that is posted.
    Button { label: &'static str, to: &'static str },
}

/// The stylesheet of every page.
pub const STYLESHEET: &str = include_str!("pages/style.css");

/// Where it is served, with a version so that it may be kept for ever.
static STYLESHEET_HREF: LazyLock<String> =
    LazyLock::new(|| format!("/.portcullis/style.css?{}", &blake3::hash(STYLESHEET.as_bytes()).to_hex()[..8]));

const SIGN_OUT: Action = Action::Button { label: "Sign out", to: "/.portcullis/logout" };

impl Page {
    /// A refusal, with what to do next.
    pub fn refusal(notice: &Notice, id: RequestId) -> Self {
        let page = Self { retry_after: notice.retry_after, ..Self::new(notice.status, notice.title, id) };
        page.says(notice.text)
            .says(notice.remedy)
            .tells("error", notice.reason)
            .tells("message", notice.text)
            .tells("remedy", notice.remedy)
    }

    /// A refusal to somebody who is signed in: who that is, and the way out.
    pub fn denied(notice: &Notice, who: &Principal, id: RequestId) -> Self {
        let name = display_name(who);
        let page = Self::refusal(notice, id).tells("signed_in_as", name.as_str()).fact("Signed in as", &name);
        page.link("Who am I?", "/.portcullis/".to_owned()).action(SIGN_OUT)
    }

    /// A sign-in that failed, with the way to begin again.
    pub fn failed_sign_in(notice: &Notice, return_to: &ReturnPath, id: RequestId) -> Self {
        Self::refusal(notice, id).link("Start again", login_href(return_to))
    }

    /// Who is signed in, and until when.
    pub fn signed_in(who: &Principal, until: Timestamp, id: RequestId) -> Self {
        let joined = who.groups.names().join(", ");
        let facts = [
            ("Name", who.name.as_deref()),
            ("E-mail", who.email.as_ref().map(|email| email.as_str())),
            ("User name", who.preferred_username.as_deref()),
            ("Groups", Some(joined.as_str()).filter(|joined| !joined.is_empty())),
            ("Subject", Some(&*who.identity.subject.0)),
            ("Issuer", Some(&*who.identity.issuer.0)),
        ];
        let known = facts.into_iter().filter_map(|(label, value)| Some((label, value?)));
        let page = Self::new(StatusCode::OK, "You are signed in", id).action(SIGN_OUT);
        let groups: Vec<_> = who.groups.names().iter().map(|name| &**name).collect();
        known
            .fold(page, |page, (label, value)| page.fact(label, value))
            .time("Until", until)
            .tells("signed_in", true)
            .tells("issuer", &*who.identity.issuer.0)
            .tells("subject", &*who.identity.subject.0)
            .tells("email", who.email.as_ref().map(|email| email.as_str()))
            .tells("name", who.name.as_deref())
            .tells("preferred_username", who.preferred_username.as_deref())
            .tells("groups", groups)
            .tells("expires", rfc3339(until))
    }

    /// Nobody is signed in.
    pub fn anonymous(id: RequestId) -> Self {
        Self::new(StatusCode::OK, "You are not signed in", id)
            .says("This browser has no session on this host.")
            .link("Sign in", login_href(&ReturnPath::parse("/.portcullis/")))
            .tells("signed_in", false)
    }

    /// Asks whether to sign out.
    pub fn confirm_sign_out(id: RequestId) -> Self {
        Self::new(StatusCode::OK, "Sign out?", id)
            .says("Your session on this host ends, here and in every tab.")
            .action(SIGN_OUT)
            .link("Stay signed in", "/.portcullis/".to_owned())
            .tells("message", "send a POST request to sign out")
    }

    /// The end of a session.
    pub fn signed_out(id: RequestId) -> Self {
        Self::new(StatusCode::OK, "You are signed out", id)
            .says("Your session on this host has ended.")
            .link("Sign in again", login_href(&ReturnPath::front_page()))
            .tells("signed_in", false)
    }

    /// The challenge of a request that no browser navigates with: always an object, and no cookie.
    pub fn challenge(notice: &Notice, login_url: &str, id: RequestId) -> Response<Bytes> {
        let page =
            Self::new(notice.status, notice.title, id).tells("error", notice.reason).tells("login_url", login_url);
        page.respond(Form::Json)
    }

    /// The response in a form.
    pub fn respond(&self, form: Form) -> Response<Bytes> {
        let (kind, body) = match form {
            Form::Html => ("text/html; charset=utf-8", html::render(self)),
            Form::Json => ("application/json", self.json()),
            Form::Text => ("text/plain; charset=utf-8", self.plain()),
        };
        let mut response = ours(self.status, Bytes::from(body));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(self.content_security_policy()));
        // From a page without a referrer a form would be posted with `Origin: null`.
        let referrer = if self.has_form() { "same-origin" } else { "no-referrer" };
        headers.insert(REFERRER_POLICY, HeaderValue::from_static(referrer));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    fn new(status: StatusCode, title: &'static str, id: RequestId) -> Self {
        Self {
            status,
            title,
            text: Vec::new(),
            facts: Vec::new(),
            actions: Vec::new(),
            id,
            retry_after: None,
            json: Map::new(),
        }
    }

    fn says(mut self, paragraph: &str) -> Self {
        self.text.push(paragraph.to_owned());
        self
    }

    fn fact(mut self, label: &'static str, value: &str) -> Self {
        self.facts.push(Fact { label, value: one_line(value), time: None });
        self
    }

    /// A point in time, which is told to the minute.
    fn time(mut self, label: &'static str, at: Timestamp) -> Self {
        let value = at.strftime("%-d %B %Y, %H:%M UTC").to_string();
        self.facts.push(Fact { label, value, time: Some(rfc3339(at)) });
        self
    }

    fn tells(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.json.insert(key.to_owned(), value.into());
        self
    }

    fn action(mut self, action: Action) -> Self {
        self.actions.push(action);
        self
    }

    fn link(self, label: &'static str, href: String) -> Self {
        self.action(Action::Link { label, href })
    }

    fn has_form(&self) -> bool {
        self.actions.iter().any(|action| matches!(action, Action::Button { .. }))
    }

    fn content_security_policy(&self) -> &'static str {
        if self.has_form() {
            // Browsers hold redirects after a form to `form-action` too, and sign-out goes on to the provider; plain HTTP
            // on loopback is the provider of `dev`.
            "default-src 'none'; style-src 'self'; form-action 'self' https: http://127.0.0.1:* http://localhost:*; \
             frame-ancestors 'none'; base-uri 'none'"
        } else {
            "default-src 'none'; style-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
        }
    }

    fn json(&self) -> String {
        let mut map = self.json.clone();
        map.insert("decision_id".to_owned(), self.id.to_string().into());
        let mut text = Value::Object(map).to_string();
        text.push('\n');
        text
    }

    fn plain(&self) -> String {
        let mut lines = vec![self.title.to_owned()];
        lines.extend(self.text.iter().cloned());
        lines.extend(self.facts.iter().map(|Fact { label, value, .. }| format!("{label}: {value}")));
        lines.extend(self.actions.iter().map(|action| match action {
            Action::Link { label, href } => format!("{label}: GET {href}"),
            Action::Button { label, to } => format!("{label}: POST {to}"),
        }));
        lines.push(format!("Request: {}\n", self.id));
        lines.join("\n")
    }
}

/// A point in time to the second.
fn rfc3339(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// The stylesheet as a response: the one answer of ours that may be kept.
pub fn stylesheet() -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(STYLESHEET.as_bytes()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A redirect of ours.
pub fn redirect(status: StatusCode, location: &str) -> Response<Bytes> {
    let mut response = ours(status, Bytes::new());
    let location = HeaderValue::from_str(location).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, location);
    response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Where a sign-in begins.
pub fn login_href(return_to: &ReturnPath) -> String {
    format!("/.portcullis/login?return={}", return_to.encoded())
}

/// What a person is called on pages.
fn display_name(who: &Principal) -> String {
    let email = who.email.as_ref().map(|email| email.as_str());
    email.or(who.preferred_username.as_deref()).or(who.name.as_deref()).unwrap_or(&who.identity.subject.0).to_owned()
}

/// A response of ours: no cache keeps it, no browser guesses its type.
fn ours(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(VARY, HeaderValue::from_static("accept, cookie"));
    response
}

/// A value on one line, without control characters, which would speak to a terminal.
fn one_line(value: &str) -> String {
    value.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests;
