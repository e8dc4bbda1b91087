//! An answer on its way in, from the connection that it arrives on.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{Method, response::Parts};
use http_body::Frame;
use tokio_util::io::poll_read_buf;

use super::{fault::Fault, stream::Stream};
use crate::http1::{
    answer::{Answer, Scan},
    content::Content,
    input::{SOME, poll_some},
};

/// What is read at once while there is much, in bytes. It is also how far an answer is read ahead of a client that does not
/// read: memory per request.
const LARGE: usize = 64 * 1024;

/// What is read of one answer.
#[derive(Debug)]
pub(super) struct Reply {
    /// What was read and not taken.
    read: BytesMut,
    /// Whether the last read was as long as it could be.
    flows: bool,
    scan: Scan,
    /// The method of the request.
    method: Method,
    /// What is to come of the body.
    content: Content,
    /// Whether another answer may come over this connection after this one.
    persistent: bool,
}

impl Reply {
    /// None is expected.
    pub(super) fn none() -> Self {
        Self {
            read: BytesMut::new(),
            flows: false,
            scan: Scan::default(),
            method: Method::GET,
            content: Content::Length(0),
            persistent: true,
        }
    }

    /// The next one answers a request of this method.
    pub(super) fn expect(&mut self, method: Method) {
        self.flows = false;
        self.method = method;
    }

    /// Reads its head.
    pub(super) fn poll_head(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<Result<Parts, Fault>> {
        loop {
            if ready!(self.poll_read(stream, cx))? == 0 {
                return Poll::Ready(Err(Fault::Ended));
            }
            if let Some(answer) = self.scan.take(&mut self.read, &self.method)? {
                let Answer { head, content, persistent } = answer;
                self.content = content;
                self.persistent &= persistent;
                return Poll::Ready(Ok(head));
            }
        }
    }

    /// Reads the next piece of its body; `None` at its end.
    pub(super) fn poll_frame(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        loop {
            if let Some(frame) = self.content.take(&mut self.read)? {
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.content.is_done() {
                return Poll::Ready(None);
            }
            if ready!(self.poll_read(stream, cx))? == 0 {
                if matches!(self.content, Content::UntilEnd) {
                    self.content = Content::Length(0);
                    self.persistent = false;
                    return Poll::Ready(None);
                }
                return Poll::Ready(Some(Err(Fault::Ended)));
            }
        }
    }

    fn poll_read(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let count = if self.flows {
            self.read.reserve(LARGE);
            let polled = poll_read_buf(Pin::new(stream), cx, &mut self.read);
            if polled.is_pending() && self.read.is_empty() {
                self.rest();
            }
            ready!(polled)?
        } else {
            ready!(poll_some(stream, cx, &mut self.read))?
        };
        self.flows = count >= SOME;
        Poll::Ready(Ok(count))
    }

    /// Whether all of the body was taken.
    pub(super) fn is_done(&self) -> bool {
        self.content.is_done()
    }

    /// How much of the body is to come, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        self.content.left()
    }

    /// Whether it was taken to its end, and nothing has come behind it.
    pub(super) fn is_over(&self) -> bool {
        self.persistent && self.content.is_done() && self.read.is_empty()
    }

    /// Lets go of the buffer, while there is nothing to be read.
    pub(super) fn rest(&mut self) {
        self.read = BytesMut::new();
    }

    /// What was read behind a head without a body.
    pub(super) fn into_early(self) -> Bytes {
        self.read.freeze()
    }
}
