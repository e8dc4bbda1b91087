//! A request that is being answered: its body is read as far as it is wanted, and the answer written, at the same time.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::poll_read_buf;

use super::{
    Failure,
    answer::{Asked, Written},
};
use crate::http1::{incoming::Feed, input::poll_some, output::Output};

/// What is read at once of a body, in bytes: the least, and the most, which only those get who send as much at once.
const LEAST: usize = 8 * 1024;
const MOST: usize = 64 * 1024;

pin_project! {
    /// A request that is being answered.
    pub(super) struct Ongoing<F, B> {
        #[pin]
        answer: Stage<F, B>,
        written: Option<Written>,
        output: Output,
        upload: Option<Upload>,
        asked: Asked,
        switched: bool,
    }
}

pin_project! {
    /// Who has the answer: its future, then its body, then nobody. One place for both: they are never there together.
    #[project = Projected]
    enum Stage<F, B> {
        Waiting { #[pin] answer: F },
        // Its head is written.
        Answering { #[pin] body: B },
        Answered,
    }
}

/// The body of a request that is being answered.
pub(super) struct Upload {
    feed: Feed,
    /// Whether the client waits for a word before it sends it.
    expects_continue: bool,
    /// Whether the client has gone before its end.
    gone: bool,
    /// What is read at once.
    size: usize,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ended {
    KeepAlive,
    Close,
    Switched,
}

/// How far an answer has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Progress {
    /// Whoever answers has to say more.
    Waits,
    /// What there is has to be written first.
    Full,
    /// All of it is on its way.
    Whole,
}

impl<F, B> Ongoing<F, B>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: Body<Data = Bytes>,
{
    /// A request that somebody has been given to answer.
    pub(super) fn new(answer: F, upload: Option<Upload>, asked: Asked) -> Self {
        Self {
            answer: Stage::Waiting { answer },
            written: None,
            output: Output::default(),
            upload,
            asked,
            switched: false,
        }
    }

    /// Lets the connection end with the answer, and say so if it can still be said.
    pub(super) fn end(self: Pin<&mut Self>) {
        self.project().asked.keep_alive = false;
    }

    /// Goes on as far as possible: until all of the answer is written, and of the request read.
    ///
    /// # Errors
    /// The client has gone or the answer has broken off.
    pub(super) fn poll<T: AsyncRead + AsyncWrite + Unpin>(
        mut self: Pin<&mut Self>,
        io: &mut T,
        read: &mut BytesMut,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Ended, Failure>> {
        if let Some(upload) = &self.upload {
            upload.feed.attend();
        }
        loop {
            let progress = self.as_mut().poll_answer(read, cx)?;
            let flushed = match self.as_mut().project().output.poll_write(Pin::new(io), cx) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(_)) => return Poll::Ready(Err("io")),
                Poll::Pending => false,
            };
            if flushed && progress == Progress::Full {
                continue;
            }
            if flushed && progress == Progress::Whole {
                // Kept until now, because until now the client had something to take.
                self.as_mut().project().answer.set(Stage::Answered);
                return Poll::Ready(Ok(self.as_mut().ended(io, read, cx)));
            }
            if self.as_mut().poll_client(io, read, cx)?.is_pending() {
                if let Some(upload) = &self.upload {
                    upload.feed.leave(cx);
                }
                return Poll::Pending;
            }
        }
    }

    /// Gets as much of the answer as there is room for.
    fn poll_answer(mut self: Pin<&mut Self>, read: &mut BytesMut, cx: &mut Context<'_>) -> Result<Progress, Failure> {
        let mut this = self.as_mut().project();
        if let Projected::Waiting { answer } = this.answer.as_mut().project() {
            let Poll::Ready(response) = answer.poll(cx) else { return Ok(Progress::Waits) };
            let response = match response {
                Ok(response) => response,
                Err(never) => match never {},
            };
            // Whoever answered reads no more.
            this.answer.set(Stage::Answered);
            // Nobody wants the rest of the body: if it is not here yet, the connection ends with the answer.
            this.asked.keep_alive &=
                this.upload.as_ref().is_none_or(|upload| upload.feed.is_read() || upload.skip(read));
            *this.switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            let written = this.written.insert(Written::begin(this.output, &response, *this.asked));
            debug_assert!(written.is_whole() || !response.body().is_end_stream());
            this.answer.set(Stage::Answering { body: response.into_body() });
        }
        let Some(written) = this.written else { return Ok(Progress::Waits) };
        while let Projected::Answering { mut body } = this.answer.as_mut().project() {
            if written.is_whole() {
                return Ok(Progress::Whole);
            }
            if !this.output.has_room() {
                return Ok(Progress::Full);
            }
            match body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let last = body.is_end_stream();
                    written.write(this.output, frame, last).map_err(|_| "answer_broken")?;
                }
                Poll::Ready(Some(Err(_))) => return Err("answer_broken"),
                Poll::Ready(None) => written.end(this.output).map_err(|_| "answer_broken")?,
                Poll::Pending => return Ok(Progress::Waits),
            }
        }
        Ok(Progress::Whole)
    }

    /// What the request ends with, now that all of the answer is written.
    fn ended<T: AsyncRead + Unpin>(
        self: Pin<&mut Self>,
        io: &mut T,
        read: &mut BytesMut,
        cx: &mut Context<'_>,
    ) -> Ended {
        let this = self.project();
        if *this.switched {
            return Ended::Switched;
        }
        let keep_alive = this.written.as_ref().is_some_and(|written| written.keep_alive);
        let Some(upload) = this.upload.as_ref().filter(|upload| !upload.feed.is_done()) else {
            return if keep_alive { Ended::KeepAlive } else { Ended::Close };
        };
        // Whoever still reads is told that there is no more: the app has said all that it had to say. What nobody reads
        // may be here already.
        let unread = keep_alive && !upload.gone && !upload.feed.is_read();
        let all = unread && poll_some(io, cx, read).is_ready() && upload.skip(read);
        if all { Ended::KeepAlive } else { Ended::Close }
    }

    /// Reads what is wanted of the request's body. Whoever waits for an answer and closes is gone.
    fn poll_client<T: AsyncRead + Unpin>(
        self: Pin<&mut Self>,
        io: &mut T,
        read: &mut BytesMut,
        cx: &mut Context<'_>,
    ) -> Result<Poll<()>, Failure> {
        let this = self.project();
        let Some(upload) = this.upload.as_mut().filter(|upload| upload.gone || upload.feed.is_wanted()) else {
            // One look ahead is enough to see the client go; what comes instead is the next request, and waits.
            return match read.is_empty().then(|| poll_some(io, cx, read)) {
                Some(Poll::Ready(Ok(0))) => Err("incomplete"),
                Some(Poll::Ready(Err(_))) => Err("io"),
                Some(Poll::Ready(Ok(_)) | Poll::Pending) | None => Ok(Poll::Pending),
            };
        };
        if upload.gone {
            return Ok(Poll::Pending);
        }
        if std::mem::take(&mut upload.expects_continue) && this.written.is_none() {
            this.output.front().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            return Ok(Poll::Ready(()));
        }
        if upload.feed.offer(read, cx) {
            return Ok(Poll::Ready(()));
        }
        let left = upload.feed.left().map(|left| usize::try_from(left).unwrap_or(usize::MAX));
        read.reserve(left.unwrap_or(usize::MAX).min(upload.size));
        match poll_read_buf(Pin::new(io), cx, read) {
            Poll::Ready(Ok(count @ 1..)) => {
                if count >= upload.size {
                    upload.size = (2 * upload.size).min(MOST);
                }
                Ok(Poll::Ready(()))
            }
            Poll::Ready(Ok(0) | Err(_)) => {
                upload.gone = true;
                upload.feed.interrupt(cx);
                Ok(Poll::Ready(()))
            }
            Poll::Pending => Ok(Poll::Pending),
        }
    }
}

impl Upload {
    pub(super) fn new(feed: Feed, expects_continue: bool) -> Self {
        Self { feed, expects_continue, gone: false, size: LEAST }
    }

    /// Reads away what is left, if all of it is here.
    fn skip(&self, read: &mut BytesMut) -> bool {
        !self.expects_continue && self.feed.skip(read)
    }
}
