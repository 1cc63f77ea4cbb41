//! One request, from the raw head to the response. [`Service::handle`] cannot fail; `serve` is a straight line.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::header::{CACHE_CONTROL, HeaderValue, SET_COOKIE};
use http::{Request, Response};
use http_body::Body;
use rand::rngs::StdRng;
use rand::{Rng, make_rng};

use crate::audit::{Audit, Event, Kind, Outcome, RequestId, Slot};
use crate::budget::Limits;
use crate::clock::Clock;
use crate::host::Host;
use crate::metrics::{self, Counter, Metrics};
use crate::oidc::Oidc;
use crate::policy::{AccessRequest, Decision, Permit, Policy, decide, decide_preflight};
use crate::route::{Access, NotFound, Route};
use crate::session::Sessions;
use crate::snapshot::{Reader, Snapshot};
use crate::trace::{Trace, Tracer};

use super::admit::{CanonicalRequest, Conn, Scheme, admit};
use super::authenticate::{Caller, Person, authenticate};
use super::body::{ProxyBody, own};
use super::client_body::ClientBody;
use super::date::Dates;
use super::deadlines::Deadlines;
use super::endpoints::{self, Asked, Endpoint};
use super::forward::{self, Exchange, SessionEnd, forward};
use super::headers::has_token;
use super::negotiation::Form;
use super::pages::Page;
use super::refuse;
use super::rejection::{Refusal, Rejection};
use super::trail::Trail;
use super::tunnel::{Tunnels, origin_allowed};
use super::upstream::Upstreams;

/// What all data threads share. Cheap to clone.
#[derive(Clone)]
pub struct Shared {
    /// The snapshot.
    pub reader: Reader,
    /// The trail.
    pub audit: Audit,
    /// The sessions.
    pub sessions: Sessions,
    /// Sign-in.
    pub oidc: Oidc,
    /// The time.
    pub clock: Clock,
    /// The counters.
    pub metrics: Metrics,
    /// What peers are granted.
    pub limits: Arc<Limits>,
    /// The port of HTTP as browsers see it.
    pub public_http_port: u16,
    /// The port of HTTPS as browsers see it.
    pub public_https_port: u16,
}

/// What answers the requests of one data thread.
pub struct Service {
    shared: Shared,
    upstreams: Upstreams,
    ids: RefCell<StdRng>,
    dates: Dates,
    /// Where the last request was counted: most often the next one is too.
    counted: RefCell<Option<(&'static str, u16, Counter)>>,
}

impl Shared {
    /// The public origin of a host, for redirects and Origin checks; never from what a request says.
    pub fn origin(&self, host: &Host) -> String {
        match self.public_https_port {
            443 => format!("https://{host}"),
            port => format!("https://{host}:{port}"),
        }
    }
}

impl Service {
    /// A service for this thread.
    pub(super) fn new(shared: Shared, tunnels: Tunnels, deadlines: Deadlines) -> Self {
        let upstreams = Upstreams::new(Arc::clone(&shared.limits), tunnels, deadlines, shared.metrics.clone());
        let dates = Dates::new(shared.clock.clone());
        Self { shared, upstreams, ids: RefCell::new(make_rng()), dates, counted: RefCell::default() }
    }

    /// Answers one request; cannot fail. Where no place is `granted`, the answer says so.
    /// The request is taken out of its place, since a future that holds it is moved with it.
    pub async fn handle(&self, request: &mut Request<ClientBody>, conn: &Conn, granted: bool) -> Response<ProxyBody> {
        let Shared { reader, audit, metrics, clock, .. } = &self.shared;
        let begun = clock.monotonic_ns();
        let snapshot = reader.load();
        let id = self.new_id();
        let Some(mut slot) = audit.reserve(id) else { return self.full(id) };
        if let Some(tracer) = audit.tracer() {
            slot.begin_trace(self.trace(tracer, request, begun));
        }
        let mut trail = Trail::new(slot, request, conn, snapshot.generation);
        let mut response = if granted {
            let served = unless_it_panics(metrics, pin!(self.serve(request, conn, &snapshot, &mut trail))).await;
            served.unwrap_or_else(|rejection| trail.refuse(&rejection))
        } else {
            trail.refuse(&Refusal::Overloaded.named("too_many_exchanges"))
        };
        let ended = clock.monotonic_ns();
        let took = Duration::from_nanos(ended.saturating_sub(begun));
        let status = response.status().as_u16();
        self.count(trail.reason, status);
        metrics.took(took);
        if let Some(counts) = trail.counts {
            counts.count(trail.decision, status);
        }
        self.dates.date(&mut response, ended);
        response
    }

    /// Records and answers a head that is no HTTP, the last of its connection.
    pub(super) fn unparsed(&self, conn: &Conn, refusal: Refusal) -> Response<ProxyBody> {
        let id = self.new_id();
        let Some(slot) = self.shared.audit.reserve(id) else { return self.full(id) };
        let event = Event {
            kind: Kind::RequestRejected,
            reason: refusal.reason(),
            peer: Some(conn.peer.ip()),
            generation: self.shared.reader.generation(),
            ..Event::abandoned()
        };
        self.undecided(refusal, id, Some(slot.decided(event)))
    }

    fn count(&self, reason: &'static str, status: u16) {
        let mut counted = self.counted.borrow_mut();
        if counted.as_ref().is_none_or(|(last, code, _)| (*last, *code) != (reason, status)) {
            *counted = Some((reason, status, self.shared.metrics.answers(reason, status)));
        }
        if let Some((_, _, counter)) = &*counted {
            counter.inc();
        }
    }

    /// Answers a request for which the trail has no place.
    fn full(&self, id: RequestId) -> Response<ProxyBody> {
        self.undecided(Refusal::AuditFull, id, None)
    }

    /// Counts and makes the answer to what nothing is decided over.
    fn undecided(&self, refusal: Refusal, id: RequestId, outcome: Option<Outcome>) -> Response<ProxyBody> {
        self.shared.metrics.request(refusal.reason(), refusal.status().as_u16(), Duration::ZERO);
        let mut response = Page::refusal(&refusal.notice(), id).respond(Form::Text);
        self.dates.date(&mut response, self.shared.clock.monotonic_ns());
        own(response, outcome)
    }

    /// The way of a request, in order.
    async fn serve<'s>(
        &self,
        request: &mut Request<ClientBody>,
        conn: &Conn,
        snapshot: &'s Snapshot,
        trail: &mut Trail<'s>,
    ) -> Result<Response<ProxyBody>, Rejection> {
        let (parts, body) = std::mem::take(request).into_parts();
        let request = trail.request.insert(admit(parts, conn, &self.shared.limits)?);
        if let Some(trace) = trail.slot.as_mut().and_then(Slot::trace) {
            request.continue_trace(trace);
        }
        let request = &*request;
        if conn.misdirected(request.host()) {
            return Err(Refusal::Misdirected.into());
        }
        let asked = Asked { shared: &self.shared, snapshot, request, id: trail.id };
        if let Some(endpoint) = Endpoint::of(request.target().path())? {
            trail.hsts = endpoints::hsts(snapshot, request.host()).filter(|_| conn.scheme() == Scheme::Https);
            // What is rare is kept out of the future, which is moved as a whole for each request.
            let answer = Box::pin(endpoint.answer(asked, conn.scheme(), body)).await?;
            return Ok(trail.answer(answer));
        }
        let found = snapshot.routes.find(request.host(), request.target().path()).map_err(refusal_of)?;
        let route = found.route;
        trail.ingress = Some(&route.ingress);
        trail.counts = Some(&route.settings.counts);
        if let Some(trace) = trail.slot.as_mut().and_then(Slot::trace) {
            trace.routed(|| route.path.as_ref().map_or_else(|| "/".to_owned(), ToString::to_string));
        }
        if self.shared.reader.is_stale() {
            return Err(Refusal::PoliciesStale.into());
        }
        if conn.scheme() == Scheme::Https {
            trail.hsts = route.settings.hsts.as_ref();
        } else if needs_https(route) {
            let answer = asked.to_https();
            return Ok(trail.answer(answer));
        }
        let preflight = route.settings.cors_preflight && request.is_preflight() && body.is_end_stream();
        let (policy, caller) = self.caller_of((request, conn), route, preflight).await?;
        let access = AccessRequest {
            method: request.method().as_str(),
            host: request.host(),
            path: request.target().path(),
            peer: conn.peer.ip(),
            principal: caller.principal(),
        };
        let slot = trail.slot.take().expect("reserved before, spent by a decision alone");
        let decision = if preflight { decide_preflight } else { decide };
        let (slot, answer) = match decision(slot, policy, &access) {
            // Boxed, since it is most of a future that is moved as a whole until here.
            Decision::Allow(permit) => {
                return Ok(Box::pin(self.forward(permit, caller, body, (conn, route), trail)).await);
            }
            Decision::Challenge(challenge) => {
                let (slot, verdict) = challenge.spend();
                (slot, refuse::challenge(asked, route, &caller, verdict))
            }
            Decision::Deny(denial) => {
                let (slot, verdict) = denial.spend();
                (slot, refuse::deny(asked, &caller, verdict))
            }
        };
        trail.slot = Some(slot);
        answer.map(|answer| trail.answer(answer))
    }

    /// Who asks, and the policy to weigh it by; a WebSocket only where the route has them and the page may. A preflight is
    /// nobody's.
    async fn caller_of<'r>(
        &self,
        (request, conn): (&CanonicalRequest, &Conn),
        route: &'r Route,
        preflight: bool,
    ) -> Result<(&'r Policy, Caller), Rejection> {
        if request.is_websocket() && !route.settings.websocket {
            return Err(Refusal::UpgradeRefused.into());
        }
        match &route.access {
            Access::Closed(reason) => Err(Refusal::RouteClosed.because(reason.0.to_string())),
            Access::Open(policy) => Ok((policy, Caller::Nobody("sign_in_required"))),
            Access::Guarded { policy, .. } if preflight => Ok((policy, Caller::Nobody("cors_preflight"))),
            Access::Guarded { policy, provider } => {
                let caller =
                    authenticate(&self.shared, (request, conn), provider.as_ref(), route.settings.session).await?;
                let port = self.shared.public_https_port;
                if request.is_websocket() && !origin_allowed(request, Scheme::Https, port, &route.settings) {
                    return Err(Refusal::OriginMismatch.into());
                }
                Ok((policy, caller))
            }
        }
    }

    /// Spends the permit; a cookie that is due goes along with what the upstream answers.
    async fn forward(
        &self,
        permit: Permit<Slot>,
        caller: Caller,
        body: ClientBody,
        (conn, route): (&Conn, &Arc<Route>),
        trail: &mut Trail<'_>,
    ) -> Response<ProxyBody> {
        let request = trail.request.as_ref().expect("admitted before");
        trail.reason = permit.verdict().reason.as_str();
        trail.decision = metrics::Decision::Allowed;
        let session_end = || self.session_end(&caller, route);
        let known = caller.session().map(|session| forward::Caller { session, session_end: &session_end });
        let (generation, upstreams) = (trail.generation, &self.upstreams);
        let exchange = Exchange { generation, conn, route, caller: known, upstreams };
        match forward(permit, request, body, exchange).await {
            Ok(mut response) => {
                trail.add_hsts(&mut response);
                if let Caller::Person(Person { renewal: Some(cookie), .. }) = &caller {
                    renew(&mut response, cookie);
                }
                response
            }
            Err(failed) => {
                let rejection = Rejection::from(failed.error);
                self.shared.metrics.upstream_failure(rejection.name);
                trail.fail(&rejection, failed.outcome)
            }
        }
    }

    /// Ends with the session of the caller, as long as the route lets it be, and never for one who has none.
    fn session_end(&self, caller: &Caller, route: &Route) -> SessionEnd {
        let Caller::Person(person) = caller else { return Box::pin(std::future::pending()) };
        let (sessions, session) = (self.shared.sessions.clone(), Arc::clone(&person.session));
        let longest = route.settings.session.lifetime;
        Box::pin(async move { sessions.ended(&session, longest).await })
    }

    /// The trace that a request belongs to, which begins with its head.
    fn trace(&self, tracer: &Tracer, request: &Request<ClientBody>, begun: u64) -> Box<Trace> {
        let trace_id = self.new_id().0;
        let mut ids = self.ids.borrow_mut();
        let random = (trace_id, [ids.next_u64(), ids.next_u64()]);
        let start_ns = u64::try_from(self.shared.clock.now().as_nanosecond()).unwrap_or_default();
        tracer.begin(request.headers(), random, start_ns, begun)
    }

    fn new_id(&self) -> RequestId {
        let mut ids = self.ids.borrow_mut();
        RequestId(u128::from(ids.next_u64()) << 64 | u128::from(ids.next_u64()))
    }
}

/// A panic is one failed request.
async fn unless_it_panics<T>(
    metrics: &Metrics,
    work: Pin<&mut impl Future<Output = Result<T, Rejection>>>,
) -> Result<T, Rejection> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
        metrics.panic();
        Err(Refusal::Internal.into())
    })
}

/// Guarded routes never answer over plain HTTP, open ones where they wish.
fn needs_https(route: &Route) -> bool {
    match route.access {
        Access::Open(_) => route.settings.ssl_redirect,
        Access::Guarded { .. } => true,
        Access::Closed(_) => false,
    }
}

fn refusal_of(not_found: NotFound) -> Rejection {
    match not_found {
        NotFound::Nothing => Refusal::NotFound.into(),
        NotFound::Ambiguous => Refusal::AmbiguousPath.into(),
    }
}

/// Issues the session cookie anew, and keeps the response out of shared caches for its sake. A response that has taken
/// over the connection cannot carry it.
fn renew<B>(response: &mut Response<B>, cookie: &str) {
    if response.status().is_informational() {
        return;
    }
    let headers = response.headers_mut();
    headers.append(SET_COOKIE, HeaderValue::from_str(cookie).expect("our cookies are plain ASCII"));
    if !["no-store", "private"].into_iter().any(|directive| has_token(headers, CACHE_CONTROL, directive)) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_one_refusal_and_is_counted() {
        let metrics = Metrics::new();
        let broken = unless_it_panics::<()>(&metrics, pin!(async { panic!("a bug") })).await;
        assert_eq!(broken, Err(Refusal::Internal.into()));
        assert_eq!(unless_it_panics(&metrics, pin!(async { Ok(7) })).await, Ok(7));
        assert!(metrics.encode().contains("portcullis_panics_total 1\n"));
    }

    #[test]
    fn a_renewed_cookie_keeps_the_response_private() {
        for (upstream, expected) in [
            (None, "private"),
            (Some("public, max-age=600"), "private"),
            (Some("no-store"), "no-store"),
            (Some("max-age=5, Private"), "max-age=5, Private"),
            (Some("private=\"set-cookie\""), "private"),
            (Some("x-private, not-no-store=1"), "private"),
        ] {
            let mut response = Response::new(());
            if let Some(value) = upstream {
                response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(value));
            }
            renew(&mut response, "__Host-portcullis=x");
            assert_eq!(response.headers()[CACHE_CONTROL], expected);
            assert_eq!(response.headers()[SET_COOKIE], "__Host-portcullis=x");
        }
    }

    #[test]
    fn a_response_that_took_over_the_connection_gets_no_cookie() {
        let mut response = Response::new(());
        *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
        renew(&mut response, "__Host-portcullis=x");
        assert!(response.headers().is_empty());
    }
}
