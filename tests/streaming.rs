//! Bodies flow: at once, as fast as the slower side takes them, and never into memory.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::Duration,
};

use serde_json::json;

use crate::support::{App, H2, Issuer, Recorder, Sidegate, until};

/// What all buffers on the way may hold together, most of it the kernel's: far from what is being sent.
const BUFFERS: u64 = 32 << 20;

#[test]
fn the_first_chunk_arrives_before_the_app_has_written_the_last() {
    let (release, released) = sync_channel(0);
    let app = in_two_parts(released);
    let sidegate = public(&app);
    let mut wire = sidegate.wire();
    wire.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    until("the head and the first event", || (wire.line() == "data: first").then_some(()));
    release.send(()).unwrap();
    until("the second event", || (wire.line() == "data: second").then_some(()));
}

#[test]
fn a_client_that_does_not_read_stops_the_app() {
    let (report, written) = sync_channel(1);
    let app = Recorder::scripted(move |_, stream| {
        stream.set_write_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
        let mut written = 0;
        while let Ok(count) = stream.write(&[0; 1 << 16]) {
            written += count as u64;
        }
        report.send(written).map_err(std::io::Error::other)?;
        Ok(false)
    });
    let sidegate = public(&app);
    let slow_reader = || {
        let mut wire = sidegate.wire();
        wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let written = written.recv().unwrap();
        assert!(written < BUFFERS, "the app could write {written} bytes that nobody read");
        wire
    };
    let first = slow_reader();
    let memory = sidegate.peak_memory();
    let second = slow_reader();
    let grown = sidegate.peak_growth(memory);
    assert!(grown < 2048, "a slow reader costs {grown} kB");
    drop((first, second));
}

#[test]
fn an_app_that_does_not_read_stops_the_client() {
    let app = Silent(TcpListener::bind("127.0.0.1:0").unwrap());
    let sidegate = public(&app);
    let upload = || {
        let mut wire = sidegate.wire();
        wire.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n");
        let sent = wire.send_until_stuck(&[0; 1 << 14], BUFFERS);
        assert!(sent < BUFFERS, "sidegate took {sent} bytes that the app did not");
        wire
    };
    let first = upload();
    let memory = sidegate.peak_memory();
    let second = upload();
    let grown = sidegate.peak_growth(memory);
    assert!(grown < 2048, "an upload that waits costs {grown} kB");
    drop((first, second));
}

#[test]
fn when_the_client_goes_the_app_is_told_and_the_log_says_499() {
    let (release, released) = sync_channel(0);
    let app = in_two_parts(released);
    let sidegate = public(&app);
    let mut wire = sidegate.wire();
    wire.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    until("the head and the first event", || (wire.line() == "data: first").then_some(()));
    drop(wire);
    let log = sidegate.access_log(1);
    assert_eq!((log.len(), &log[0]["response_code"]), (1, &json!(499)), "{log:?}");
    release.send(()).unwrap();
    until("the connection to the app to be closed", || (app.open_connections() == 0).then_some(()));
    sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 0.0);
    assert_eq!(sidegate.access_log(1).len(), 1, "a second line for the same request");
}

#[test]
fn a_client_that_goes_before_the_answer_leaves_one_line_as_well() {
    let (release, released) = sync_channel::<()>(0);
    let released = std::sync::Mutex::new(released);
    let app = Recorder::scripted(move |_, _| {
        // An error says that the test is over.
        let _ = released.lock().unwrap().recv();
        Ok(false)
    });
    let sidegate = public(&app);
    let mut wire = sidegate.wire();
    wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    app.wait_for(1);
    drop(wire);
    assert_eq!(sidegate.access_log(1)[0]["response_code"], 499);
    sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 0.0);
    drop(release);
}

#[test]
fn whenever_the_client_goes_there_is_one_499_and_the_app_is_told() {
    for version in ["--http1.1", "--http2"] {
        // It waits for the answer; it has a part of it; it is still sending.
        let silent: Script = |stream| stream.read(&mut [0]).map(|_| ());
        let partial: Script = |stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")?;
            stream.read(&mut [0]).map(|_| ())
        };
        for (script, body) in [(silent, ""), (partial, ""), (silent, "small")] {
            let app = Recorder::scripted(move |_, stream| script(stream).map(|()| false));
            let sidegate = public(&app);
            let curl = sidegate.curl("/").args([version, "--max-time", "1"]);
            // curl: 28 = its time is over.
            assert_eq!(if body.is_empty() { curl } else { curl.body(body) }.fail(), 28, "{version}");
            assert_one_499(&sidegate);
            until("the connection to the app to be closed", || (app.open_connections() == 0).then_some(()));
        }
        let app = Recorder::start();
        let sidegate = public(&app);
        let slow = sidegate.curl("/").args([version, "--max-time", "1", "--limit-rate", "1000"]);
        assert_eq!(slow.header("Expect:").body(vec![b'x'; 1 << 20]).fail(), 28, "{version}");
        assert_one_499(&sidegate);
        until("the connection to the app to be closed", || (app.open_connections() == 0).then_some(()));
        assert_eq!(app.requests().len(), 0, "{version}: the app took a part for the whole");
    }
}

#[test]
fn an_upload_goes_on_while_nobody_takes_the_answer() {
    // Far more than the kernel's buffers hold, on both ways together.
    const SIZE: usize = 128 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let app = Silent(listener.try_clone().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut reader = stream.try_clone().unwrap();
            let mut head = [0; 1];
            let _ = reader.read(&mut head);
            // It answers at length, and reads at length, neither waiting for the other.
            thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
            thread::spawn(move || {
                stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes())?;
                stream.write_all(&vec![b'a'; SIZE])
            });
        }
    });
    let sidegate = public(&app);
    // This client reads nothing before it has sent everything.
    let mut wire = sidegate.wire();
    wire.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {SIZE}\r\n\r\n"));
    let sent = wire.send_until_stuck(&[0; 1 << 14], SIZE as u64);
    assert_eq!(sent, SIZE as u64, "the upload stood still");
    let answer = wire.answer();
    assert_eq!((answer.status, answer.body.len()), (200, SIZE));
    assert!(answer.body.iter().all(|byte| *byte == b'a'));
}

#[test]
fn an_answer_that_breaks_off_is_not_passed_on_as_a_whole_one() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nnot a chunk\r\n",
    ] {
        let app = Recorder::scripted(move |_, stream| {
            stream.write_all(answer.as_bytes())?;
            stream.shutdown(Shutdown::Both)?;
            Ok(false)
        });
        let sidegate = public(&app);
        // curl: 18 = transfer closed with bytes outstanding, 52 = no answer, 56 = receive error, 92 = stream reset.
        let code = sidegate.curl("/").args(["--http1.1"]).fail();
        assert!(matches!(code, 18 | 52 | 56), "{answer:?}: curl exited with {code}");
        let code = sidegate.curl("/").args(["--http2"]).fail();
        assert!(matches!(code, 18 | 92), "{answer:?}: curl exited with {code}");
        sidegate.assert_alive();
    }
}

#[test]
fn many_requests_share_one_http2_connection() {
    let app = Recorder::start();
    let sidegate = public(&app);
    let mut h2 = H2::connect(&sidegate);
    for _ in 0..200 {
        assert_eq!(h2.send("POST", "/", &[], b"hello").status, 200);
    }
    assert_eq!(app.requests().len(), 200);
    sidegate.wait_for_metric("sidegate_requests_total", &[("code", "200")], 200.0);
}

type Script = fn(&mut TcpStream) -> std::io::Result<()>;

fn assert_one_499(sidegate: &Sidegate) {
    sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 0.0);
    let log = sidegate.access_log(1);
    assert_eq!((log.len(), &log[0]["response_code"]), (1, &json!(499)), "{log:?}");
}

/// An app that writes an event, waits for the test, and writes another.
fn in_two_parts(released: Receiver<()>) -> Recorder {
    let released = std::sync::Mutex::new(released);
    Recorder::scripted(move |_, stream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(format!("{head}c\r\ndata: first\n\r\n").as_bytes())?;
        let _ = released.lock().unwrap().recv();
        stream.write_all(b"d\r\ndata: second\n\r\n0\r\n\r\n")?;
        Ok(true)
    })
}

/// An app whose connections nobody ever accepts.
struct Silent(TcpListener);

impl App for Silent {
    fn address(&self) -> std::net::SocketAddr {
        self.0.local_addr().unwrap()
    }
}

fn public(app: &impl App) -> Sidegate {
    Sidegate::before(app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" })).start()
}
