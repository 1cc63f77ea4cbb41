//! The body of a request on its way over a connection.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::Body;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;

use crate::proxy::body::{Idle, RequestBody};
use crate::proxy::headers::Framing;

/// Why a body was not sent whole.
#[derive(Debug)]
pub(super) enum Interrupted {
    /// The client's end, or a limit.
    Body,
    /// The upstream takes no more, or took nothing for too long.
    Socket,
}

/// Sends a body as `framing` delimits it, and gives the socket back. Interrupted, it closes the socket for writing, so that
/// no upstream takes a part for the whole.
pub(super) async fn upload(
    mut socket: OwnedWriteHalf,
    mut body: RequestBody,
    framing: Framing,
) -> Result<OwnedWriteHalf, Interrupted> {
    let mut idle = body.idle();
    let mut left = if let Framing::Length(length) = framing { length } else { 0 };
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let data = frame.ok().and_then(|frame| frame.into_data().ok()).ok_or(Interrupted::Body)?;
        if framing == Framing::Chunked {
            // An empty chunk would be the last.
            if !data.is_empty() {
                let size = format!("{:x}\r\n", data.len());
                send(&mut socket, Bytes::from(size).chain(data).chain(&b"\r\n"[..]), &mut idle).await?;
            }
        } else {
            left = left.checked_sub(data.len() as u64).ok_or(Interrupted::Body)?;
            send(&mut socket, data, &mut idle).await?;
        }
    }
    if framing == Framing::Chunked {
        send(&mut socket, &b"0\r\n\r\n"[..], &mut idle).await?;
    }
    if left == 0 { Ok(socket) } else { Err(Interrupted::Body) }
}

/// Sends bytes to an upstream that takes some of them within the limit each time. One that never does would keep its
/// client's connection for ever, once it has answered.
async fn send(socket: &mut OwnedWriteHalf, mut bytes: impl Buf, idle: &mut Idle) -> Result<(), Interrupted> {
    while bytes.has_remaining() {
        let mut write = pin!(socket.write_buf(&mut bytes));
        let written = poll_fn(|cx| match write.as_mut().poll(cx) {
            Poll::Ready(written) => Poll::Ready(written.ok()),
            Poll::Pending => idle.poll(cx, Duration::ZERO).map(|()| None),
        });
        if !matches!(written.await, Some(1..)) {
            return Err(Interrupted::Socket);
        }
        idle.touch();
    }
    Ok(())
}
