//! One HTTP/1.1 connection to the app, driven by whoever holds it.
//!
//! A request is written when [`Sending`] is polled, and so is the head of the answer read; the body is read when the client
//! has taken what came before. So there is no task but the one that has the client, and nothing is handed to another.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::response::Parts;
use http_body::Frame;
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::Instant;

use super::{Fault, Message, outgoing::Outgoing, reply::Reply, stall::Stall, stream::Stream};
use crate::{clock, exchange::Trail, tunnel::Duplex};

/// A connection to the app. It is boxed when it is made, because it is handed on several times with every request.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    request: Outgoing,
    reply: Reply,
    stall: Stall,
    count: Count,
}

/// A connection's place in the gauges.
#[derive(Debug)]
struct Count {
    /// Since when it has waited for its next request, if it does.
    resting: Option<Instant>,
    gauges: Gauges,
}

/// What a connection is after an answer that switches to another protocol.
pub struct Switched {
    /// The bare stream.
    pub stream: Box<dyn Duplex>,
    /// What the app has sent behind its answer.
    pub early: Bytes,
    /// To be kept for as long as the stream: its place among the connections that are active.
    pub place: Box<dyn Send>,
}

/// How many connections to the app there are.
#[derive(Clone, Debug)]
pub struct Gauges {
    /// Those that carry a request.
    pub active: Gauge,
    /// Those that wait for one.
    pub idle: Gauge,
}

/// Why a request of the kind `M` got no answer.
#[derive(Debug)]
pub enum SendError<M> {
    /// Not a byte of the request was written: it may be sent again, whatever it is.
    Unsent(Box<M>),
    /// The app says that it did nothing with the request (RFC 9113 section 8.7): a copy may be sent, whatever it is.
    Refused(Fault),
    /// The connection ended, or what came is not HTTP.
    Broken(Fault),
    /// The header of the answer did not come in time.
    Timeout,
}

impl Connection {
    /// Speaks HTTP over a connected stream. The header of an answer may take as long as `response_timeout`.
    pub(super) fn new(stream: Stream, gauges: Gauges, response_timeout: Duration) -> Box<Self> {
        gauges.active.inc();
        Box::new(Self {
            stream,
            request: Outgoing::none(),
            reply: Reply::none(),
            stall: Stall::new(response_timeout),
            count: Count { resting: None, gauges },
        })
    }

    /// Whether it can carry another request, as far as is known: both messages are complete, and nothing came behind them.
    pub(super) fn is_idle(&self) -> bool {
        self.request.is_sent() && self.reply.is_over()
    }

    /// The same after a rest: an end that has arrived is seen, and so is an answer that nobody asked for. It must not become
    /// that of the next request.
    pub(super) fn is_still_idle(&mut self) -> bool {
        self.stream.is_silent()
    }

    /// It waits for its next request from now on.
    pub(super) fn rest(&mut self) {
        self.reply.rest();
        self.count.resting = Some(clock::now());
        self.count.gauges.active.dec();
        self.count.gauges.idle.inc();
    }

    /// It carries a request from now on.
    pub(super) fn work(&mut self) {
        self.count.resting = None;
        self.count.gauges.idle.dec();
        self.count.gauges.active.inc();
    }

    /// How long it has waited.
    pub(super) fn rested(&self) -> Duration {
        self.count.resting.map_or(Duration::ZERO, |since| clock::now().duration_since(since))
    }

    /// Sends a request, and waits for the header of the answer; then gives the connection back.
    pub fn send(mut self: Box<Self>, request: Box<Message>, trail: Arc<Trail>) -> Sending {
        self.stall.begin(trail.received());
        self.request.begin(request);
        Sending { connection: Some(self), trail }
    }

    /// Writes the request, and reads the header of the answer.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Parts, SendError<Message>>> {
        if let Poll::Ready(Err(fault)) = self.poll_request(cx) {
            return Poll::Ready(Err(match (fault, self.request.take_unsent()) {
                (Fault::Io(_), Some(unsent)) => SendError::Unsent(unsent),
                (fault, _) => SendError::Broken(fault),
            }));
        }
        // An app that has not been asked has nothing to say.
        if !self.request.has_begun() {
            return Poll::Pending;
        }
        self.reply.poll_head(&mut self.stream, cx).map_err(SendError::Broken)
    }

    /// Writes what is left of the request. Ready when nothing is.
    pub(super) fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.request.poll(&mut self.stream, &mut self.reply, cx)
    }

    /// Reads the next piece of the answer's body; `None` at its end.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        self.reply.poll_frame(&mut self.stream, cx)
    }

    /// Whether there is some of the request that the app was not sent.
    pub(super) fn is_uploading(&self) -> bool {
        !self.request.is_over()
    }

    /// Whether the answer's body was taken to its end.
    pub(super) fn is_done(&self) -> bool {
        self.reply.is_done()
    }

    /// How much of the answer's body is to come, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        self.reply.left()
    }

    /// The stream itself, once the app has switched to another protocol; `None` when it has not read all of the request.
    pub fn into_switched(self: Box<Self>) -> Option<Switched> {
        let Self { stream, request, reply, count, .. } = *self;
        let switched = || Switched { stream: Box::new(stream), early: reply.into_early(), place: Box::new(count) };
        request.is_sent().then(switched)
    }
}

/// A request that is sent, and its answer, which is waited for. Dropped before, it closes the connection.
#[derive(Debug)]
pub struct Sending {
    connection: Option<Box<Connection>>,
    trail: Arc<Trail>,
}

impl Future for Sending {
    type Output = Result<(Parts, Box<Connection>), SendError<Message>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let Some(mut connection) = this.connection.take() else {
            return Poll::Ready(Err(SendError::Broken(Fault::Ended)));
        };
        if let Poll::Ready(head) = connection.poll_head(cx) {
            return Poll::Ready(head.map(|head| (head, connection)));
        }
        // An upload that takes longer than the app may think: it has a limit of its own between its chunks.
        if connection.stall.poll_beside(cx, this.trail.received()).is_ready() {
            return Poll::Ready(Err(SendError::Timeout));
        }
        this.connection = Some(connection);
        Poll::Pending
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        if self.resting.is_some() {
            self.gauges.idle.dec()
        } else {
            self.gauges.active.dec()
        };
    }
}

#[cfg(test)]
mod tests;
