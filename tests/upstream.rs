//! The app behind us: absent, late, silent, rude; and connections that are kept without ever being one too old.

use std::{
    hint,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::support::{App, Builder, H2, Issuer, Nothing, Recorder, Sidegate, take_order, until};

#[test]
fn an_app_that_closes_without_saying_so_costs_no_get() {
    // So long that the end and the next request meet. Not asleep: no timer is as exact.
    let linger = || {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(1) {
            hint::spin_loop();
        }
    };
    let app = Recorder::scripted(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")?;
        linger();
        Ok(false)
    });
    let sidegate = Sidegate::before(&app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" })).start();
    let mut wire = sidegate.wire();
    let ask = |_| {
        linger();
        wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").answer().status
    };
    let statuses: Vec<_> = (0..1000).map(ask).collect();
    // The first time nobody can know.
    assert!(statuses.iter().filter(|status| **status != 200).count() <= 1, "{statuses:?}");
}

#[test]
fn a_length_beside_the_chunks_of_an_answer_counts_for_nothing() {
    for length in ["2", "5", "100"] {
        let app = Recorder::answering(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        ));
        let sidegate = Sidegate::before(&app).rule(json!({ "allow": "anyone" })).start();
        let mut wire = sidegate.wire();
        for _ in 0..2 {
            let answer = wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").answer();
            assert_eq!((answer.header("Content-Length"), answer.text().as_str()), (None, "abc"), "{length}");
        }
    }
}

#[test]
fn an_absent_app_is_a_502_that_says_so_and_nothing_worse() {
    let app = Nothing::reserve();
    let sidegate = public(&app).set(json!({ "upstream": { "connect_timeout": "200ms" } })).start();
    sidegate.get("/", &[]).assert_refused(502, "upstream_unreachable");
    assert_eq!(sidegate.access_log(1)[0]["response_code_details"], "upstream_unreachable");
    for (path, status) in [("/readyz", 503), ("/livez", 200), ("/startupz", 200)] {
        assert_eq!(sidegate.ask_admin(path).status, status, "{path}");
    }
    let listener = app.listen();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut head = [0; 4096];
                while stream.read(&mut head).is_ok_and(|count| count > 0) {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n");
                }
            });
        }
    });
    until("the app to be noticed", || (sidegate.ask_admin("/readyz").status == 200).then_some(()));
    assert_eq!(sidegate.get("/", &[]).status, 200);
}

#[test]
fn an_app_that_starts_within_the_connect_timeout_is_waited_for() {
    let app = Nothing::reserve();
    let sidegate = public(&app).set(json!({ "upstream": { "connect_timeout": "10s" } })).start();
    let curl = sidegate.curl("/").body("an order");
    let client = thread::spawn(move || curl.send());
    // Under way, and refused at least once: there is nobody listening.
    sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 1.0);
    let listener = app.listen();
    let (mut stream, _) = listener.accept().unwrap();
    take_order(&mut stream);
    assert_eq!(client.join().unwrap().status, 200);
}

#[test]
fn an_app_whose_queue_is_full_is_asked_anew_and_not_only_by_the_kernel() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let listener = TcpListener::from(socket);
    let app = Bare(listener.local_addr().unwrap());
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&app.0, Duration::from_millis(200)) {
        queue.push(stream);
    }
    let sidegate = public(&app).set(json!({ "upstream": { "connect_timeout": "20s" } })).start();
    let curl = sidegate.curl("/");
    let client = thread::spawn(move || curl.send());
    let first = until("the first attempt", || connecting_to(app.0));
    // The kernel repeats an attempt from the same port.
    until("another", || (connecting_to(app.0)? != first).then_some(()));
    drop(queue);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            if stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        }
    });
    assert_eq!(client.join().unwrap().status, 200);
}

#[test]
fn a_silent_app_is_a_504() {
    let app = Recorder::scripted(|_, stream| {
        let _ = stream.read(&mut [0]); // until the other side gives up
        Ok(false)
    });
    let sidegate = public(&app).set(json!({ "upstream": { "response_timeout": "500ms" } })).start();
    let started = Instant::now();
    sidegate.get("/", &[]).assert_refused(504, "upstream_timeout");
    assert!(started.elapsed() >= Duration::from_millis(450));
    until("the connection to be given up", || (app.open_connections() == 0).then_some(()));
    assert_eq!(app.requests().len(), 1);
}

#[test]
fn an_app_that_falls_silent_within_its_answer_is_cut_off() {
    let app = Recorder::scripted(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")?;
        let _ = stream.read(&mut [0]);
        Ok(false)
    });
    let sidegate = public(&app).set(json!({ "upstream": { "idle_timeout": "500ms" } })).start();
    assert_eq!(sidegate.curl("/").args(["--http1.1"]).fail(), 18);
    until("the connection to be given up", || (app.open_connections() == 0).then_some(()));
}

#[test]
fn an_app_that_does_not_speak_http_is_a_502() {
    for answer in [
        "",
        "not HTTP at all\r\n\r\n",
        "HTTP/1.1 200\r\nBroken Header\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1 2",
    ] {
        let app = Recorder::scripted(move |_, stream| {
            stream.write_all(answer.as_bytes())?;
            stream.shutdown(Shutdown::Both)?;
            Ok(false)
        });
        let sidegate = public(&app).start();
        let refused = sidegate.wire().send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx").answer();
        refused.assert_refused(502, "upstream_broken");
        assert_eq!(app.requests().len(), 1, "{answer:?}: an order was placed twice");
        sidegate.assert_alive();
    }
}

#[test]
fn connections_are_kept_and_used_again_and_not_for_too_long() {
    let app = Recorder::start();
    let sidegate = public(&app).set(json!({ "upstream": { "keep_alive": "500ms" } })).start();
    let mut wire = sidegate.wire();
    for _ in 0..5 {
        assert_eq!(wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").answer().status, 200);
    }
    let used: Vec<_> = app.requests().iter().map(|request| request.connection).collect();
    assert!(used.iter().all(|connection| *connection == used[0]), "{used:?}");
    until("the idle connection to be closed", || (app.open_connections() == 0).then_some(()));

    let sidegate = public(&app).set(json!({ "upstream": { "keep_alive": 0 } })).start();
    for _ in 0..2 {
        assert_eq!(sidegate.get("/", &[]).status, 200);
    }
    let used: Vec<_> = app.requests().iter().map(|request| request.connection).collect();
    assert_ne!(used[5], used[6], "{used:?}");
}

#[test]
fn an_app_that_hangs_up_between_two_requests_is_soon_not_noticed_by_the_client() {
    // It says nothing of closing, and closes.
    let app = Recorder::scripted(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")?;
        stream.shutdown(Shutdown::Both)?;
        Ok(false)
    });
    let sidegate = public(&app).set(json!({ "upstream": { "keep_alive": "30s" } })).start();
    let mut wire = sidegate.wire();
    let ask = |_| wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").answer().status;
    let statuses: Vec<_> = (0..50).map(ask).collect();
    // The first time that the end and a request meet nobody can know what kind of app this is.
    assert!(statuses.iter().filter(|status| **status != 200).count() <= 1, "{statuses:?}");
}

#[test]
fn what_follows_a_whole_answer_is_nobodys_answer() {
    // Each is followed by more than it said; the answer to `/n` begins with `n`.
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    for (length, more) in [(true, "123"), (true, poison), (false, poison), (false, "0\r\n\r\n")] {
        let app = Recorder::scripted(move |request, stream| {
            let body = &request.target()[1..];
            let answer = if length {
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}{more}", body.len())
            } else {
                let size = body.len();
                format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size:x}\r\n{body}\r\n0\r\n\r\n{more}")
            };
            stream.write_all(answer.as_bytes())?;
            Ok(true)
        });
        let sidegate = public(&app).set(json!({ "upstream": { "keep_alive": "30s" } })).start();
        let mut wire = sidegate.wire();
        for number in 0..20 {
            let answer = wire.send(format!("GET /{number} HTTP/1.1\r\nHost: localhost\r\n\r\n")).answer();
            assert_eq!((answer.status, answer.text()), (200, number.to_string()), "{more:?}");
        }
    }
}

#[test]
fn what_an_app_says_after_an_answer_without_a_body_reaches_no_other_client() {
    // What the attacker has had the app store, and now has it send where no body belongs.
    const STORED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nSet-Cookie: session=evil\r\n\r\nEVIL";
    for (method, status) in [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not Modified")] {
        let app = Recorder::scripted(move |request, stream| {
            stream.set_nodelay(true)?;
            if request.target() == "/stored" {
                let length =
                    if method == "HEAD" { format!("Content-Length: {}\r\n", STORED.len()) } else { String::new() };
                write!(stream, "HTTP/1.1 {status}\r\n{length}\r\n")?;
                thread::park_timeout(Duration::from_millis(3)); // long enough for the next request to be on its way
                stream.write_all(STORED.as_bytes())?;
            } else {
                let own = request.target();
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{own}", own.len())?;
            }
            Ok(true)
        });
        let sidegate = public(&app).plaintext().start();
        let (mut attacker, mut victim) = (sidegate.wire(), sidegate.wire());
        for round in 0..20 {
            attacker.send(format!("{method} /stored HTTP/1.1\r\nHost: localhost\r\n\r\n"));
            assert_eq!(attacker.answer_to(method).status.to_string(), status[..3]);
            let own = format!("/victim/{round}");
            let answer = victim.send(format!("GET {own} HTTP/1.1\r\nHost: localhost\r\n\r\n")).answer();
            assert_eq!((answer.status, answer.text()), (200, own), "{method} answered with {status}");
            assert_eq!(answer.header("Set-Cookie"), None);
        }
    }
}

#[test]
fn a_connection_is_used_again_after_a_body() {
    let app = Recorder::start();
    let sidegate = public(&app).set(json!({ "upstream": { "keep_alive": "30s" } })).start();
    let (mut wire, mut h2) = (sidegate.wire(), H2::connect(&sidegate));
    let large = vec![b'x'; 400_000];
    for body in [&b"small"[..], &large] {
        let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
        assert_eq!(wire.send([head.as_bytes(), body].concat()).answer().status, 200);
        let chunk =
            format!("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len());
        assert_eq!(wire.send([chunk.as_bytes(), body, b"\r\n0\r\n\r\n"].concat()).answer().status, 200);
        assert_eq!(h2.send("POST", "/", &[], body).status, 200);
    }
    let used: Vec<_> = app.requests().iter().map(|request| request.connection).collect();
    assert_eq!(used, [1; 6]);
}

#[test]
fn an_order_is_never_placed_twice() {
    // It reads the whole request and hangs up: whether it has acted on it, nobody knows.
    let app = Recorder::scripted(|request, stream| {
        if request.line.starts_with("GET") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")?;
            return Ok(true);
        }
        stream.shutdown(Shutdown::Both)?;
        Ok(false)
    });
    let sidegate = public(&app).set(json!({ "upstream": { "keep_alive": "30s" } })).start();
    for (count, body) in ["x", ""].into_iter().enumerate() {
        let mut wire = sidegate.wire();
        assert_eq!(wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").answer().status, 200);
        rest();
        let order = format!("POST /order HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        wire.send(order).answer().assert_refused(502, "upstream_broken");
        let orders = app.requests().iter().filter(|request| request.line.starts_with("POST")).count();
        assert_eq!(orders, count + 1, "{body:?}");
    }
}

#[test]
fn a_get_is_asked_again_when_the_app_closes_a_connection_that_had_rested() {
    // Each connection carries one request and is closed at the second, without a word.
    let app = Recorder::scripted(|request, stream| {
        let first = !request.line.contains("/again");
        if first || request.connection > 1 {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")?;
            return Ok(true);
        }
        stream.shutdown(Shutdown::Both)?;
        Ok(false)
    });
    let sidegate = public(&app).set(json!({ "upstream": { "keep_alive": "30s" } })).start();
    let mut wire = sidegate.wire();
    assert_eq!(wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").answer().status, 200);
    rest();
    assert_eq!(wire.send("GET /again HTTP/1.1\r\nHost: localhost\r\n\r\n").answer().status, 200);
    let asked: Vec<_> = app.requests().iter().map(|request| request.connection).collect();
    assert_eq!(asked, [1, 1, 2]);
}

#[test]
fn an_answer_that_comes_before_the_upload_has_ended_reaches_the_client() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let app = Bare(listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                // The head is enough to know that this is too much.
                let mut head = [0; 4096];
                if stream.read(&mut head).is_ok_and(|count| count > 0) {
                    let _ = stream.write_all(
                        b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbig\n",
                    );
                    let _ = stream.shutdown(Shutdown::Write);
                    let _ = std::io::copy(&mut stream, &mut std::io::sink());
                }
            });
        }
    });
    let sidegate = public(&app).start();
    let body = vec![b'x'; 8 << 20];
    let over_h1 = sidegate.curl("/").args(["--http1.1"]).header("Expect:").body(body.clone()).send();
    let over_h2 = H2::connect(&sidegate).send("POST", "/", &[], &body);
    for answer in [over_h1, over_h2] {
        assert_eq!((answer.status, answer.text().as_str()), (413, "big\n"));
    }
}

#[test]
fn interim_answers_of_the_app_do_not_become_the_answer() {
    let app = Recorder::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n",
    );
    let sidegate = public(&app).start();
    let mut wire = sidegate.wire();
    for _ in 0..2 {
        let answer = wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").answer();
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok\n"));
    }
}

/// The address, as Linux writes it, of a socket that waits to be connected to this one.
fn connecting_to(address: SocketAddr) -> Option<String> {
    const SYN_SENT: &str = "02";
    let remote = format!("0100007F:{:04X}", address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let mut sockets = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let socket = sockets.find(|socket| socket[2] == remote && socket[3] == SYN_SENT)?;
    Some(socket[1].to_owned())
}

/// Leaves a connection alone for longer than an app can be taken to keep it: a GET is repeated from then on.
#[expect(clippy::disallowed_methods, reason = "it is the time that passes which makes the difference")]
fn rest() {
    thread::sleep(Duration::from_millis(50));
}

/// An app that has nothing but an address.
struct Bare(SocketAddr);

impl App for Bare {
    fn address(&self) -> SocketAddr {
        self.0
    }
}

fn public(app: &impl App) -> Builder {
    Sidegate::before(app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" }))
}
