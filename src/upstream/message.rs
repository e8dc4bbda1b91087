//! A request as it is sent over HTTP/1.1.

use std::fmt;

use bytes::Bytes;
use http::{HeaderName, Method};
use http_body::Body as _;

use super::{Upload, upload::Aborted};
use crate::http1::{encode, head::Framing};

/// Most heads fit into it, in bytes; growing step by step would cost more than the room.
const ROOM: usize = 1024;

/// A request as it is sent over HTTP/1.1. Its head is written as it is made: a map of the fields would cost as much as the
/// decision, and nobody looks anything up in it.
pub struct Message {
    /// The request line, and the header lines but for the one that frames the body.
    head: Vec<u8>,
    /// How long that is, while somebody else has it.
    taken: usize,
    pub(super) method: Method,
    /// How the body is framed; `None` when there is none.
    pub(super) framing: Option<Framing>,
    pub(super) body: Upload,
}

impl Message {
    /// A request of this method for this path and query. `length` is what the client said of the body: one of no bytes is
    /// not the same as none.
    pub fn new(method: Method, target: &str, length: Option<u64>, body: Upload) -> Box<Self> {
        let framing = length.map(Framing::Length).or((!body.is_end_stream()).then_some(Framing::Chunked));
        let mut head = Vec::with_capacity(ROOM);
        encode::request_line(&mut head, method.as_str(), target);
        Box::new(Self { head, taken: 0, method, framing, body })
    }

    /// Adds a header line.
    pub fn field(&mut self, name: &HeaderName, value: &[u8]) {
        encode::field(&mut self.head, name.as_str().as_bytes(), value);
    }

    /// The request's method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Whether the length of its body is not known.
    pub fn is_chunked(&self) -> bool {
        self.framing == Some(Framing::Chunked)
    }

    /// Reads the body, as far as it is no larger than `most` bytes, before it is sent. When that is all of it, its length is
    /// known.
    ///
    /// # Errors
    /// The upload broke one of its limits, or the client went away.
    pub async fn gather(&mut self, most: u64) -> Result<(), Aborted> {
        if let Some(length) = self.body.gather(most).await? {
            self.framing = Some(Framing::Length(length));
        }
        Ok(())
    }

    /// A second request like this one, if it has no body.
    pub fn copy(&self) -> Option<Box<Self>> {
        let body = self.body.again()?;
        let (head, method) = (self.head.clone(), self.method.clone());
        Some(Box::new(Self { head, taken: 0, method, framing: self.framing, body }))
    }

    /// The head so far.
    #[cfg(test)]
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Takes the whole head, to be sent.
    pub(super) fn take_head(&mut self) -> Vec<u8> {
        let mut head = std::mem::take(&mut self.head);
        self.taken = head.len();
        if let Some(framing) = self.framing {
            encode::framing(&mut head, framing);
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    /// Takes back the head, and what was not sent behind it.
    pub(super) fn put_back(&mut self, mut head: Vec<u8>, body: Bytes) {
        head.truncate(self.taken);
        self.head = head;
        if !body.is_empty() {
            self.body.put_back(body);
        }
    }
}

/// The head is not shown: it may hold credentials.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("method", &self.method).field("body", &self.body).finish_non_exhaustive()
    }
}
