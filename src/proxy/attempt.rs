//! Sending a request to an endpoint: the choice, the connection, the head, the deadlines, and the one second attempt.
//!
//! A request is tried again when no connection could be opened, or when a pooled one was closed before any byte of a
//! response and the request was not sent at all or may be repeated (RFC 9110 section 9.2.2).

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use http::Method;
use http_body::Body;
use tokio::time::Instant;

use crate::audit::RequestId;
use crate::policy::Passage;
use crate::route::Backend;

use super::admit::CanonicalRequest;
use super::body::{RequestBody, Upload, UploadState};
use super::client_body::ClientBody;
use super::forward::Exchange;
use super::headers::{self, Framing, Outbound};
use super::rejection::{Refusal, Rejection};
use super::upstream::{ConnectError, Fault, Head, Lease, Unanswered};

/// Why no upstream answered.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The route leads nowhere, or its backend has no endpoint.
    #[error("the backend has no endpoint")]
    NoEndpoint,
    /// No connection to the endpoint.
    #[error("no connection to `{0}`")]
    Connect(SocketAddr, #[source] ConnectError),
    /// The connection broke before a response or its body's first byte, or what came is no HTTP.
    #[error("no response from `{0}`")]
    Broken(SocketAddr, #[source] Fault),
    /// A switch of protocols that was not asked for, or to another protocol.
    #[error("`{0}` switched protocols unasked")]
    Unasked(SocketAddr),
    /// No response head in time.
    #[error("no response from `{0}` in time")]
    Timeout(SocketAddr),
    /// The request body is larger than the route accepts.
    #[error("the request body is too large")]
    BodyTooLarge,
    /// The request body stood still for too long.
    #[error("the request body did not arrive in time")]
    BodyStalled,
    /// The request body broke off or is malformed.
    #[error("the request body broke off")]
    BodyBroken,
    /// The caller has as many tunnels open as are granted.
    #[error("too many tunnels are open")]
    TooManyTunnels,
}

/// One request on its way, by the right that its permit gave.
pub(super) struct Sending<'a> {
    _passage: Passage,
    exchange: &'a Exchange<'a>,
    request: &'a CanonicalRequest,
    backend: &'a Backend,
    id: RequestId,
    framing: Framing,
    websocket: bool,
    deadline: Option<Instant>,
}

/// What an upstream answered.
pub(super) struct Answer {
    pub head: Head,
    pub lease: Lease,
    pub upload: Option<Rc<Upload>>,
    /// When the whole exchange must have ended.
    pub deadline: Option<Instant>,
}

/// What one attempt led to, if not to a response.
enum Miss {
    /// It may be tried again with this body, where possible at another endpoint.
    Again(RequestBody, UpstreamError),
    Final(UpstreamError),
}

impl<'a> Sending<'a> {
    /// Prepares; refuses a body that is too large by its own word.
    pub(super) fn new(
        passage: Passage,
        exchange: &'a Exchange<'a>,
        request: &'a CanonicalRequest,
        id: RequestId,
        body: &ClientBody,
        websocket: bool,
    ) -> Result<Self, UpstreamError> {
        let settings = &exchange.route.settings;
        let backend = exchange.route.backend.as_deref().ok_or(UpstreamError::NoEndpoint)?;
        let framing = framing_of(request.method(), body);
        if let (Framing::Length(length), Some(limit)) = (framing, settings.request_body_limit)
            && length > limit
        {
            return Err(UpstreamError::BodyTooLarge);
        }
        let deadline = settings.request_timeout.map(|within| Instant::now() + within);
        Ok(Self { _passage: passage, exchange, request, backend, id, framing, websocket, deadline })
    }

    /// Sends it; gives the head of the response.
    pub(super) async fn response(&self, body: ClientBody) -> Result<Answer, UpstreamError> {
        let limit = self.exchange.route.settings.request_body_limit;
        let (body, upload) =
            RequestBody::of(body, limit, self.exchange.idle_limit(), self.exchange.upstreams.limits().body_rate);
        let first = self.choose(None)?;
        let sent = match self.attempt(first, body, upload.as_deref(), false).await {
            Err(Miss::Again(body, _)) => {
                let second = self.choose(Some(first))?;
                // What is rare is kept out of the future, which is moved as a whole for each request.
                Box::pin(self.attempt(second, body, upload.as_deref(), true)).await
            }
            sent => sent,
        };
        match sent {
            Ok((head, lease)) => Ok(Answer { head, lease, upload, deadline: self.deadline }),
            Err(Miss::Again(_, error) | Miss::Final(error)) => Err(error),
        }
    }

    fn choose(&self, failed: Option<SocketAddr>) -> Result<SocketAddr, UpstreamError> {
        let endpoints = &self.backend.endpoints;
        self.exchange.upstreams.choose(endpoints, failed).ok_or(UpstreamError::NoEndpoint)
    }

    /// One attempt: the second opens a new connection, since those of a restarted upstream are stale together.
    async fn attempt(
        &self,
        address: SocketAddr,
        body: RequestBody,
        upload: Option<&Upload>,
        second: bool,
    ) -> Result<(Head, Lease), Miss> {
        let pooled = if second || self.websocket { None } else { self.exchange.upstreams.idle(address) };
        let mut lease = match pooled {
            Some(lease) => lease,
            None => match Box::pin(self.connect(address)).await {
                Ok(lease) => lease,
                Err(error) => return Err(Miss::Again(body, UpstreamError::Connect(address, error))),
            },
        };
        let method = self.request.method();
        let repeatable = matches!(body, RequestBody::Empty) && is_idempotent(method);
        let head = self.head();
        let answered = {
            let sending = pin!(lease.exchange(method, &head, (body, self.framing)));
            self.within_deadlines(sending, upload).await
        };
        let Some(answered) = answered else {
            return Err(Miss::Final(UpstreamError::Timeout(address)));
        };
        let Unanswered { fault, unsent } = match answered {
            Ok(head) => return Ok((head, lease)),
            Err(unanswered) => unanswered,
        };
        if let Some(fault) = upload.and_then(fault_of) {
            return Err(Miss::Final(fault));
        }
        let again = match fault {
            Fault::Closed(_) if lease.reused() => unsent.or_else(|| repeatable.then_some(RequestBody::Empty)),
            _ => None,
        };
        let error = UpstreamError::Broken(address, fault);
        Err(match again {
            Some(body) => Miss::Again(body, error),
            None => Miss::Final(error),
        })
    }

    async fn connect(&self, address: SocketAddr) -> Result<Lease, ConnectError> {
        let upstreams = self.exchange.upstreams;
        let within = self.exchange.route.settings.connect_timeout.unwrap_or(upstreams.limits().connect);
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let within = left.map_or(within, |left| left.min(within));
        upstreams.connect(address, &self.backend.endpoints, within).await
    }

    /// The head as it is sent, rebuilt.
    fn head(&self) -> Vec<u8> {
        let settings = &self.exchange.route.settings;
        let caller = self.exchange.caller.as_ref();
        let ours = Outbound {
            conn: self.exchange.conn,
            id: self.id,
            authority: self.request.authority(),
            host: self.request.host(),
            port: self.request.port(),
            framing: self.framing,
            websocket: self.websocket,
            identity: caller.map(|caller| (&caller.session.headers, &*settings.identity_headers)),
        };
        headers::outbound(self.request, &ours)
    }

    /// Waits for a response head: for as long as the body moves, and then for the limit. `None` where it did not come.
    async fn within_deadlines<T>(
        &self,
        mut sending: Pin<&mut impl Future<Output = T>>,
        upload: Option<&Upload>,
    ) -> Option<T> {
        let upstreams = self.exchange.upstreams;
        let limit = upstreams.limits().response_head;
        let mut due = upstreams.deadlines().now() + limit;
        loop {
            let at = self.deadline.map_or(due, |deadline| deadline.min(due));
            let mut deadline = upstreams.deadlines().at(at);
            let sent = poll_fn(|cx| match sending.as_mut().poll(cx) {
                Poll::Ready(sent) => Poll::Ready(Some(sent)),
                Poll::Pending => Pin::new(&mut deadline).poll(cx).map(|()| None),
            });
            if let Some(sent) = sent.await {
                return Some(sent);
            }
            match upload {
                Some(upload) if self.deadline != Some(at) && upload.moved() + limit > at => {
                    due = upload.moved() + limit;
                }
                _ => return None,
            }
        }
    }
}

/// How a body is delimited upstream: by its length where the client told it, else in chunks. A request that has no body
/// says so where its method expects one (RFC 9110 section 8.6).
fn framing_of(method: &Method, body: &ClientBody) -> Framing {
    if body.is_end_stream() {
        let expected = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
        return if expected { Framing::Length(0) } else { Framing::None };
    }
    body.size_hint().exact().map_or(Framing::Chunked, Framing::Length)
}

/// Methods that may be repeated (RFC 9110 section 9.2.2).
fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

/// What is wrong with a request body, where that is why the exchange failed.
fn fault_of(upload: &Upload) -> Option<UpstreamError> {
    match upload.state() {
        UploadState::TooLarge => Some(UpstreamError::BodyTooLarge),
        UploadState::Stalled => Some(UpstreamError::BodyStalled),
        UploadState::Broken => Some(UpstreamError::BodyBroken),
        UploadState::Running | UploadState::Finished => None,
    }
}

impl From<UpstreamError> for Rejection {
    fn from(error: UpstreamError) -> Self {
        let refusal = match &error {
            UpstreamError::NoEndpoint => Refusal::NoEndpoint,
            UpstreamError::Connect(_, ConnectError::Timeout) | UpstreamError::Timeout(_) => Refusal::GatewayTimeout,
            UpstreamError::Connect(..) | UpstreamError::Broken(..) | UpstreamError::Unasked(_) => Refusal::BadGateway,
            UpstreamError::BodyTooLarge => Refusal::BodyTooLarge,
            UpstreamError::BodyStalled => Refusal::RequestTimeout,
            UpstreamError::BodyBroken => Refusal::BadRequest,
            UpstreamError::TooManyTunnels => Refusal::Overloaded,
        };
        refusal.because(error.to_string())
    }
}
