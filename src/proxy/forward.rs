//! Spends a permit: the one way to an upstream.
//!
//! The decision is recorded first, then the request is sent (`attempt.rs`), and the response becomes ours: its head
//! rebuilt, its body streamed, or a tunnel opened.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, Version};
use http_body::Frame;
use tokio::sync::oneshot;
use tokio::task::spawn_local;

use crate::audit::{self, Event, Kind, Outcome, Slot};
use crate::policy::Permit;
use crate::route::Route;
use crate::session::Session;

use super::admit::CanonicalRequest;
use super::attempt::{Answer, Sending, UpstreamError};
use super::body::{self, ProxyBody, Stream};
use super::client_body::ClientBody;
use super::conn::Conn;
use super::headers::{self, Answered};
use super::http1::Client;
use super::tunnel::Tunnel;
use super::upstream::{Fault, Lease, Upstreams};

/// Everything about one exchange but the permit, the request and its body.
pub struct Exchange<'a> {
    /// The generation of the snapshot that decided.
    pub generation: u64,
    /// The connection it came over.
    pub conn: &'a Conn,
    /// Where it goes and how.
    pub route: &'a Arc<Route>,
    /// Who asks.
    pub caller: Option<Caller<'a>>,
    /// The connections of this data thread.
    pub upstreams: &'a Upstreams,
}

/// Who asks.
pub struct Caller<'a> {
    /// The session: the identity headers that the route asks for are rendered in it.
    pub session: &'a Session,
    /// Makes a future that ends with the session (expiry, sign-out); asked for by a tunnel only.
    pub session_end: &'a dyn Fn() -> SessionEnd,
}

/// Ends when the session does.
pub type SessionEnd = Pin<Box<dyn Future<Output = ()>>>;

/// A request that was permitted and decided, but not answered by an upstream.
pub struct Failed {
    /// Why.
    pub error: UpstreamError,
    /// The outcome that it owes, for the body of the answer.
    pub outcome: Outcome,
}

/// Forwards a permitted request and gives the upstream's response.
///
/// The decision is recorded in the permit's slot before the first byte goes upstream; the outcome is recorded by the
/// response body (or tunnel) that comes back.
pub async fn forward(
    permit: Permit<Slot>,
    request: &CanonicalRequest,
    body: ClientBody,
    exchange: Exchange<'_>,
) -> Result<Response<ProxyBody>, Failed> {
    let (slot, verdict, passage) = permit.spend();
    let id = slot.id();
    let mut outcome = slot.decided(Event {
        kind: Kind::AuthorizationAllowed,
        reason: verdict.reason.as_str(),
        rule: verdict.rule.as_deref(),
        subject: exchange.caller.as_ref().map(|caller| &caller.session.subject),
        method: request.method().as_str(),
        host: request.host().as_str(),
        path: request.target().path().as_str(),
        ingress: Some(&exchange.route.ingress),
        peer: Some(exchange.conn.peer.ip()),
        generation: exchange.generation,
    });
    let client = if request.is_websocket() { body.hand_over() } else { None };
    let answer = match Sending::new(passage, &exchange, request, id, &body, client.is_some()) {
        Ok(sending) => sending.response(body).await,
        Err(error) => Err(error),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Err(Failed { error, outcome }),
    };
    outcome.note(|event| event.upstream = Some(audit::Upstream { endpoint: answer.lease.address() }));
    if answer.head.status == StatusCode::SWITCHING_PROTOCOLS {
        return open_tunnel(&exchange, answer, client, outcome);
    }
    stream(&exchange, request, answer, outcome).await
}

/// Streams an upstream's response.
async fn stream(
    exchange: &Exchange<'_>,
    request: &CanonicalRequest,
    answer: Answer,
    outcome: Outcome,
) -> Result<Response<ProxyBody>, Failed> {
    let Answer { head, mut lease, upload, deadline } = answer;
    let status = head.status;
    let trailers = request.version() == Version::HTTP_2 || request.accepts_trailers();
    let answered = Answered { method: request.method(), exact: lease.body().exact(), trailers };
    let head = headers::inbound(head, &answered);
    let idle = exchange.idle_limit();
    let first = match first_frame(&mut lease).await {
        Ok(first) => first,
        Err(fault) => return Err(Failed { error: UpstreamError::Broken(lease.address(), fault), outcome }),
    };
    let stream = Stream { outcome, upload, lease, idle, deadline, trailers };
    Ok(with_head(status, head, body::streamed(status, first, stream)))
}

/// Opens the tunnel that the client asked for and the upstream granted.
#[expect(clippy::result_large_err, reason = "the response in `Ok` is as large")]
fn open_tunnel(
    exchange: &Exchange<'_>,
    answer: Answer,
    asked: Option<oneshot::Receiver<Client>>,
    mut outcome: Outcome,
) -> Result<Response<ProxyBody>, Failed> {
    let Answer { head, lease, .. } = answer;
    let address = lease.address();
    let granted = if head.grants_websocket() { lease.switch() } else { None };
    let (Some(client), Some(upstream)) = (asked, granted) else {
        return Err(Failed { error: UpstreamError::Unasked(address), outcome });
    };
    let principal = exchange.caller.as_ref().map(|caller| &caller.session.of.principal.identity);
    let Some(place) = exchange.upstreams.tunnel_place(principal, exchange.conn.peer.ip()) else {
        return Err(Failed { error: UpstreamError::TooManyTunnels, outcome });
    };
    outcome.note(|event| event.status = StatusCode::SWITCHING_PROTOCOLS.as_u16());
    let session_end = exchange.caller.as_ref().map(|caller| (caller.session_end)());
    let idle = exchange.route.settings.idle_timeout.unwrap_or(exchange.upstreams.limits().tunnel_idle);
    let connection = exchange.conn.open.clone();
    spawn_local(Tunnel { client, upstream, outcome, idle, session_end, place, connection }.run());
    let head = headers::switching(head);
    let empty = body::own(Response::new(Bytes::new()), None).into_body();
    Ok(with_head(StatusCode::SWITCHING_PROTOCOLS, head, empty))
}

impl Exchange<'_> {
    /// How long a body may stand still.
    pub(super) fn idle_limit(&self) -> std::time::Duration {
        self.route.settings.idle_timeout.unwrap_or(self.upstreams.limits().body_idle)
    }
}

fn with_head(status: StatusCode, head: HeaderMap, body: ProxyBody) -> Response<ProxyBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = head;
    response
}

/// The first frame of a body, if it is there: then head and frame leave in one write. Nothing is waited for.
async fn first_frame(lease: &mut Lease) -> Result<Option<Frame<Bytes>>, Fault> {
    poll_fn(|cx| match lease.poll_body(cx) {
        Poll::Ready(frame) => Poll::Ready(frame.transpose()),
        Poll::Pending => Poll::Ready(Ok(None)),
    })
    .await
}
