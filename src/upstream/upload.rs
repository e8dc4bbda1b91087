//! The body of a request on its way to the app.

use std::{
    error::Error as _,
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Version;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::stall::Stall;
use crate::{
    exchange::{Trail, discard},
    reason::Reason,
};

/// What an upload may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most bytes. `u64::MAX` = no limit.
    pub max_bytes: u64,
    /// The longest pause between two chunks. 0 = no limit.
    pub idle_timeout: Duration,
}

/// A request's body. It counts what arrives, and ends what is too large or stands still.
#[derive(Debug)]
pub struct Upload {
    source: Option<Incoming>,
    version: Version,
    left: u64,
    stall: Stall,
    trail: Arc<Trail>,
}

/// The upload broke one of its limits, or the client went away. The trail says which.
#[derive(Debug)]
pub struct Aborted(Option<hyper::Error>);

impl fmt::Display for Aborted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(error) => write!(f, "the client broke off the request: {error}"),
            None => f.write_str("the request's body broke a limit"),
        }
    }
}

impl std::error::Error for Aborted {}

impl Upload {
    /// The body `source` of a request of this version, within `limits`.
    pub fn new(source: Incoming, version: Version, limits: Limits, trail: Arc<Trail>) -> Self {
        let source = (!source.is_end_stream()).then_some(source);
        Self { source, version, left: limits.max_bytes, stall: Stall::new(limits.idle_timeout), trail }
    }

    /// An upload without a body, for a request that is sent again.
    pub fn none(trail: Arc<Trail>) -> Self {
        Self { source: None, version: Version::HTTP_11, left: 0, stall: Stall::new(Duration::ZERO), trail }
    }
}

/// Whether the client broke off its body, or broke its form.
fn reason(error: &hyper::Error) -> Reason {
    match error.source().and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind) {
        Some(io::ErrorKind::InvalidData) => Reason::FramingInvalid,
        _ => Reason::RequestIncomplete,
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // The app answered before it had read everything.
        if let Some(rest) = self.source.take() {
            discard(rest, self.version);
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let this = self.get_mut();
        let Some(source) = &mut this.source else { return Poll::Ready(None) };
        match Pin::new(source).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                this.trail.receive(bytes);
                this.stall.moved();
                let Some(left) = this.left.checked_sub(bytes) else {
                    this.trail.failed(Reason::BodyTooLarge);
                    return Poll::Ready(Some(Err(Aborted(None))));
                };
                this.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.trail.failed(reason(&error));
                Poll::Ready(Some(Err(Aborted(Some(error)))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending if this.stall.poll(cx).is_ready() => {
                this.trail.failed(Reason::RequestTimeout);
                Poll::Ready(Some(Err(Aborted(None))))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.source.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.source.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}
