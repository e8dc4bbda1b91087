//! The body of every response: the app's stream or our own bytes. It holds the place that the request takes up.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    compress::{Compressed, Interrupted},
    upstream::Answer,
};

pin_project! {
    /// A response's body.
    #[derive(Debug)]
    pub struct Body {
        #[pin]
        content: Content,
        place: Option<OwnedSemaphorePermit>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = Projected]
    enum Content {
        Ours { bytes: Bytes },
        App { #[pin] answer: Answer },
        // Boxed: only who asks for compression pays for its size.
        Compressed { body: Pin<Box<Compressed<Answer>>> },
    }
}

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self::from(Bytes::new())
    }

    /// Keeps `place` until the body is dropped.
    pub fn hold(&mut self, place: OwnedSemaphorePermit) {
        self.place = Some(place);
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self { content: Content::Ours { bytes }, place: None }
    }
}

impl From<Answer> for Body {
    fn from(answer: Answer) -> Self {
        Self { content: Content::App { answer }, place: None }
    }
}

impl From<Compressed<Answer>> for Body {
    fn from(body: Compressed<Answer>) -> Self {
        Self { content: Content::Compressed { body: Box::pin(body) }, place: None }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Interrupted;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Interrupted>>> {
        match self.project().content.project() {
            Projected::Ours { bytes } if bytes.is_empty() => Poll::Ready(None),
            Projected::Ours { bytes } => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Projected::App { answer } => answer.poll_frame(cx).map_err(Into::into),
            Projected::Compressed { body } => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Ours { bytes } => bytes.is_empty(),
            Content::App { answer } => answer.is_end_stream(),
            Content::Compressed { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Ours { bytes } => SizeHint::with_exact(bytes.len() as u64),
            Content::App { answer } => answer.size_hint(),
            Content::Compressed { body } => body.size_hint(),
        }
    }
}
