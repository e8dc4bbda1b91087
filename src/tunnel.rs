//! A client and the app after an upgrade: bytes go both ways until both sides have ended, or a limit ends them.

use std::{
    fmt,
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http::Extensions;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use crate::{exchange::Trail, reason::Reason};

/// Bytes that are read at once. They are on the stack: a tunnel that is idle has no buffer, and so costs no more than
/// its two sockets.
const CHUNK: usize = 16 * 1024;

/// A stream that bytes go into and come out of.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// How long a tunnel may last.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The longest pause in which nothing goes either way. `None` = no limit.
    pub idle_timeout: Option<Duration>,
    /// When it ends, whatever it does, and why.
    pub end: Option<(Instant, Reason)>,
}

/// The app's half of a tunnel, until the client's is there.
pub struct Tunnel {
    app: Box<dyn Duplex>,
    /// What the app sent right behind its answer.
    early: Bytes,
    terms: Terms,
    trail: Arc<Trail>,
    _place: Box<dyn Send>,
}

impl Tunnel {
    /// A tunnel to `app`, which has sent `early` behind its answer. What goes through is counted in `trail`; `place` is
    /// kept until its end.
    pub fn new(app: Box<dyn Duplex>, early: Bytes, place: Box<dyn Send>, terms: Terms, trail: Arc<Trail>) -> Self {
        Self { app, early, terms, trail, _place: place }
    }

    /// Leaves it with an answer, for whoever has the client's connection.
    pub fn leave(self, extensions: &mut Extensions) {
        extensions.insert(Left(Arc::new(Mutex::new(Some(self)))));
    }

    /// The one that was left with an answer.
    pub fn take(extensions: &mut Extensions) -> Option<Self> {
        let Left(tunnel) = extensions.remove()?;
        tunnel.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Connects it with the client, who has sent `early` already, and lasts as long as the tunnel does. A side that has
    /// ended its half is still sent the rest of the other's. Why it ended is in the trail, where it was not the end of
    /// both.
    pub async fn run(self, mut client: impl Duplex, early: Bytes) {
        let Self { mut app, early: from_app, terms, trail, _place } = self;
        let (mut up, mut down) = (Way::new(early), Way::new(from_app));
        let mut clock = Clock::new(terms);
        poll_fn(|cx| {
            let (received, sent) = (up.count, down.count);
            let up_polled = up.poll(cx, &mut client, &mut app);
            let down_polled = down.poll(cx, &mut app, &mut client);
            trail.receive(up.count - received);
            trail.send(down.count - sent);
            if (up.count, down.count) != (received, sent) {
                clock.moved();
            }
            let end = match (up_polled, down_polled) {
                // The app had ended, and so takes nothing more: that is no news.
                (Poll::Ready(Err(Broken::Target)), Poll::Ready(Ok(()))) => None,
                (Poll::Ready(Err(Broken::Target)), _) | (_, Poll::Ready(Err(Broken::Source))) => {
                    Some(Reason::UpstreamBroken)
                }
                // A client that is gone is how most of them end.
                (Poll::Ready(Err(Broken::Source)), _) | (_, Poll::Ready(Err(Broken::Target))) => None,
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(()),
                (Poll::Pending, _) | (_, Poll::Pending) => Some(ready!(clock.poll(cx))),
            };
            if let Some(reason) = end {
                trail.failed(reason);
            }
            // Said once and not waited for: TLS has a goodbye of its own.
            let _ = (Pin::new(&mut client).poll_shutdown(cx), Pin::new(&mut app).poll_shutdown(cx));
            Poll::Ready(())
        })
        .await;
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").field("terms", &self.terms).finish_non_exhaustive()
    }
}

/// Extensions want to be cloned; a tunnel is there once.
#[derive(Clone)]
struct Left(Arc<Mutex<Option<Tunnel>>>);

/// One direction.
struct Way {
    /// What was read and could not be written yet.
    rest: Bytes,
    /// Bytes written so far.
    count: u64,
    state: State,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum State {
    Open,
    /// The source has ended, and the target is yet to be told.
    Ending,
    Ended,
}

/// The end of a way that failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Broken {
    Source,
    Target,
}

impl Way {
    fn new(early: Bytes) -> Self {
        Self { rest: early, count: 0, state: State::Open }
    }

    /// Moves what can be moved. Ready when the source has ended and the target was told.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut (impl Duplex + ?Sized),
        target: &mut (impl Duplex + ?Sized),
    ) -> Poll<Result<(), Broken>> {
        let broken = |_: io::Error| Broken::Target;
        loop {
            while !self.rest.is_empty() {
                let written = ready!(Pin::new(&mut *target).poll_write(cx, &self.rest)).map_err(broken)?;
                self.take(written)?;
            }
            match self.state {
                State::Ended => return Poll::Ready(Ok(())),
                State::Ending => {
                    // It fails where the target is gone already, and then there is nobody to be told.
                    let _ = ready!(Pin::new(&mut *target).poll_shutdown(cx));
                    self.state = State::Ended;
                }
                State::Open => {
                    let mut chunk = [MaybeUninit::uninit(); CHUNK];
                    let mut chunk = ReadBuf::uninit(&mut chunk);
                    match Pin::new(&mut *source).poll_read(cx, &mut chunk) {
                        // TLS writes into a buffer of its own, which has to be gone before we wait.
                        Poll::Pending => {
                            ready!(Pin::new(&mut *target).poll_flush(cx)).map_err(broken)?;
                            return Poll::Pending;
                        }
                        // TLS without its goodbye; what it means is for the protocol inside to say.
                        Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                            self.state = State::Ending;
                        }
                        Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Source)),
                        Poll::Ready(Ok(())) if chunk.filled().is_empty() => self.state = State::Ending,
                        Poll::Ready(Ok(())) => self.pass(cx, chunk.filled(), target)?,
                    }
                }
            }
        }
    }

    /// Writes what was read, and keeps what is not taken: most is, and then there is nothing to keep.
    fn pass(&mut self, cx: &mut Context<'_>, read: &[u8], target: &mut (impl Duplex + ?Sized)) -> Result<(), Broken> {
        match Pin::new(target).poll_write(cx, read) {
            Poll::Pending => self.rest = Bytes::copy_from_slice(read),
            Poll::Ready(Err(_)) => return Err(Broken::Target),
            Poll::Ready(Ok(written)) => {
                if written < read.len() {
                    self.rest = Bytes::copy_from_slice(read);
                    return self.take(written);
                }
                self.count += written as u64;
            }
        }
        Ok(())
    }

    /// So much of the rest was written.
    fn take(&mut self, written: usize) -> Result<(), Broken> {
        if written == 0 {
            return Err(Broken::Target);
        }
        self.rest.advance(written);
        self.count += written as u64;
        Ok(())
    }
}

/// When a tunnel has to end. One timer, which is moved only when it fires.
struct Clock {
    terms: Terms,
    progress: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Clock {
    fn new(terms: Terms) -> Self {
        let mut clock = Self { terms, progress: Instant::now(), timer: None };
        clock.timer = clock.next().map(|next| Box::pin(sleep_until(next)));
        clock
    }

    fn moved(&mut self) {
        self.progress = Instant::now();
    }

    /// The next time to look.
    fn next(&self) -> Option<Instant> {
        let idle = self.terms.idle_timeout.map(|timeout| self.progress + timeout);
        let end = self.terms.end.map(|(end, _)| end);
        idle.into_iter().chain(end).min()
    }

    /// Why it ends now.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Reason> {
        loop {
            let (Some(next), Some(timer)) = (self.next(), &mut self.timer) else { return Poll::Pending };
            ready!(timer.as_mut().poll(cx));
            let now = Instant::now();
            match self.terms.end {
                Some((end, reason)) if end <= now => return Poll::Ready(reason),
                _ if next <= now => return Poll::Ready(Reason::UpgradeIdle),
                _ => timer.as_mut().reset(next),
            }
        }
    }
}

#[cfg(test)]
mod tests;
