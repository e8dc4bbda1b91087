//! The body of the app's answer: it drives the connection that it arrives on, and gives it back when it is complete.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{Connection, Fault, Pool, Stream, detached::Detached, stall::Stall};
use crate::{exchange::Trail, reason::Reason};

/// The app's stream. Dropped before its end it closes the connection, which tells the app that nobody listens.
#[derive(Debug)]
pub struct Answer {
    /// `None` at its end.
    lease: Option<Lease>,
    stall: Stall,
    trail: Arc<Trail>,
}

/// What an answer arrives on.
#[derive(Debug)]
pub enum Lease {
    /// A connection of its own, and the pool that takes it afterwards, if it can be used again.
    Own(Box<Connection>, Option<Arc<Pool>>),
    /// One that goes on with the request.
    Detached(Detached),
    /// A stream of the shared connection.
    Shared(Incoming, Stream),
}

/// The app broke off its answer, or stood still for too long. A client must see this as an aborted answer, never as
/// a clean end.
#[derive(Debug)]
pub struct Broken(Option<Fault>);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(fault) => write!(f, "the app broke off its answer: {fault}"),
            None => f.write_str("the app's answer stood still for too long"),
        }
    }
}

impl std::error::Error for Broken {}

impl Answer {
    /// The body that arrives on `lease`. `idle_timeout` is the longest pause between two chunks.
    pub fn new(lease: Lease, idle_timeout: Duration, trail: Arc<Trail>) -> Self {
        let mut stall = Stall::new(idle_timeout);
        stall.begin(trail.received());
        let mut answer = Self { lease: None, stall, trail };
        if lease.is_done() {
            answer.give_back(lease);
            return answer;
        }
        answer.lease = Some(match lease {
            Lease::Own(connection, _) if connection.is_uploading() => Lease::Detached(Detached::new(connection)),
            lease @ (Lease::Own(..) | Lease::Detached(_) | Lease::Shared(..)) => lease,
        });
        answer
    }

    fn give_back(&self, lease: Lease) {
        match lease {
            Lease::Own(connection, Some(pool)) => pool.check_in(connection),
            Lease::Shared(_, stream) if !self.trail.is_uploading() => stream.end(),
            Lease::Own(_, None) | Lease::Detached(_) | Lease::Shared(..) => {}
        }
    }

    fn broken(&self, reason: Reason, fault: Option<Fault>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.trail.failed(reason);
        Poll::Ready(Some(Err(Broken(fault))))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        while let Some(lease) = &mut this.lease {
            let polled = lease.poll_frame(cx);
            if lease.is_done()
                && let Some(lease) = this.lease.take()
            {
                this.give_back(lease);
            }
            match polled {
                Poll::Ready(Some(Ok(mut frame))) => {
                    if !frame.trailers_mut().is_some_and(is_emptied) {
                        this.stall.moved();
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Poll::Ready(Some(Err(fault))) => return this.broken(Reason::UpstreamBroken, Some(fault)),
                Poll::Ready(None) => break,
                Poll::Pending if this.stall.poll_beside(cx, this.trail.received()).is_ready() => {
                    return this.broken(Reason::UpstreamTimeout, None);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.lease.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let left = match &self.lease {
            Some(Lease::Own(connection, _)) => connection.left(),
            Some(Lease::Detached(detached)) => detached.left(),
            Some(Lease::Shared(source, _)) => return source.size_hint(),
            None => Some(0),
        };
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Lease {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self {
            Self::Own(connection, _) => connection.poll_frame(cx),
            Self::Detached(detached) => detached.poll_frame(cx),
            Self::Shared(source, _) => Pin::new(source).poll_frame(cx).map_err(Fault::from),
        }
    }

    /// Whether the body was taken to its end.
    fn is_done(&self) -> bool {
        match self {
            Self::Own(connection, _) => connection.is_done(),
            Self::Detached(detached) => detached.is_done(),
            Self::Shared(source, _) => source.is_end_stream(),
        }
    }
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
