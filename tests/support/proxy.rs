//! A forward proxy (RFC 9110 section 9.3.6) that writes down where it was asked to, and finds all names on this machine.

use std::{
    io::{self, BufReader, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use super::answer::read_lines;

/// The proxy. It lives as long as the test process.
pub(crate) struct ForwardProxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl ForwardProxy {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let written = asked.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let written = written.clone();
                // An error is the end of one side.
                thread::spawn(move || drop(serve(&written, client)));
            }
        });
        Self { address, asked }
    }

    /// As the variables of the environment name it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The first lines of the requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(asked: &Mutex<Vec<String>>, mut client: TcpStream) -> io::Result<()> {
    let mut client_reader = BufReader::new(client.try_clone()?);
    let line = read_lines(&mut client_reader)?.into_iter().next().ok_or(io::ErrorKind::InvalidData)?;
    asked.lock().unwrap().push(line.clone());
    let Some(target) = line.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()) else {
        return client.write_all(b"HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n");
    };
    let port = target.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    let server = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)))?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut to_server, mut from_server) = (server.try_clone()?, server);
    let up = thread::spawn(move || {
        let _ = io::copy(&mut client_reader, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let _ = io::copy(&mut from_server, &mut client);
    let _ = client.shutdown(Shutdown::Both);
    let _ = up.join();
    Ok(())
}
