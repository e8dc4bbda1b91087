//! A client of HTTP/1 that sends bytes as they are.

use std::{
    io::{self, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, LazyLock},
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

use super::clients::Seen;
use crate::support::{Answer, tls_config};

/// How long an answer may take, on a loaded machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(6);

/// One for all connections, which resume each other's sessions: handshakes are most of what the corpus costs.
static TLS: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| Arc::new(tls_config(&["http/1.1"])));

/// The client, with its connection where it has one.
pub(super) struct Http1 {
    address: SocketAddr,
    stream: Option<BufReader<Tls>>,
}

pub(super) type Tls = StreamOwned<ClientConnection, TcpStream>;

impl Http1 {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, stream: None }
    }

    /// The answer to a request, over the connection of the one before where that is still open.
    pub(super) fn ask(&mut self, request: &[u8], is_head: bool) -> Option<Seen> {
        let reused = self.stream.is_some();
        match self.exchange(request, is_head) {
            // It may have been closed for what was sent before; this request is to be judged by its own answer.
            None if reused => self.exchange(request, is_head),
            answer => answer,
        }
    }

    /// Sends all of it, reads so many answers, says that nothing follows, and reads what is left.
    pub(super) fn converse(address: SocketAddr, bytes: &[u8], answers: usize) -> Vec<Seen> {
        let mut stream = connect(address, &TLS);
        // Only the first request of a case is ever a HEAD.
        let mut method = if bytes.starts_with(b"HEAD ") { "HEAD" } else { "GET" };
        // The other side may close before it has read everything: what it said until then counts.
        let _ = stream.get_mut().write_all(bytes).and_then(|()| stream.get_mut().flush());
        let mut seen = Vec::new();
        loop {
            if seen.len() == answers {
                finish(stream.get_mut());
            }
            let Ok(answer) = Answer::read(&mut stream, method) else { return seen };
            seen.push(Seen::from(answer));
            method = "GET";
        }
    }

    fn exchange(&mut self, request: &[u8], is_head: bool) -> Option<Seen> {
        let mut stream = self.stream.take().unwrap_or_else(|| connect(self.address, &TLS));
        let _ = stream.get_mut().write_all(request).and_then(|()| stream.get_mut().flush());
        let answer = Answer::read(&mut stream, if is_head { "HEAD" } else { "GET" }).ok()?;
        let goes_on = matches!(answer.status, 200..=299 | 401 | 403 | 404 | 405);
        if goes_on && answer.header("connection").is_none_or(|value| value != "close") {
            self.stream = Some(stream);
        }
        Some(Seen::from(answer))
    }
}

impl From<Answer> for Seen {
    fn from(answer: Answer) -> Self {
        Self { status: answer.status, body: answer.text() }
    }
}

/// A TLS connection.
pub(super) fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> BufReader<Tls> {
    let tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.set_write_timeout(Some(PATIENCE)).unwrap();
    tcp.set_nodelay(true).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let client = ClientConnection::new(config.clone(), name).unwrap();
    BufReader::new(StreamOwned::new(client, tcp))
}

/// Says goodbye in TLS and in TCP, and still listens.
fn finish(stream: &mut Tls) {
    stream.conn.send_close_notify();
    let _ = stream.flush();
    let _ = stream.sock.shutdown(Shutdown::Write);
}

/// Reads this many bytes.
pub(super) fn read_exact(stream: &mut impl Read, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}
