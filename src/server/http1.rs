//! An HTTP/1 connection: reads a request, has it answered, writes the answer, and reads the next.
//!
//! All of it happens in the connection's task: whoever answers is polled from here, and so is the body of the answer. The
//! body of the request is read when it is wanted, also while the answer is being written.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response};
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite};

use self::{
    answer::Asked,
    exchange::{Ended, Ongoing, Upload},
};
use crate::{
    http1::{
        head::{self, Framing, Head, Limits, Scan},
        incoming::{self, Incoming},
        input::poll_some,
    },
    reason::Reason,
};

mod answer;
mod date;
mod exchange;
#[cfg(test)]
mod tests;

/// Why a connection ended before its time, as a label of the metrics.
pub(super) type Failure = &'static str;

/// Who answers requests.
pub(super) trait Answers {
    type Body: Body<Data = Bytes>;
    type Future: Future<Output = Result<Response<Self::Body>, Infallible>>;

    /// Answers a request, which is to be refused if there is a reason for that.
    fn answer(&mut self, request: Request<Incoming>, refusal: Option<Reason>) -> Self::Future;

    /// A request has ended, and whether something of the next one is there already.
    fn ended(&mut self, begun: bool);
}

/// A connection. It is finished when the client has all that it asked for and one of the two wanted to end, or when an
/// answer has switched to another protocol: then [`Connection::into_parts`] gives back the stream.
pub(super) struct Connection<T, A: Answers> {
    io: T,
    /// What was read and not used yet. As a rule nothing, and then it takes no memory.
    read: BytesMut,
    limits: Limits,
    answers: A,
    /// Whether the next answer is the last.
    ending: bool,
    state: State<A>,
}

/// Nothing in it is pinned but what is in a box.
impl<T, A: Answers> Unpin for Connection<T, A> {}

enum State<A: Answers> {
    /// Between two requests, or in the head of one.
    Head(Scan),
    /// A request is under way. Boxed: most connections are idle most of the time.
    Busy(Pin<Box<Ongoing<A::Future, A::Body>>>),
    /// All is written.
    Closing,
    /// What follows is no HTTP.
    Switched,
}

impl<T: AsyncRead + AsyncWrite + Unpin, A: Answers> Connection<T, A> {
    pub(super) fn new(io: T, limits: Limits, answers: A) -> Self {
        let state = State::Head(Scan::default());
        Self { io, read: BytesMut::new(), limits, answers, ending: false, state }
    }

    /// Lets the connection end after the request that is under way.
    pub(super) fn end(&mut self) {
        self.ending = true;
        if let State::Busy(ongoing) = &mut self.state {
            ongoing.as_mut().end();
        }
    }

    /// The stream of a connection that is finished, and what was read behind the last request.
    pub(super) fn into_parts(self) -> (T, Bytes) {
        (self.io, self.read.freeze())
    }

    /// Goes on as far as possible.
    ///
    /// # Errors
    /// The client has gone or an answer has broken off.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            match &mut self.state {
                State::Head(_) => ready!(self.poll_head(cx))?,
                State::Busy(ongoing) => {
                    let ongoing = ongoing.as_mut();
                    let ended = ready!(ongoing.poll(&mut self.io, &mut self.read, cx))?;
                    self.turn(ended);
                }
                State::Closing => {
                    // Whoever was to read it may be gone, which harms nobody.
                    let _ = ready!(Pin::new(&mut self.io).poll_shutdown(cx));
                    return Poll::Ready(Ok(()));
                }
                State::Switched => return Poll::Ready(Ok(())),
            }
        }
    }

    /// What comes after a request.
    fn turn(&mut self, ended: Ended) {
        self.state = match ended {
            Ended::Switched => State::Switched,
            Ended::KeepAlive if !self.ending => {
                if self.read.is_empty() {
                    self.read = BytesMut::new();
                }
                State::Head(Scan::default())
            }
            Ended::KeepAlive | Ended::Close => State::Closing,
        };
        self.answers.ended(!self.read.is_empty());
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let State::Head(scan) = &mut self.state else { return Poll::Ready(Ok(())) };
        loop {
            if !self.read.is_empty() {
                match scan.read(&self.read, self.limits) {
                    Ok(Some(head)) => {
                        self.state = self.request(head, None);
                        return Poll::Ready(Ok(()));
                    }
                    Ok(None) => {}
                    Err(reason) => {
                        self.state = self.refused(reason);
                        return Poll::Ready(Ok(()));
                    }
                }
            }
            // Some clients send an empty line after a body: it is no part of a request.
            let nothing = matches!(&self.read[..], b"" | b"\r\n");
            if self.ending && nothing {
                self.state = State::Closing;
                return Poll::Ready(Ok(()));
            }
            match ready!(poll_some(&mut self.io, cx, &mut self.read)) {
                Ok(0) if nothing => {
                    self.state = State::Closing;
                    return Poll::Ready(Ok(()));
                }
                Ok(0) => {
                    self.state = self.refused(Reason::RequestIncomplete);
                    return Poll::Ready(Ok(()));
                }
                Ok(_) => {}
                Err(_) => return Poll::Ready(Err("io")),
            }
        }
    }

    /// Begins to answer the request whose head stands at the start of what was read.
    fn request(&mut self, head: Head, refusal: Option<Reason>) -> State<A> {
        let whole = head.bytes == self.read.len();
        let bytes = if whole { std::mem::take(&mut self.read) } else { self.read.split_to(head.bytes) }.freeze();
        let (framing, expects_continue) = (head.framing, head.expects_continue);
        let (http_10, keep_alive) = (head.http_10, head.keep_alive && !self.ending && refusal.is_none());
        let request = match head.request(&bytes) {
            Ok(request) => request,
            Err(reason) => {
                self.read = BytesMut::from(&bytes[..]);
                return self.refused(reason);
            }
        };
        let asked = Asked { head: request.method() == Method::HEAD, http_10, keep_alive };
        let (upload, body) = if framing == Framing::Length(0) {
            (None, Incoming::none())
        } else {
            let (feed, body) = incoming::body(framing.into());
            (Some(Upload::new(feed, expects_continue)), body)
        };
        let answer = self.answers.answer(request.map(|()| body), refusal);
        State::Busy(Box::pin(Ongoing::new(answer, upload, asked)))
    }

    /// Refuses what was read, which is no request, on the way of every other answer and with a log line. Another head
    /// stands in for it, and nothing after it is read.
    fn refused(&mut self, reason: Reason) -> State<A> {
        self.read = BytesMut::from(&head::stand_in(&self.read)[..]);
        let limits = Limits { bytes: usize::MAX, lines: usize::MAX };
        match Scan::default().read(&self.read, limits) {
            Ok(Some(head)) => self.request(head, Some(reason)),
            // It is always a head; were it none, the connection would end without an answer.
            Ok(None) | Err(_) => State::Closing,
        }
    }
}
