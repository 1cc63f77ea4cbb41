//! One client connection: handshake, version, requests, deadlines, goodbye.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
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
use super::cork::Corked;
use super::deadlines::Deadlines;
use super::headers::Pseudonym;
use super::http1::{self, Socket};
use super::pulse::{Active, Pulse, Tracked, Verdict, Watched};
use super::rejection::Refusal;
use super::service;
use super::streams::{Progress, Streams};
use super::tls::{Handshake, Tls};

/// Bytes of a response that wait for their window, an HTTP/2 stream.
const STREAM_BUFFER: usize = 16 * 1024;

/// Resets that a client may have outstanding before we have seen the streams (RUSTSEC-2023-0034).
const PENDING_RESETS: usize = 20;

/// Streams that we reset ourselves before we give the connection up (RUSTSEC-2024-0003).
const OWN_RESETS: usize = 1024;

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
        let answers = async |request: Result<Request<ClientBody>, Refusal>| {
            let active = pulse.begin();
            match request {
                Ok(request) => answer(&self.service, &conn, request, active, None).await,
                Err(refusal) => self.service.unparsed(&conn, refusal).map(|body| Tracked::new(body, active, None)),
            }
        };
        let socket = Watched { stream, pulse: Arc::clone(&pulse) };
        let head_bytes = self.limits.header_bytes + TARGET_LIMIT;
        let connection = Box::pin(http1::serve(socket, head_bytes, &leaving, answers));
        self.watch(Http1 { connection, leaving: &leaving }, &pulse, None).await;
    }

    async fn serve_http2<S>(self: Rc<Self>, stream: S, conn: Conn)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (pulse, streams) = (self.pulse(false), Streams::new(self.limits.body_rate));
        let io = TokioIo::new(Corked::new(Watched { stream, pulse: Arc::clone(&pulse) }));
        let service = self.service(&Rc::new(conn), &pulse, streams.clone());
        // Boxed, since the future of a stream is moved several times on its way to a task of its own.
        let service = service_fn(move |request| Box::pin(service.call(request)));
        let connection = http2_builder(&self.limits, streams.clone()).serve_connection(io, service);
        // What ends an HTTP/2 connection was told to the client by GOAWAY.
        self.watch(connection, &pulse, Some(&streams)).await;
    }

    fn conn(&self, (peer, local): (SocketAddr, SocketAddr), transport: Transport, open: Rc<Open>) -> Conn {
        let [http, https] = self.public_ports;
        let port = if matches!(transport, Transport::Plain) { http } else { https };
        Conn::new(peer, local, transport, self.pseudonym.clone()).at(port).holding(open)
    }

    fn pulse(&self, heads: bool) -> Arc<Pulse> {
        Pulse::new(heads, self.limits.body_rate, self.exchanges.clone())
    }

    /// What hyper calls for each stream.
    fn service(
        &self,
        conn: &Rc<Conn>,
        pulse: &Arc<Pulse>,
        streams: Streams,
    ) -> impl Service<Request<Incoming>, Response = Response<Tracked>, Error = Infallible, Future: 'static> + use<>
    {
        let (service, conn, pulse) = (Rc::clone(&self.service), Rc::clone(conn), Arc::clone(pulse));
        service_fn(move |request: Request<Incoming>| {
            let (active, progress) = (pulse.begin(), streams.announce());
            let (service, conn) = (Rc::clone(&service), Rc::clone(&conn));
            async move {
                let request = request.map(ClientBody::Http2);
                Ok(answer(&service, &conn, request, active, Some(progress)).await)
            }
        })
    }

    /// Runs a connection under its deadlines, until it ends or we stop.
    async fn watch(&self, connection: impl Connection, pulse: &Pulse, streams: Option<&Streams>) {
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
            if let Some(streams) = streams {
                streams.reset_stalled(self.limits.stalled);
            }
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
    request: Request<ClientBody>,
    active: Active,
    progress: Option<Rc<Progress>>,
) -> Response<Tracked> {
    let granted = active.is_granted();
    let mut response = service.handle(request, conn, granted).await;
    let costly = !granted || response.status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    if progress.is_some() && costly {
        strip(&mut response);
    } else if progress.is_none() && ends_connection(&response) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response.map(|body| Tracked::new(body, active, progress))
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

/// Takes the page away: where a request is made to cost us memory, a body that waits for a window would add to it.
fn strip(response: &mut Response<ProxyBody>) {
    if let ProxyBody::Own(own) = response.body_mut() {
        own.strip();
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(0));
    }
}

/// HTTP/2 as we speak it. Every limit is set here and nowhere else.
fn http2_builder(limits: &Limits, streams: Streams) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_streams)
        .initial_stream_window_size(limits.h2_stream_window)
        .initial_connection_window_size(limits.h2_connection_window)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(OWN_RESETS)
        .max_send_buf_size(STREAM_BUFFER);
    builder
}

/// A connection of either version that can be asked to go.
trait Connection: Future {
    /// Finishes what runs and begins nothing new.
    fn say_goodbye(self: Pin<&mut Self>);
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

impl<I, S> Connection for http2::Connection<I, S, Streams>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: Service<Request<Incoming>, Response = Response<Tracked>, Error = Infallible>,
    S::Future: 'static,
{
    fn say_goodbye(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}
