//! Drives a connection within its limits, and ends it when the server drains.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{AcqRel, Release},
        },
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use http_body::Body;
use hyper::{
    body::Incoming,
    rt::{Read, Write},
    server::conn::http2,
    service::HttpService,
};
use hyper_util::rt::TokioExecutor;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    activity::{Activity, Finding},
    http1,
};
use crate::{clock, config::Limits};

/// How long a client has to take note that an idle connection ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// How a connection ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// HTTP has nothing more to say on it.
    Done,
    /// It was idle for too long, or when the server drained.
    Cut,
}

/// A connection that can be asked to end after the requests that it has.
pub(super) trait Connection {
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), http1::Failure>>;
    fn end(self: Pin<&mut Self>);
}

impl<T: AsyncRead + AsyncWrite + Unpin, A: http1::Answers> Connection for http1::Connection<T, A> {
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), http1::Failure>> {
        self.get_mut().poll(cx)
    }

    fn end(self: Pin<&mut Self>) {
        self.get_mut().end();
    }
}

impl<I, B, S> Connection for http2::Connection<I, S, TokioExecutor>
where
    S: HttpService<
            Incoming,
            ResBody = B,
            Future: Send + 'static,
            Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        >,
    I: Read + Write + Unpin,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    TokioExecutor: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), http1::Failure>> {
        // The library tells a malformed frame to the client, and not us.
        Future::poll(self, cx).map_err(|_| "io")
    }

    fn end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Drives `connection` to its end.
///
/// # Errors
/// The reason for the metrics when it did not end well.
pub(super) async fn drive<C: Connection>(
    mut connection: Pin<&mut C>,
    activity: &Activity,
    limits: &Limits,
    http2: bool,
    drain: &CancellationToken,
) -> Result<End, http1::Failure> {
    let mut timer = pin!(sleep_until(activity.first_look(limits)));
    let mut draining = pin!(drain.cancelled());
    let mut bell: Option<(Arc<Bell>, Waker)> = None;
    let (mut drained, mut ended) = (false, false);
    let mut poll = |cx: &mut Context<'_>| {
        loop {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(result.map(|()| End::Done));
            }
            let (bell, waker) = bell.get_or_insert_with(|| Bell::new(cx.waker()));
            if !bell.has_rung() {
                return Poll::Pending;
            }
            let mut rung = Context::from_waker(waker);
            if !drained && draining.as_mut().poll(&mut rung).is_ready() {
                drained = true;
                if activity.is_idle() && !http2 {
                    return Poll::Ready(Ok(End::Cut));
                }
                connection.as_mut().end();
                ended = true;
                timer.as_mut().reset(Instant::now() + FAREWELL);
            }
            while timer.as_mut().poll(&mut rung).is_ready() {
                // A client that is asleep does not answer the goodbye of HTTP/2.
                if ended && http2 && !activity.is_busy() {
                    return Poll::Ready(Ok(End::Cut));
                }
                match activity.look(limits, http2) {
                    Finding::Look(then) if ended => timer.as_mut().reset(then.min(Instant::now() + FAREWELL)),
                    Finding::Look(then) => timer.as_mut().reset(then),
                    Finding::Late => return Poll::Ready(Err("header_timeout")),
                    Finding::Stuck => return Poll::Ready(Err("stuck")),
                    Finding::Idle if ended => return Poll::Ready(Ok(End::Cut)),
                    Finding::Idle => {
                        ended = true;
                        connection.as_mut().end();
                        timer.as_mut().reset(Instant::now() + FAREWELL);
                    }
                }
            }
        }
    };
    // All that the connection does now happens at one moment.
    poll_fn(|cx| clock::turn(|| poll(cx))).await
}

/// Tells a wake-up by the timer or the drain from one by the connection. Nearly all are the connection's, and then the
/// other two need not be asked.
struct Bell {
    rung: AtomicBool,
    task: Waker,
}

impl Bell {
    /// A bell for `task`, and the waker that rings it. It has rung, so that the first look is taken.
    fn new(task: &Waker) -> (Arc<Self>, Waker) {
        let bell = Arc::new(Self { rung: AtomicBool::new(true), task: task.clone() });
        (bell.clone(), Waker::from(bell))
    }

    fn has_rung(&self) -> bool {
        self.rung.swap(false, AcqRel)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Release);
        self.task.wake_by_ref();
    }
}
