//! A limit on how long a stream may stand still.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::clock;

/// Ends a stream that makes no progress. Its timer is made when the stream first has to wait, and moved only when it
/// fires: most bodies never wait, and pay nothing.
#[derive(Debug)]
pub(super) struct Stall {
    limit: Option<Duration>,
    /// What `poll_beside` saw last.
    seen: u64,
    timer: Option<Timer>,
}

#[derive(Debug)]
struct Timer {
    /// When the stream moved last.
    progress: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Stall {
    /// A limit; 0 = none.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit: (!limit.is_zero()).then_some(limit), seen: 0, timer: None }
    }

    /// The stream moved.
    pub(super) fn moved(&mut self) {
        if let Some(timer) = &mut self.timer {
            timer.progress = clock::now();
        }
    }

    /// The stream begins, beside another that `poll_beside` is told of.
    pub(super) fn begin(&mut self, count: u64) {
        self.seen = count;
        self.moved();
    }

    /// The stream has to wait: ready when it has waited for too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(limit) = self.limit else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| {
            let progress = clock::now();
            Timer { progress, sleep: Box::pin(sleep_until(progress + limit)) }
        });
        while timer.sleep.as_mut().poll(cx).is_ready() {
            let end = timer.progress + limit;
            // The timer fires by the exact time; by that of the turn, which is earlier, it could fire again and again.
            if end <= Instant::now() {
                return Poll::Ready(());
            }
            timer.sleep.as_mut().reset(end);
        }
        Poll::Pending
    }

    /// The same for a stream that stands still beside another: it may wait for as long as the other, of which `count` is
    /// a measure, goes on.
    pub(super) fn poll_beside(&mut self, cx: &mut Context<'_>, count: u64) -> Poll<()> {
        while self.poll(cx).is_ready() {
            if self.seen == count {
                return Poll::Ready(());
            }
            self.seen = count;
            self.moved();
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::advance;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    async fn is_over(stall: &mut Stall) -> bool {
        poll_fn(|cx| Poll::Ready(stall.poll(cx).is_ready())).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_stands_still_ends() {
        let mut stall = Stall::new(LIMIT);
        assert!(!is_over(&mut stall).await);
        advance(LIMIT).await;
        assert!(is_over(&mut stall).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_moves_goes_on() {
        let mut stall = Stall::new(LIMIT);
        for _ in 0..5 {
            assert!(!is_over(&mut stall).await);
            advance(LIMIT * 9 / 10).await;
            stall.moved();
        }
        assert!(!is_over(&mut stall).await);
        advance(LIMIT).await;
        assert!(is_over(&mut stall).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_may_wait_for_another_that_moves() {
        let mut stall = Stall::new(LIMIT);
        for count in [0, 0, 1, 2, 2] {
            let over = poll_fn(|cx| Poll::Ready(stall.poll_beside(cx, count).is_ready())).await;
            assert!(!over, "{count}");
            advance(LIMIT * 2 / 3).await;
        }
        advance(LIMIT).await;
        assert!(poll_fn(|cx| Poll::Ready(stall.poll_beside(cx, 2).is_ready())).await);
    }

    #[tokio::test(start_paused = true)]
    async fn zero_is_no_limit() {
        let mut stall = Stall::new(Duration::ZERO);
        advance(LIMIT * 1000).await;
        assert!(!is_over(&mut stall).await);
    }
}
