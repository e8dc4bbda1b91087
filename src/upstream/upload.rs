//! The body of a request on its way to the app.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::stall::Stall;
use crate::{
    exchange::{Interrupted, Payload, Trail, discard},
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

/// Takes out of a request's trailers what a client may not say.
pub type TrailerFilter = Arc<dyn Fn(&mut HeaderMap) + Send + Sync>;

/// A request's body. It counts what arrives, and ends what is too large or stands still.
pub struct Upload {
    /// What was read already, and is not sent.
    prefix: Bytes,
    source: Option<Payload>,
    left: u64,
    stall: Stall,
    /// Without it there are no trailers for the app.
    trailers: Option<TrailerFilter>,
    trail: Arc<Trail>,
}

/// The upload broke one of its limits, or the client went away. The trail says which.
#[derive(Debug)]
pub struct Aborted(Option<Interrupted>);

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
    /// The body `source` of a request, within `limits`.
    pub fn new(source: Payload, limits: Limits, trail: Arc<Trail>) -> Self {
        let source = (!source.is_end_stream()).then_some(source);
        if source.is_some() {
            trail.uploading(true);
        }
        let stall = Stall::new(limits.idle_timeout);
        Self { prefix: Bytes::new(), source, left: limits.max_bytes, stall, trailers: None, trail }
    }

    /// An upload without a body.
    pub(super) fn none(trail: Arc<Trail>) -> Self {
        Self { prefix: Bytes::new(), source: None, left: 0, stall: Stall::new(Duration::ZERO), trailers: None, trail }
    }

    /// The same once more, for a request that is sent again, where it is one without a body.
    pub fn again(&self) -> Option<Self> {
        self.is_end_stream().then(|| Self::none(self.trail.clone()))
    }

    /// Lets the trailers pass that `filter` leaves.
    pub fn with_trailers(mut self, filter: TrailerFilter) -> Self {
        self.trailers = Some(filter);
        self
    }

    /// Reads the body, as far as it is no larger than `most` bytes, before it is sent; `Some` length when that is all
    /// of it. What was read is sent first.
    ///
    /// # Errors
    /// The upload broke one of its limits, or the client went away.
    pub async fn gather(&mut self, most: u64) -> Result<Option<u64>, Aborted> {
        // Copied into one piece: small chunks would keep alive the large buffers that they are parts of.
        let mut gathered = BytesMut::new();
        let whole = loop {
            match poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await.transpose()? {
                None => break true,
                Some(frame) => {
                    gathered.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
                    if gathered.len() as u64 > most {
                        break false;
                    }
                }
            }
        };
        let length = gathered.len() as u64;
        self.prefix = gathered.freeze();
        if whole {
            self.source = None;
        }
        Ok(whole.then_some(length))
    }

    /// Takes back what was read last and could not be sent. It is sent first.
    pub(super) fn put_back(&mut self, piece: Bytes) {
        self.prefix = piece;
    }

    fn broken(&self, error: Interrupted) -> Aborted {
        self.trail.failed(if error.is_malformed() { Reason::FramingInvalid } else { Reason::RequestIncomplete });
        Aborted(Some(error))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.trail.uploading(false);
        // The app answered before it had read everything.
        if let Some(rest) = self.source.take() {
            discard(rest);
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let this = self.get_mut();
        if !this.prefix.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.prefix)))));
        }
        let Some(source) = &mut this.source else { return Poll::Ready(None) };
        match Pin::new(source).poll_frame(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                this.trail.receive(bytes);
                this.stall.moved();
                let Some(left) = this.left.checked_sub(bytes) else {
                    this.trail.failed(Reason::BodyTooLarge);
                    return Poll::Ready(Some(Err(Aborted(None))));
                };
                this.left = left;
                if let Some(trailers) = frame.trailers_mut() {
                    // Nothing comes after them.
                    match &this.trailers {
                        Some(filter) => filter(trailers),
                        None => return Poll::Ready(None),
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(this.broken(error)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending if this.stall.poll(cx).is_ready() => {
                this.trail.failed(Reason::RequestTimeout);
                Poll::Ready(Some(Err(Aborted(None))))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.prefix.is_empty() && self.source.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Some(source) if self.prefix.is_empty() => source.size_hint(),
            Some(_) => SizeHint::default(),
            None => SizeHint::with_exact(self.prefix.len() as u64),
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("source", &self.source).field("left", &self.left).finish_non_exhaustive()
    }
}
