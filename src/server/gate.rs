//! Lets through to the HTTP/1 library what the inspector has passed, whole heads at a time, and nothing else.
//!
//! The library thus sees no head that we have not understood before. A bad one never gets to it: another one stands in
//! for it, whose request is refused on the way of every other answer, with a log line; and what follows is not read.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

use super::{
    activity::Activity,
    head::{self, Limits},
    inspect::{Inspector, Next},
};
use crate::reason::Reason;

/// What a client may send ahead while it is not known which protocol it speaks next, in bytes.
const AHEAD: usize = 64 * 1024;

/// Between a client and the HTTP/1 library.
#[derive(Debug)]
pub(super) struct Gate {
    activity: Arc<Activity>,
    inspector: Inspector,
    state: State,
    /// What was read and cannot be let through yet: half a head, as a rule nothing.
    held: Vec<u8>,
    /// How much of it can.
    ready: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Inspecting,
    /// A request for another protocol waits for its answer.
    Undecided,
    /// Another protocol is spoken, which is none of our business.
    Tunnel,
    /// What is held begins with a head that is to be refused.
    Refused(Reason),
    /// Nothing more is let through.
    Shut,
    /// Neither is this, and the request under way cannot be completed.
    Broken,
}

impl Gate {
    pub(super) fn new(limits: Limits, activity: Arc<Activity>) -> Self {
        Self { activity, inspector: Inspector::new(limits), state: State::Inspecting, held: Vec::new(), ready: 0 }
    }

    /// Reads from `inner` what may be let through.
    pub(super) fn poll_read<T: AsyncRead>(
        &mut self,
        mut inner: Pin<&mut T>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.ready > 0 {
                self.let_through(buffer);
                return Poll::Ready(Ok(()));
            }
            match self.state {
                State::Inspecting => {
                    // The library has taken all that was let through. If it made other requests of it than the
                    // inspector did, one of them is wrong, and nobody knows which.
                    if self.activity.served() != self.inspector.heads() {
                        self.state = State::Broken;
                    } else if self.held.is_empty() {
                        let before = buffer.filled().len();
                        ready!(inner.as_mut().poll_read(cx, buffer))?;
                        if buffer.filled().len() == before || self.inspect_in_place(buffer, before) {
                            return Poll::Ready(Ok(()));
                        }
                    } else if ready!(self.read_more(inner.as_mut(), cx))? {
                        self.inspect_held();
                    } else if self.activity.is_busy() {
                        // Who waits for an answer and closes is gone.
                        return Poll::Ready(Ok(()));
                    } else {
                        self.state = State::Refused(Reason::RequestIncomplete);
                    }
                }
                State::Undecided if self.activity.is_tunnel() => {
                    self.state = State::Tunnel;
                    self.ready = self.held.len();
                }
                State::Undecided if self.activity.answered() == self.inspector.heads() => {
                    self.state = State::Inspecting;
                    self.inspector.resume();
                    self.inspect_held();
                }
                // The library reads again when it has answered.
                State::Undecided if self.held.len() >= AHEAD => return Poll::Pending,
                State::Undecided => {
                    if !ready!(self.read_more(inner.as_mut(), cx))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                State::Tunnel => return inner.poll_read(cx, buffer),
                State::Refused(reason) => {
                    if self.activity.served() == self.inspector.heads() {
                        self.activity.refuse(reason);
                        self.held = head::stand_in(&self.held);
                        self.ready = self.held.len();
                        self.state = State::Shut;
                    } else {
                        self.state = State::Broken;
                    }
                }
                // The answer ends the connection.
                State::Shut => return Poll::Pending,
                State::Broken => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the framing is not valid")));
                }
            }
        }
    }

    /// Inspects what was read into `buffer` from `start` on, leaves there what is let through, and holds the rest.
    /// Whether there is anything left.
    fn inspect_in_place(&mut self, buffer: &mut ReadBuf<'_>, start: usize) -> bool {
        self.activity.read();
        let (passed, next) = self.inspector.inspect(&buffer.filled()[start..]);
        let rest = &buffer.filled()[start + passed..];
        if !rest.is_empty() {
            self.held.extend_from_slice(rest);
        }
        buffer.set_filled(start + passed);
        self.turn(next);
        passed > 0
    }

    fn inspect_held(&mut self) {
        let (passed, next) = self.inspector.inspect(&self.held);
        self.ready = passed;
        self.turn(next);
    }

    const fn turn(&mut self, next: Next) {
        self.state = match next {
            Next::More => State::Inspecting,
            Next::Refused(reason) => State::Refused(reason),
            Next::Broken => State::Broken,
            Next::Undecided => State::Undecided,
        };
    }

    fn let_through(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = self.ready.min(buffer.remaining());
        buffer.put_slice(&self.held[..count]);
        self.ready -= count;
        if count == self.held.len() {
            // Connections are many, and most hold nothing most of the time.
            self.held = Vec::new();
        } else {
            self.held.drain(..count);
        }
    }

    /// Reads behind what is held. Whether there was anything.
    fn read_more<T: AsyncRead>(&mut self, inner: Pin<&mut T>, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut bytes = [0; 4096];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(inner.poll_read(cx, &mut buffer))?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Ok(false));
        }
        self.activity.read();
        self.held.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(true))
    }
}
