//! Takes the content of a message out of the bytes that it is framed in (RFC 9112 section 6).

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;
use memchr::memchr;

use super::{
    chunks::Chunks,
    head::{Framing, trim},
};

/// The largest trailer section, in bytes.
const MAX_TRAILERS: usize = 16 * 1024;

/// Follows one body.
#[derive(Debug)]
pub enum Content {
    /// So many bytes are still to come.
    Length(u64),
    /// Chunks, of which this is the next, and the lines of the trailer section so far.
    Chunked(Chunks, Vec<u8>),
    /// All that comes until the stream ends.
    UntilEnd,
    /// What came is not valid: where it ends cannot be known any more.
    Broken,
}

/// The framing is not valid, or its trailers are not, or they are too large.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the framing is not valid")
    }
}

impl std::error::Error for Malformed {}

impl From<Framing> for Content {
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunks::START, Vec::new()),
        }
    }
}

impl Content {
    /// Whether nothing more belongs to it.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks, _) => *chunks == Chunks::Done,
            Self::UntilEnd | Self::Broken => false,
        }
    }

    /// How many bytes are still to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunked(Chunks::Done, _) => Some(0),
            Self::Chunked(..) | Self::UntilEnd | Self::Broken => None,
        }
    }

    /// Takes the next piece out of what was read; `None` when it takes more bytes to tell, or when it is done.
    ///
    /// # Errors
    /// What came is not valid, and nothing after it can be.
    pub fn take(&mut self, read: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Malformed> {
        let taken = match self {
            Self::Length(left) => {
                let here = within(*left, read.len());
                *left -= here as u64;
                Ok((here > 0).then(|| Frame::data(read.split_to(here).freeze())))
            }
            Self::UntilEnd => Ok((!read.is_empty()).then(|| Frame::data(read.split().freeze()))),
            Self::Chunked(chunks, trailers) => take_chunked(chunks, trailers, read),
            Self::Broken => Err(Malformed),
        };
        if taken.is_err() {
            *self = Self::Broken;
        }
        taken
    }
}

fn take_chunked(
    chunks: &mut Chunks,
    trailers: &mut Vec<u8>,
    read: &mut BytesMut,
) -> Result<Option<Frame<Bytes>>, Malformed> {
    while !read.is_empty() && *chunks != Chunks::Done {
        if let Chunks::Data { left } = chunks {
            let here = within(*left, read.len());
            chunks.pass(here);
            return Ok(Some(Frame::data(read.split_to(here).freeze())));
        }
        let in_trailers = chunks.is_in_trailers();
        let (passed, result) = chunks.follow(read);
        result.map_err(|_| Malformed)?;
        if in_trailers {
            if trailers.len() + passed > MAX_TRAILERS {
                return Err(Malformed);
            }
            trailers.extend_from_slice(&read[..passed]);
        }
        read.advance(passed);
    }
    if *chunks != Chunks::Done || trailers.is_empty() {
        return Ok(None);
    }
    Ok(parse(&std::mem::take(trailers))?.map(Frame::trailers))
}

/// The fields of a trailer section, if there are any.
fn parse(section: &[u8]) -> Result<Option<HeaderMap>, Malformed> {
    let mut fields = HeaderMap::new();
    let lines = section.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    for line in lines.filter(|line| !line.is_empty()) {
        let colon = memchr(b':', line).ok_or(Malformed)?;
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| Malformed)?;
        let value = HeaderValue::from_bytes(trim(&line[colon + 1..])).map_err(|_| Malformed)?;
        fields.try_append(name, value).map_err(|_| Malformed)?;
    }
    Ok((!fields.is_empty()).then_some(fields))
}

/// How many of the bytes that were read are among so many.
fn within(left: u64, read: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(read)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    type Taken = (Vec<u8>, Vec<String>, Vec<u8>);

    /// What is taken out of `bytes`, which come in pieces of this length: content, trailers, and what is left.
    fn take(mut content: Content, bytes: &[u8], piece: usize) -> Result<Taken, Malformed> {
        let (mut read, mut data, mut trailers) = (BytesMut::new(), Vec::new(), Vec::new());
        for bytes in bytes.chunks(piece) {
            read.extend_from_slice(bytes);
            loop {
                let taken = content.take(&mut read);
                if taken.is_err() {
                    // Not even after all of it was there: what follows would be taken for a request.
                    assert!(!content.is_done() && content.take(&mut read).is_err());
                }
                let Some(frame) = taken? else { break };
                match frame.into_data() {
                    Ok(bytes) => data.extend_from_slice(&bytes),
                    Err(frame) => {
                        let fields = frame.into_trailers().unwrap();
                        let line =
                            |(name, value): (&HeaderName, &HeaderValue)| format!("{name}={}", value.to_str().unwrap());
                        trailers.extend(fields.iter().map(line));
                    }
                }
            }
        }
        assert_eq!(content.is_done(), !matches!(content, Content::UntilEnd));
        Ok((data, trailers, read.to_vec()))
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_content_is_the_same(piece in 1_usize..40) {
            let chunked = b"5\r\nhello\r\n1;x=y\r\n \r\n5\r\nworld\r\n0\r\nX-Sum: 1 \r\nY:\r\n\r\nGET /";
            let trailers = vec!["x-sum=1".to_owned(), "y=".to_owned()];
            let expected = (b"hello world".to_vec(), trailers, b"GET /".to_vec());
            prop_assert_eq!(take(Framing::Chunked.into(), chunked, piece), Ok(expected));
            let expected = (b"hello".to_vec(), Vec::new(), b"GET /".to_vec());
            prop_assert_eq!(take(Framing::Length(5).into(), b"helloGET /", piece), Ok(expected.clone()));
            let short = b"5\r\nhello\r\n0\r\n\r\nGET /";
            prop_assert_eq!(take(Framing::Chunked.into(), short, piece), Ok(expected));
            let expected = (b"hello".to_vec(), Vec::new(), Vec::new());
            prop_assert_eq!(take(Content::UntilEnd, b"hello", piece), Ok(expected));
        }
    }

    #[test]
    fn what_is_no_chunk_and_what_is_too_large_is_malformed() {
        for bytes in [&b"5\r\nhelloXX"[..], b"x", b"0\r\nX\r\n\r\n", b"0\r\n X: 1\r\n\r\n"] {
            assert_eq!(take(Framing::Chunked.into(), bytes, 100), Err(Malformed), "{bytes:?}");
        }
        let large = format!("0\r\n{}", format!("X: {}\r\n", "x".repeat(1000)).repeat(17));
        assert_eq!(take(Framing::Chunked.into(), large.as_bytes(), 100), Err(Malformed));
    }
}
