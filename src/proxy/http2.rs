//! HTTP/2 towards clients, over the frames of `h2`.
//!
//! A connection and all of its streams are one task: what the streams have ready is gathered and sent at the end of a turn
//! (`cork.rs`), and only what was woken is polled (`wakes.rs`).

mod body;
mod cork;
mod piece;
mod resets;
mod stream;
mod wakes;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use h2::server::{Builder, Connection, Handshake, SendResponse};
use h2::{Reason, RecvStream};
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::budget::Limits;
use crate::metrics::Metrics;

use super::body::ProxyBody;
use super::client_body::ClientBody;
use super::conn::Conn;
use super::pulse::{Pulse, Watched};
use super::service::Service;

pub use body::Body;
use cork::Corked;
use piece::Piece;
use resets::Resets;
use stream::{End, Stream};
use wakes::{Part, Wakes};

/// Bytes of a response that have their window and wait for the socket, a stream: as many as are written at once.
const STREAM_BUFFER: usize = 32 * 1024;

/// The largest frame that we take, the least there is (RFC 9113 section 6.5.2).
const FRAME: u32 = 16 * 1024;

/// Resets that a client may have outstanding before we have seen the streams (RUSTSEC-2023-0034): of all that it may have, as a
/// browser does that goes elsewhere.
const PENDING_RESETS: usize = 100;

/// Streams that we reset ourselves before we give the connection up (RUSTSEC-2024-0003).
const OWN_RESETS: usize = 1024;

/// A connection at work. Ready when it has ended; what ended it was told to the client by GOAWAY.
pub(super) struct Serving<S> {
    service: Rc<Service>,
    conn: Rc<Conn>,
    pulse: Rc<Pulse>,
    rate: usize,
    streams: Streams,
    state: State<S>,
    socket: Corked<S>,
    wakes: Arc<Wakes>,
    /// Woken when frames wait to be sent.
    frames: Waker,
}

enum State<S> {
    Beginning { handshake: Handshake<Corked<S>, Piece>, leaving: bool },
    Open(Connection<Corked<S>, Piece>),
}

/// The streams of a connection by number. A number is given anew when its stream has ended, with its waker: who holds on to
/// that wakes another stream in vain.
struct Streams {
    places: Vec<(Waker, Option<Stream>)>,
    vacant: Vec<usize>,
    woken: Vec<usize>,
    resets: Resets,
    metrics: Metrics,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Serving<Watched<S>> {
    /// Begins to serve a socket. Every limit of HTTP/2 is set here and nowhere else.
    pub(super) fn new(stream: Watched<S>, limits: &Limits, metrics: Metrics, service: Rc<Service>, conn: Conn) -> Self {
        let (wakes, pulse) = (Arc::new(Wakes::default()), Rc::clone(&stream.pulse));
        let socket = Corked::new(stream, wakes.waker(Part::Socket));
        let frames = wakes.waker(Part::Frames);
        frames.wake_by_ref();
        let handshake = Builder::new()
            .max_concurrent_streams(limits.h2_streams)
            .initial_window_size(limits.h2_stream_window)
            .initial_connection_window_size(limits.h2_connection_window)
            .max_frame_size(FRAME)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .max_local_error_reset_streams(Some(OWN_RESETS))
            .max_send_buffer_size(STREAM_BUFFER)
            .handshake(socket.clone());
        Self {
            service,
            conn: Rc::new(conn),
            pulse,
            rate: limits.body_rate,
            streams: Streams {
                places: Vec::new(),
                vacant: Vec::new(),
                woken: Vec::new(),
                resets: Resets::new(limits),
                metrics,
            },
            state: State::Beginning { handshake, leaving: false },
            socket,
            wakes,
            frames,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Serving<S> {
    /// Finishes what runs and begins nothing new.
    pub(super) fn say_goodbye(&mut self) {
        match &mut self.state {
            State::Beginning { leaving, .. } => *leaving = true,
            State::Open(connection) => connection.graceful_shutdown(),
        }
        self.frames.wake_by_ref();
    }

    /// Resets the streams whose client took nothing for the limit, less what it owes.
    pub(super) fn reset_stalled(&mut self, limit: Duration) {
        let now = Instant::now();
        self.streams.end_where(|stream| stream.is_stalled(now, limit));
    }

    /// What can be done now. Ready when the connection has ended.
    fn turn(&mut self) -> Poll<()> {
        self.streams.poll_woken(&self.wakes);
        if self.wakes.take_socket() {
            self.socket.woken();
            self.frames.wake_by_ref();
        }
        // Once more for the frames of what was answered at once.
        for _ in 0..2 {
            if self.wakes.take_frames() && self.accept().is_ready() {
                return Poll::Ready(());
            }
        }
        if self.streams.resets.are_too_many() {
            self.break_off();
            return Poll::Ready(());
        }
        let drained = self.socket.poll_drain();
        self.pulse.drained(drained.is_ready());
        if let Poll::Ready(Err(_)) = drained { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Sends and receives frames, and begins the streams that came. Ready when the connection has ended.
    fn accept(&mut self) -> Poll<()> {
        let waker = self.frames.clone();
        let cx = &mut Context::from_waker(&waker);
        loop {
            match &mut self.state {
                State::Beginning { handshake, leaving } => {
                    let Ok(mut connection) = ready!(Pin::new(handshake).poll(cx)) else { return Poll::Ready(()) };
                    if *leaving {
                        connection.graceful_shutdown();
                    }
                    self.state = State::Open(connection);
                }
                State::Open(connection) => match ready!(connection.poll_accept(cx)) {
                    // What a flood begins is not begun any more.
                    Some(Ok(_)) if self.streams.resets.are_too_many() => return Poll::Pending,
                    Some(Ok((request, respond))) => self.begin(request, respond),
                    Some(Err(_)) | None => return Poll::Ready(()),
                },
            }
        }
    }

    /// Ends the connection with all that runs over it; its client is told why, where it takes that at once.
    fn break_off(&mut self) {
        if let State::Open(connection) = &mut self.state {
            connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            drop(connection.poll_closed(&mut Context::from_waker(&self.frames)));
        }
    }

    fn begin(&mut self, request: Request<RecvStream>, respond: SendResponse<Piece>) {
        let (head, stream) = request.into_parts();
        let body = if stream.is_end_stream() {
            ClientBody::Empty
        } else {
            ClientBody::Http2(Body::new(stream, &head.headers))
        };
        let active = self.pulse.begin();
        let request = Request::from_parts(head, body);
        let answer = answer(Rc::clone(&self.service), Rc::clone(&self.conn), request, active.is_granted());
        let stream = Stream::new(Box::pin(answer), respond, active, self.rate);
        self.streams.begin(stream, &self.wakes);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Serving<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let serving = self.get_mut();
        serving.wakes.begin(cx.waker());
        let end = serving.turn();
        // What was woken meanwhile has its turn when others had theirs.
        if serving.wakes.end() && end.is_pending() {
            cx.waker().wake_by_ref();
        }
        end
    }
}

impl Streams {
    /// Begins a stream, and runs it until it waits.
    fn begin(&mut self, stream: Stream, wakes: &Arc<Wakes>) {
        let number = self.vacant.pop().unwrap_or_else(|| {
            self.places.push((wakes.waker(Part::Stream(self.places.len())), None));
            self.places.len() - 1
        });
        self.places[number].1 = Some(stream);
        self.poll(number, wakes);
    }

    fn poll_woken(&mut self, wakes: &Wakes) {
        let mut woken = std::mem::take(&mut self.woken);
        wakes.take_streams(&mut woken);
        woken.drain(..).for_each(|number| self.poll(number, wakes));
        self.woken = woken;
    }

    /// Runs a stream until it waits. What panics is this stream's end and no other's.
    fn poll(&mut self, number: usize, wakes: &Wakes) {
        let (waker, place) = &mut self.places[number];
        let Some(stream) = place else { return };
        let polled = catch_unwind(AssertUnwindSafe(|| stream.poll(&mut Context::from_waker(waker))));
        let polled = polled.unwrap_or_else(|_| {
            self.metrics.panic();
            Poll::Ready(End::Broken)
        });
        if let Poll::Ready(end) = polled {
            self.resets.note(end, stream.age());
            *place = None;
            wakes.forget(number);
            self.vacant.push(number);
        }
    }

    /// Ends the streams for which this holds.
    fn end_where(&mut self, ends: impl Fn(&Stream) -> bool) {
        for (number, (_, place)) in self.places.iter_mut().enumerate() {
            if place.take_if(|stream| ends(stream)).is_some() {
                self.vacant.push(number);
            }
        }
    }
}

/// One request on its stream.
async fn answer(
    service: Rc<Service>,
    conn: Rc<Conn>,
    mut request: Request<ClientBody>,
    granted: bool,
) -> Response<ProxyBody> {
    let is_head = *request.method() == Method::HEAD;
    let mut response = service.handle(&mut request, &conn, granted).await;
    // Where a request is made to cost us memory, a page that waits for a window would add to it.
    let costly = !granted || response.status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    if (costly || is_head)
        && !response.body().is_end_stream()
        && let ProxyBody::Own(own) = response.body_mut()
    {
        own.strip();
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(0));
    }
    response
}
