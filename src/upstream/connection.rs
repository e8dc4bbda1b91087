//! One HTTP/1.1 connection to the app, driven by whoever holds it.

use std::{
    error::Error as _,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{
        TrySendError,
        http1::{self, SendRequest},
    },
};
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Upload,
    stall::Stall,
    stream::{Look, Stream},
};
use crate::{exchange::Trail, tunnel::Duplex};

/// Larger header sections of an answer are refused. It is also how far an answer is read ahead of a client that does not
/// read: memory per request, of which hyper would take 400 KiB.
pub(super) const MAX_HEADER_BYTES: usize = 64 * 1024;

/// A connection to the app. It is boxed when it is made, because it is handed on several times with every request.
pub struct Connection {
    sender: SendRequest<Upload>,
    driver: Driver,
    closed: bool,
    look: Look,
    count: Count,
    stall: Stall,
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

/// What makes a connection read and write.
enum Driver {
    /// Whoever holds it.
    Held(Pin<Box<http1::Connection<TokioIo<Stream>, Upload>>>),
    /// A task of its own, which ends with it.
    Spawned(#[expect(dead_code, reason = "kept to be dropped")] AbortOnDropHandle<()>),
}

/// How many connections to the app there are.
#[derive(Clone, Debug)]
pub struct Gauges {
    /// Those that carry a request.
    pub active: Gauge,
    /// Those that wait for one.
    pub idle: Gauge,
}

/// Why a request got no answer.
#[derive(Debug)]
pub enum SendError {
    /// Not a byte of the request was written: it may be sent again, whatever it is.
    Unsent(Box<Request<Upload>>),
    /// The app says that it did nothing with the request (RFC 9113 section 8.7): a copy may be sent, whatever it is.
    Refused(hyper::Error),
    /// The connection ended, or what came is not HTTP.
    Broken(hyper::Error),
    /// The connection ended without a word.
    Closed,
    /// The header of the answer did not come in time.
    Timeout,
}

impl Connection {
    /// Speaks HTTP over a connected stream. The header of an answer may take as long as `response_timeout`.
    pub(super) async fn new(
        stream: Stream,
        gauges: Gauges,
        response_timeout: Duration,
    ) -> Result<Box<Self>, hyper::Error> {
        let look = stream.look();
        let (sender, driver) = http1::Builder::new()
            .max_header_size(MAX_HEADER_BYTES)
            .max_buf_size(MAX_HEADER_BYTES)
            .handshake(TokioIo::new(stream))
            .await?;
        gauges.active.inc();
        Ok(Box::new(Self {
            sender,
            driver: Driver::Held(Box::pin(driver)),
            closed: false,
            look,
            count: Count { resting: None, gauges },
            stall: Stall::new(response_timeout),
        }))
    }

    /// Whether it can carry another request. Leaves no waker behind, so that nothing which happens to an idle connection
    /// wakes the task that used it last. Bytes that came after the answer and were read with it are found here.
    pub(super) fn is_idle(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.closed && !self.is_driven() && self.sender.is_ready()
    }

    /// The same after a rest, by a look at the socket itself: an end that has arrived is seen, and so is an answer that
    /// nobody asked for. It must not become that of the next request.
    pub(super) fn is_still_idle(&mut self) -> bool {
        self.look.set(true);
        let idle = self.is_idle();
        self.look.set(false);
        idle
    }

    /// It waits for its next request from now on.
    pub(super) fn rest(&mut self) {
        self.count.resting = Some(Instant::now());
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
        self.count.resting.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Sends a request, and drives the connection until the header of the answer is there; then gives it back.
    ///
    /// # Errors
    /// The connection ended, what came is not HTTP, or nothing came within `response_timeout` of the last byte sent.
    pub fn send(
        mut self: Box<Self>,
        request: Request<Upload>,
        trail: Arc<Trail>,
    ) -> impl Future<Output = Result<(Response<Incoming>, Box<Self>), SendError>> + Send + use<> {
        self.stall.begin(trail.received());
        // Handed over here and now: a future that held the request until its first poll would be twice as large.
        let answer = self.sender.try_send_request(request);
        Sending { connection: Some(self), answer, trail }
    }

    /// Lets the connection read and write what it can.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Driver::Held(driver) = &mut self.driver
            && !self.closed
        {
            self.closed = driver.as_mut().poll(cx).is_ready();
        }
    }

    /// Whether a task of its own drives it, so that whoever waits for it has to be woken by it.
    pub(super) fn is_driven(&self) -> bool {
        matches!(self.driver, Driver::Spawned(_))
    }

    /// Gives it a task of its own, so that the upload goes on while nobody takes the answer.
    fn detach(mut self: Box<Self>) -> Box<Self> {
        self.driver = match self.driver {
            // What goes wrong is told by the body of the answer.
            Driver::Held(driver) => {
                Driver::Spawned(AbortOnDropHandle::new(tokio::spawn(async move { drop(driver.await) })))
            }
            spawned @ Driver::Spawned(_) => spawned,
        };
        self
    }

    /// The stream itself, once the app has switched to another protocol; `None` when it has not.
    #[expect(clippy::boxed_local, reason = "that is how it comes")]
    pub fn into_switched(mut self: Box<Self>) -> Option<Switched> {
        // hyper ends a connection with the header of such an answer, without shutting it down.
        self.drive(&mut Context::from_waker(Waker::noop()));
        let Self { driver: Driver::Held(driver), closed: true, count, .. } = *self else { return None };
        let parts = Pin::into_inner(driver).into_parts();
        Some(Switched { stream: Box::new(parts.io.into_inner()), early: parts.read_buf, place: Box::new(count) })
    }

    /// Whether nothing more will come.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }
}

pin_project! {
    /// A request that was handed to its connection.
    struct Sending<F> {
        connection: Option<Box<Connection>>,
        #[pin]
        answer: F,
        trail: Arc<Trail>,
    }
}

impl<F> Future for Sending<F>
where
    F: Future<Output = Result<Response<Incoming>, TrySendError<Request<Upload>>>>,
{
    type Output = Result<(Response<Incoming>, Box<Connection>), SendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(connection) = this.connection else { return Poll::Ready(Err(SendError::Closed)) };
        // Only the driver can make progress, and it is polled right here: it alone needs the real waker.
        let mut unwoken = Context::from_waker(Waker::noop());
        connection.drive(cx);
        if let Poll::Ready(answer) = this.answer.as_mut().poll(&mut unwoken) {
            let response = answer?;
            let Some(connection) = this.connection.take() else { return Poll::Ready(Err(SendError::Closed)) };
            let connection = if this.trail.is_uploading() { connection.detach() } else { connection };
            return Poll::Ready(Ok((response, connection)));
        }
        if connection.closed {
            return Poll::Ready(Err(SendError::Closed));
        }
        // An upload that takes longer than the app may think: it has a limit of its own between its chunks.
        if connection.stall.poll_beside(cx, this.trail.received()).is_ready() {
            return Poll::Ready(Err(SendError::Timeout));
        }
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

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("closed", &self.closed)
            .field("resting", &self.count.resting)
            .finish_non_exhaustive()
    }
}

impl From<TrySendError<Request<Upload>>> for SendError {
    fn from(mut error: TrySendError<Request<Upload>>) -> Self {
        if let Some(request) = error.take_message() {
            return Self::Unsent(Box::new(request));
        }
        let error = error.into_error();
        if is_refused(&error) { Self::Refused(error) } else { Self::Broken(error) }
    }
}

/// Whether the app has said of this request that it did nothing with it. A GOAWAY is the error of those streams alone
/// that are above its last: the others go on, and have the end of the connection for their error.
fn is_refused(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        cause.is_remote() && (cause.is_go_away() || cause.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}
