//! A client's stream: it notes what arrives, and closes so that the last answer is not lost.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use pin_project_lite::pin_project;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::activity::Activity;

/// How long a client that is still sending is listened to after our last byte. Closing a socket with unread bytes resets
/// the connection, and a reset overtakes the answer: a refused upload would never see its 401.
const LINGER: Duration = Duration::from_secs(2);

pin_project! {
    /// A client's stream.
    #[derive(Debug)]
    pub(super) struct Stream<T> {
        #[pin]
        inner: T,
        activity: Arc<Activity>,
        // What was read before it was known which protocol is spoken.
        said: BytesMut,
        switched: bool,
        // Set when our side is closed: until when the other side is listened to.
        linger: Option<Pin<Box<Sleep>>>,
    }
}

impl<T> Stream<T> {
    /// The stream `inner`, of which this much was `said` already.
    pub(super) fn new(inner: T, activity: Arc<Activity>, said: BytesMut) -> Self {
        Self { inner, activity, said, switched: false, linger: None }
    }

    /// What comes now is no longer HTTP: closing our side leaves the other side open, to be read by whoever reads it.
    pub(super) fn switch(&mut self) {
        self.switched = true;
    }
}

impl<T: AsyncRead> AsyncRead for Stream<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        if !this.said.is_empty() {
            let count = this.said.len().min(buffer.remaining());
            buffer.put_slice(&this.said[..count]);
            this.said.advance(count);
            if this.said.is_empty() {
                *this.said = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let polled = this.inner.poll_read(cx, buffer);
        if buffer.filled().len() > before {
            this.activity.read();
        }
        polled
    }
}

impl<T: AsyncRead + AsyncWrite> AsyncWrite for Stream<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_flush(cx)
    }

    /// Closes our side, then reads what the client still sends, until it closes its own.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut this = self.project();
        if *this.switched {
            return this.inner.poll_shutdown(cx);
        }
        if this.linger.is_none() {
            ready!(this.inner.as_mut().poll_shutdown(cx))?;
        }
        let linger = this.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut unread = [0; 4096];
        loop {
            if linger.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buffer = ReadBuf::new(&mut unread);
            let read = ready!(this.inner.as_mut().poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_was_said_comes_first_and_whole_however_little_is_read_at_once() {
        let (mut client, server) = duplex(64);
        let mut stream = Stream::new(server, Arc::new(Activity::new()), b"PRI * HTTP"[..].into());
        client.write_all(b"/2.0").await.unwrap();
        let (mut first, mut rest) = ([0; 3], [0; 11]);
        stream.read_exact(&mut first).await.unwrap();
        stream.read_exact(&mut rest).await.unwrap();
        assert_eq!([&first[..], &rest].concat(), b"PRI * HTTP/2.0");
    }

    #[tokio::test]
    async fn what_the_client_sends_is_not_read_away_when_our_side_closes_after_the_switch() {
        let (mut client, server) = duplex(64);
        let mut stream = Stream::new(server, Arc::new(Activity::new()), BytesMut::new());
        stream.switch();
        client.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut bytes = [0; 5];
        assert_eq!(client.read(&mut bytes).await.unwrap(), 0);
        drop(client);
        stream.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"hello");
    }
}
