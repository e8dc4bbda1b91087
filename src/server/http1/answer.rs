//! How an answer is written: its head, and what frames its body (RFC 9112 section 6).

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, Response, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, DATE, TRAILER, TRANSFER_ENCODING},
};
use http_body::{Body, Frame};

use super::date;
use crate::{
    fields,
    http1::{encode, head, is_bodiless, output::Output},
};

/// What of the request its answer depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) head: bool,
    pub(super) http_10: bool,
    /// Whether the connection may be used again.
    pub(super) keep_alive: bool,
}

/// An answer whose head is written.
#[derive(Debug)]
pub(super) struct Written {
    framing: Framing,
    /// Whether the connection can be used again after it.
    pub(super) keep_alive: bool,
}

/// How the client finds the end of the body.
#[derive(Debug)]
enum Framing {
    /// There is none, whatever the body says.
    None,
    /// It comes after so many more bytes.
    Length(u64),
    /// It comes after the last chunk, and after the trailers of these names.
    Chunked(Vec<HeaderName>),
    /// The connection ends.
    Close,
}

/// The body is not as long as was said.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct WrongLength;

impl Written {
    /// Writes the head of `response`. What frames the body is decided here, and nothing that the headers say about it is
    /// passed on unseen.
    pub(super) fn begin<B: Body>(output: &mut Output, response: &Response<B>, asked: Asked) -> Self {
        let (status, headers) = (response.status(), response.headers());
        let out = output.front();
        // Most heads fit, and growing step by step costs more than the room.
        out.reserve(512);
        status_line(out, status, asked.http_10);
        let (mut dated, mut connection) = (false, false);
        for (name, value) in headers {
            if name == CONTENT_LENGTH || name == TRANSFER_ENCODING {
                continue;
            }
            connection |= name == CONNECTION;
            dated |= name == DATE;
            encode::field(out, name.as_str().as_bytes(), value.as_bytes());
        }
        let mut keep_alive = asked.keep_alive && !(connection && fields::has(headers, &CONNECTION, "close"));
        let framing = Framing::of(response, asked);
        match &framing {
            Framing::None => {
                // What a GET would have had, or what the client has already.
                if asked.head || status == StatusCode::NOT_MODIFIED {
                    for value in headers.get_all(CONTENT_LENGTH) {
                        encode::field(out, CONTENT_LENGTH.as_str().as_bytes(), value.as_bytes());
                    }
                }
            }
            Framing::Length(length) => encode::framing(out, head::Framing::Length(*length)),
            Framing::Chunked(_) => encode::framing(out, head::Framing::Chunked),
            Framing::Close => keep_alive = false,
        }
        if !connection && keep_alive == asked.http_10 {
            out.extend_from_slice(if keep_alive { b"connection: keep-alive\r\n" } else { b"connection: close\r\n" });
        }
        if !dated {
            date::write(out);
        }
        out.extend_from_slice(b"\r\n");
        let framing = if matches!(framing, Framing::Length(0)) { Framing::None } else { framing };
        Self { framing, keep_alive }
    }

    /// Whether all of the body is written.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.framing, Framing::None)
    }

    /// Writes a piece of the body, which is the `last`, or trailers.
    ///
    /// # Errors
    /// The body is longer than was said.
    pub(super) fn write(&mut self, output: &mut Output, frame: Frame<Bytes>, last: bool) -> Result<(), WrongLength> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                if let (Framing::Chunked(announced), Ok(trailers)) = (&self.framing, frame.into_trailers()) {
                    write_trailers(output.front(), announced, &trailers);
                    self.framing = Framing::None;
                }
                return Ok(());
            }
        };
        match &mut self.framing {
            Framing::None => {}
            Framing::Close => output.push(data, b""),
            Framing::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(WrongLength)?;
                output.push(data, b"");
            }
            // An empty chunk would be the last.
            Framing::Chunked(_) if data.is_empty() => {}
            Framing::Chunked(_) => {
                output.push_chunk(data, last);
                if last {
                    self.framing = Framing::None;
                }
            }
        }
        // Where there is more to write than the end of the connection, the end is a piece of its own.
        if last && !matches!(self.framing, Framing::Chunked(_)) { self.end(output) } else { Ok(()) }
    }

    /// Writes the end of the body.
    ///
    /// # Errors
    /// The body is shorter than was said.
    pub(super) fn end(&mut self, output: &mut Output) -> Result<(), WrongLength> {
        match std::mem::replace(&mut self.framing, Framing::None) {
            Framing::Length(1..) => Err(WrongLength),
            Framing::Chunked(_) => {
                output.front().extend_from_slice(encode::LAST_CHUNK);
                Ok(())
            }
            Framing::None | Framing::Length(0) | Framing::Close => Ok(()),
        }
    }
}

impl Framing {
    fn of<B: Body>(response: &Response<B>, asked: Asked) -> Self {
        let (status, headers, body) = (response.status(), response.headers(), response.body());
        if is_bodiless(status, asked.head) {
            return Self::None;
        }
        let length = if body.is_end_stream() { Some(0) } else { body.size_hint().exact() };
        let said = || headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        match length.or_else(said) {
            Some(length) => Self::Length(length),
            None if asked.http_10 => Self::Close,
            None => Self::Chunked(announced(headers)),
        }
    }
}

fn status_line(out: &mut Vec<u8>, status: StatusCode, http_10: bool) {
    if status == StatusCode::OK && !http_10 {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(if http_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The trailers that a header announces. No others are written: who does not know of them may be surprised.
fn announced(headers: &HeaderMap) -> Vec<HeaderName> {
    fields::items(headers, &TRAILER).filter_map(|name| HeaderName::from_bytes(name).ok()).collect()
}

fn write_trailers(out: &mut Vec<u8>, announced: &[HeaderName], trailers: &HeaderMap) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.iter().filter(|(name, _)| announced.contains(name)) {
        encode::field(out, name.as_str().as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}
