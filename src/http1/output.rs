//! What waits to be written to a connection.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::encode;

/// A piece of a body that is no larger is copied behind what goes before it: that costs less than a second slice.
const SMALL: usize = 4096;

/// Bytes in the order in which they are written: a head or whatever else frames a body, a piece of the body, and what
/// comes after the piece.
#[derive(Debug, Default)]
pub struct Output {
    front: Vec<u8>,
    /// How much of it is written.
    written: usize,
    body: Bytes,
    tail: &'static [u8],
    /// Whether something was written that may not have left yet: TLS has a buffer of its own.
    unflushed: bool,
}

impl Output {
    /// Whether a piece of a body may be added.
    pub fn has_room(&self) -> bool {
        self.body.is_empty() && self.tail.is_empty() && self.front.len() < SMALL
    }

    /// Whether there is something, and not a byte of it is written.
    pub fn is_untouched(&self) -> bool {
        !self.front.is_empty() && self.written == 0 && !self.unflushed
    }

    /// Where to write what goes before the next piece of the body.
    pub fn front(&mut self) -> &mut Vec<u8> {
        &mut self.front
    }

    /// Adds a piece of a body, and what comes after it.
    pub fn push(&mut self, body: Bytes, tail: &'static [u8]) {
        if body.len() <= SMALL {
            self.front.extend_from_slice(&body);
            self.front.extend_from_slice(tail);
        } else {
            (self.body, self.tail) = (body, tail);
        }
    }

    /// Adds a piece of a body as a chunk (RFC 9112 section 7.1), and behind the `last` the end of the body. It is not
    /// empty: an empty chunk would be the last.
    pub fn push_chunk(&mut self, piece: Bytes, last: bool) {
        encode::chunk_size(&mut self.front, piece.len());
        self.push(piece, if last { b"\r\n0\r\n\r\n" } else { b"\r\n" });
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// The stream takes no more.
    pub fn poll_write(&mut self, mut io: Pin<&mut impl AsyncWrite>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let front = &self.front[self.written..];
            let count = match (front.is_empty(), self.body.is_empty() && self.tail.is_empty()) {
                (true, true) => break,
                (false, true) => ready!(io.as_mut().poll_write(cx, front))?,
                (_, false) => {
                    let slices = [IoSlice::new(front), IoSlice::new(&self.body), IoSlice::new(self.tail)];
                    ready!(io.as_mut().poll_write_vectored(cx, &slices))?
                }
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            self.advance(count);
        }
        if self.unflushed {
            ready!(io.poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, count: usize) {
        let front = count.min(self.front.len() - self.written);
        self.written += front;
        if self.written == self.front.len() {
            self.front.clear();
            self.written = 0;
        }
        let body = (count - front).min(self.body.len());
        self.body.advance(body);
        if self.body.is_empty() {
            // Not only empty: the buffer that it was a part of is free to be used again.
            self.body = Bytes::new();
        }
        self.tail = &self.tail[count - front - body..];
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::task::Waker;

    use proptest::prelude::*;

    use super::*;

    /// Takes so many bytes at once, of as many slices as they are in.
    struct Narrow(usize, Vec<u8>);

    impl AsyncWrite for Narrow {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let this = self.get_mut();
            let before = this.1.len();
            this.1.extend(slices.iter().flat_map(|slice| slice.iter()).take(this.0));
            Poll::Ready(Ok(this.1.len() - before))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    proptest! {
        #[test]
        fn however_little_is_taken_at_once_all_of_it_is_written_in_order(
            width in 1_usize..9000, sizes in proptest::collection::vec(0_usize..9000, 1..5)
        ) {
            let (mut output, mut narrow, mut expected) = (Output::default(), Narrow(width, Vec::new()), Vec::new());
            for (i, size) in sizes.into_iter().enumerate() {
                let body = vec![u8::try_from(i).unwrap(); size];
                output.front().extend_from_slice(b"front");
                output.push(body.clone().into(), b"tail");
                expected.extend_from_slice(&[b"front", body.as_slice(), b"tail"].concat());
                if !output.has_room() {
                    let written = output.poll_write(Pin::new(&mut narrow), &mut Context::from_waker(Waker::noop()));
                    prop_assert!(matches!(written, Poll::Ready(Ok(()))) && output.has_room());
                }
            }
            let written = output.poll_write(Pin::new(&mut narrow), &mut Context::from_waker(Waker::noop()));
            prop_assert!(matches!(written, Poll::Ready(Ok(()))));
            prop_assert!(narrow.1 == expected);
        }
    }
}
