//! Reads the head of an HTTP/1 request strictly: what it passes has one reading only.
//!
//! Libraries remove a `#…` from the target and a length beside `chunked`, take a bare LF for the end of a line, and skip
//! empty lines. Each of these is a place where the app, or a proxy before us, could see another message.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use memchr::memchr;

use super::name;
use crate::reason::Reason;

/// How large a head may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the request line to the empty line, in bytes.
    pub bytes: usize,
    /// Header lines.
    pub lines: usize,
}

/// Where the body ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
}

/// What a good head says.
#[derive(Debug, Eq, PartialEq)]
pub struct Head {
    /// How long it is.
    pub bytes: usize,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the client waits to be told that its body is wanted (RFC 9110 section 10.1.1).
    pub expects_continue: bool,
    /// Whether the connection may be used again (RFC 9112 section 9.3).
    pub keep_alive: bool,
    /// Whether the client speaks HTTP/1.0.
    pub http_10: bool,
    places: Places,
}

/// Where the parts of a head are, so that they need not be looked for twice.
#[derive(Debug, Default, Eq, PartialEq)]
struct Places {
    /// Where the method starts.
    start: usize,
    /// Where it ends; a blank follows.
    method: usize,
    /// Where the target ends.
    target: usize,
    fields: Vec<Field>,
}

/// Where a header line is.
#[derive(Debug, Eq, PartialEq)]
struct Field {
    start: usize,
    /// Where the name ends; a colon follows.
    name: usize,
    /// Where the line ends.
    end: usize,
}

/// A head that is arriving: what its lines so far say.
#[derive(Debug, Default)]
pub struct Scan {
    /// Where the first line begins that has not been looked at.
    start: usize,
    /// How far the end of that line has been searched for.
    searched: usize,
    /// Line ends so far.
    ends: usize,
    /// Lines so far, the request line among them.
    lines: usize,
    http_10: bool,
    length: Option<u64>,
    chunked: bool,
    expects_continue: bool,
    close: bool,
    keep_alive: bool,
    places: Places,
}

impl Scan {
    /// Looks at what has come since the last look. `bytes` is the head from its first byte on, with whatever follows it.
    /// `None` when it is not complete.
    ///
    /// # Errors
    /// `framing_invalid`, `path_ambiguous`, `header_invalid` or `header_too_large`, as soon as it shows.
    pub fn read(&mut self, bytes: &[u8], limits: Limits) -> Result<Option<Head>, Reason> {
        while let Some(found) = memchr(b'\n', &bytes[self.searched..]) {
            let end = self.searched + found;
            let line = bytes[self.start..end].strip_suffix(b"\r").ok_or(Reason::FramingInvalid)?;
            self.start = end + 1;
            self.searched = self.start;
            self.ends += 1;
            if self.start > limits.bytes {
                return Err(Reason::HeaderTooLarge);
            }
            if self.lines == 0 {
                // RFC 9112 section 2.2: one empty line before the request is what old clients send after a body.
                if !line.is_empty() {
                    let start = end - 1 - line.len();
                    self.request_line(line, start)?;
                    self.lines = 1;
                } else if self.ends > 1 {
                    return Err(Reason::FramingInvalid);
                }
            } else if line.is_empty() {
                return self.end(&bytes[..self.start]).map(Some);
            } else if self.lines > limits.lines {
                return Err(Reason::HeaderTooLarge);
            } else {
                let end = end - 1;
                let start = end - line.len();
                let name = start + self.field(line)?;
                self.places.fields.push(Field { start, name, end });
                self.lines += 1;
            }
        }
        self.searched = bytes.len();
        if bytes.len() > limits.bytes {
            return Err(Reason::HeaderTooLarge);
        }
        // TLS, or whatever else is no HTTP, has no line end that one could wait for.
        if self.lines == 0 && bytes.get(self.start).is_some_and(|byte| !TOKEN[usize::from(*byte)] && *byte != b'\r') {
            return Err(Reason::FramingInvalid);
        }
        Ok(None)
    }

    fn request_line(&mut self, line: &[u8], start: usize) -> Result<(), Reason> {
        let method = token(line);
        let rest = line[method..].strip_prefix(b" ").filter(|_| method > 0).ok_or(Reason::FramingInvalid)?;
        let target = plain(rest);
        let (target, version) = if target > 0 && rest.get(target) == Some(&b' ') && rest[0] == b'/' {
            (&rest[..target], &rest[target + 1..])
        } else {
            unusual_target(rest)?
        };
        // More than the library's type for a target can hold.
        if target.len() >= usize::from(u16::MAX) {
            return Err(Reason::HeaderTooLarge);
        }
        self.places.start = start;
        self.places.method = start + method;
        self.places.target = start + method + 1 + target.len();
        // Most requests have some ten fields; growing step by step would cost more than the room.
        self.places.fields.reserve(16);
        self.http_10 = version == b"HTTP/1.0";
        if self.http_10 || version == b"HTTP/1.1" { Ok(()) } else { Err(Reason::FramingInvalid) }
    }

    /// Notes what a header line says, and tells where its name ends.
    fn field(&mut self, line: &[u8]) -> Result<usize, Reason> {
        let end = token(line);
        // More than the library's type for a name can hold.
        if end == 0 || end >= usize::from(u16::MAX) || line.get(end) != Some(&b':') {
            return Err(Reason::HeaderInvalid);
        }
        let (name, value) = (&line[..end], &line[end + 1..]);
        match name.len() {
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.expects_continue = !self.http_10 && trim(value).eq_ignore_ascii_case(b"100-continue");
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for option in value.split(|byte| *byte == b',').map(trim) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = length(trim(value)).filter(|_| self.length.is_none() && !self.chunked);
                self.length = Some(length.ok_or(Reason::FramingInvalid)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let alone = self.length.is_none() && !self.chunked && !self.http_10;
                if !alone || !trim(value).eq_ignore_ascii_case(b"chunked") {
                    return Err(Reason::FramingInvalid);
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(end)
    }

    fn end(&mut self, head: &[u8]) -> Result<Head, Reason> {
        // Names and the request line have been looked at byte by byte. Counting the rest in one go is several times as
        // fast: there are no control characters but the line ends, and a few tabs.
        let ends = 2 * self.ends;
        if controls(head) != ends && head.iter().filter(|byte| is_control(**byte)).count() != ends {
            return Err(Reason::HeaderInvalid);
        }
        let framing = if self.chunked { Framing::Chunked } else { Framing::Length(self.length.unwrap_or(0)) };
        Ok(Head {
            bytes: head.len(),
            framing,
            expects_continue: self.expects_continue,
            keep_alive: if self.http_10 { self.keep_alive && !self.close } else { !self.close },
            http_10: self.http_10,
            places: std::mem::take(&mut self.places),
        })
    }
}

impl Head {
    /// The request that `bytes`, which are those of this head, make.
    ///
    /// # Errors
    /// What the types of a request cannot hold.
    pub fn request(self, bytes: &Bytes) -> Result<Request<()>, Reason> {
        let Places { start, method, target, fields } = self.places;
        let mut headers = HeaderMap::try_with_capacity(fields.len()).map_err(|_| Reason::HeaderTooLarge)?;
        for Field { start, name, end } in fields {
            let value = trim(&bytes[name + 1..end]);
            let value = HeaderValue::from_maybe_shared(bytes.slice_ref(value)).map_err(|_| Reason::HeaderInvalid)?;
            let name = name::parse(&bytes[start..name]).map_err(|_| Reason::HeaderInvalid)?;
            headers.try_append(name, value).map_err(|_| Reason::HeaderTooLarge)?;
        }
        let mut request = Request::new(());
        *request.method_mut() = Method::from_bytes(&bytes[start..method]).map_err(|_| Reason::FramingInvalid)?;
        *request.uri_mut() =
            Uri::from_maybe_shared(bytes.slice(method + 1..target)).map_err(|_| Reason::PathAmbiguous)?;
        *request.version_mut() = if self.http_10 { Version::HTTP_10 } else { Version::HTTP_11 };
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// A head that stands in for a bad one, so that the refusal takes the way of every answer. It says of the bad one's
/// request line what is safe to repeat in a log.
pub fn stand_in(bad: &[u8]) -> Vec<u8> {
    /// What a log line has room for.
    const LONGEST: usize = 2048;
    let line = bad.strip_prefix(b"\r\n").unwrap_or(bad);
    let method = token(&line[..line.len().min(32)]);
    let rest = line[method..].strip_prefix(b" ").filter(|_| method > 0);
    let target = rest.map(|rest| &rest[..plain(&rest[..rest.len().min(LONGEST)])]);
    let (method, target) = match target {
        Some(target) if target.starts_with(b"/") => (&line[..method], target),
        Some(_) => (&line[..method], &b"*"[..]),
        None => (&b"-"[..], &b"*"[..]),
    };
    [method, b" ", target, b" HTTP/1.1\r\nconnection: close\r\n\r\n"].concat()
}

/// A length as everybody reads it: digits, and no zero before them that makes it octal to some.
pub fn length(value: &[u8]) -> Option<u64> {
    let digits = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    if !digits || (value[0] == b'0' && value.len() > 1) {
        return None;
    }
    Some(value.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0')))
}

/// Whether a byte may be part of a name (RFC 9110 section 5.6.2).
pub const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// Whether a byte may not be part of a value, nor of anything else.
pub const fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f
}

static TOKEN: [bool; 256] = table(false);

/// What is in nearly every target, and what the library takes as it is.
static PLAIN: [bool; 256] = table(true);

const fn table(plain: bool) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        let in_target = byte.is_ascii_alphanumeric()
            || matches!(byte, b'/' | b'-' | b'.' | b'_' | b'~' | b'?' | b'=' | b'&' | b'%' | b':' | b'@' | b'+' | b',')
            || matches!(byte, b';' | b'!' | b'$' | b'\'' | b'(' | b')' | b'*');
        table[byte as usize] = if plain { in_target } else { is_token(byte) };
        byte += 1;
    }
    table
}

/// How many bytes at the start are of a name.
fn token(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !TOKEN[usize::from(*byte)]).unwrap_or(bytes.len())
}

fn plain(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !PLAIN[usize::from(*byte)]).unwrap_or(bytes.len())
}

/// A target that is not just a plain path, and the version after it.
fn unusual_target(rest: &[u8]) -> Result<(&[u8], &[u8]), Reason> {
    let end = memchr(b' ', rest).filter(|end| *end > 0).ok_or(Reason::FramingInvalid)?;
    let target = &rest[..end];
    // The library's type for a target drops a fragment, and cannot hold what is no URI.
    let text = std::str::from_utf8(target).map_err(|_| Reason::PathAmbiguous)?;
    if target.iter().any(|byte| is_control(*byte) || matches!(*byte, b'#' | b'\t')) || text.parse::<Uri>().is_err() {
        return Err(Reason::PathAmbiguous);
    }
    Ok((target, &rest[end + 1..]))
}

/// A value without the blanks at its ends (RFC 9110 section 5.5).
pub fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// How many control characters there are, tabs among them. In pieces whose count fits into a byte, and without a branch,
/// so that the compiler counts sixteen bytes at once.
fn controls(bytes: &[u8]) -> usize {
    const PIECE: usize = 240;
    let mut count = 0;
    for piece in bytes.chunks(PIECE) {
        let mut here = 0_u8;
        for byte in piece {
            here = here.wrapping_add(u8::from((*byte < b' ') | (*byte == 0x7f)));
        }
        count += usize::from(here);
    }
    count
}

#[cfg(test)]
mod tests;
