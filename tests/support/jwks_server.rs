//! An issuer's documents behind scripted answers: good ones, late ones, endless ones, and none at all.

use std::{
    collections::HashMap,
    io::{self, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use super::{
    AUTHORITY, Received,
    answer::{headers, read_lines},
    wait::{PATIENCE, until},
};

/// The server. It can go away and come back where it was.
pub(crate) struct JwksServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    state: State,
}

/// What it answers.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    status: u16,
    headers: String,
    body: Vec<u8>,
    /// Before it says anything.
    delay: Duration,
    manner: Manner,
}

#[derive(Clone, Copy, Debug)]
enum Manner {
    /// All of it, with its length.
    Whole,
    /// The body again and again, for as long as somebody reads it.
    Endless { pause: Duration },
    /// Nothing, on an open connection.
    Silent,
}

#[derive(Default)]
struct Shared {
    tls: Option<Arc<ServerConfig>>,
    replies: Mutex<HashMap<String, Reply>>,
    asked: Mutex<Vec<(Instant, Received)>>,
    connections: Mutex<Vec<TcpStream>>,
}

enum State {
    /// Keeps the port, and refuses every connection.
    Down(Socket),
    Up(Accepting),
}

struct Accepting {
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl JwksServer {
    /// With a certificate of our authority; everything is 404 until it is put there.
    pub(crate) fn start() -> Self {
        Self::down().resumed()
    }

    /// The same without TLS.
    pub(crate) fn plaintext() -> Self {
        Self::over(None).resumed()
    }

    /// Not there yet.
    pub(crate) fn down() -> Self {
        Self::over(Some(AUTHORITY.server_config()))
    }

    fn over(tls: Option<Arc<ServerConfig>>) -> Self {
        let socket = reserve(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Self { address, shared: Arc::new(Shared { tls, ..Shared::default() }), state: State::Down(socket) }
    }

    fn resumed(mut self) -> Self {
        self.resume();
        self
    }

    /// Listens from now on.
    pub(crate) fn resume(&mut self) {
        let State::Down(socket) = &self.state else { return };
        let listener: TcpListener = socket.try_clone().unwrap().into();
        socket.listen(128).unwrap();
        let (stopped, shared) = (Arc::new(AtomicBool::new(false)), self.shared.clone());
        let told = stopped.clone();
        let thread = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if told.load(Ordering::SeqCst) {
                    return;
                }
                shared.connections.lock().unwrap().push(stream.try_clone().unwrap());
                let shared = shared.clone();
                // An error is the other side's end of the connection; what came before it is written down.
                thread::spawn(move || drop(shared.serve(stream)));
            }
        });
        self.state = State::Up(Accepting { stopped, thread });
    }

    /// Ends every connection, and refuses new ones until [`Self::resume`].
    pub(crate) fn stop(&mut self) {
        self.end();
        // The port may be somebody's for a moment: the end of a connection that was just closed.
        self.state = State::Down(until("the port again", || try_reserve(self.address).ok()));
    }

    /// The address as a URL, which is a good name for an issuer too.
    pub(crate) fn origin(&self) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        self.origin() + path
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Answers so from now on.
    pub(crate) fn put(&self, path: &str, reply: Reply) {
        self.shared.replies.lock().unwrap().insert(path.to_owned(), reply);
    }

    /// Answers `/jwks` with this set from now on.
    pub(crate) fn publish(&self, jwks: &Value) {
        self.put("/jwks", Reply::json(jwks));
    }

    /// The requests for this path so far.
    pub(crate) fn requests(&self, path: &str) -> Vec<Received> {
        let asked = self.shared.asked.lock().unwrap();
        asked.iter().filter(|(_, request)| request.target() == path).map(|(_, request)| request.clone()).collect()
    }

    /// How often it was asked for this path.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.requests(path).len()
    }

    /// How often it was asked for anything.
    pub(crate) fn asked_at_all(&self) -> usize {
        self.shared.asked.lock().unwrap().len()
    }

    /// The times from each request to the next.
    pub(crate) fn pauses(&self) -> Vec<Duration> {
        let asked = self.shared.asked.lock().unwrap();
        asked.windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
    }

    /// Waits until it was asked for this path so often.
    pub(crate) fn wait_for(&self, path: &str, count: usize) {
        until(&format!("{path} to be asked for {count} times"), || (self.asked(path) >= count).then_some(()));
    }

    fn end(&mut self) {
        let vacant = State::Down(Socket::new(Domain::IPV4, Type::STREAM, None).unwrap());
        if let State::Up(accepting) = std::mem::replace(&mut self.state, vacant) {
            accepting.stopped.store(true, Ordering::SeqCst);
            let _ = TcpStream::connect(self.address); // so that it looks
            accepting.thread.join().unwrap();
        }
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for JwksServer {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        match &self.tls {
            None => self.answer(stream),
            Some(config) => {
                let connection = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
                self.answer(StreamOwned::new(connection, stream))
            }
        }
    }

    fn answer(&self, stream: impl Read + Write) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut lines = read_lines(&mut stream)?;
        let line = lines.remove(0);
        let received = Received { line, headers: headers(&lines), body: Vec::new(), connection: 0 };
        let reply = self.replies.lock().unwrap().get(received.target()).cloned();
        self.asked.lock().unwrap().push((Instant::now(), received));
        reply.unwrap_or_else(|| Reply::status(404)).write(&mut stream)
    }
}

impl Reply {
    /// A document that is what it should be.
    pub(crate) fn json(document: &Value) -> Self {
        Self::body("application/json", document.to_string())
    }

    /// The document by which an issuer of this name says where its keys are.
    pub(crate) fn discovery(issuer: &str, jwks_uri: &str) -> Self {
        Self::json(&json!({ "issuer": issuer, "jwks_uri": jwks_uri }))
    }

    /// 200 with this body.
    pub(crate) fn body(media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::status(200) }.header(&format!("Content-Type: {media_type}"))
    }

    /// This status and nothing else.
    pub(crate) fn status(status: u16) -> Self {
        Self { status, headers: String::new(), body: Vec::new(), delay: Duration::ZERO, manner: Manner::Whole }
    }

    /// Sends the client elsewhere.
    pub(crate) fn redirect(to: &str) -> Self {
        Self::status(302).header(&format!("Location: {to}"))
    }

    /// Takes the request, and says nothing.
    pub(crate) fn silence() -> Self {
        Self { manner: Manner::Silent, ..Self::status(200) }
    }

    /// A body without an end, so much of it at a time.
    pub(crate) fn endless(chunk: &str, pause: Duration) -> Self {
        Self { manner: Manner::Endless { pause }, ..Self::body("application/json", chunk) }
    }

    /// With a further header line.
    pub(crate) fn header(mut self, line: &str) -> Self {
        self.headers += &format!("{line}\r\n");
        self
    }

    /// With another status.
    pub(crate) fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// Not at once.
    pub(crate) fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    fn write(&self, stream: &mut BufReader<impl Read + Write>) -> io::Result<()> {
        let Self { status, headers, body, delay, manner } = self;
        thread::park_timeout(*delay);
        let head = format!("HTTP/1.1 {status} Scripted\r\n{headers}Connection: close\r\n");
        match manner {
            Manner::Whole => {
                let length = body.len();
                stream.get_mut().write_all(format!("{head}Content-Length: {length}\r\n\r\n").as_bytes())?;
                stream.get_mut().write_all(body)?;
            }
            Manner::Endless { pause } => {
                stream.get_mut().write_all(format!("{head}\r\n").as_bytes())?;
                loop {
                    stream.get_mut().write_all(body)?;
                    stream.get_mut().flush()?;
                    thread::park_timeout(*pause);
                }
            }
            Manner::Silent => drop(stream.read(&mut [0])?),
        }
        stream.get_mut().flush()
    }
}

fn reserve(address: SocketAddr) -> Socket {
    try_reserve(address).unwrap()
}

fn try_reserve(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
