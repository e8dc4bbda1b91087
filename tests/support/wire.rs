//! A connection on which one may say anything: bytes, over TCP or over TLS.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::CryptoProvider, pki_types::ServerName,
};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{Answer, canary, pki::AUTHORITY, wait::PATIENCE};

/// A connection to sidegate, or to anything else.
pub(crate) struct Wire {
    stream: BufReader<Box<dyn Stream>>,
    socket: Socket,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Wire {
    /// Plain TCP.
    pub(crate) fn tcp(address: SocketAddr) -> Self {
        Self::plain(connect(address))
    }

    /// A Unix socket.
    pub(crate) fn unix(path: &Path) -> Self {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.connect(&SockAddr::unix(path).unwrap()).unwrap();
        Self::plain(socket)
    }

    fn plain(socket: Socket) -> Self {
        patient(&socket);
        Self { stream: BufReader::new(Box::new(socket.try_clone().unwrap())), socket }
    }

    /// TLS to a server that our authority vouches for, with these protocols offered by ALPN.
    pub(crate) fn tls(address: SocketAddr, protocols: &[&str]) -> Self {
        Self::tls_after(address, protocols, b"")
    }

    /// The same, after these bytes.
    pub(crate) fn tls_after(address: SocketAddr, protocols: &[&str], first: &[u8]) -> Self {
        let mut socket = connect(address);
        patient(&socket);
        socket.write_all(first).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(Arc::new(tls_config(protocols)), name).unwrap();
        Self { stream: BufReader::new(Box::new(StreamOwned::new(tls, socket.try_clone().unwrap()))), socket }
    }

    /// Says it.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes).unwrap();
        self
    }

    /// Says it to someone who may have hung up.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        canary::request(bytes.as_ref());
        self.stream.get_mut().write_all(bytes.as_ref())?;
        self.stream.get_mut().flush()
    }

    /// Waits no longer than this for the other side to take what is sent.
    pub(crate) fn give_up_after(&mut self, patience: Duration) {
        self.socket.set_write_timeout(Some(patience)).unwrap();
    }

    /// Lets the kernel keep only a little of what the other side says until it is read: 128 KiB.
    pub(crate) fn take_little(&mut self) {
        self.socket.set_recv_buffer_size(1 << 17).unwrap();
    }

    /// Waits no longer than this for what the other side says.
    pub(crate) fn be_patient_for(&mut self, patience: Duration) {
        self.socket.set_read_timeout(Some(patience)).unwrap();
    }

    /// Sends the same again and again until the other side takes no more for a second, or has taken `enough`; says how
    /// many bytes it took.
    pub(crate) fn send_until_stuck(&mut self, chunk: &[u8], enough: u64) -> u64 {
        self.give_up_after(Duration::from_secs(1));
        let mut sent = 0;
        // TLS takes what it is given into a buffer of its own; whether it could get rid of it, flushing tells.
        while sent < enough && self.try_send(chunk).is_ok() {
            sent += chunk.len() as u64;
        }
        sent
    }

    /// The answer to a request that was not HEAD.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        self.answer_to("GET")
    }

    /// The answer to a request of this method.
    #[track_caller]
    pub(crate) fn answer_to(&mut self, method: &str) -> Answer {
        Answer::read(&mut self.stream, method).expect("an answer")
    }

    /// The answer, or `None` when the other side hung up without one.
    pub(crate) fn answer_or_end(&mut self) -> Option<Answer> {
        Answer::read(&mut self.stream, "GET").ok()
    }

    /// Reads one line.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Reads this many bytes.
    pub(crate) fn read_exact(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads this many bytes; `None` when the connection ends before that.
    #[track_caller]
    pub(crate) fn read_or_end(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        match self.stream.read_exact(&mut bytes) {
            Ok(()) => Some(bytes),
            Err(e) if is_late(&e) => panic!("nothing more came within {PATIENCE:?}, and no end"),
            Err(_) => None,
        }
    }

    /// Reads until the other side ends the connection, and fails when it does not.
    #[track_caller]
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Err(e) if is_late(&e) => panic!("still open after {PATIENCE:?}"),
            // A reset, or TLS cut without its goodbye, is an end too.
            _ => bytes,
        }
    }

    /// Sends the FIN, and still listens.
    pub(crate) fn finish_sending(&mut self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }
}

/// What a careful client does: our authority and no other.
pub(crate) fn tls_config(protocols: &[&str]) -> ClientConfig {
    tls_config_with(rustls::crypto::aws_lc_rs::default_provider(), protocols)
}

/// The same with these algorithms.
pub(crate) fn tls_config_with(provider: CryptoProvider, protocols: &[&str]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(AUTHORITY.der()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn connect(address: SocketAddr) -> Socket {
    let tcp = TcpStream::connect(address).unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp.into()
}

fn patient(socket: &Socket) {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
}
