//! HTTP/2: the library's connection, and the streams that it serves, in one task.
//!
//! The library would have each stream be a task of its own. The runtime aligns its tasks to cache lines, which takes the
//! slow way through the allocator, and each has to be entered in lists and counted; all that is a twentieth of what a
//! small request costs.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
};

use futures_util::{
    FutureExt,
    stream::{FuturesUnordered, StreamExt},
};
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

/// How often the streams and the library take turns until other tasks have theirs: what the streams say is written, and
/// what is read is begun.
const ROUNDS: usize = 2;

/// One connection and its streams.
pub(super) struct Connection<T, S: HttpService<Incoming>> {
    library: http2::Connection<TokioIo<T>, S, Starts>,
    /// Rings for the library: when there is something to read, or to write.
    bell: Bell,
    started: Arc<Started>,
    streams: FuturesUnordered<Serving>,
}

/// All that the library does about one request.
type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The streams that were started, and have not been polled yet.
type Started = Mutex<Vec<Serving>>;

/// What starts streams for the library. It does not own them: each stream has one of these, and would own itself.
#[derive(Clone, Debug)]
pub(super) struct Starts(Weak<Started>);

impl<T, S, B> Connection<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: HttpService<Incoming, ResBody = B, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
    Starts: Http2ServerConnExec<S::Future, B>,
{
    /// Serves `service` over a connection that has just begun.
    pub(super) fn new(stream: T, service: S, limits: &Limits) -> Self {
        let started = Arc::default();
        let mut builder = http2::Builder::new(Starts(Arc::downgrade(&started)));
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
    Starts: Http2ServerConnExec<S::Future, B>,
{
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), http1::Failure>> {
        let this = self.get_mut();
        for _ in 0..ROUNDS {
            // Whatever they have to say, the library sends at once.
            go_on(&mut this.streams, cx);
            let Some(waker) = this.bell.answer(cx) else { return Poll::Pending };
            if let Poll::Ready(result) = Pin::new(&mut this.library).poll(&mut Context::from_waker(waker)) {
                // They shall see why their connection has ended. Those that have not begun have nobody to answer.
                go_on(&mut this.streams, cx);
                // The library tells a malformed frame to the client, and not us.
                return Poll::Ready(result.map_err(|_| "io"));
            }
            this.streams.extend(lock(&this.started).drain(..));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn end(self: Pin<&mut Self>) {
        let this = self.get_mut();
        Pin::new(&mut this.library).graceful_shutdown();
        // It says goodbye when it is polled next, and wakes nobody for that.
        this.bell.ring();
    }
}

/// Lets those streams go on that can. Those that say something wake the library.
fn go_on(streams: &mut FuturesUnordered<Serving>, cx: &mut Context<'_>) {
    while let Poll::Ready(Some(())) = streams.poll_next_unpin(cx) {}
}

/// Never contended: a connection and its streams are one task.
fn lock(started: &Started) -> MutexGuard<'_, Vec<Serving>> {
    started.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Starts {
    fn execute(&self, stream: F) {
        // Without the connection nobody waits for an answer.
        let Some(started) = self.0.upgrade() else { return };
        // A stream that panics ends alone, as a task would: the others of its connection may be other people's.
        let serving = AssertUnwindSafe(stream).catch_unwind().map(drop);
        lock(&started).push(Box::pin(serving));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "that is what is tested")]

    use std::task::Waker;

    use super::*;

    #[test]
    fn a_stream_that_panics_takes_no_other_with_it() {
        let started = Arc::<Started>::default();
        let starts = Starts(Arc::downgrade(&started));
        starts.execute(async { panic!("on purpose") });
        starts.execute(async {});
        let mut streams: FuturesUnordered<_> = lock(&started).drain(..).collect();
        assert_eq!(streams.len(), 2);
        go_on(&mut streams, &mut Context::from_waker(Waker::noop()));
        assert!(streams.is_empty());
    }

    #[test]
    fn what_starts_streams_does_not_keep_them() {
        let started = Arc::<Started>::default();
        let starts = Starts(Arc::downgrade(&started));
        let within = starts.clone();
        starts.execute(async move { drop(within) });
        drop(started);
        assert!(starts.0.upgrade().is_none());
        starts.execute(async {});
    }
}
