//! One client connection: handshake, version, requests, deadlines, goodbye.

use std::cell::Cell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::budget::{Limits, Places};
use crate::metrics::Metrics;
use crate::path::TARGET_LIMIT;

use super::body::ProxyBody;
use super::client_body::ClientBody;
use super::conn::{Conn, Open, Transport};
use super::deadlines::Deadlines;
use super::headers::Pseudonym;
use super::http1::{self, Socket};
use super::http2;
use super::pulse::{Active, Pulse, Tracked, Verdict, Watched};
use super::rejection::Refusal;
use super::service;
use super::tls::{Handshake, Tls};

/// How long a connection that was told to go may take.
const GOODBYE: Duration = Duration::from_secs(5);

/// How long a connection that was accepted while we stop may take to send its request.
const LATE: Duration = Duration::from_secs(1);

/// What all connections of a data thread share.
pub(super) struct Thread {
    pub service: Rc<service::Service>,
    pub tls: Tls,
    pub limits: Arc<Limits>,
    pub exchanges: Places,
    pub metrics: Metrics,
    pub pseudonym: Pseudonym,
    /// Of HTTP and of HTTPS, as browsers see them.
    pub public_ports: [u16; 2],
    pub deadlines: Deadlines,
    pub stop: CancellationToken,
}

impl Thread {
    /// Serves a plain connection.
    pub(super) async fn serve_plain(self: Rc<Self>, stream: TcpStream, peer: SocketAddr, open: Rc<Open>) {
        let Ok(local) = stream.local_addr() else { return };
        let conn = self.conn((peer, local), Transport::Plain, open);
        self.serve_http1(Socket::Plain(stream), conn).await;
    }

    /// Shakes hands and serves what was agreed on.
    pub(super) async fn serve_tls(self: Rc<Self>, stream: TcpStream, peer: SocketAddr, open: Rc<Open>) {
        let Ok(local) = stream.local_addr() else { return };
        let handshake = timeout(self.limits.handshake_deadline, self.tls.accept(stream)).await;
        // Whoever fails here has been told by an alert; nothing was asked yet.
        let Ok(Ok(Handshake { stream, transport, h2 })) = handshake else { return self.metrics.handshake_failure() };
        let conn = self.conn((peer, local), transport, open);
        if h2 {
            self.serve_http2(stream, conn).await;
        } else {
            self.serve_http1(Socket::Tls(Box::new(stream)), conn).await;
        }
    }

    async fn serve_http1(self: Rc<Self>, stream: Socket, conn: Conn) {
        let (pulse, leaving) = (self.pulse(true), Cell::new(false));
        let answers = async |request: Result<&mut Request<ClientBody>, Refusal>| {
            let active = pulse.begin();
            match request {
                Ok(request) => answer(&self.service, &conn, request, active).await,
                Err(refusal) => self.service.unparsed(&conn, refusal).map(|body| Tracked::new(body, active)),
            }
        };
        let socket = Watched { stream, pulse: Rc::clone(&pulse) };
        let head_bytes = self.limits.header_bytes + TARGET_LIMIT;
        let connection = Box::pin(http1::serve(socket, head_bytes, &leaving, answers));
        self.watch(Http1 { connection, leaving: &leaving }, &pulse).await;
    }

    async fn serve_http2<S>(self: Rc<Self>, stream: S, conn: Conn)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let pulse = self.pulse(false);
        let socket = Watched { stream, pulse: Rc::clone(&pulse) };
        // Boxed, so that no connection of HTTP/1.1 keeps room for it.
        let (metrics, service) = (self.metrics.clone(), Rc::clone(&self.service));
        let connection = Box::pin(http2::Serving::new(socket, &self.limits, metrics, service, conn));
        self.watch(connection, &pulse).await;
    }

    fn conn(&self, (peer, local): (SocketAddr, SocketAddr), transport: Transport, open: Rc<Open>) -> Conn {
        let [http, https] = self.public_ports;
        let port = if matches!(transport, Transport::Plain) { http } else { https };
        Conn::new(peer, local, transport, self.pseudonym.clone()).at(port).holding(open)
    }

    fn pulse(&self, heads: bool) -> Rc<Pulse> {
        Pulse::new(heads, self.limits.body_rate, self.exchanges.clone(), self.deadlines.clone())
    }

    /// Runs a connection under its deadlines, until it ends or we stop.
    async fn watch(&self, connection: impl Connection, pulse: &Pulse) {
        let mut connection = pin!(connection);
        let mut alarm = self.deadlines.after(Duration::ZERO);
        let mut stage = Stage::Open;
        loop {
            let woken = poll_fn(|cx| match connection.as_mut().poll(cx) {
                Poll::Ready(end) => Poll::Ready(Some(end)),
                Poll::Pending if stage == Stage::Open && self.deadlines.stopping() => Poll::Ready(None),
                Poll::Pending => Pin::new(&mut alarm).poll(cx).map(|()| None),
            });
            if woken.await.is_some() {
                return;
            }
            if stage == Stage::Open && self.deadlines.stopping() {
                stage = Stage::Stopping;
                let late = if pulse.served() { Duration::ZERO } else { LATE };
                alarm = self.deadlines.after(late);
                continue;
            }
            connection.as_mut().reset_stalled(self.limits.stalled);
            alarm = match (stage, pulse.check(&self.limits)) {
                (_, Verdict::Stuck) | (Stage::Leaving, Verdict::Idle) => return,
                (Stage::Stopping, _) | (_, Verdict::Idle) => {
                    stage = Stage::Leaving;
                    connection.as_mut().say_goodbye();
                    self.deadlines.after(GOODBYE)
                }
                (Stage::Open | Stage::Leaving, Verdict::AliveUntil(at)) => self.deadlines.at(at),
            };
        }
    }
}

/// One request on its connection.
async fn answer(
    service: &service::Service,
    conn: &Conn,
    request: &mut Request<ClientBody>,
    active: Active,
) -> Response<Tracked> {
    let mut response = service.handle(request, conn, active.is_granted()).await;
    if ends_connection(&response) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response.map(|body| Tracked::new(body, active))
}

/// Whether an answer of ours ends its connection: what is wrong with the request may be wrong with what follows it.
fn ends_connection(response: &Response<ProxyBody>) -> bool {
    const DOUBTFUL: [StatusCode; 6] = [
        StatusCode::BAD_REQUEST,
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::PAYLOAD_TOO_LARGE,
        StatusCode::EXPECTATION_FAILED,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        StatusCode::NOT_IMPLEMENTED,
    ];
    matches!(response.body(), ProxyBody::Own(_)) && DOUBTFUL.contains(&response.status())
}

/// Where a connection is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Open,
    /// We stop; whoever was just accepted may still ask.
    Stopping,
    /// It was told to go.
    Leaving,
}

/// A connection of either version that can be asked to go.
trait Connection: Future {
    /// Finishes what runs and begins nothing new.
    fn say_goodbye(self: Pin<&mut Self>);

    /// Resets the streams whose client took nothing for so long; HTTP/1.1 has none.
    fn reset_stalled(self: Pin<&mut Self>, _: Duration) {}
}

/// A connection of HTTP/1.
struct Http1<'a, F> {
    connection: Pin<Box<F>>,
    leaving: &'a Cell<bool>,
}

impl<F: Future> Future for Http1<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.connection.as_mut().poll(cx)
    }
}

impl<F: Future> Connection for Http1<'_, F> {
    fn say_goodbye(self: Pin<&mut Self>) {
        self.leaving.set(true);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection for Pin<Box<http2::Serving<S>>> {
    fn say_goodbye(self: Pin<&mut Self>) {
        self.as_deref_mut().get_mut().say_goodbye();
    }

    fn reset_stalled(self: Pin<&mut Self>, limit: Duration) {
        self.as_deref_mut().get_mut().reset_stalled(limit);
    }
}
