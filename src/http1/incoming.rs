//! A request's body between the connection that it arrives on and whoever reads it.
//!
//! Nothing is read ahead: a piece is taken from the client when the reader asks for one, so a slow app slows its client.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use super::content::Content;

/// A request's body, as its reader has it.
#[derive(Debug, Default)]
pub struct Incoming(Option<Arc<Mutex<Shared>>>);

/// The same, as the connection has it. Dropped before the end it breaks the body off.
#[derive(Debug)]
pub struct Feed(Arc<Mutex<Shared>>);

/// Why a body did not come to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Interrupted {
    /// Its framing is not valid.
    Malformed,
    /// The client has gone.
    Incomplete,
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "its framing is not valid",
            Self::Incomplete => "the connection ended",
        })
    }
}

impl std::error::Error for Interrupted {}

#[derive(Debug)]
struct Shared {
    content: Content,
    /// What the reader can have at once.
    next: Option<Result<Frame<Bytes>, Interrupted>>,
    /// Whether the reader waits for it.
    wanted: bool,
    /// Whether there is a reader.
    read: bool,
    /// Whether there is a connection that may bring more.
    fed: bool,
    /// Who waits for `next`.
    reader: Option<Waker>,
    /// Whom to tell that something is wanted: the connection, when it is not just running.
    connection: Option<Waker>,
}

/// The two ends of a body.
pub fn body(content: Content) -> (Feed, Incoming) {
    let shared = Arc::new(Mutex::new(Shared {
        content,
        next: None,
        wanted: false,
        read: true,
        fed: true,
        reader: None,
        connection: None,
    }));
    (Feed(shared.clone()), Incoming(Some(shared)))
}

/// The lock of a body, whose two ends share it on one thread: it is never contended.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Feed {
    /// Whether the reader waits for more.
    pub fn is_wanted(&self) -> bool {
        let shared = lock(&self.0);
        shared.wanted && shared.next.is_none()
    }

    /// Whether somebody reads.
    pub fn is_read(&self) -> bool {
        lock(&self.0).read
    }

    /// Whether all of the body has been read from the connection.
    pub fn is_done(&self) -> bool {
        lock(&self.0).content.is_done()
    }

    /// How many bytes are still to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        lock(&self.0).content.left()
    }

    /// Hands over the next piece of what was `read`, if there is a whole one. Whether there was, or an end.
    pub fn offer(&self, read: &mut BytesMut, cx: &Context<'_>) -> bool {
        let mut shared = lock(&self.0);
        match shared.content.take(read) {
            Ok(None) if !shared.content.is_done() => return false,
            Ok(None) => {}
            Ok(Some(frame)) => shared.next = Some(Ok(frame)),
            Err(_) => shared.next = Some(Err(Interrupted::Malformed)),
        }
        shared.tell(cx);
        true
    }

    /// Reads on without a reader. Whether that brought the end of the body.
    pub fn skip(&self, read: &mut BytesMut) -> bool {
        let mut shared = lock(&self.0);
        while let Ok(Some(_)) = shared.content.take(read) {}
        shared.content.is_done()
    }

    /// Nothing more will come.
    pub fn interrupt(&self, cx: &Context<'_>) {
        let mut shared = lock(&self.0);
        shared.next = Some(Err(Interrupted::Incomplete));
        shared.tell(cx);
    }

    /// The connection runs, and looks by itself at what is wanted.
    pub fn attend(&self) {
        lock(&self.0).connection = None;
    }

    /// The connection waits, and is to be woken.
    pub fn leave(&self, cx: &Context<'_>) {
        lock(&self.0).connection = Some(cx.waker().clone());
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        // What it has brought is still read.
        shared.fed = false;
        if let Some(reader) = shared.reader.take() {
            reader.wake();
        }
    }
}

impl Shared {
    /// Wakes the reader, where it is not the task of `cx` itself, which looks as soon as this returns.
    fn tell(&mut self, cx: &Context<'_>) {
        self.wanted = false;
        if let Some(reader) = self.reader.take()
            && !reader.will_wake(cx.waker())
        {
            reader.wake();
        }
    }

    fn is_over(&self) -> bool {
        self.next.is_none() && self.content.is_done()
    }
}

impl Incoming {
    /// No body.
    pub fn none() -> Self {
        Self(None)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            let mut shared = lock(shared);
            shared.read = false;
            if let Some(connection) = shared.connection.take() {
                connection.wake();
            }
        }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Interrupted;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Interrupted>>> {
        let Some(shared) = &self.0 else { return Poll::Ready(None) };
        let mut shared = lock(shared);
        if let Some(next) = shared.next.take() {
            return Poll::Ready(Some(next));
        }
        if shared.content.is_done() {
            return Poll::Ready(None);
        }
        if !shared.fed {
            return Poll::Ready(Some(Err(Interrupted::Incomplete)));
        }
        shared.wanted = true;
        shared.reader = Some(cx.waker().clone());
        if let Some(connection) = shared.connection.take() {
            connection.wake();
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|shared| lock(shared).is_over())
    }

    fn size_hint(&self) -> SizeHint {
        let Some(shared) = &self.0 else { return SizeHint::with_exact(0) };
        let shared = lock(shared);
        match (shared.content.left(), &shared.next) {
            (Some(left), None) => SizeHint::with_exact(left),
            (Some(left), Some(Ok(frame))) => {
                SizeHint::with_exact(left + frame.data_ref().map_or(0, |data| data.len() as u64))
            }
            (Some(_) | None, _) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::head::Framing;

    fn poll(incoming: &mut Incoming) -> Poll<Option<Result<Frame<Bytes>, Interrupted>>> {
        Pin::new(incoming).poll_frame(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_body_whose_connection_has_gone_breaks_off_behind_what_was_there() {
        let cx = Context::from_waker(Waker::noop());
        for gone_first in [false, true] {
            let (feed, mut incoming) = body(Framing::Length(10).into());
            assert!(poll(&mut incoming).is_pending() && feed.is_wanted());
            assert!(feed.offer(&mut BytesMut::from("hello"), &cx) && !feed.is_wanted());
            let feed = (!gone_first).then_some(feed);
            assert!(matches!(poll(&mut incoming), Poll::Ready(Some(Ok(_)))));
            drop(feed);
            assert!(!incoming.is_end_stream());
            assert!(matches!(poll(&mut incoming), Poll::Ready(Some(Err(Interrupted::Incomplete)))));
        }
    }

    #[test]
    fn a_body_that_was_whole_ends_without_its_connection() {
        let cx = Context::from_waker(Waker::noop());
        let (feed, mut incoming) = body(Framing::Length(5).into());
        assert!(feed.offer(&mut BytesMut::from("hello"), &cx));
        drop(feed);
        assert!(matches!(poll(&mut incoming), Poll::Ready(Some(Ok(_)))));
        assert!(incoming.is_end_stream() && matches!(poll(&mut incoming), Poll::Ready(None)));
    }
}
