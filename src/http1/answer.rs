//! Reads the head of an answer (RFC 9112 section 4), and tells where its body ends (section 6.3).

use std::ops::Range;

use bytes::BytesMut;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
    response::Parts,
};
use memchr::memchr;

use super::{
    chunks::Chunks,
    content::Content,
    head::{self, is_control, trim},
    is_bodiless, name,
};

/// The largest head, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// The most header lines.
const MAX_LINES: usize = 100;

/// The head of an answer, and what it says of what follows.
#[derive(Debug)]
pub struct Answer {
    /// What is passed on.
    pub head: Parts,
    /// Where the body ends.
    pub content: Content,
    /// Whether the connection may carry another request afterwards (RFC 9112 section 9.3).
    pub persistent: bool,
}

/// The head is not valid.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Invalid {
    /// Nor is anything else of it, perhaps.
    #[error("its first line is not one of HTTP/1.1")]
    StatusLine,
    /// A name, or a value.
    #[error("there is a header line that is not valid")]
    Field,
    /// No number, or two different ones.
    #[error("its length is not valid")]
    Length,
    /// HTTP/1.0 has none, and whoever speaks it would not know of chunks.
    #[error("it is one of HTTP/1.0 with a transfer encoding")]
    TransferEncoding,
    /// More than 100.
    #[error("there are more than 100 header lines")]
    TooManyLines,
    /// More than [`MAX_BYTES`].
    #[error("its header is larger than 64 KiB")]
    TooLarge,
}

/// A head that is arriving: what its lines so far say.
#[derive(Debug, Default)]
pub struct Scan {
    /// Where the first line begins that has not been looked at.
    start: usize,
    /// How far the end of that line has been searched for.
    searched: usize,
    status: Option<(Version, StatusCode)>,
    lines: Vec<Line>,
    framed: Framed,
}

/// A header line: its name, and where its value is.
#[derive(Debug)]
struct Line {
    name: HeaderName,
    value: Range<usize>,
}

impl Scan {
    /// Takes the head of the answer to a request of this method out of what was read, once it is complete. Interim answers
    /// are taken and left out (RFC 9110 section 15.2).
    ///
    /// # Errors
    /// It is not valid, as soon as it shows.
    pub fn take(&mut self, read: &mut BytesMut, method: &Method) -> Result<Option<Answer>, Invalid> {
        // Whatever does not speak HTTP may never send the end of a line.
        const START: &[u8] = b"HTTP/1.";
        while let Some((version, status)) = self.read(read)? {
            let end = self.start;
            let head = if end == read.len() { std::mem::take(read) } else { read.split_to(end) }.freeze();
            let Self { lines, framed, .. } = std::mem::take(self);
            if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
                continue;
            }
            let mut fields = HeaderMap::try_with_capacity(lines.len()).map_err(|_| Invalid::TooManyLines)?;
            for Line { name, value } in lines {
                let value = head.slice_ref(trim(&head[value]));
                let value = HeaderValue::from_maybe_shared(value).map_err(|_| Invalid::Field)?;
                fields.try_append(name, value).map_err(|_| Invalid::TooManyLines)?;
            }
            if let (Some(Ok(length)), true) = (framed.length, framed.is_odd) {
                // Those behind us get one number.
                fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            let content = framed.content(version, status, method)?;
            let (mut head, ()) = Response::new(()).into_parts();
            (head.version, head.status, head.headers) = (version, status, fields);
            return Ok(Some(Answer { head, content, persistent: framed.is_persistent(version, status) }));
        }
        let start = START.len().min(read.len());
        if self.status.is_none() && read[..start] != START[..start] {
            return Err(Invalid::StatusLine);
        }
        Ok(None)
    }

    /// Looks at what has come since the last look. What the first line says, when the head is complete: it ends where the
    /// next line would start.
    fn read(&mut self, bytes: &[u8]) -> Result<Option<(Version, StatusCode)>, Invalid> {
        while let Some(found) = memchr(b'\n', &bytes[self.searched..]) {
            let (start, end) = (self.start, self.searched + found);
            self.start = end + 1;
            self.searched = self.start;
            if self.start > MAX_BYTES {
                return Err(Invalid::TooLarge);
            }
            // A bare LF ends a line, too: it has no other reading (RFC 9112 section 2.2).
            let line = &bytes[start..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if self.status.is_none() {
                self.status = Some(status_line(line)?);
            } else if line.is_empty() {
                return Ok(self.status);
            } else if self.lines.len() == MAX_LINES {
                return Err(Invalid::TooManyLines);
            } else {
                let colon = memchr(b':', line).ok_or(Invalid::Field)?;
                let name = name::parse(&line[..colon]).map_err(|_| Invalid::Field)?;
                self.framed.by(&name, trim(&line[colon + 1..]));
                self.lines.push(Line { name, value: start + colon + 1..start + line.len() });
            }
        }
        self.searched = bytes.len();
        if bytes.len() > MAX_BYTES { Err(Invalid::TooLarge) } else { Ok(None) }
    }
}

fn status_line(line: &[u8]) -> Result<(Version, StatusCode), Invalid> {
    let (version, rest) = match line.split_at_checked(b"HTTP/1.1 ".len()) {
        Some((b"HTTP/1.1 ", rest)) => (Version::HTTP_11, rest),
        Some((b"HTTP/1.0 ", rest)) => (Version::HTTP_10, rest),
        _ => return Err(Invalid::StatusLine),
    };
    let (status, reason) = rest.split_at_checked(3).ok_or(Invalid::StatusLine)?;
    // The space before the reason is often forgotten where there is none.
    if !matches!(reason, [] | [b' ', ..]) || reason.iter().any(|byte| is_control(*byte)) {
        return Err(Invalid::StatusLine);
    }
    Ok((version, StatusCode::from_bytes(status).map_err(|_| Invalid::StatusLine)?))
}

/// What the header lines say of the message that they are in.
#[derive(Debug, Default)]
struct Framed {
    length: Option<Result<u64, Invalid>>,
    /// Whether the length is not written once and plainly.
    is_odd: bool,
    encoded: bool,
    /// Whether the last coding is `chunked`.
    chunked: bool,
    closes: bool,
    keeps: bool,
}

impl Framed {
    fn by(&mut self, name: &HeaderName, value: &[u8]) {
        let mut words = value.split(|byte| *byte == b',').map(trim);
        if *name == CONTENT_LENGTH {
            self.is_odd |= self.length.is_some() || head::length(value).is_none();
            for word in words {
                let length = digits(word).ok_or(Invalid::Length);
                let agreed = self.length.filter(|agreed| *agreed != length).map(|_| Err(Invalid::Length));
                self.length = Some(agreed.unwrap_or(length));
            }
        } else if *name == TRANSFER_ENCODING {
            self.encoded = true;
            self.chunked = words.next_back().is_some_and(|word| word.eq_ignore_ascii_case(b"chunked"));
        } else if *name == CONNECTION {
            for word in words {
                self.closes |= word.eq_ignore_ascii_case(b"close");
                self.keeps |= word.eq_ignore_ascii_case(b"keep-alive");
            }
        }
    }

    /// RFC 9112 section 6.3, in its order.
    fn content(&self, version: Version, status: StatusCode, method: &Method) -> Result<Content, Invalid> {
        if is_bodiless(status, *method == Method::HEAD) {
            return Ok(Content::Length(0));
        }
        match (self.encoded, self.length) {
            (true, _) if version == Version::HTTP_10 => Err(Invalid::TransferEncoding),
            (true, _) if self.chunked => Ok(Content::Chunked(Chunks::START, Vec::new())),
            (true, _) | (false, None) => Ok(Content::UntilEnd),
            (false, Some(length)) => length.map(Content::Length),
        }
    }

    /// RFC 9112 section 9.3. One that says in two ways where it ends may have been made to be read in two ways (section 6.3).
    fn is_persistent(&self, version: Version, status: StatusCode) -> bool {
        let ambiguous = self.encoded && self.length.is_some();
        let persistent = version == Version::HTTP_11 || self.keeps;
        persistent && !self.closes && !ambiguous && status != StatusCode::SWITCHING_PROTOCOLS
    }
}

/// A number of nothing but digits, which some apps write zeros before.
fn digits(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

#[cfg(test)]
mod tests;
