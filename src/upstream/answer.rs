//! The body of the app's answer: it drives the connection that it arrives on, and gives it back when it is complete.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;

use super::{Connection, Pool, stall::Stall};
use crate::{exchange::Trail, reason::Reason};

pin_project! {
    /// The app's stream. Dropped before its end it closes the connection, which tells the app that nobody listens.
    #[derive(Debug)]
    pub struct Answer {
        #[pin]
        source: Incoming,
        lease: Option<Lease>,
        stall: Stall,
        trail: Arc<Trail>,
    }
}

#[derive(Debug)]
struct Lease {
    connection: Connection,
    pool: Option<Arc<Pool>>,
}

/// The app broke off its answer, or stood still for too long. A client must see this as an aborted answer, never as
/// a clean end.
#[derive(Debug)]
pub struct Broken(Option<hyper::Error>);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(error) => write!(f, "the app broke off its answer: {error}"),
            None => f.write_str("the app's answer stood still for too long"),
        }
    }
}

impl std::error::Error for Broken {}

impl Answer {
    /// The body `source`, which arrives on `connection` and ends it unless there is a `pool` to take it. `idle_timeout`
    /// is the longest pause between two chunks.
    pub fn new(
        source: Incoming,
        connection: Connection,
        pool: Option<Arc<Pool>>,
        idle_timeout: Duration,
        trail: Arc<Trail>,
    ) -> Self {
        let mut lease = Some(Lease { connection, pool });
        if source.is_end_stream() {
            give_back(&mut lease);
        }
        Self { source, lease, stall: Stall::new(idle_timeout), trail }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let mut this = self.project();
        // As in `Connection::send`: the driver alone needs the real waker, the rest is fed by it.
        let mut unwoken = Context::from_waker(Waker::noop());
        let mut polled = this.source.as_mut().poll_frame(&mut unwoken);
        if let (Poll::Pending, Some(lease)) = (&polled, this.lease.as_mut()) {
            lease.connection.drive(cx);
            polled = this.source.as_mut().poll_frame(&mut unwoken);
        }
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.stall.moved();
                if this.source.is_end_stream() {
                    give_back(this.lease);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                give_back(this.lease);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                this.trail.failed(Reason::UpstreamBroken);
                Poll::Ready(Some(Err(Broken(Some(error)))))
            }
            Poll::Pending if this.lease.as_ref().is_none_or(|lease| lease.connection.is_closed()) => {
                this.trail.failed(Reason::UpstreamBroken);
                Poll::Ready(Some(Err(Broken(None))))
            }
            Poll::Pending if this.stall.poll(cx).is_ready() => {
                this.trail.failed(Reason::UpstreamTimeout);
                Poll::Ready(Some(Err(Broken(None))))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}

fn give_back(lease: &mut Option<Lease>) {
    if let Some(Lease { connection, pool: Some(pool) }) = lease.take() {
        pool.check_in(connection);
    }
}
