//! A request on its way out, over the connection that its answer will come from.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::Body;

use super::{Fault, Message, Upload, reply::Reply, stream::Stream};
use crate::http1::{encode, head::Framing, output::Output};

/// What is sent of one request.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// All of it, until a byte is written; and what was taken of its body.
    unsent: Option<(Box<Message>, Bytes)>,
    /// The body, from then on.
    upload: Option<Upload>,
    framing: Framing,
    output: Output,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// There is more of the body to come.
    Open,
    /// There is not.
    Ending,
    /// The app has all of it.
    Sent,
    /// The app takes no more of it. It may have answered all the same.
    Cut,
}

impl Outgoing {
    /// There is none.
    pub(super) fn none() -> Self {
        let (framing, output) = (Framing::Length(0), Output::default());
        Self { unsent: None, upload: None, framing, output, state: State::Sent }
    }

    /// Sends this request from now on.
    pub(super) fn begin(&mut self, mut request: Box<Message>) {
        self.framing = request.framing.unwrap_or(Framing::Length(0));
        self.state = if self.framing == Framing::Length(0) { State::Ending } else { State::Open };
        *self.output.front() = request.take_head();
        self.unsent = Some((request, Bytes::new()));
    }

    /// Writes what there is to be written. Ready when nothing more of the request is to be. `reply` is told of the answer
    /// to expect.
    ///
    /// # Errors
    /// The body broke off, or not a byte was taken: [`Outgoing::take_unsent`] has then the request.
    pub(super) fn poll(
        &mut self,
        stream: &mut Stream,
        reply: &mut Reply,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Fault>> {
        while matches!(self.state, State::Open | State::Ending) {
            let filled = self.fill(cx);
            if let Poll::Ready(Err(fault)) = filled {
                // Never to be polled again: the end of half a body would make it a whole one.
                self.end(State::Cut);
                return Poll::Ready(Err(fault));
            }
            match ready!(self.poll_write(stream, reply, cx)) {
                Err(error) if self.unsent.is_some() => return Poll::Ready(Err(error.into())),
                Err(_) => self.end(State::Cut),
                Ok(()) if filled.is_pending() => return Poll::Pending,
                Ok(()) if self.state == State::Ending => self.end(State::Sent),
                Ok(()) => {}
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the next piece of the body, once there is room for it. Pending while the client has not sent it.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        if self.state != State::Open || !self.output.has_room() {
            return Poll::Ready(Ok(()));
        }
        let (upload, mut first) = match &mut self.unsent {
            Some((request, first)) if first.is_empty() => (&mut request.body, Some(first)),
            Some(_) => return Poll::Ready(Ok(())),
            None => (self.upload.as_mut().ok_or(Fault::Upload)?, None),
        };
        let piece = loop {
            match ready!(Pin::new(&mut *upload).poll_frame(cx)).transpose() {
                Ok(Some(frame)) => match frame.into_data() {
                    Ok(piece) if piece.is_empty() => {}
                    Ok(piece) => break piece,
                    // Trailers: a client's are for HTTP/2 alone.
                    Err(_) => break Bytes::new(),
                },
                Ok(None) => break Bytes::new(),
                Err(_) => return Poll::Ready(Err(Fault::Upload)),
            }
        };
        let is_last = piece.is_empty() || upload.is_end_stream();
        if let Some(first) = &mut first {
            first.clone_from(&piece);
        }
        match &mut self.framing {
            Framing::Length(left) => {
                *left = left.checked_sub(piece.len() as u64).ok_or(Fault::Upload)?;
                match (*left, is_last) {
                    (0, _) => self.state = State::Ending,
                    // What is called whole must be.
                    (_, true) => return Poll::Ready(Err(Fault::Upload)),
                    (_, false) => {}
                }
                self.output.push(piece, b"");
            }
            Framing::Chunked if piece.is_empty() => {
                self.output.push(piece, encode::LAST_CHUNK);
                self.state = State::Ending;
            }
            Framing::Chunked => {
                self.output.push_chunk(piece, is_last);
                self.state = if is_last { State::Ending } else { State::Open };
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, stream: &mut Stream, reply: &mut Reply, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.output.poll_write(Pin::new(stream), cx);
        let failed = matches!(polled, Poll::Ready(Err(_)));
        // From its first byte on it is sent to no other.
        if self.unsent.is_some()
            && (!self.output.is_untouched() || failed && !stream.writes_all_or_nothing())
            && let Some((request, _)) = self.unsent.take()
        {
            let Message { method, body, .. } = *request;
            self.upload = Some(body).filter(|_| self.state == State::Open);
            reply.expect(method);
        }
        polled
    }

    /// The request, where not a byte of it is written.
    pub(super) fn take_unsent(&mut self) -> Option<Box<Message>> {
        let (mut request, first) = self.unsent.take()?;
        request.put_back(std::mem::take(self.output.front()), first);
        Some(request)
    }

    fn end(&mut self, state: State) {
        self.state = state;
        self.upload = None;
        // Freed, and not kept: it would be cold when the next request wants it, and what the allocator has at hand is warm.
        self.output = Output::default();
    }

    /// Whether the app may have a part of the request, or all of it.
    pub(super) fn has_begun(&self) -> bool {
        self.unsent.is_none()
    }

    /// Whether nothing more of it is to be written.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Sent | State::Cut)
    }

    /// Whether the app has all of it.
    pub(super) fn is_sent(&self) -> bool {
        self.state == State::Sent
    }
}
