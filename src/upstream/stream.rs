//! The bytes to and from the app: over TCP, over a Unix socket, or inside TLS.

use std::{
    io::{self, IoSlice, Read},
    pin::Pin,
    task::{Context, Poll},
};

use rustix::io::Errno;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::client::TlsStream;

/// A connected stream. An enum and not a trait object: the plain one pays for a branch, and for nothing else.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// A connected socket.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Whether the app has neither said anything since the last read nor ended, by a look at the socket itself. tokio asks
    /// the kernel only when its reactor has told that there is something, and it tells once per turn: what has arrived
    /// since the last turn would be taken for the answer to the request that is sent next.
    ///
    /// What is found is lost: the stream is of no more use. But TLS says things of its own at any time, and they are none
    /// of the app's.
    pub(super) fn is_silent(&mut self) -> bool {
        match self {
            Self::Plain(socket) => is_pending(&Now(socket).read(&mut [0])),
            Self::Tls(stream) => {
                let (socket, tls) = stream.get_mut();
                loop {
                    match tls.process_new_packets() {
                        Ok(state) if state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed() => {}
                        Ok(_) | Err(_) => return false,
                    }
                    match tls.read_tls(&mut Now(socket)) {
                        Ok(1..) => {}
                        ended_or_pending => return is_pending(&ended_or_pending),
                    }
                }
            }
        }
    }

    /// Whether a write that failed has left nothing of its bytes with the app. TLS has then sent some of its records, maybe.
    pub(super) fn writes_all_or_nothing(&self) -> bool {
        matches!(self, Self::Plain(_))
    }
}

fn is_pending(read: &io::Result<usize>) -> bool {
    read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// A socket that is read without asking the reactor, and without leaving a waker with it.
struct Now<'s>(&'s Socket);

impl Read for Now<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match self.0 {
                Socket::Tcp(stream) => rustix::io::read(stream, &mut *bytes),
                Socket::Unix(stream) => rustix::io::read(stream, &mut *bytes),
            };
            match read {
                Err(Errno::INTR) => {}
                read => return read.map_err(Into::into),
            }
        }
    }
}

/// Each is handed to whichever it is.
macro_rules! hand_to {
    ($name:ident: $($variant:path),+) => {
        impl AsyncRead for $name {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() { $($variant(stream) => Pin::new(stream).poll_read(cx, buffer),)+ }
            }
        }

        impl AsyncWrite for $name {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                match self.get_mut() { $($variant(stream) => Pin::new(stream).poll_write(cx, bytes),)+ }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() { $($variant(stream) => Pin::new(stream).poll_write_vectored(cx, slices),)+ }
            }

            fn is_write_vectored(&self) -> bool {
                match self { $($variant(stream) => stream.is_write_vectored(),)+ }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() { $($variant(stream) => Pin::new(stream).poll_flush(cx),)+ }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() { $($variant(stream) => Pin::new(stream).poll_shutdown(cx),)+ }
            }
        }
    };
}

hand_to!(Socket: Self::Tcp, Self::Unix);
hand_to!(Stream: Self::Plain, Self::Tls);
