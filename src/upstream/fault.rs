//! What can be wrong with an answer.

use std::{error::Error as _, io};

use crate::http1::{answer::Invalid, content::Malformed};

/// Why an answer broke off, or never came.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Before the answer did, or before it began.
    #[error("the connection ended")]
    Ended,
    /// The connection broke off.
    #[error("the connection broke off: {0}")]
    Io(#[from] io::Error),
    /// It is not HTTP/1.1.
    #[error(transparent)]
    Head(#[from] Invalid),
    /// Its body is not what RFC 9112 calls chunked.
    #[error("its chunks are not valid")]
    Chunks(#[from] Malformed),
    /// The request's own body broke off, and with it all that follows.
    #[error("the request's body broke off")]
    Upload,
    /// What HTTP/2 says.
    #[error("{}", in_full(.0))]
    Http2(#[from] hyper::Error),
}

impl Fault {
    /// Whether the app has said of the request that it did nothing with it (RFC 9113 section 8.7). A GOAWAY is the error of
    /// those streams alone that are above its last: the others go on, and have the end of the connection for their error.
    pub(super) fn is_refusal(&self) -> bool {
        let Self::Http2(error) = self else { return false };
        let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
        cause.is_some_and(|cause| {
            cause.is_remote() && (cause.is_go_away() || cause.reason() == Some(h2::Reason::REFUSED_STREAM))
        })
    }
}

/// hyper says what kind of error it is, and leaves the rest to the cause of it.
fn in_full(error: &hyper::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
