//! Our own endpoints, `/.portcullis/…` on every host that has a guarded route: answered before routing, never forwarded.

mod callback;
mod login;
mod logout;
mod who;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, HeaderValue, SET_COOKIE};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use tokio::time::timeout;

use crate::audit::{Kind, RequestId};
use crate::host::Host;
use crate::identity::Identity;
use crate::oidc::{LoginError, Provider};
use crate::path::{RequestPath, Target};
use crate::route::{Access, Route};
use crate::snapshot::Snapshot;

use super::admit::{CanonicalRequest, Scheme};
use super::client_body::ClientBody;
use super::negotiation::Form;
use super::pages::{self, Page};
use super::rejection::{Refusal, Rejection};
use super::return_path::ReturnPath;
use super::service::Shared;

/// What an own endpoint needs of the request and the process.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The process.
    pub shared: &'a Shared,
    /// The snapshot of the request.
    pub snapshot: &'a Snapshot,
    /// The request.
    pub request: &'a CanonicalRequest,
    /// Its id.
    pub id: RequestId,
}

/// An answer of ours, with what the trail says of it.
#[derive(Debug)]
pub struct Answer {
    /// What is sent.
    pub response: Response<Bytes>,
    /// What happened.
    pub kind: Kind,
    /// Its stable name.
    pub reason: &'static str,
    /// The rule that decided, where one did.
    pub rule: Option<Arc<str>>,
    /// Whom it was about, where known.
    pub subject: Option<Identity>,
}

/// Every path, its methods, and what it does.
pub const PATHS: [(&str, &str, &str); 6] = [
    ("/.portcullis/", "GET, HEAD", "who is signed in: a page, or JSON or text by `Accept`"),
    ("/.portcullis/login", "GET", "begins a sign-in; `return` is the path to come back to"),
    ("/.portcullis/callback/{provider}", "GET", "where the provider sends the browser back to"),
    ("/.portcullis/logout", "GET, HEAD, POST", "asks whether to sign out; POST does it"),
    ("/.portcullis/signed-out", "GET, HEAD", "says that it is done"),
    ("/.portcullis/style.css", "GET, HEAD", "the stylesheet of the pages"),
];

/// The own endpoints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Endpoint<'a> {
    /// `/.portcullis/`.
    WhoAmI,
    /// `/.portcullis/login`.
    Login,
    /// `/.portcullis/callback/{provider}`.
    Callback(&'a str),
    /// `/.portcullis/logout`.
    Logout,
    /// `/.portcullis/signed-out`.
    SignedOut,
    /// `/.portcullis/style.css`.
    Stylesheet,
    /// Reserved, and nothing there.
    Nothing,
}

impl<'a> Endpoint<'a> {
    /// The endpoint of a path; `None` where the path is not reserved. One that a server behind us could take for a reserved
    /// one is ambiguous, as with routes.
    pub fn of(path: &'a RequestPath) -> Result<Option<Self>, Rejection> {
        match (Self::find(path.as_str()), path.lenient()) {
            (None, Some(lenient)) if Self::find(lenient).is_some() => Err(Refusal::AmbiguousPath.into()),
            (found, _) => Ok(found),
        }
    }

    /// The endpoint of a path in one reading.
    fn find(path: &'a str) -> Option<Self> {
        let Some(rest) = path.strip_prefix("/.portcullis") else {
            let reserved = path.strip_prefix("/.well-known/portcullis")?;
            return (reserved.is_empty() || reserved.starts_with('/')).then_some(Self::Nothing);
        };
        Some(match rest {
            "" | "/" => Self::WhoAmI,
            "/login" => Self::Login,
            "/logout" => Self::Logout,
            "/signed-out" => Self::SignedOut,
            "/style.css" => Self::Stylesheet,
            _ => match rest.strip_prefix("/callback/") {
                Some(provider) if !provider.is_empty() && !provider.contains('/') => Self::Callback(provider),
                _ if rest.starts_with('/') => Self::Nothing,
                _ => return None,
            },
        })
    }

    /// Answers: over HTTPS alone and on hosts that have something to guard, but for the stylesheet.
    pub async fn answer(self, asked: Asked<'_>, scheme: Scheme, body: ClientBody) -> Result<Answer, Rejection> {
        if self != Self::Stylesheet && !asked.snapshot.routes.guards(asked.host()) {
            return Err(Refusal::NotFound.into());
        }
        if self != Self::Stylesheet && scheme == Scheme::Http {
            return Ok(asked.to_https());
        }
        let posted = *asked.request.method() == Method::POST;
        if let Some(refused) = self.refuse_method(asked) {
            return Ok(refused);
        }
        if posted {
            drain(body, asked.shared).await?;
        }
        match self {
            Self::WhoAmI => who::answer(asked).await,
            Self::Login => login::answer(asked).await,
            Self::Callback(provider) => callback::answer(asked, provider).await,
            Self::Logout if posted => logout::sign_out(asked).await,
            Self::Logout => Ok(Answer::page(&Page::confirm_sign_out(asked.id), asked, "confirm_sign_out")),
            Self::SignedOut => Ok(Answer::page(&Page::signed_out(asked.id), asked, "signed_out_page")),
            Self::Stylesheet => Ok(Answer::own(pages::stylesheet(), "stylesheet")),
            Self::Nothing => Err(Refusal::NotFound.into()),
        }
    }

    /// The 405 of a method that the endpoint does not know (RFC 9110 section 15.5.6).
    fn refuse_method(self, asked: Asked<'_>) -> Option<Answer> {
        let allow = match (self, asked.request.method()) {
            (Self::Nothing, _) | (_, &Method::GET) | (Self::Logout, &Method::POST) => return None,
            // They begin and end an attempt to sign in, which HEAD must not (RFC 9110 section 9.2.1).
            (Self::Login | Self::Callback(_), _) => "GET",
            (_, &Method::HEAD) => return None,
            (Self::Logout, _) => "GET, HEAD, POST",
            _ => "GET, HEAD",
        };
        let rejection = Rejection::from(Refusal::MethodNotAllowed);
        let mut answer = Answer::refusal(&rejection, &Page::refusal(&rejection.notice(), asked.id), asked.form());
        answer.response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        Some(answer)
    }
}

impl Answer {
    /// An answer without more to tell.
    pub fn own(response: Response<Bytes>, reason: &'static str) -> Self {
        Self { response, kind: Kind::Answered, reason, rule: None, subject: None }
    }

    /// A page in the form that was asked for.
    pub fn page(page: &Page, asked: Asked<'_>, reason: &'static str) -> Self {
        Self::own(page.respond(asked.form()), reason)
    }

    /// A refusal with a page of its own.
    pub fn refusal(rejection: &Rejection, page: &Page, form: Form) -> Self {
        Self { kind: rejection.kind(), ..Self::own(page.respond(form), rejection.name) }
    }

    /// A redirect with GET (RFC 9110 section 15.4.4), so that nothing posted is ever posted again elsewhere.
    pub fn see_other(location: &str, reason: &'static str) -> Self {
        Self::own(pages::redirect(StatusCode::SEE_OTHER, location), reason)
    }

    /// The same as another kind of event, about somebody.
    pub fn about(self, kind: Kind, subject: Identity) -> Self {
        Self { kind, subject: Some(subject), ..self }
    }

    /// With one more `Set-Cookie`.
    pub fn with_cookie(mut self, line: &str) -> Self {
        let line = HeaderValue::from_str(line).expect("cookies of ours are base64url and attributes");
        self.response.headers_mut().append(SET_COOKIE, line);
        self
    }
}

impl<'a> Asked<'a> {
    /// The form in which a page is wanted.
    pub fn form(&self) -> Form {
        Form::of(self.request.header(&http::header::ACCEPT))
    }

    /// The host.
    pub fn host(&self) -> &'a Host {
        self.request.host()
    }

    /// The public origin of the host.
    pub fn origin(&self) -> String {
        self.shared.origin(self.host())
    }

    /// The same address over HTTPS; method and body stay (RFC 9110 section 15.4.9).
    pub fn to_https(&self) -> Answer {
        let location = format!("{}{}", self.origin(), self.request.target());
        Answer::own(pages::redirect(StatusCode::PERMANENT_REDIRECT, &location), "https_redirect")
    }

    /// The raw values of the `Cookie` fields.
    pub fn cookies(&self) -> Vec<&'a [u8]> {
        self.request.cookies().map(HeaderValue::as_bytes).collect()
    }

    /// The guarded route with a provider that a sign-in is for: that of the return path, else any of the host.
    pub fn sign_in_route(&self, return_to: &ReturnPath) -> Option<(&'a Arc<Route>, &'a Arc<Provider>)> {
        sign_in_route(self.snapshot, self.host(), return_to)
    }

    /// Where the provider sends the browser back to.
    pub fn redirect_uri(&self, provider: &Provider) -> String {
        format!("{}/.portcullis/callback/{}", self.origin(), provider.name)
    }

    /// The one value of a query parameter; one that comes twice is as good as absent.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let query = self.request.target().query()?;
        let mut values = url::form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
        let (_, value) = values.next()?;
        values.next().is_none().then(|| value.into_owned())
    }
}

/// `Strict-Transport-Security` of a host, as a guarded route of it has it.
pub fn hsts<'s>(snapshot: &'s Snapshot, host: &Host) -> Option<&'s HeaderValue> {
    sign_in_route(snapshot, host, &ReturnPath::front_page())?.0.settings.hsts.as_ref()
}

fn sign_in_route<'s>(
    snapshot: &'s Snapshot,
    host: &Host,
    return_to: &ReturnPath,
) -> Option<(&'s Arc<Route>, &'s Arc<Provider>)> {
    let routes = &snapshot.routes;
    let target = Target::parse(return_to.as_str()).ok();
    let named = target.and_then(|target| routes.find(host, target.path()).ok());
    named.and_then(|found| provided(found.route)).or_else(|| provided(routes.sign_in(host)?))
}

fn provided(route: &Arc<Route>) -> Option<(&Arc<Route>, &Arc<Provider>)> {
    match &route.access {
        Access::Guarded { provider: Some(provider), .. } => Some((route, provider)),
        _ => None,
    }
}

impl From<&LoginError> for Rejection {
    fn from(error: &LoginError) -> Self {
        let refusal = match error.status().as_u16() {
            503 => Refusal::ProviderUnreachable,
            502 => Refusal::ProviderFault,
            403 => Refusal::SignInRefused,
            _ => Refusal::BadSignIn,
        };
        Self { refusal, name: error.code(), detail: error.to_string().into() }
    }
}

/// Reads a body that nobody needs, within its limits, so that the connection can go on.
async fn drain(body: ClientBody, shared: &Shared) -> Result<(), Rejection> {
    let limits = &shared.limits;
    let whole = Limited::new(body, limits.own_body_bytes).collect();
    match timeout(limits.body_idle, whole).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Refusal::BodyTooLarge.into()),
        Ok(Err(error)) => Err(Refusal::BadRequest.because(error.to_string())),
        Err(_) => Err(Refusal::RequestTimeout.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_paths_are_found_and_no_others() {
        let table = [
            ("/.portcullis", Some(Endpoint::WhoAmI)),
            ("/.portcullis/", Some(Endpoint::WhoAmI)),
            ("/.portcullis/login", Some(Endpoint::Login)),
            ("/.portcullis/callback/corp", Some(Endpoint::Callback("corp"))),
            ("/.portcullis/callback/", Some(Endpoint::Nothing)),
            ("/.portcullis/callback/corp/x", Some(Endpoint::Nothing)),
            ("/.portcullis/logout", Some(Endpoint::Logout)),
            ("/.portcullis/logout/", Some(Endpoint::Nothing)),
            ("/.portcullis/signed-out", Some(Endpoint::SignedOut)),
            ("/.portcullis/style.css", Some(Endpoint::Stylesheet)),
            ("/.portcullis//login", Some(Endpoint::Nothing)),
            ("/.well-known/portcullis/jwks.json", Some(Endpoint::Nothing)),
            ("/.well-known/portcullis", Some(Endpoint::Nothing)),
            ("/.well-known/portcullis-x", None),
            ("/.portcullisx", None),
            ("/.Portcullis/login", None),
            ("/x/.portcullis/login", None),
            ("/", None),
        ];
        for (path, endpoint) in table {
            assert_eq!(Endpoint::find(path), endpoint, "{path}");
        }
        for path in ["//.portcullis/login", "/.portcullis%2Flogin", "/.portcullis;x/login", "/%252Eportcullis/login"] {
            let target = Target::parse(path).unwrap();
            assert_eq!(Endpoint::of(target.path()), Err(Refusal::AmbiguousPath.into()), "{path}");
        }
        for (path, ..) in PATHS {
            assert!(!matches!(Endpoint::find(path), None | Some(Endpoint::Nothing)), "{path}");
        }
    }
}
