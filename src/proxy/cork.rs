//! A writer for HTTP/2 that gathers frames: what the streams of a connection have ready in one turn of the scheduler
//! leaves in one write and, over TLS, in as few records as it fills.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are gathered at most; more is written at once.
const GATHERED: usize = 32 * 1024;

/// What an idle connection keeps of its room.
const KEPT: usize = 16 * 1024;

/// A socket whose flush waits for one turn of the other tasks.
pub(super) struct Corked<S> {
    stream: S,
    gathered: BytesMut,
    /// Whether the turn was waited for.
    turned: bool,
}

impl<S: AsyncWrite + Unpin> Corked<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, gathered: BytesMut::new(), turned: false }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.gathered))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gathered.advance(count);
        }
        if self.gathered.capacity() > KEPT {
            self.gathered = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Makes room for some of `more` bytes.
    fn poll_room(&mut self, cx: &mut Context<'_>, more: usize) -> Poll<io::Result<()>> {
        if self.gathered.len() + more > GATHERED { self.poll_drain(cx) } else { Poll::Ready(Ok(())) }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Corked<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let bytes = &bytes[..bytes.len().min(GATHERED)];
        ready!(self.poll_room(cx, bytes.len()))?;
        self.gathered.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let more = slices.iter().map(|slice| slice.len()).sum();
        ready!(self.poll_room(cx, more))?;
        let before = self.gathered.len();
        for slice in slices {
            let room = GATHERED - self.gathered.len();
            self.gathered.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        Poll::Ready(Ok(self.gathered.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.gathered.is_empty() && !self.turned {
            self.turned = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.poll_drain(cx))?;
        self.turned = false;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Corked<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_is_written_in_one_turn_arrives_together() {
        let (near, mut far) = duplex(1024);
        let mut corked = Corked::new(near);
        corked.write_all(b"one ").await.unwrap();
        let parts = [io::IoSlice::new(b"two "), io::IoSlice::new(b"three")];
        assert_eq!(corked.write_vectored(&parts).await.unwrap(), 9);
        let mut bytes = [0; 64];
        let early = futures_util::FutureExt::now_or_never(far.read(&mut bytes));
        assert!(early.is_none(), "nothing leaves before the flush");
        corked.flush().await.unwrap();
        let count = far.read(&mut bytes).await.unwrap();
        assert_eq!(&bytes[..count], b"one two three");
    }

    #[tokio::test]
    async fn much_is_written_through_and_nothing_is_lost() {
        let (near, mut far) = duplex(1000);
        let sent: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
        let expected = sent.clone();
        let writer = async move {
            let mut corked = Corked::new(near);
            for part in sent.chunks(50_000) {
                corked.write_all(part).await.unwrap();
            }
            corked.shutdown().await.unwrap();
        };
        let reader = async {
            let mut received = Vec::new();
            far.read_to_end(&mut received).await.unwrap();
            received
        };
        let ((), received) = tokio::join!(writer, reader);
        assert_eq!(received, expected);
    }
}
