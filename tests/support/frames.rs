//! HTTP/2 frames said by hand (RFC 9113 section 6), for what no client library would say.

use super::{Sidegate, Wire, until};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A good request's fields.
pub(crate) const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "localhost")];

/// An HTTP/2 connection that does only what it is told, with the settings of both sides agreed upon.
pub(crate) fn connect(sidegate: &Sidegate) -> Wire {
    let mut wire = Wire::tls(sidegate.address(), &["h2"]);
    wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").send(raw(SETTINGS, 0, 0, b""));
    until("the settings", || (read(&mut wire).0 == SETTINGS).then_some(()));
    wire.send(raw(SETTINGS, 1, 0, b""));
    wire
}

/// A HEADERS frame whose fields are literals (RFC 7541 section 6.2.2), exactly as they are given.
pub(crate) fn headers(stream: u32, fields: &[(&str, &str)], flags: u8) -> Vec<u8> {
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    raw(HEADERS, flags, stream, &block)
}

/// One field as a literal.
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        // RFC 7541 section 5.1: what does not fit into seven bits follows, seven at a time.
        match u8::try_from(text.len()) {
            Ok(length @ 0..127) => bytes.push(length),
            _ => {
                let mut rest = text.len() - 127;
                bytes.push(127);
                while rest > 127 {
                    bytes.push(u8::try_from(rest % 128).unwrap() | 128);
                    rest /= 128;
                }
                bytes.push(u8::try_from(rest).unwrap());
            }
        }
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// A frame with this payload.
pub(crate) fn raw(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Reads a frame: its type, flags, stream and payload.
pub(crate) fn read(wire: &mut Wire) -> (u8, u8, u32, Vec<u8>) {
    let head = wire.read_exact(9);
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    let payload = wire.read_exact(usize::try_from(length).unwrap());
    (head[3], head[4], stream, payload)
}
