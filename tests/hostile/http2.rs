//! A client of HTTP/2 that sends whatever fields it is told, where a library would refuse to.

use std::{
    io::{self, BufReader, Write},
    net::SocketAddr,
    sync::{Arc, LazyLock},
};

use rustls::ClientConfig;

use super::{
    clients::Seen,
    hpack,
    http1::{Tls, connect, read_exact},
};
use crate::support::tls_config;

static TLS: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| Arc::new(tls_config(&["h2"])));

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// What one frame may carry.
const FRAME: usize = 16_384;

/// The client, with its connection where it has one.
pub(super) struct Http2 {
    address: SocketAddr,
    connection: Option<Connection>,
}

struct Connection {
    stream: BufReader<Tls>,
    next: u32,
}

impl Http2 {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, connection: None }
    }

    /// The answer to a request of these fields, or `None` when the stream was reset or the connection ended.
    pub(super) fn ask(
        &mut self,
        fields: &[(Vec<u8>, Vec<u8>)],
        body: Option<&[u8]>,
        trailers: &[(Vec<u8>, Vec<u8>)],
    ) -> Option<Seen> {
        let mut connection = self.connection.take().unwrap_or_else(|| Connection::open(self.address));
        let answer = connection.exchange(fields, body, trailers).ok().flatten();
        // After anything else the next case gets a connection of its own, so that it answers for nobody else.
        if answer.as_ref().is_some_and(|answer| matches!(answer.status, 200..=299 | 400 | 401 | 403 | 404 | 405)) {
            self.connection = Some(connection);
        }
        answer
    }
}

impl Connection {
    fn open(address: SocketAddr) -> Self {
        let mut connection = Self { stream: connect(address, &TLS), next: 1 };
        // No dynamic table for us to keep, and room for all answers.
        let settings = [0, 1, 0, 0, 0, 0];
        let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        hello.extend(frame(SETTINGS, 0, 0, &settings));
        hello.extend(frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes()));
        let _ = connection.write(&hello);
        connection
    }

    fn exchange(
        &mut self,
        fields: &[(Vec<u8>, Vec<u8>)],
        body: Option<&[u8]>,
        trailers: &[(Vec<u8>, Vec<u8>)],
    ) -> io::Result<Option<Seen>> {
        let id = self.next;
        self.next += 2;
        let bare = body.is_none() && trailers.is_empty();
        let mut frames = headers(id, fields, bare);
        if !bare {
            let end = if trailers.is_empty() { END_STREAM } else { 0 };
            frames.extend(frame(DATA, end, id, body.unwrap_or_default()));
        }
        if !trailers.is_empty() {
            frames.extend(headers(id, trailers, true));
        }
        self.write(&frames)?;
        self.answer(id)
    }

    fn answer(&mut self, id: u32) -> io::Result<Option<Seen>> {
        let (mut status, mut body) = (None, Vec::new());
        loop {
            let head = read_exact(&mut self.stream, 9)?;
            let payload = read_exact(
                &mut self.stream,
                usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]),
            )?;
            let (kind, flags) = (head[3], head[4]);
            let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
            match kind {
                SETTINGS if flags & ACK == 0 => self.write(&frame(SETTINGS, ACK, 0, &[]))?,
                PING if flags & ACK == 0 => self.write(&frame(PING, ACK, 0, &payload))?,
                GOAWAY => return Ok(None),
                RST_STREAM if stream == id => return Ok(status.map(|status| seen(status, &body))),
                HEADERS if stream == id && status.is_none() => {
                    status = hpack::status(&payload).filter(|status| *status >= 200);
                }
                DATA if stream == id => body.extend(payload),
                _ => {}
            }
            if matches!(kind, HEADERS | DATA) && stream == id && flags & END_STREAM != 0 {
                return Ok(status.map(|status| seen(status, &body)));
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)?;
        self.stream.get_mut().flush()
    }
}

/// A field section, in as many frames as it needs.
fn headers(id: u32, fields: &[(Vec<u8>, Vec<u8>)], end: bool) -> Vec<u8> {
    let block = hpack::encode(fields);
    let count = block.len().div_ceil(FRAME).max(1);
    let mut frames = Vec::new();
    for i in 0..count {
        let part = &block[i * FRAME..block.len().min((i + 1) * FRAME)];
        let (kind, end) = if i == 0 { (HEADERS, u8::from(end) * END_STREAM) } else { (CONTINUATION, 0) };
        let last = if i + 1 == count { END_HEADERS } else { 0 };
        frames.extend(frame(kind, end | last, id, part));
    }
    frames
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn seen(status: u16, body: &[u8]) -> Seen {
    Seen { status, body: String::from_utf8_lossy(body).into_owned() }
}
