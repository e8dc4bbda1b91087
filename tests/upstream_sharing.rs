//! Requests that share an HTTP/2 connection to the app: what one client does to its own is nothing to those of others.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::json;

use crate::support::{
    App, Issuer, Sidegate,
    frames::{PREFACE, code, data, flag, frame, headers, kind, reset, settings},
    until,
};

#[test]
fn a_client_that_asks_and_goes_away_breaks_nobody_elses_request() {
    let app = Strict::start(&[], |asked| match asked.method {
        Method::Get => Act::Answer,
        Method::Post => Act::Hold,
        Method::Other => Act::Begin,
    });
    let sidegate = public(&app);
    let mut slow = sidegate.wire();
    slow.send("PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    app.wait_for("the slow request", |seen| seen.requests == 1);
    for gone in 1..=3 * PATIENCE_WITH_RESETS {
        let mut wire = sidegate.wire();
        wire.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        app.wait_for("a request", |seen| seen.requests == 2 * gone);
        drop(wire);
        app.wait_for("its reset", |seen| seen.resets == gone);
        assert_eq!(sidegate.get("/", &[]).status, 200, "after {gone} that went away");
    }
    app.finish();
    let answer = slow.answer();
    assert_eq!((answer.status, answer.text().as_str()), (200, "begun, and ended"));
    let seen = app.seen();
    assert!((3..10).contains(&seen.connections), "{seen:?}");
    // Those that nobody uses any more are closed.
    sidegate.wait_for_metric("sidegate_upstream_connections", &[], 1.0);
}

#[test]
fn requests_that_stay_open_do_not_keep_others_waiting() {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    let app = Strict::start(&[(MAX_CONCURRENT_STREAMS, 3)], |asked| match asked.method {
        Method::Get => Act::Answer,
        Method::Post | Method::Other => Act::Hold,
    });
    let sidegate = public(&app);
    let mut wires = Vec::new();
    for count in 1..=10 {
        let mut wire = sidegate.wire();
        wire.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        app.wait_for("the request", |seen| seen.requests == count);
        wires.push(wire);
    }
    assert_eq!(sidegate.get("/", &[]).status, 200);
    assert_eq!(app.seen().connections, 4);
}

#[test]
fn a_request_that_the_app_refused_unseen_is_sent_again() {
    for refusal in [Act::Refuse, Act::GoAway] {
        // The first, the third and the fifth are refused.
        let app = Strict::start(&[], move |asked| if asked.count % 2 == 1 { refusal } else { Act::Answer });
        let sidegate = public(&app);
        assert_eq!(sidegate.get("/", &[]).status, 200, "{refusal:?}");
        let order =
            |length, body| format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}");
        assert_eq!(sidegate.wire().send(order(0, "")).answer().status, 200, "{refusal:?}");
        // Its body is gone.
        sidegate.wire().send(order(1, "x")).answer().assert_refused(502, "upstream_broken");
        assert_eq!(app.seen().requests, 5, "{refusal:?}");
        assert_eq!(app.seen().connections, if matches!(refusal, Act::GoAway) { 3 } else { 1 });
    }
}

#[test]
fn a_request_that_the_app_may_have_seen_is_not() {
    let app = Strict::start(&[], |_| Act::Leave);
    let sidegate = public(&app);
    sidegate.get("/", &[]).assert_refused(502, "upstream_broken");
    let order = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    sidegate.wire().send(order).answer().assert_refused(502, "upstream_broken");
    assert_eq!(app.seen().requests, 2);
}

#[test]
fn a_connection_on_which_no_answer_came_is_not_used_again() {
    let app = Strict::start(&[], |asked| if asked.count == 1 { Act::Hold } else { Act::Answer });
    let upstream = json!({ "address": format!("h2c://{}", app.address()), "response_timeout": "300ms" });
    let sidegate = Sidegate::before(&app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" }));
    let sidegate = sidegate.set(json!({ "upstream": upstream })).start();
    sidegate.get("/", &[]).assert_refused(504, "upstream_timeout");
    assert_eq!((sidegate.get("/", &[]).status, app.seen().connections), (200, 2));
}

/// How many resets it bears on one connection: as many as hyper's server does.
const PATIENCE_WITH_RESETS: usize = 20;

/// An app that breaks off a connection on which too many requests were reset, as all do in their way, and that says
/// exactly what it is told to.
struct Strict {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    connections: usize,
    requests: usize,
    resets: usize,
    /// Answers that have begun.
    begun: Vec<(u32, TcpStream)>,
}

/// A request, as far as it can be read without a table.
struct Asked {
    /// The how-manieth request, from 1.
    count: usize,
    method: Method,
}

enum Method {
    Get,
    Post,
    Other,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    /// 200 without a body.
    Answer,
    /// Nothing, ever.
    Hold,
    /// 200, and a body without its end.
    Begin,
    /// It is told that nothing was done with it.
    Refuse,
    /// The same, by the end of the connection.
    GoAway,
    /// The connection ends, and whether something was done with it is not told.
    Leave,
}

impl Strict {
    fn start(values: &'static [(u16, u32)], script: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, script) = (Arc::new(Mutex::new(Seen::default())), Arc::new(script));
        let app = Self { address, seen: seen.clone() };
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                seen.lock().unwrap().connections += 1;
                let (seen, script) = (seen.clone(), script.clone());
                // It ends with the connection.
                thread::spawn(move || serve(stream, values, &seen, &*script));
            }
        });
        app
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    fn wait_for(&self, what: &str, reached: impl Fn(&Seen) -> bool) {
        until(what, || reached(&self.seen()).then_some(()));
    }

    /// Ends the answers that have begun.
    fn finish(&self) {
        for (stream, mut connection) in self.seen().begun.drain(..) {
            connection.write_all(&data(flag::END_STREAM, stream, ", and ended")).unwrap();
        }
    }
}

impl App for Strict {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

fn serve(
    mut connection: TcpStream,
    values: &[(u16, u32)],
    seen: &Mutex<Seen>,
    script: &impl Fn(&Asked) -> Act,
) -> std::io::Result<()> {
    connection.write_all(&settings(values))?;
    connection.read_exact(&mut [0; PREFACE.len()])?;
    let mut resets = 0;
    loop {
        let mut head = [0; 9];
        connection.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        connection.read_exact(&mut payload)?;
        let mut seen = seen.lock().unwrap();
        match head[3] {
            kind::SETTINGS if head[4] & flag::ACK == 0 => {
                connection.write_all(&frame(kind::SETTINGS, flag::ACK, 0, ""))?;
            }
            kind::HEADERS => {
                seen.requests += 1;
                // The method comes first; these two are entries of the static table (RFC 7541 appendix A).
                let method = match payload[0] {
                    0x82 => Method::Get,
                    0x83 => Method::Post,
                    _ => Method::Other,
                };
                let act = script(&Asked { count: seen.requests, method });
                match act {
                    Act::Answer => connection.write_all(&headers(flag::END_STREAM, stream, OK))?,
                    Act::Hold => {}
                    Act::Refuse => connection.write_all(&reset(stream, code::REFUSED_STREAM))?,
                    Act::GoAway | Act::Leave => {
                        let last = if matches!(act, Act::GoAway) { stream - 1 } else { stream };
                        connection.write_all(&goaway(last, code::ENHANCE_YOUR_CALM))?;
                        return connection.shutdown(Shutdown::Both);
                    }
                    Act::Begin => {
                        connection.write_all(&[headers(0, stream, OK), data(0, stream, "begun")].concat())?;
                        seen.begun.push((stream, connection.try_clone()?));
                    }
                }
            }
            kind::RST_STREAM => {
                seen.resets += 1;
                resets += 1;
                if resets > PATIENCE_WITH_RESETS {
                    connection.write_all(&goaway(stream, code::ENHANCE_YOUR_CALM))?;
                    return connection.shutdown(Shutdown::Both);
                }
            }
            _ => {}
        }
    }
}

/// A header block that says 200 and nothing else.
const OK: [u8; 1] = [0x88];

/// GOAWAY: the streams up to `last` were looked at.
fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(kind::GOAWAY, 0, 0, [last.to_be_bytes(), code.to_be_bytes()].concat())
}

fn public(app: &Strict) -> Sidegate {
    let upstream = json!({ "upstream": { "address": format!("h2c://{}", app.address()) } });
    Sidegate::before(app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" })).set(upstream).start()
}
