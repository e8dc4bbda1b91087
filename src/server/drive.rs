//! Drives a connection within its limits, and ends it when the server drains.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    activity::{Activity, Finding},
    bell::Bell,
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
    // Nearly all wake-ups are the connection's, and then the timer and the drain need not be asked.
    let mut bell = Bell::default();
    let (mut drained, mut ended) = (false, false);
    let mut poll = |cx: &mut Context<'_>| {
        loop {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(result.map(|()| End::Done));
            }
            let Some(waker) = bell.answer(cx) else { return Poll::Pending };
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
