//! The body of a request as its client sends it, whatever the version of HTTP.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;

use super::body::BodyError;
use super::http1::{self, Client};
use super::http2;

/// A request body on its way from the client. Its frames are data, and over HTTP/2 trailers.
#[derive(Default)]
pub enum ClientBody {
    /// There is none.
    #[default]
    Empty,
    /// Over HTTP/1.1.
    Http1(http1::Body),
    /// Over a stream of HTTP/2.
    Http2(http2::Body),
}

impl ClientBody {
    /// The client itself, once it was told that it leaves HTTP; none over HTTP/2.
    pub(super) fn hand_over(&self) -> Option<oneshot::Receiver<Client>> {
        match self {
            Self::Http1(body) => Some(body.hand_over()),
            Self::Empty | Self::Http2(_) => None,
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Http1(body) => Pin::new(body).poll_frame(cx),
            Self::Http2(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}
