//! Answers that come before their upload has ended, to clients that read them slowly or not at all.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use serde_json::json;

use crate::support::{App, Builder, Issuer, Sidegate, Wire};

/// What the client asks for besides. hyper leaves the end of a connection to others where a client has asked for another
/// protocol, even where it does not get it.
const UPGRADES: [&str; 2] = ["", "Upgrade: h2c\r\n"];

#[test]
fn a_client_that_reads_slowly_gets_all_of_it() {
    // More than the kernel's buffers hold, so that some of it is in ours when the app has written the last.
    const SIZES: [usize; 6] = [1_000_000, 3_000_000, 5_000_000, 6_000_000, 8_000_000, 12_000_000];
    let app = Early::start();
    for tls in [false, true] {
        let sidegate = public(&app, tls).start();
        thread::scope(|scope| {
            for (size, upgrade) in SIZES.iter().flat_map(|size| UPGRADES.map(|upgrade| (*size, upgrade))) {
                let mut wire = half_an_upload(&sidegate, size, upgrade);
                scope.spawn(move || {
                    until_blank(&mut wire);
                    let mut rest = size;
                    while rest > 0 {
                        let piece = wire.read_or_end(rest.min(1 << 14));
                        rest -= piece.unwrap_or_else(|| panic!("{rest} of {size} are missing, {upgrade:?}")).len();
                        // The reader is what is slow: it keeps the buffers on the way full.
                        thread::park_timeout(Duration::from_millis(1));
                    }
                });
            }
        });
        sidegate.wait_for_metric("sidegate_connections", &[], 0.0);
    }
}

#[test]
fn a_client_that_never_reads_is_cut_off() {
    let app = Early::start();
    for tls in [false, true] {
        let limits = json!({ "client_idle_timeout": "1s", "header_timeout": "1s" });
        let sidegate = public(&app, tls).set(json!({ "limits": limits })).start();
        // Somewhere among these the kernel's buffers are full and ours has the end of the answer.
        let sizes = (2_000_000..5_000_000).step_by(150_000);
        let stuck: Vec<_> =
            sizes.flat_map(|size| UPGRADES.map(|upgrade| half_an_upload(&sidegate, size, upgrade))).collect();
        sidegate.wait_for_metric_above("sidegate_requests_total", &[], 0.5);
        sidegate.wait_for_metric("sidegate_connections", &[], 0.0);
        drop(stuck);
    }
}

/// The beginning of an upload, which the app answers with a body of this size.
fn half_an_upload(sidegate: &Sidegate, size: usize, upgrade: &str) -> Wire {
    let mut wire = sidegate.wire();
    wire.take_little();
    wire.send(format!("POST /{size} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n{upgrade}\r\nabc"));
    wire
}

/// Reads the head of an answer.
fn until_blank(wire: &mut Wire) {
    assert!(wire.line().starts_with("HTTP/1.1 200 "));
    while !wire.line().is_empty() {}
}

/// An app that answers a request when it has its head, with a body as large as its path says, and then listens.
struct Early(SocketAddr);

impl Early {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let early = Self(listener.local_addr().unwrap());
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || {
                    let mut head = [0; 4096];
                    let count = stream.read(&mut head)?;
                    let head = String::from_utf8_lossy(&head[..count]);
                    let size = head.split(['/', ' ']).nth(2).and_then(|size| size.parse().ok()).unwrap_or(0);
                    stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").as_bytes())?;
                    stream.write_all(&vec![b'x'; size])?;
                    io::copy(&mut stream, &mut io::sink())
                });
            }
        });
        early
    }
}

impl App for Early {
    fn address(&self) -> SocketAddr {
        self.0
    }
}

fn public(app: &Early, tls: bool) -> Builder {
    let builder = Sidegate::before(app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" }));
    if tls { builder } else { builder.plaintext() }
}
