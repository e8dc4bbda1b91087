//! An app that writes down the very bytes of what it is sent, where a framework would already have tidied them up.

use std::{
    io::{self, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use super::{
    App,
    answer::{self, Rest},
    wait::{PATIENCE, until},
};

/// The app. It stops accepting when dropped.
pub(crate) struct Recorder {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<Received>>,
    accepted: AtomicUsize,
    open: AtomicUsize,
    stopped: AtomicBool,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// `GET /path HTTP/1.1`
    pub(crate) line: String,
    /// In order, with their spelling.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The how-manieth connection it came on, from 1.
    pub(crate) connection: usize,
}

impl Recorder {
    /// Answers everything with 200 and keeps connections.
    pub(crate) fn start() -> Self {
        Self::answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Type: text/plain\r\n\r\nok\n")
    }

    /// Answers everything with these bytes. An answer without a length ends with its connection.
    pub(crate) fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        let head = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        let ends = head.contains("connection: close") || !(head.contains("-length:") || head.contains("chunked"));
        Self::scripted(move |_, stream| {
            stream.write_all(&bytes)?;
            Ok(!ends)
        })
    }

    /// Leaves the answer to `script`, which says whether the connection stays open for a further request.
    pub(crate) fn scripted<F>(script: F) -> Self
    where
        F: Fn(&Received, &mut TcpStream) -> io::Result<bool> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let (script, accepting) = (Arc::new(script), shared.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let connection = accepting.accepted.fetch_add(1, Ordering::SeqCst) + 1;
                accepting.open.fetch_add(1, Ordering::SeqCst);
                let (shared, script) = (accepting.clone(), script.clone());
                thread::spawn(move || {
                    // An error is the other side's end of the connection; what came before it is written down.
                    let _ = serve(&shared, connection, stream, &*script);
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, shared }
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Received> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The one request there was.
    #[track_caller]
    pub(crate) fn only_request(&self) -> Received {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests[0].clone()
    }

    /// The latest request.
    pub(crate) fn last_request(&self) -> Received {
        self.requests().last().expect("a request").clone()
    }

    /// Waits until there were this many requests.
    pub(crate) fn wait_for(&self, count: usize) {
        until("the app to be asked", || (self.requests().len() >= count).then_some(()));
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How many connections are open now.
    pub(crate) fn open_connections(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }
}

impl App for Recorder {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address); // so that it looks
    }
}

impl Received {
    /// The request's target.
    pub(crate) fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// The value of a header that may come only once.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let all = self.header_values(name);
        assert!(all.len() <= 1, "{name} came {} times: {all:?}", all.len());
        all.first().copied()
    }

    /// All values of a header.
    pub(crate) fn header_values(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }

    /// All values that an app could take for this header, as WSGI, CGI and PHP fold names.
    pub(crate) fn lookalikes(&self, name: &str) -> Vec<&str> {
        let fold = |name: &str| name.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        self.headers.iter().filter(|(n, _)| fold(n) == fold(name)).map(|(_, value)| value.as_str()).collect()
    }
}

/// Reads a request whose body is `an order`, whole, and answers it.
pub(crate) fn take_order(stream: &mut (impl Read + Write)) {
    let mut seen = Vec::new();
    until("the whole request", || {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).unwrap();
        seen.extend_from_slice(&bytes[..count]);
        seen.ends_with(b"an order").then_some(())
    });
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
}

fn serve<F>(shared: &Shared, connection: usize, mut stream: TcpStream, script: &F) -> io::Result<()>
where
    F: Fn(&Received, &mut TcpStream) -> io::Result<bool>,
{
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut lines = answer::read_lines(&mut reader)?;
        if lines.is_empty() {
            continue;
        }
        let line = lines.remove(0);
        let headers = answer::headers(&lines);
        let body = answer::read_body(&mut reader, &headers, Rest::Nothing)?;
        let received = Received { line, headers, body, connection };
        shared.requests.lock().unwrap().push(received.clone());
        if !script(&received, &mut stream)? {
            return Ok(());
        }
    }
}
