//! The socket of an HTTP/2 connection: it gathers frames, so that what the streams have ready in one turn leaves in one write
//! and, over TLS, in as few records as it fills; and it is read only where bytes may be there.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are gathered at most; more is written at once.
const GATHERED: usize = 32 * 1024;

/// What an idle connection keeps of its room.
const KEPT: usize = 16 * 1024;

/// A socket that is flushed by [`Corked::poll_drain`] and by nothing else. Cheap to clone.
pub(super) struct Corked<S>(Rc<RefCell<Socket<S>>>);

struct Socket<S> {
    stream: S,
    /// Wakes the connection for the socket's sake, whoever polls it.
    waker: Waker,
    gathered: Vec<u8>,
    /// How many of the gathered bytes are written.
    written: usize,
    flushed: bool,
    /// Whether it was read to its end, and nothing was told of it since.
    dry: bool,
}

impl<S> Clone for Corked<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Corked<S> {
    /// A socket that wakes `waker` when it can be read or written again.
    pub(super) fn new(stream: S, waker: Waker) -> Self {
        let (gathered, written, flushed, dry) = (Vec::new(), 0, true, false);
        Self(Rc::new(RefCell::new(Socket { stream, waker, gathered, written, flushed, dry })))
    }

    /// It was woken.
    pub(super) fn woken(&self) {
        self.0.borrow_mut().dry = false;
    }

    /// Writes what was gathered.
    pub(super) fn poll_drain(&self) -> Poll<io::Result<()>> {
        let socket = &mut *self.0.borrow_mut();
        if socket.flushed && socket.gathered.is_empty() {
            return Poll::Ready(Ok(()));
        }
        ready!(socket.poll_write_all())?;
        let flushed = Pin::new(&mut socket.stream).poll_flush(&mut Context::from_waker(&socket.waker));
        socket.flushed = flushed.is_ready();
        flushed
    }
}

impl<S: AsyncWrite + Unpin> Socket<S> {
    fn poll_write_all(&mut self) -> Poll<io::Result<()>> {
        let mut cx = Context::from_waker(&self.waker);
        while self.written < self.gathered.len() {
            self.flushed = false;
            let count = ready!(Pin::new(&mut self.stream).poll_write(&mut cx, &self.gathered[self.written..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        self.written = 0;
        self.gathered.clear();
        if self.gathered.capacity() > KEPT {
            self.gathered = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    /// How many of `more` bytes find room.
    fn poll_room(&mut self, more: usize) -> Poll<io::Result<usize>> {
        if self.gathered.len() + more > GATHERED {
            ready!(self.poll_write_all())?;
        }
        Poll::Ready(Ok(more.min(GATHERED)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Corked<S> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let socket = &mut *self.0.borrow_mut();
        let count = ready!(socket.poll_room(bytes.len()))?;
        socket.gathered.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = &mut *self.0.borrow_mut();
        let count = ready!(socket.poll_room(slices.iter().map(|slice| slice.len()).sum()))?;
        let mut left = count;
        for slice in slices {
            let part = slice.len().min(left);
            socket.gathered.extend_from_slice(&slice[..part]);
            left -= part;
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Whatever runs in this turn may have more to send.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain())?;
        let socket = &mut *self.0.borrow_mut();
        Pin::new(&mut socket.stream).poll_shutdown(&mut Context::from_waker(&socket.waker))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Corked<S> {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let socket = &mut *self.0.borrow_mut();
        if socket.dry {
            return Poll::Pending;
        }
        let read = Pin::new(&mut socket.stream).poll_read(&mut Context::from_waker(&socket.waker), buffer);
        socket.dry = read.is_pending();
        read
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    async fn corked(stream: DuplexStream) -> Corked<DuplexStream> {
        poll_fn(|cx| Poll::Ready(cx.waker().clone())).map(|waker| Corked::new(stream, waker)).await
    }

    #[tokio::test]
    async fn what_is_written_in_one_turn_arrives_together() {
        let (near, mut far) = duplex(1024);
        let mut corked = corked(near).await;
        corked.write_all(b"one ").await.unwrap();
        let parts = [io::IoSlice::new(b"two "), io::IoSlice::new(b"three")];
        assert_eq!(corked.write_vectored(&parts).await.unwrap(), 9);
        corked.flush().await.unwrap();
        let mut bytes = [0; 64];
        assert!(far.read(&mut bytes).now_or_never().is_none(), "nothing leaves before the turn ends");
        poll_fn(|_| corked.poll_drain()).await.unwrap();
        let count = far.read(&mut bytes).await.unwrap();
        assert_eq!(&bytes[..count], b"one two three");
    }

    #[tokio::test]
    async fn much_is_written_through_and_nothing_is_lost() {
        let (near, mut far) = duplex(1000);
        let sent: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
        let expected = sent.clone();
        let writer = async move {
            let mut corked = corked(near).await;
            for parts in sent.chunks(50_000) {
                let (one, two) = parts.split_at(20_000);
                let slices = [io::IoSlice::new(one), io::IoSlice::new(two)];
                let count = corked.write_vectored(&slices).await.unwrap();
                corked.write_all(&parts[count..]).await.unwrap();
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

    #[tokio::test]
    async fn what_was_read_to_its_end_is_read_again_once_it_was_woken() {
        let (near, mut far) = duplex(1000);
        let mut corked = corked(near).await;
        let mut bytes = [0; 64];
        assert!(corked.read(&mut bytes).now_or_never().is_none());
        far.write_all(b"more").await.unwrap();
        assert!(corked.read(&mut bytes).now_or_never().is_none());
        corked.woken();
        assert_eq!(corked.read(&mut bytes).await.unwrap(), 4);
    }
}
