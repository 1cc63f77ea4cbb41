//! One stream: its request is answered, then the answer is sent as its client takes it.
//!
//! A window may stay closed for one stream while the connection is busy with others, so each is watched by itself and reset
//! alone when its client takes nothing. One that takes too slowly uses up its time (`budget::owed`).

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::Response;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http_body::Body;
use tokio::time::Instant;

use crate::budget::owed;
use crate::proxy::body::ProxyBody;
use crate::proxy::pulse::{Active, Pulse};

use super::piece::Piece;

/// What becomes of a request.
pub(super) type Answer = Pin<Box<dyn Future<Output = Response<ProxyBody>>>>;

/// A stream of a connection. Dropped before its end, it is reset.
pub(super) struct Stream {
    state: State,
    active: Active,
    /// When it began, by the beats of its connection.
    begun: u64,
}

enum State {
    Answering { answer: Answer, respond: SendResponse<Piece>, rate: usize },
    Sending(Sending),
}

/// How a stream ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// An upstream's answer was handed over whole.
    Whole,
    /// An answer of ours was.
    Own,
    /// Its client left before, or broke the protocol so that `h2` reset it.
    Left,
    /// Its answer broke off.
    Broken,
}

/// An answer whose head is sent.
struct Sending {
    stream: SendStream<Piece>,
    body: ProxyBody,
    /// What waits for its window.
    chunk: Bytes,
    progress: Progress,
}

/// How the client takes what is there for it.
struct Progress {
    /// Bytes a second that it must take.
    rate: usize,
    /// Since when it owes the taking of what is there.
    since: Option<Instant>,
    /// By how much it is behind the rate.
    debt: Duration,
}

impl Stream {
    /// A stream whose client must take so many bytes a second.
    pub(super) fn new(answer: Answer, respond: SendResponse<Piece>, active: Active, rate: usize) -> Self {
        let begun = active.pulse().beaten();
        Self { state: State::Answering { answer, respond, rate }, active, begun }
    }

    /// Ready when it has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let sending = match &mut self.state {
            State::Sending(sending) => sending,
            State::Answering { answer, respond, rate } => {
                let Poll::Ready(response) = answer.as_mut().poll(cx) else {
                    return respond.poll_reset(cx).map(|_| End::Left);
                };
                let whole = End::whole(response.body());
                match send(response, respond, *rate) {
                    Ok(Some(sending)) => self.state = State::Sending(sending),
                    Ok(None) => return Poll::Ready(whole),
                    Err(_) => {
                        let end = if respond.poll_reset(cx).is_ready() { End::Left } else { End::Broken };
                        respond.send_reset(Reason::INTERNAL_ERROR);
                        return Poll::Ready(end);
                    }
                }
                return self.poll(cx);
            }
        };
        sending.poll(cx, self.active.pulse())
    }

    /// How long ago it began.
    pub(super) fn age(&self) -> Duration {
        Duration::from_millis(self.active.pulse().beaten().saturating_sub(self.begun))
    }

    /// Whether its client took nothing for the limit, less what it owes.
    pub(super) fn is_stalled(&self, now: Instant, limit: Duration) -> bool {
        let State::Sending(Sending { progress, .. }) = &self.state else { return false };
        progress.since.is_some_and(|since| since + limit.saturating_sub(progress.debt) <= now)
    }
}

/// Sends the head of a response; gives the rest, where there is any. No field of a connection is left in it: an upstream's are
/// taken out as they are read (`headers.rs`), and `h2` refuses what would be forgotten.
fn send(
    response: Response<ProxyBody>,
    respond: &mut SendResponse<Piece>,
    rate: usize,
) -> Result<Option<Sending>, h2::Error> {
    let (mut head, body) = response.into_parts();
    let ends = body.is_end_stream();
    if !ends
        && !head.headers.contains_key(CONTENT_LENGTH)
        && let Some(length) = body.size_hint().exact()
    {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    let stream = respond.send_response(Response::from_parts(head, ()), ends)?;
    let progress = Progress { rate, since: None, debt: Duration::ZERO };
    Ok((!ends).then(|| Sending { stream, body, chunk: Bytes::new(), progress }))
}

impl End {
    /// Of an answer that was handed over whole.
    fn whole(body: &ProxyBody) -> Self {
        if matches!(body, ProxyBody::Streamed(_)) { Self::Whole } else { Self::Own }
    }

    /// What the last frame came to.
    fn of(sent: &Result<(), h2::Error>, body: &ProxyBody) -> Self {
        if sent.is_ok() { Self::whole(body) } else { Self::Left }
    }
}

impl Sending {
    /// Ready when all was handed over, or cannot be.
    fn poll(&mut self, cx: &mut Context<'_>, pulse: &Rc<Pulse>) -> Poll<End> {
        loop {
            if !self.chunk.is_empty()
                && let Some(end) = ready!(self.poll_chunk(cx, pulse))
            {
                return Poll::Ready(end);
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return self.stream.poll_reset(cx).map(|_| End::Left),
                Poll::Ready(None) => {
                    let end = Piece::new(Bytes::new(), pulse);
                    return Poll::Ready(End::of(&self.stream.send_data(end, true), &self.body));
                }
                Poll::Ready(Some(Err(_))) => {
                    self.stream.send_reset(Reason::INTERNAL_ERROR);
                    return Poll::Ready(End::Broken);
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        self.stream.reserve_capacity(data.len());
                        self.chunk = data;
                    }
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            return Poll::Ready(End::of(&self.stream.send_trailers(trailers), &self.body));
                        }
                    }
                },
            }
        }
    }

    /// Hands over what the window takes of the chunk and no more, so that a stream ends when its client has granted room for
    /// all of it, even where the end comes later than the last byte; tells the end, where no more may follow.
    fn poll_chunk(&mut self, cx: &mut Context<'_>, pulse: &Rc<Pulse>) -> Poll<Option<End>> {
        loop {
            let room = self.stream.capacity();
            let ends = self.body.is_end_stream();
            if room == 0 {
                match self.stream.poll_capacity(cx) {
                    Poll::Ready(Some(Ok(_))) => continue,
                    Poll::Ready(_) => return Poll::Ready(Some(End::Left)),
                    Poll::Pending => {
                        self.progress.waits();
                        return Poll::Pending;
                    }
                }
            }
            let part = room.min(self.chunk.len());
            let data = self.chunk.split_to(part);
            let whole = self.chunk.is_empty();
            self.progress.took(part);
            let sent = self.stream.send_data(Piece::new(data, pulse), ends && whole);
            if sent.is_err() || (ends && whole) {
                return Poll::Ready(Some(End::of(&sent, &self.body)));
            }
            if whole {
                return Poll::Ready(None);
            }
            self.stream.reserve_capacity(self.chunk.len());
        }
    }
}

/// What waits for its window when its client goes, or is given up, was not sent.
impl Drop for Sending {
    fn drop(&mut self) {
        if !self.chunk.is_empty() {
            self.body.take_back(std::mem::take(&mut self.chunk));
        }
    }
}

impl Progress {
    fn waits(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    fn took(&mut self, bytes: usize) {
        let waited = self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        if !waited.is_zero() || !self.debt.is_zero() {
            self.debt = owed(self.debt, waited, bytes, self.rate);
        }
    }
}
