//! The body of the app's answer: it drives the connection that it arrives on, and gives it back when it is complete.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;

use super::{Connection, Pool, Stream, stall::Stall};
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

/// What an answer arrives on.
#[derive(Debug)]
pub enum Lease {
    /// A connection of its own, and the pool that takes it afterwards, if it can be used again.
    Own(Box<Connection>, Option<Arc<Pool>>),
    /// A stream of the shared connection.
    Shared(Stream),
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
    /// The body `source`, which arrives on `lease`. `idle_timeout` is the longest pause between two chunks.
    pub fn new(source: Incoming, lease: Lease, idle_timeout: Duration, trail: Arc<Trail>) -> Self {
        let mut lease = Some(lease);
        if source.is_end_stream() {
            give_back(&mut lease, &trail);
        }
        let mut stall = Stall::new(idle_timeout);
        stall.begin(trail.received());
        Self { source, lease, stall, trail }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let mut this = self.project();
        let polled = loop {
            let mut polled = read(this.source.as_mut(), this.lease.as_mut(), cx);
            if let Poll::Ready(Some(Ok(frame))) = &mut polled
                && frame.trailers_mut().is_some_and(is_emptied)
            {
                continue;
            }
            break polled;
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.stall.moved();
                if this.source.is_end_stream() {
                    give_back(this.lease, this.trail);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                give_back(this.lease, this.trail);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                this.trail.failed(Reason::UpstreamBroken);
                Poll::Ready(Some(Err(Broken(Some(error)))))
            }
            Poll::Pending if this.lease.as_ref().is_none_or(Lease::has_ended) => {
                this.trail.failed(Reason::UpstreamBroken);
                Poll::Ready(Some(Err(Broken(None))))
            }
            Poll::Pending if this.stall.poll_beside(cx, this.trail.received()).is_ready() => {
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

impl Lease {
    /// Whether nothing more will come.
    fn has_ended(&self) -> bool {
        match self {
            Self::Own(connection, _) => connection.is_closed(),
            // The source itself tells.
            Self::Shared(_) => false,
        }
    }
}

fn read(
    mut source: Pin<&mut Incoming>,
    lease: Option<&mut Lease>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
    let connection = match lease {
        Some(Lease::Own(connection, _)) if !connection.is_driven() => connection,
        Some(Lease::Own(..) | Lease::Shared(_)) | None => return source.poll_frame(cx),
    };
    // As in `Connection::send`: the driver alone needs the real waker, the rest is fed by it.
    let mut unwoken = Context::from_waker(Waker::noop());
    let polled = source.as_mut().poll_frame(&mut unwoken);
    if polled.is_ready() {
        return polled;
    }
    connection.drive(cx);
    source.poll_frame(&mut unwoken)
}

/// Takes out of an answer's trailers what frames or routes a message, or must be known before its content (RFC 9110
/// section 6.5.1): some client would act on it where another already acted on the header. Says whether nothing is left.
fn is_emptied(trailers: &mut HeaderMap) -> bool {
    const NEVER: [&str; 22] = [
        "age",
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "date",
        "expires",
        "host",
        "keep-alive",
        "location",
        "proxy-authenticate",
        "proxy-connection",
        "retry-after",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "www-authenticate",
    ];
    for name in NEVER {
        trailers.remove(name);
    }
    trailers.is_empty()
}

fn give_back(lease: &mut Option<Lease>, trail: &Trail) {
    match lease.take() {
        Some(Lease::Own(connection, Some(pool))) => pool.check_in(connection),
        Some(Lease::Shared(stream)) if !trail.is_uploading() => stream.end(),
        Some(Lease::Own(_, None) | Lease::Shared(_)) | None => {}
    }
}
