//! HTTP/1 with clients (RFC 9112): one request after the other over a connection.
//!
//! The head of a request is parsed by `httparse`, its body is read by whoever needs it, and the response is written as it
//! comes. All is done by the connection's own task.

mod head;
#[cfg(any(test, feature = "fuzzing"))]
pub mod reading;
mod response;
mod socket;
#[cfg(test)]
mod tests;
mod wire;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::header::UPGRADE;
use http::{Method, Request, Response, Version};
use tokio::time::timeout;

use super::client_body::ClientBody;
use super::pulse::{Tracked, Watched};
use super::rejection::Refusal;

pub(super) use socket::Socket;
pub use wire::Body;
pub(super) use wire::Client;

use head::Head;
use response::{Asked, Then, send};
use wire::Wire;

/// How long, and for how many bytes, a client may go on sending what nobody reads: an end at once would take the answer away
/// that says why.
const LINGER: Duration = Duration::from_secs(1);
const LINGERING: usize = 1024 * 1024;

/// Serves a connection until its end. `answers` gives the response to a request, or to what is none. Once `leaving`, it
/// ends behind the request at work. Heads have at most so many bytes.
pub(super) async fn serve(
    socket: Watched<Socket>,
    head_bytes: usize,
    leaving: &Cell<bool>,
    answers: impl AsyncFn(Result<&mut Request<ClientBody>, Refusal>) -> Response<Tracked>,
) {
    let wire = Rc::new(RefCell::new(Wire::new(socket)));
    let _ended = Ended(Rc::clone(&wire));
    while let Some(head) = next_head(&wire, head_bytes, leaving).await {
        let (asked, mut request) = match head.and_then(|bytes| Head::parse(&bytes)) {
            Ok(head) => begin(&wire, head),
            Err(refusal) => (Asked { version: Version::HTTP_11, head: false, keeps: false }, Err(refusal)),
        };
        let malformed = request.is_err();
        let Some(response) = unless_gone(&wire, pin!(answers(request.as_mut().map_err(|refusal| *refusal)))).await
        else {
            return;
        };
        let (head, mut body) = response.into_parts();
        let asked = Asked { keeps: asked.keeps && !leaving.get() && wire.borrow_mut().is_over(), ..asked };
        let then = send(&wire, head, &mut body, asked).await;
        match then {
            Then::Switch => return wire.borrow_mut().hand_over(),
            Then::Break => return,
            Then::Next | Then::End => {}
        }
        let settled = poll_fn(|cx| wire.borrow_mut().poll_settled(cx)).await;
        drop(body);
        if !settled || then == Then::End {
            let unread = malformed || !settled || !wire.borrow().is_quiet();
            return close(&wire, unread).await;
        }
        wire.borrow_mut().next();
    }
    close(&wire, false).await;
}

/// The next head; none where either side ends the connection.
async fn next_head(wire: &RefCell<Wire>, most: usize, leaving: &Cell<bool>) -> Option<Result<bytes::Bytes, Refusal>> {
    poll_fn(|cx| {
        let mut wire = wire.borrow_mut();
        match wire.poll_head(cx, most) {
            Poll::Pending if leaving.get() && wire.is_quiet() => Poll::Ready(None),
            head => head,
        }
    })
    .await
}

/// Begins a request.
fn begin(wire: &Rc<RefCell<Wire>>, head: Head) -> (Asked, Result<Request<ClientBody>, Refusal>) {
    let Head { parts, body, keeps, expects } = head;
    let asked = Asked { version: parts.version, head: parts.method == Method::HEAD, keeps };
    let held = !body.is_done() || parts.headers.contains_key(UPGRADE);
    wire.borrow_mut().begin(body, expects);
    let body = if held { ClientBody::Http1(Wire::hold(wire)) } else { ClientBody::Empty };
    (asked, Ok(Request::from_parts(parts, body)))
}

/// Waits for an answer for as long as the client does.
async fn unless_gone<T>(wire: &RefCell<Wire>, mut answer: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    poll_fn(|cx| match answer.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => wire.borrow_mut().poll_gone(cx).map(|()| None),
    })
    .await
}

/// Ends a connection; behind what nobody read, only once the client had time to read our answer.
async fn close(wire: &RefCell<Wire>, unread: bool) {
    let ended = poll_fn(|cx| wire.borrow_mut().poll_shutdown(cx)).await;
    if unread && ended.is_ok() {
        let mut left = LINGERING;
        // Whoever needs longer is cut off.
        drop(timeout(LINGER, poll_fn(|cx| wire.borrow_mut().poll_discard(cx, &mut left))).await);
    }
}

/// Ends a connection whose task does, also for whoever still reads a body over it.
struct Ended(Rc<RefCell<Wire>>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.borrow_mut().end();
    }
}
