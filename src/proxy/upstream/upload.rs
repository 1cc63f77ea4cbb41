//! The body of a request on its way over a connection.

use std::io;
use std::pin::Pin;

use bytes::{Buf, Bytes};
use http_body::Body;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;

use crate::proxy::body::RequestBody;
use crate::proxy::headers::Framing;

/// Why a body was not sent whole.
#[derive(Debug)]
pub(super) enum Interrupted {
    /// The client's end, or a limit.
    Body,
    /// The upstream takes no more.
    Socket,
}

impl From<io::Error> for Interrupted {
    fn from(_: io::Error) -> Self {
        Self::Socket
    }
}

/// Sends a body as `framing` delimits it, and gives the socket back. Interrupted, it closes the socket for writing, so that
/// no upstream takes a part for the whole.
pub(super) async fn upload(
    mut socket: OwnedWriteHalf,
    mut body: RequestBody,
    framing: Framing,
) -> Result<OwnedWriteHalf, Interrupted> {
    let mut left = if let Framing::Length(length) = framing { length } else { 0 };
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let data = frame.ok().and_then(|frame| frame.into_data().ok()).ok_or(Interrupted::Body)?;
        if framing == Framing::Chunked {
            // An empty chunk would be the last.
            if !data.is_empty() {
                let size = format!("{:x}\r\n", data.len());
                socket.write_all_buf(&mut Bytes::from(size).chain(data).chain(&b"\r\n"[..])).await?;
            }
        } else {
            left = left.checked_sub(data.len() as u64).ok_or(Interrupted::Body)?;
            socket.write_all_buf(&mut { data }).await?;
        }
    }
    if framing == Framing::Chunked {
        socket.write_all(b"0\r\n\r\n").await?;
    }
    if left == 0 { Ok(socket) } else { Err(Interrupted::Body) }
}
