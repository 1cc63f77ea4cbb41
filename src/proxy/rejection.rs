//! The one type of every refusal: a closed list of reasons, each with its status, stable name and fixed public text.
//!
//! What a client or upstream did in detail goes to the audit trail and the log, never onto a page.

use std::borrow::Cow;

use http::StatusCode;

use crate::audit::Kind;
use crate::session::StoreError;

/// Why a request was not answered by its upstream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejection {
    /// The reason.
    pub refusal: Refusal,
    /// The stable name, for audit, metrics and JSON; at least as exact as the reason's.
    pub name: &'static str,
    /// What exactly was wrong, for the log alone; never holds a secret, cookie, token or query.
    pub detail: Cow<'static, str>,
}

/// The closed list of reasons.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Refusal {
    /// `admit` could not make one canonical request of it.
    BadRequest,
    /// The two readings of the path differ in route or rules.
    AmbiguousPath,
    /// Signing in did not work because of what the browser sent.
    BadSignIn,
    /// The caller has to sign in.
    SignInRequired,
    /// The policy refuses.
    Denied,
    /// The provider or its rules refused the person.
    SignInRefused,
    /// A browser on another site asked for what only our own pages may ask.
    CrossSite,
    /// An upgrade to WebSocket from a page of another origin.
    OriginMismatch,
    /// Neither route nor default backend.
    NotFound,
    /// An own endpoint does not know the method.
    MethodNotAllowed,
    /// A request that must not be cut took too long to arrive.
    RequestTimeout,
    /// The body is larger than the route or we accept.
    BodyTooLarge,
    /// An `Expect` other than `100-continue`.
    ExpectationFailed,
    /// The connection's certificate does not speak for the host.
    Misdirected,
    /// The head has too many or too large fields.
    HeadTooLarge,
    /// A protocol upgrade that the route does not forward.
    UpgradeRefused,
    /// A bug of ours.
    Internal,
    /// A method that is never forwarded (`CONNECT`, `TRACE`).
    MethodNotSupported,
    /// The upstream refused, reset or answered garbage.
    BadGateway,
    /// The provider gave an answer that cannot be used.
    ProviderFault,
    /// A defect of its configuration closed the route.
    RouteClosed,
    /// What is known of the routes is older than it may be.
    PoliciesStale,
    /// The route has no provider through which anyone could sign in.
    NoProvider,
    /// The provider does not answer.
    ProviderUnreachable,
    /// The session store does not answer.
    StoreUnreachable,
    /// No audit slot is free.
    AuditFull,
    /// A budget of ours is spent.
    Overloaded,
    /// The backend has no endpoint.
    NoEndpoint,
    /// The upstream did not answer in time.
    GatewayTimeout,
    /// The request came through us before.
    Loop,
}

/// What is said of a refusal in public.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Notice {
    /// The status.
    pub status: StatusCode,
    /// The stable name, for audit, metrics and JSON.
    pub reason: &'static str,
    /// The heading of the page.
    pub title: &'static str,
    /// What happened.
    pub text: &'static str,
    /// What to do next.
    pub remedy: &'static str,
    /// After how many seconds to try again, where that may help.
    pub retry_after: Option<u16>,
}

impl Refusal {
    /// This refusal, with what exactly was wrong.
    pub fn because(self, detail: impl Into<Cow<'static, str>>) -> Rejection {
        Rejection { refusal: self, name: self.reason(), detail: detail.into() }
    }

    /// This refusal, under a more exact stable name.
    pub fn named(self, name: &'static str) -> Rejection {
        Rejection { refusal: self, name, detail: Cow::Borrowed("") }
    }

    /// The status.
    pub fn status(self) -> StatusCode {
        self.notice().status
    }

    /// The stable name, for audit, metrics and JSON.
    pub fn reason(self) -> &'static str {
        self.notice().reason
    }

    /// What is said in public.
    pub fn notice(self) -> Notice {
        let (status, reason, title, text, remedy) = self.row();
        let status = StatusCode::from_u16(status).expect("the table below holds valid codes");
        Notice { status, reason, title, text, remedy, retry_after: self.retry_after() }
    }

    fn retry_after(self) -> Option<u16> {
        match self {
            Self::AuditFull | Self::Overloaded => Some(1),
            Self::PoliciesStale | Self::ProviderUnreachable | Self::StoreUnreachable | Self::NoEndpoint => Some(5),
            _ => None,
        }
    }

    #[rustfmt::skip]
    fn row(self) -> (u16, &'static str, &'static str, &'static str, &'static str) {
        const OPERATOR: &str = "Tell the people who run this site, and give them the request number.";
        const LATER: &str = "Try again in a moment.";
        const CLIENT: &str = "Check the address or the program that made the request.";
        match self {
            Self::BadRequest => (400, "bad_request", "Bad request", "The request is not well formed, so it was not passed on.", CLIENT),
            Self::AmbiguousPath => (400, "ambiguous_path", "Ambiguous address", "The path of this address can be read in more than one way, so it was not passed on.", "Write the path without encoded slashes, doubled slashes and semicolons."),
            Self::BadSignIn => (400, "bad_sign_in", "Sign-in did not work", "The answer of the sign-in does not belong to an attempt that this browser began here.", "Begin anew, and finish it in this browser."),
            Self::SignInRequired => (401, "sign_in_required", "Sign in", "This address is for people who are signed in.", "Sign in, then send the request again."),
            Self::Denied => (403, "denied", "No access", "The policy of this site does not let you open this address.", "If you should have access, ask the people who run this site, and give them the request number."),
            Self::SignInRefused => (403, "sign_in_refused", "Sign-in refused", "The sign-in was refused.", "Try another account, or ask the people who run this site."),
            Self::CrossSite => (403, "cross_site", "Refused", "Another site asked for this on your behalf.", "If you meant it, do it from the page of this site."),
            Self::OriginMismatch => (403, "origin_mismatch", "Refused", "A page of another origin may not open a connection to this address.", "Open the connection from a page of this site, or allow the origin in `portcullis.dev/cors-allow-origin`."),
            Self::NotFound => (404, "not_found", "Not found", "Nothing is served at this address.", CLIENT),
            Self::MethodNotAllowed => (405, "method_not_allowed", "Method not allowed", "This address does not know the method of the request.", "Use one of the methods in the `Allow` field."),
            Self::RequestTimeout => (408, "request_timeout", "Request timeout", "The request did not arrive in time.", LATER),
            Self::BodyTooLarge => (413, "body_too_large", "Too large", "The body of the request is larger than this address accepts.", "Send less."),
            Self::ExpectationFailed => (417, "expectation_failed", "Expectation failed", "The request expects what is not understood here.", "Send no `Expect` other than `100-continue`."),
            Self::Misdirected => (421, "misdirected", "Misdirected request", "This connection was opened for another host.", "Open a new connection for this host."),
            Self::HeadTooLarge => (431, "head_too_large", "Head too large", "The header fields of the request are too many or too large.", "Delete the cookies of this site, or send fewer fields."),
            Self::UpgradeRefused => (403, "upgrade_refused", "Upgrade refused", "This address does not switch protocols.", CLIENT),
            Self::Internal => (500, "internal", "Something broke", "The request could not be handled because of a fault in the gateway.", OPERATOR),
            Self::MethodNotSupported => (501, "method_not_supported", "Method not supported", "This method is never passed on.", CLIENT),
            Self::BadGateway => (502, "bad_gateway", "Bad gateway", "The application behind this address did not answer properly.", LATER),
            Self::ProviderFault => (502, "provider_fault", "Sign-in does not work", "The identity provider gave an answer that cannot be used.", OPERATOR),
            Self::RouteClosed => (503, "route_closed", "Closed", "This address is closed because its configuration has a defect.", OPERATOR),
            Self::PoliciesStale => (503, "policies_stale", "Closed for now", "It cannot be checked at the moment who may pass here.", LATER),
            Self::NoProvider => (503, "no_provider", "No sign-in", "This address is for people who are signed in, but nothing is set up to sign in with.", OPERATOR),
            Self::ProviderUnreachable => (503, "provider_unreachable", "Sign-in unavailable", "The identity provider does not answer.", LATER),
            Self::StoreUnreachable => (503, "store_unreachable", "Sessions unavailable", "It cannot be checked at the moment who is signed in.", LATER),
            Self::AuditFull => (503, "audit_full", "Busy", "The request could not be recorded, so it was not passed on.", LATER),
            Self::Overloaded => (503, "overloaded", "Busy", "Too much is going on at the moment.", LATER),
            Self::NoEndpoint => (503, "no_endpoint", "Unavailable", "The application behind this address is not running at the moment.", LATER),
            Self::GatewayTimeout => (504, "gateway_timeout", "Gateway timeout", "The application behind this address did not answer in time.", LATER),
            Self::Loop => (508, "loop", "Loop", "This address leads back to itself.", OPERATOR),
        }
    }
}

impl Rejection {
    /// What is said in public.
    pub fn notice(&self) -> Notice {
        let notice = Notice { reason: self.name, ..self.refusal.notice() };
        let (text, remedy) = match self.name {
            "rule_denies" => ("A rule of this site refuses this request.", notice.remedy),
            "no_rule_allows" => ("No rule of this site lets you open this address.", notice.remedy),
            "access_denied" => {
                ("The sign-in was declined at the identity provider.", "If that was a mistake, begin anew.")
            }
            "attempt_expired" => {
                ("The sign-in took longer than ten minutes.", "Begin anew, and finish it before then.")
            }
            "state_reused" | "code_refused" => {
                ("This sign-in was finished before.", "Begin anew, if you are not signed in by now.")
            }
            "email_domain" => ("Your account has no verified e-mail address that may sign in here.", notice.remedy),
            "too_many_groups" => {
                ("Your account is in more than 1,000 groups, more than can be weighed.", notice.remedy)
            }
            _ => return notice,
        };
        Notice { text, remedy, ..notice }
    }

    /// What the trail calls it.
    pub fn kind(&self) -> Kind {
        match self.refusal {
            Refusal::Denied | Refusal::RouteClosed => Kind::AuthorizationDenied,
            Refusal::SignInRequired => Kind::AuthorizationChallenged,
            Refusal::BadSignIn | Refusal::SignInRefused => Kind::AuthenticationFailed,
            _ => Kind::RequestRejected,
        }
    }
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        refusal.named(refusal.reason())
    }
}

impl From<StoreError> for Rejection {
    fn from(error: StoreError) -> Self {
        Refusal::StoreUnreachable.because(error.to_string())
    }
}

#[cfg(test)]
impl Refusal {
    /// Every one.
    pub const ALL: &[Self] = &[
        Self::BadRequest,
        Self::AmbiguousPath,
        Self::BadSignIn,
        Self::SignInRequired,
        Self::Denied,
        Self::SignInRefused,
        Self::CrossSite,
        Self::OriginMismatch,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::BodyTooLarge,
        Self::ExpectationFailed,
        Self::Misdirected,
        Self::HeadTooLarge,
        Self::UpgradeRefused,
        Self::Internal,
        Self::MethodNotSupported,
        Self::BadGateway,
        Self::ProviderFault,
        Self::RouteClosed,
        Self::PoliciesStale,
        Self::NoProvider,
        Self::ProviderUnreachable,
        Self::StoreUnreachable,
        Self::AuditFull,
        Self::Overloaded,
        Self::NoEndpoint,
        Self::GatewayTimeout,
        Self::Loop,
    ];
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_refusal_is_listed_once_and_has_a_name_of_its_own() {
        let last = Refusal::ALL.iter().max().expect("there are some");
        assert_eq!((*last as usize) + 1, Refusal::ALL.len());
        let names: BTreeSet<_> = Refusal::ALL.iter().map(|refusal| refusal.reason()).collect();
        assert_eq!(names.len(), Refusal::ALL.len());
    }
}
