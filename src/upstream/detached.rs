//! An answer that came before its request was sent: until the answer ends the upload goes on, whether or not anybody takes
//! what there is of it.

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::mpsc;
use tokio_util::{sync::PollSender, task::AbortOnDropHandle};

use super::{Connection, Fault};

/// A piece of a body, or its end.
type Piece = Option<Result<Frame<Bytes>, Fault>>;

/// A connection with a task of its own, which ends with it.
#[derive(Debug)]
pub struct Detached {
    pieces: mpsc::Receiver<Piece>,
    left: Option<u64>,
    _task: AbortOnDropHandle<()>,
}

impl Detached {
    pub(super) fn new(connection: Box<Connection>) -> Self {
        // One piece waits here, and so one more is read than the client has taken.
        let (sender, pieces) = mpsc::channel(1);
        let left = connection.left();
        let task = tokio::spawn(drive(connection, PollSender::new(sender)));
        Self { pieces, left, _task: AbortOnDropHandle::new(task) }
    }

    /// The next piece of the answer's body; `None` at its end.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        // The task ends without a word when the upload breaks off.
        let piece = ready!(self.pieces.poll_recv(cx)).unwrap_or(Some(Err(Fault::Upload)));
        let bytes = piece.as_ref().and_then(|piece| piece.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
        self.left = if piece.is_none() { Some(0) } else { self.left.map(|left| left.saturating_sub(bytes as u64)) };
        Poll::Ready(piece)
    }

    /// Whether the body was taken to its end.
    pub(super) fn is_done(&self) -> bool {
        self.left == Some(0)
    }

    /// How much of the body is to come, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        self.left
    }
}

/// Sends the rest of the request, and hands on what is read of the answer as fast as it is taken.
async fn drive(mut connection: Box<Connection>, mut sender: PollSender<Piece>) {
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(Err(_)) = connection.poll_request(cx) {
                return Poll::Ready(());
            }
            if ready!(sender.poll_reserve(cx)).is_err() {
                return Poll::Ready(());
            }
            let piece = ready!(connection.poll_frame(cx));
            let is_last = !matches!(piece, Some(Ok(_)));
            if sender.send_item(piece).is_err() || is_last {
                return Poll::Ready(());
            }
        }
    })
    .await;
}
