//! What a line of the access log is made of, in whichever form: what the request says of itself, written when it arrives,
//! and what becomes of it, written between the pieces of that when it ends. So one piece of memory is all that the log
//! keeps of a request.

use std::time::Duration;

use http::{
    HeaderName, HeaderValue, Request, Version,
    header::{HOST, REFERER},
};
use memchr::memrchr;

use crate::exchange::Trail;

/// Enough for most requests, in bytes.
const CAPACITY: usize = 512;

/// What a request says of itself, in the form of the log and in three pieces.
#[derive(Debug)]
pub(super) struct Said {
    text: Vec<u8>,
    /// Where the second piece begins, and the third.
    cuts: [usize; 2],
}

/// Writes a piece.
type Piece<'a> = &'a dyn Fn(&mut Vec<u8>);

/// What became of a request.
#[derive(Debug)]
pub(super) struct Finished<'a> {
    pub(super) code: u16,
    pub(super) sent: u64,
    pub(super) duration: Duration,
    pub(super) trail: &'a Trail,
    pub(super) rule: Option<&'a str>,
}

impl Said {
    /// The pieces that these write.
    pub(super) fn new(pieces: [Piece<'_>; 3]) -> Self {
        let (mut text, [first, second, third]) = (Vec::with_capacity(CAPACITY), pieces);
        first(&mut text);
        let one = text.len();
        second(&mut text);
        let two = text.len();
        third(&mut text);
        Self { text, cuts: [one, two] }
    }

    /// The pieces.
    pub(super) fn pieces(&self) -> [&[u8]; 3] {
        let [one, two] = self.cuts;
        [&self.text[..one], &self.text[one..two], &self.text[two..]]
    }
}

/// The name of the protocol, as nginx and Envoy write it; but for HTTP/2, which nginx calls `HTTP/2.0`.
pub(super) fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

/// A header, or the first of them.
pub(super) fn header<'r, B>(request: &'r Request<B>, name: &HeaderName) -> Option<&'r [u8]> {
    request.headers().get(name).map(HeaderValue::as_bytes)
}

/// Whom the request is for. `user:password@` may stand before a host.
pub(super) fn authority<B>(request: &Request<B>) -> Option<&[u8]> {
    let named = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let authority = named.or_else(|| header(request, &HOST))?;
    Some(memrchr(b'@', authority).map_or(authority, |at| &authority[at + 1..]))
}

/// The page that linked here, without its query, which may hold a token: it was ours more often than not.
pub(super) fn referer<B>(request: &Request<B>) -> Option<&[u8]> {
    header(request, &REFERER)?.split(|byte| matches!(byte, b'?' | b'#')).next()
}
