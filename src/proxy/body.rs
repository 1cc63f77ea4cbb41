//! Response bodies: our own, or an upstream's with its deadlines; each holds the place of its outcome.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};

use crate::audit::Outcome;

/// The body of every response. The outcome is written when it ends or is dropped.
pub enum ProxyBody {
    /// An answer of our own, whole; empty once it was sent.
    Own(Own),
    /// An upstream's, streamed.
    Upstream(Upstream),
}

/// An answer of our own.
pub struct Own {
    bytes: Option<Bytes>,
    outcome: Option<Outcome>,
}

/// What streams from an upstream.
pub struct Upstream {}

/// A reason for which a body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Nothing moved for too long.
    #[error("the body stood still for too long")]
    Idle,
}

/// Gives an answer of our own the place of its outcome; `None` where the request had none (it was never reserved).
pub fn own(response: Response<Bytes>, outcome: Option<Outcome>) -> Response<ProxyBody> {
    response.map(|bytes| ProxyBody::Own(Own { bytes: Some(bytes), outcome }))
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        todo!()
    }

    fn is_end_stream(&self) -> bool {
        todo!()
    }

    fn size_hint(&self) -> SizeHint {
        todo!()
    }
}
