//! The bytes to and from the app: over TCP, over a Unix socket, or inside TLS.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
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
pub(super) struct Socket {
    kind: Kind,
    look: Look,
}

#[derive(Debug)]
pub(super) enum Kind {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Makes the next reads look at the socket itself. tokio asks the kernel only when its reactor has told that there is
/// something, and it tells once per turn: what has arrived since the last turn would be taken for the answer to the
/// request that is sent next.
#[derive(Clone, Debug, Default)]
pub(super) struct Look(Arc<AtomicBool>);

impl Look {
    /// From now on, or no longer.
    pub(super) fn set(&self, directly: bool) {
        self.0.store(directly, Relaxed);
    }
}

impl Stream {
    /// What makes reads look at the socket itself.
    pub(super) fn look(&self) -> Look {
        match self {
            Self::Plain(socket) => socket.look.clone(),
            Self::Tls(stream) => stream.get_ref().0.look.clone(),
        }
    }
}

impl Socket {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, look: Look::default() }
    }

    /// What the kernel has now. Nobody is woken when there is nothing: whoever looks does not wait.
    fn read_now(&self, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Small: whatever it is, it is one byte too many on a plain connection, and read to its end inside TLS.
        let mut bytes = [0; 256];
        let room = buffer.remaining().min(bytes.len());
        let read = match &self.kind {
            Kind::Tcp(stream) => rustix::io::read(stream, &mut bytes[..room]),
            Kind::Unix(stream) => rustix::io::read(stream, &mut bytes[..room]),
        };
        match read {
            Ok(count) => {
                buffer.put_slice(&bytes[..count]);
                Poll::Ready(Ok(()))
            }
            Err(Errno::AGAIN | Errno::INTR) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.look.0.load(Relaxed) {
            return this.read_now(buffer);
        }
        match &mut this.kind {
            Kind::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Kind::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

/// Writing is the same for both: it is handed to whichever it is.
macro_rules! write_to {
    ($name:ident: $($variant:path),+; $($field:ident)?) => {
        impl AsyncWrite for $name {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                match &mut self.get_mut()$(.$field)? { $($variant(stream) => Pin::new(stream).poll_write(cx, bytes),)+ }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                slices: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match &mut self.get_mut()$(.$field)? {
                    $($variant(stream) => Pin::new(stream).poll_write_vectored(cx, slices),)+
                }
            }

            fn is_write_vectored(&self) -> bool {
                match &self$(.$field)? { $($variant(stream) => stream.is_write_vectored(),)+ }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match &mut self.get_mut()$(.$field)? { $($variant(stream) => Pin::new(stream).poll_flush(cx),)+ }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match &mut self.get_mut()$(.$field)? { $($variant(stream) => Pin::new(stream).poll_shutdown(cx),)+ }
            }
        }
    };
}

write_to!(Socket: Kind::Tcp, Kind::Unix; kind);
write_to!(Stream: Self::Plain, Self::Tls;);
