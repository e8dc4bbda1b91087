//! HTTP/2 by hand: frames and header blocks as bytes, so that a test can send what no client would.

use std::net::SocketAddr;

use super::{Wire, until};

/// What a client opens with (RFC 9113 section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The types of frames (RFC 9113 section 6).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// Their flags.
pub(crate) mod flag {
    pub(crate) const END_STREAM: u8 = 0x1;
    pub(crate) const ACK: u8 = 0x1;
    pub(crate) const END_HEADERS: u8 = 0x4;
    pub(crate) const PADDED: u8 = 0x8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// The codes of errors (RFC 9113 section 7).
pub(crate) mod code {
    pub(crate) const NO_ERROR: u32 = 0;
    pub(crate) const PROTOCOL_ERROR: u32 = 1;
    pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
    pub(crate) const STREAM_CLOSED: u32 = 5;
    pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
    pub(crate) const REFUSED_STREAM: u32 = 7;
    pub(crate) const CANCEL: u32 = 8;
    pub(crate) const COMPRESSION_ERROR: u32 = 9;
    pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;
}

/// The names of settings (RFC 9113 section 6.5.2).
pub(crate) mod setting {
    pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
    pub(crate) const ENABLE_PUSH: u16 = 2;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(crate) const MAX_FRAME_SIZE: u16 = 5;
}

/// A frame as it came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// The bytes of any frame, right or wrong.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// SETTINGS with these values.
pub(crate) fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> =
        values.iter().flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    frame(kind::SETTINGS, 0, 0, payload)
}

/// HEADERS that are complete, with these flags besides.
pub(crate) fn headers(flags: u8, stream: u32, block: impl AsRef<[u8]>) -> Vec<u8> {
    frame(kind::HEADERS, flags | flag::END_HEADERS, stream, block)
}

/// DATA.
pub(crate) fn data(flags: u8, stream: u32, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    frame(kind::DATA, flags, stream, bytes)
}

/// RST_STREAM.
pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, code.to_be_bytes())
}

/// WINDOW_UPDATE.
pub(crate) fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, increment.to_be_bytes())
}

/// PING with these eight bytes.
pub(crate) fn ping(bytes: &[u8; 8]) -> Vec<u8> {
    frame(kind::PING, 0, 0, bytes)
}

/// A request without a body, complete in one frame.
pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    headers(flag::END_STREAM, stream, request("GET", path, &[]))
}

/// The header block of a request with these further fields.
pub(crate) fn request(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path)];
    block(pseudo.iter().chain(fields))
}

/// A header block of literals: not indexed, not Huffman-coded (RFC 7541 section 6.2.2).
pub(crate) fn block<'a>(fields: impl IntoIterator<Item = &'a (&'a str, &'a str)>) -> Vec<u8> {
    fields.into_iter().flat_map(|(name, value)| literal(name.as_bytes(), value.as_bytes())).collect()
}

/// One literal, of any bytes.
pub(crate) fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x00];
    for text in [name, value] {
        bytes.extend(integer(0x00, 7, text.len()));
        bytes.extend_from_slice(text);
    }
    bytes
}

/// An integer in the low `prefix` bits of `first` and what follows (RFC 7541 section 5.1).
pub(crate) fn integer(first: u8, prefix: u32, value: usize) -> Vec<u8> {
    let limit = (1_usize << prefix) - 1;
    let low = |value: usize| u8::try_from(value).unwrap();
    if value < limit {
        return vec![first | low(value)];
    }
    let (mut bytes, mut rest) = (vec![first | low(limit)], value - limit);
    while rest >= 0x80 {
        bytes.push(low(rest % 0x80) | 0x80);
        rest /= 0x80;
    }
    bytes.push(low(rest));
    bytes
}

/// What became of what was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// GOAWAY with this code, and the connection ended.
    Connection(u32),
    /// The connection ended without one.
    Closed,
    /// RST_STREAM with this code.
    Stream(u32),
    /// An answer with this status, to its end.
    Status(u16),
    /// Nothing: the connection lives on, and has no more to say.
    Nothing,
}

/// A connection over TLS that does only what it is told.
pub(crate) struct Frames {
    wire: Wire,
}

impl Frames {
    /// A connection on which nothing was sent yet.
    pub(crate) fn silent(address: SocketAddr) -> Self {
        Self::on(Wire::tls(address, &["h2"]))
    }

    /// A connection on which something was said already, perhaps.
    pub(crate) fn on(wire: Wire) -> Self {
        Self { wire }
    }

    /// A connection that has said its preface with these settings, and has acknowledged those of the other side.
    pub(crate) fn open(address: SocketAddr, values: &[(u16, u32)]) -> Self {
        let mut frames = Self::silent(address);
        frames.wire.send([PREFACE, &settings(values)].concat());
        until("the settings", || frames.next().is_none_or(|frame| frame.kind == kind::SETTINGS).then_some(()));
        frames.send(frame(kind::SETTINGS, flag::ACK, 0, ""));
        frames
    }

    /// The bare connection, to be left alone.
    pub(crate) fn into_wire(self) -> Wire {
        self.wire
    }

    /// Says it, to someone who is listening.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.wire.send(bytes);
        self
    }

    /// Says it; whether it could be said.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.wire.try_send(bytes).is_ok()
    }

    /// Says it over and over, and never listens, until the other side takes no more for a second, or has taken so many
    /// bytes; says how many it took.
    pub(crate) fn send_until_stuck(&mut self, bytes: &[u8], enough: u64) -> u64 {
        self.wire.send_until_stuck(bytes, enough)
    }

    /// The next frame; `None` at the end of the connection.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let head = self.wire.read_or_end(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.wire.read_or_end(usize::try_from(length).unwrap())?;
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// What becomes of this stream, or of the connection before that. `Nothing` is concluded from the answer to a PING,
    /// and so never where an answer is still being made: who waits for an answer says `patient`.
    #[track_caller]
    pub(crate) fn outcome(&mut self, stream: u32, patient: bool) -> Outcome {
        const PROBE: &[u8; 8] = b"settled?";
        self.try_send(ping(PROBE));
        let (mut status, mut goaway, mut settled) = (0, None, false);
        while let Some(frame) = self.next() {
            let ours = frame.stream == stream;
            match frame.kind {
                kind::GOAWAY => goaway = Some(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap())),
                kind::RST_STREAM if ours => {
                    return Outcome::Stream(u32::from_be_bytes(frame.payload[..4].try_into().unwrap()));
                }
                kind::HEADERS if ours && status < 200 => status = status_of(&frame.payload),
                kind::PING if frame.payload == PROBE && frame.flags == flag::ACK && !patient => {
                    // The answer to a PING overtakes other frames: those have been sent when a second one is here.
                    if std::mem::replace(&mut settled, true) {
                        return Outcome::Nothing;
                    }
                    self.try_send(ping(PROBE));
                }
                _ => {}
            }
            let message = matches!(frame.kind, kind::HEADERS | kind::DATA);
            if ours && message && frame.flags & flag::END_STREAM != 0 {
                return Outcome::Status(status);
            }
        }
        goaway.filter(|code| *code != code::NO_ERROR).map_or(Outcome::Closed, Outcome::Connection)
    }
}

/// The status that a header block begins with: an entry of the static table (RFC 7541 appendix A), or a literal with
/// that entry's name.
fn status_of(block: &[u8]) -> u16 {
    // A change of the table's size may come first.
    let start = block.iter().position(|byte| byte & 0xe0 != 0x20).unwrap();
    let block = &block[start..];
    match block[0] {
        indexed @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)],
        0x08 | 0x48 if block[1] & 0x80 == 0 => std::str::from_utf8(&block[2..5]).unwrap().parse().unwrap(),
        0x08 | 0x48 => digits(&block[2..2 + usize::from(block[1] & 0x7f)]),
        other => panic!("an answer that begins with {other:#x}"),
    }
}

/// Three digits in Huffman's code (RFC 7541 appendix B): 0 to 2 have five bits, the others six.
fn digits(bytes: &[u8]) -> u16 {
    let mut bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| u16::from(byte >> bit & 1)));
    let mut take = |count: usize| bits.by_ref().take(count).fold(0, |value, bit| value << 1 | bit);
    (0..3).fold(0, |number, _| {
        let five = take(5);
        let digit = if five <= 2 { five } else { (five << 1 | take(1)) - 0x19 + 3 };
        number * 10 + digit
    })
}
