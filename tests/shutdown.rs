//! SIGTERM: what is under way ends well, nothing new begins, and nobody can hold up the end.

use std::{
    sync::{
        Mutex,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{
    Builder, Issuer, Recorder, Sidegate, Wire,
    frames::{self, Frames, Outcome},
    until,
};

#[test]
fn a_slow_answer_is_finished_and_then_the_process_ends() {
    for version in ["--http1.1", "--http2"] {
        let (app, release) = slow();
        let mut sidegate = public(&app).start();
        let curl = sidegate.curl("/").args([version]);
        let client = thread::spawn(move || curl.send());
        app.wait_for(1);
        sidegate.terminate();
        until("the listener to be closed", || std::net::TcpStream::connect(sidegate.address()).is_err().then_some(()));
        assert!(!sidegate.has_exited(), "it went while a request was under way");
        release.send(()).unwrap();
        let answer = client.join().unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "finished\n"), "{version}");
        assert!(sidegate.exit().success());
        assert_eq!(sidegate.access_log(1)[0]["response_code"], 200);
    }
}

#[test]
fn during_the_delay_it_is_not_ready_and_still_serves() {
    let app = Recorder::start();
    let mut sidegate = public(&app).set(json!({ "shutdown": { "delay": "2s" } })).start();
    assert_eq!(sidegate.ask_admin("/readyz").status, 200);
    let started = Instant::now();
    sidegate.terminate();
    until("/readyz to say no", || (sidegate.ask_admin("/readyz").status == 503).then_some(()));
    assert_eq!(sidegate.ask_admin("/livez").status, 200);
    assert_eq!(sidegate.get("/", &[]).status, 200);
    assert!(sidegate.exit().success());
    assert!(started.elapsed() >= Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn a_connection_that_is_kept_is_told_that_it_ends() {
    let (app, release) = slow();
    let mut sidegate = public(&app).start();
    let mut wire = sidegate.wire();
    wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    app.wait_for(1);
    sidegate.terminate();
    until("the listener to be closed", || std::net::TcpStream::connect(sidegate.address()).is_err().then_some(()));
    release.send(()).unwrap();
    let answer = wire.answer();
    assert_eq!(answer.header("Connection").map(str::to_ascii_lowercase).as_deref(), Some("close"));
    assert!(wire.read_to_end().is_empty());
    assert!(sidegate.exit().success());
}

#[test]
fn a_connection_of_http_2_is_told_at_once_that_it_ends() {
    for under_way in [false, true] {
        let (app, release) = slow();
        let mut sidegate = public(&app).start();
        let mut client = Frames::open(sidegate.address(), &[]);
        client.send(frames::get(1, "/"));
        app.wait_for(1);
        if !under_way {
            release.send(()).unwrap();
            assert_eq!(client.outcome(1, true), Outcome::Status(200));
        }
        sidegate.terminate();
        let told = std::iter::from_fn(|| client.next()).find(|frame| frame.kind == frames::kind::GOAWAY);
        assert!(told.is_some(), "the connection was cut off: a request under way: {under_way}");
        if under_way {
            release.send(()).unwrap();
            assert_eq!(client.outcome(1, true), Outcome::Status(200));
        }
        drop(client);
        assert!(sidegate.exit().success());
    }
}

#[test]
fn a_request_that_does_not_end_is_cut_off_at_the_deadline() {
    let (app, _release) = slow();
    let mut sidegate = public(&app).set(json!({ "shutdown": { "grace": "1s" } })).start();
    let mut wire = sidegate.wire();
    wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    app.wait_for(1);
    let started = Instant::now();
    sidegate.terminate();
    sidegate.exit();
    let took = started.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&took), "{took:?}");
    wire.read_to_end();
}

#[test]
fn nobody_who_has_nothing_under_way_holds_up_the_end() {
    type Idle = fn(&Sidegate) -> Wire;
    let idlers: [(&str, Idle); 9] = [
        ("a silent connection", |sidegate| Wire::tcp(sidegate.address())),
        ("half a handshake", |sidegate| with(Wire::tcp(sidegate.address()), b"\x16\x03\x01\x02\x00\x01\x00")),
        ("TLS and no request", |sidegate| with(sidegate.wire(), b"")),
        ("half a request", |sidegate| with(sidegate.wire(), b"GET / HT")),
        ("an answered request", |sidegate| {
            let mut wire = with(sidegate.wire(), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert_eq!(wire.answer().status, 200);
            wire
        }),
        ("HTTP/2 without its preface", |sidegate| with(Wire::tls(sidegate.address(), &["h2"]), b"")),
        ("half a preface", |sidegate| with(Wire::tls(sidegate.address(), &["h2"]), b"PRI * HT")),
        ("HTTP/2 and no request", |sidegate| {
            let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
            let mut wire = with(Wire::tls(sidegate.address(), &["h2"]), preface);
            wire.read_exact(9);
            wire
        }),
        // From its answer on it neither reads nor acknowledges anything.
        ("an answered request of HTTP/2", |sidegate| {
            let mut client = Frames::open(sidegate.address(), &[]);
            assert_eq!(client.send(frames::get(1, "/")).outcome(1, true), Outcome::Status(200));
            client.into_wire()
        }),
    ];
    let app = Recorder::start();
    thread::scope(|scope| {
        for (what, idle) in idlers {
            // What has begun to arrive may still arrive, within the time that a header has.
            let limits = json!({ "header_timeout": "2s" });
            let settings = json!({ "limits": limits, "shutdown": { "grace": "60s" } });
            let mut sidegate = public(&app).set(settings).start();
            scope.spawn(move || {
                let wire = idle(&sidegate);
                let started = Instant::now();
                sidegate.terminate();
                assert!(sidegate.exit().success());
                assert!(started.elapsed() < Duration::from_secs(10), "{what}: {:?}", started.elapsed());
                drop(wire);
            });
        }
    });
}

fn with(mut wire: Wire, bytes: &[u8]) -> Wire {
    wire.send(bytes);
    wire
}

#[test]
fn a_client_that_does_not_read_its_answer_does_not_hold_up_the_end_for_ever() {
    let app = Recorder::scripted(|_, stream| {
        use std::io::Write;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
        while stream.write(&[0; 1 << 16]).is_ok() {}
        Ok(false)
    });
    let mut sidegate = public(&app).set(json!({ "shutdown": { "grace": "1s" } })).start();
    let mut wire = sidegate.wire();
    wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    app.wait_for(1);
    let started = Instant::now();
    sidegate.terminate();
    sidegate.exit();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn in_a_crowd_of_all_kinds_whoever_can_be_served_is_and_the_rest_is_cut_off_in_time() {
    let app = Recorder::scripted(|request, stream| {
        use std::io::Write;
        match request.target() {
            "/events" => {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
                write!(stream, "{head}9\r\ndata: 1\n\n\r\n")?;
            }
            "/big" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
                while stream.write(&[0; 1 << 16]).is_ok() {}
                return Ok(false);
            }
            _ => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")?,
        }
        Ok(true)
    });
    // Long enough for the upload to go on after SIGTERM, on a machine that is busy.
    let mut sidegate = public(&app).set(json!({ "shutdown": { "delay": "1s", "grace": "4s" } })).start();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let idle = [
        Wire::tcp(sidegate.address()),
        with(Wire::tcp(sidegate.address()), b"\x16\x03\x01\x02\x00\x01\x00"),
        with(sidegate.wire(), b""),
        with(Wire::tls(sidegate.address(), &["h2"]), b""),
    ];
    let mut h2 = Frames::open(sidegate.address(), &[]);
    assert_eq!(h2.send(frames::get(1, "/")).outcome(1, true), Outcome::Status(200));
    let reader = with(sidegate.wire(), get("/big").as_bytes());
    let mut events = with(sidegate.wire(), get("/events").as_bytes());
    until("the first event", || events.line().starts_with("data:").then_some(()));
    let mut h1_upload = with(sidegate.wire(), b"POST /h1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\nhalf");
    let mut h2_upload = Frames::open(sidegate.address(), &[]);
    let head = frames::headers(0, 1, frames::request("POST", "/h2", &[("content-length", "8")]));
    h2_upload.send([head, frames::data(0, 1, "half")].concat());
    app.wait_for(3);
    sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 4.0);

    let started = Instant::now();
    sidegate.terminate();
    until("the listener to be closed", || std::net::TcpStream::connect(sidegate.address()).is_err().then_some(()));
    assert_eq!(h1_upload.send("half").answer().status, 200);
    h2_upload.send(frames::data(frames::flag::END_STREAM, 1, "half"));
    assert_eq!(h2_upload.outcome(1, true), Outcome::Status(200));
    assert!(!sidegate.has_exited(), "it went while events were under way");
    sidegate.exit();
    let took = started.elapsed();
    assert!((Duration::from_millis(4900)..Duration::from_secs(10)).contains(&took), "{took:?}");
    let whole = app.requests().into_iter().filter(|request| request.body == b"halfhalf").count();
    assert_eq!(whole, 2);
    drop((idle, reader, events));
}

/// An app that answers when it is told to.
fn slow() -> (Recorder, SyncSender<()>) {
    let (release, released) = sync_channel(1);
    let released = Mutex::new(released);
    let app = Recorder::scripted(move |_, stream| {
        use std::io::Write;
        let _ = released.lock().unwrap().recv();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfinished\n")?;
        Ok(true)
    });
    (app, release)
}

fn public(app: &Recorder) -> Builder {
    Sidegate::before(app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" }))
}
