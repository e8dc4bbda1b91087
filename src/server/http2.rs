//! HTTP/2: the library's connection, and the streams that it serves, in one task.
//!
//! The library would have each stream be a task of its own. The runtime aligns its tasks to cache lines, which takes the
//! slow way through the allocator, and each has to be entered in lists and counted; all that is a twentieth of what a
//! small request costs.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use http_body::Body;
use hyper::{
    body::Incoming,
    rt::{Executor, bounds::Http2ServerConnExec},
    server::conn::http2,
    service::HttpService,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{bell::Bell, drive, http1};
use crate::config::Limits;

/// Flow control: what a client may send before we take it. Small, because it is memory per stream.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Answers that wait to be sent, per stream, in bytes.
const SEND_BUFFER: usize = 64 * 1024;

/// Streams that a client may have opened and reset before we look at them; after more the connection ends.
const RESETS: usize = 20;

/// Streams that a client may make us reset; after more the connection ends.
const ERRORS: usize = 256;

/// The largest frame, in bytes: the least that one may ask for.
const FRAME: u32 = 16 * 1024;

/// How often the streams and the connection take turns until other tasks have theirs.
const ROUNDS: usize = 8;

/// One connection and its streams.
pub(super) struct Connection<T, S: HttpService<Incoming>> {
    library: http2::Connection<TokioIo<T>, S, Started>,
    /// Rings for the library: when there is something to read, or to write.
    bell: Bell,
    started: Started,
    streams: FuturesUnordered<Stream>,
}

/// A stream of requests' answers: all that the library does about one request.
type Stream = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where the library puts the streams that it starts.
#[derive(Clone, Default)]
pub(super) struct Started(Arc<Mutex<Vec<Stream>>>);

impl<T, S, B> Connection<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: HttpService<Incoming, ResBody = B, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
    Started: Http2ServerConnExec<S::Future, B>,
{
    /// Serves `service` over a connection that has just begun.
    pub(super) fn new(stream: T, service: S, limits: &Limits) -> Self {
        let started = Started::default();
        let mut builder = http2::Builder::new(started.clone());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.http2_streams)
            // The library refuses without a word in the log; what is not much too large is left for us to refuse.
            .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX).saturating_mul(2))
            // Streams that the client opens and resets before we look (rapid reset), and those that we have to reset.
            .max_pending_accept_reset_streams(RESETS)
            .max_local_error_reset_streams(ERRORS)
            .max_frame_size(FRAME)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER);
        let library = builder.serve_connection(TokioIo::new(stream), service);
        Self { library, bell: Bell::default(), started, streams: FuturesUnordered::new() }
    }
}

impl<T, S, B> drive::Connection for Connection<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: HttpService<Incoming, ResBody = B, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
    Started: Http2ServerConnExec<S::Future, B>,
{
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), http1::Failure>> {
        let this = self.get_mut();
        for _ in 0..ROUNDS {
            // Whatever they have to say, the library sends at once.
            while let Poll::Ready(Some(())) = this.streams.poll_next_unpin(cx) {}
            let Some(waker) = this.bell.answer(cx) else { return Poll::Pending };
            if let Poll::Ready(result) = Pin::new(&mut this.library).poll(&mut Context::from_waker(waker)) {
                // The library tells a malformed frame to the client, and not us.
                return Poll::Ready(result.map_err(|_| "io"));
            }
            this.streams.extend(this.started.take());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn end(self: Pin<&mut Self>) {
        Pin::new(&mut self.get_mut().library).graceful_shutdown();
    }
}

impl Started {
    /// What was started since it was taken last.
    fn take(&self) -> Vec<Stream> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Started {
    fn execute(&self, stream: F) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(stream));
    }
}
