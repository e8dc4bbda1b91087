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
    inspect::{Inspector, Next},
};
use crate::{
    http1::head::{self, Limits},
    reason::Reason,
};

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

    /// The same, where the connection began with these bytes.
    pub(super) fn after(said: Vec<u8>, limits: Limits, activity: Arc<Activity>) -> Self {
        let mut gate = Self::new(limits, activity);
        gate.held = said;
        gate.inspect_held();
        gate
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
                    } else if ready!(read_more(inner.as_mut(), cx, &self.activity, &mut self.held))? {
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
                State::Undecided => {
                    // Nothing may come from the client any more that would make the library read again.
                    self.activity.wait(cx);
                    if self.held.len() >= AHEAD {
                        return Poll::Pending;
                    }
                    if !ready!(read_more(inner.as_mut(), cx, &self.activity, &mut self.held))? {
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
}

/// Reads behind what is held. Whether there was anything.
pub(super) fn read_more(
    inner: Pin<&mut impl AsyncRead>,
    cx: &mut Context<'_>,
    activity: &Activity,
    held: &mut Vec<u8>,
) -> Poll<io::Result<bool>> {
    // On the stack: connections that say nothing hold nothing.
    let mut bytes = [0; 4096];
    let mut buffer = ReadBuf::new(&mut bytes);
    ready!(inner.poll_read(cx, &mut buffer))?;
    if buffer.filled().is_empty() {
        return Poll::Ready(Ok(false));
    }
    activity.read();
    held.extend_from_slice(buffer.filled());
    Poll::Ready(Ok(true))
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, task::Waker};

    use http::StatusCode;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const GET: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    /// A client that sends one piece after another, and then closes.
    struct Pieces(VecDeque<Vec<u8>>);

    impl AsyncRead for Pieces {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            if let Some(mut piece) = self.0.pop_front() {
                let rest = piece.split_off(piece.len().min(buffer.remaining()));
                buffer.put_slice(&piece);
                if !rest.is_empty() {
                    self.0.push_front(rest);
                }
            }
            Poll::Ready(Ok(()))
        }
    }

    struct Connection {
        gate: Gate,
        client: Pieces,
        activity: Arc<Activity>,
    }

    impl Connection {
        fn new(pieces: impl IntoIterator<Item = Vec<u8>>) -> Self {
            let activity = Arc::new(Activity::new());
            let gate = Gate::new(Limits { bytes: 512, lines: 6 }, activity.clone());
            Self { gate, client: Pieces(pieces.into_iter().filter(|piece| !piece.is_empty()).collect()), activity }
        }

        /// One read by the library, which has room for so many bytes.
        fn read(&mut self, room: usize) -> Poll<io::Result<Vec<u8>>> {
            let mut bytes = vec![0; room];
            let mut buffer = ReadBuf::new(&mut bytes);
            let mut cx = Context::from_waker(Waker::noop());
            ready!(self.gate.poll_read(Pin::new(&mut self.client), &mut cx, &mut buffer))?;
            Poll::Ready(Ok(buffer.filled().to_vec()))
        }

        /// The library makes requests of what it has been given, and answers them.
        fn serve(&self) {
            while self.activity.served() < self.gate.inspector.heads() {
                self.activity.request().answer(StatusCode::OK);
            }
        }

        /// All that is let through to a library that serves, and how it ends.
        fn drain(mut self, room: usize) -> (Vec<u8>, Option<Reason>, bool) {
            let mut all = Vec::new();
            let broken = loop {
                match self.read(room) {
                    Poll::Ready(Ok(bytes)) if !bytes.is_empty() => all.extend(bytes),
                    Poll::Ready(Err(_)) => break true,
                    Poll::Ready(Ok(_)) | Poll::Pending => break false,
                }
                if self.gate.ready == 0 {
                    self.serve();
                }
            };
            (all, self.activity.refusal(), broken)
        }
    }

    #[test]
    fn a_library_that_makes_other_requests_of_the_bytes_gets_no_more_of_them() {
        for served in [0, 1, 3] {
            let mut connection = Connection::new([GET.repeat(2), GET.to_vec()]);
            assert!(matches!(connection.read(4096), Poll::Ready(Ok(bytes)) if bytes == GET.repeat(2)));
            for _ in 0..served {
                connection.activity.request().answer(StatusCode::OK);
            }
            assert!(matches!(connection.read(4096), Poll::Ready(Err(_))), "two were let through, {served} served");
        }
        let mut connection = Connection::new([GET.to_vec(), b"\n".to_vec()]);
        assert!(matches!(connection.read(4096), Poll::Ready(Ok(_))));
        assert!(matches!(connection.read(4096), Poll::Ready(Err(_))), "nor does another head stand in for a bad one");
        assert_eq!(connection.activity.refusal(), None);
    }

    #[test]
    fn what_follows_an_upgrade_is_let_through_as_it_is_once_it_was_granted() {
        let ask = b"GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n";
        for (status, then) in [(StatusCode::SWITCHING_PROTOCOLS, &b"\0\n\x01"[..]), (StatusCode::OK, b"- * HTTP/1.1")] {
            let mut connection = Connection::new([[ask, &b"\0\n"[..]].concat(), b"\x01".to_vec()]);
            assert!(matches!(connection.read(4096), Poll::Ready(Ok(bytes)) if bytes == ask));
            let request = connection.activity.request();
            // Held, until there is an answer.
            assert!(matches!(connection.read(4096), Poll::Ready(Ok(bytes)) if bytes.is_empty()));
            request.answer(status);
            drop(request);
            assert!(matches!(connection.read(4096), Poll::Ready(Ok(bytes)) if bytes.starts_with(then)), "{status}");
        }
    }

    proptest! {
        #[test]
        fn however_it_arrives_and_is_read_the_same_is_let_through(
            parts in vec(prop_oneof![
                Just(GET.to_vec()),
                Just(b"POST / HTTP/1.1\r\nContent-Length: 30\r\n\r\nGET / HTTP/1.1\r\n\r\nHTTP/1.1\r\n\r\n".to_vec()),
                Just(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n\r\n\r\r\n0\r\nT: r\r\n\r\n".to_vec()),
                Just(b"GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n".to_vec()),
                Just(b"GET /a#b HTTP/1.1\r\n\r\n".to_vec()),
                Just(b"GET / HT".to_vec()),
                vec(any::<u8>(), 0..3),
            ], 0..8),
            size in 1_usize..40,
            room in 1_usize..60,
        ) {
            let bytes = parts.concat();
            let whole = Connection::new([bytes.clone()]).drain(8192);
            prop_assert_eq!(Connection::new(bytes.chunks(size).map(<[u8]>::to_vec)).drain(room), whole);
        }
    }
}
