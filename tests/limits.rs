//! What a client may use of us: beyond it there is a clear refusal, a count, and a process that lives.

use std::{
    any::Any,
    io::Write,
    sync::{
        Mutex,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    Answer, Builder, H2, Issuer, Recorder, Sidegate, Wire,
    frames::{Frames, get},
    until,
};

#[test]
fn a_token_of_a_megabyte_is_refused() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let huge = issuer.token_with("alice", json!({ "padding": "x".repeat(1 << 20) }));
    let sidegate = Sidegate::before(&app).jwt(&issuer).start();
    assert_eq!(refusal(&sidegate, &format!("Authorization: Bearer {huge}\r\n")), 431);
    sidegate.assert_alive();

    // Even where headers may be that large, a token may not.
    let sidegate = Sidegate::before(&app).jwt(&issuer).set(json!({ "limits": { "max_header_bytes": "4MiB" } })).start();
    assert_eq!(refusal(&sidegate, &format!("Authorization: Bearer {huge}\r\n")), 401);
    assert_eq!(sidegate.access_log(1)[0]["auth_reason"], "jwt_malformed");
    sidegate.assert_alive();
    assert_eq!(app.requests().len(), 0);
}

#[test]
fn headers_may_be_so_many_and_so_large() {
    let app = Recorder::start();
    let sidegate = public(&app).set(json!({ "limits": { "max_headers": 20, "max_header_bytes": "16KiB" } })).start();
    for (lines, status) in [
        ("X-A: 1\r\n".repeat(19), 200),
        ("X-A: 1\r\n".repeat(20), 431),
        (format!("X-A: {}\r\n", "a".repeat(15_000)), 200),
        (format!("X-A: {}\r\n", "a".repeat(17_000)), 431),
    ] {
        assert_eq!(refusal(&sidegate, &lines), status, "{} bytes", lines.len());
    }
}

#[test]
fn a_body_may_be_so_large() {
    let app = Recorder::start();
    let sidegate = public(&app).set(json!({ "limits": { "max_body_bytes": "1KiB" } })).start();
    let body = |size: usize| vec![b'x'; size];
    let mut h2 = H2::connect(&sidegate);
    let sends = |size, h2: &mut H2| {
        let over_h1 = sidegate.curl("/").args(["--http1.1"]).body(body(size)).send();
        [over_h1, h2.send("POST", "/", &[("content-length", &size.to_string())], &body(size))]
    };
    assert!(sends(1024, &mut h2).iter().all(|answer| answer.status == 200));
    for answer in sends(1025, &mut h2) {
        answer.assert_refused(413, "body_too_large");
    }
    assert_eq!(app.requests().len(), 2, "its length said it all");
    // Without a length it shows on the way; the app must not take it for a whole request.
    for version in ["--http1.1", "--http2"] {
        assert_eq!(sidegate.curl("/").args([version]).stream(body(1024)).send().status, 200);
        let answer = sidegate.curl("/").args([version]).stream(body(64 << 10)).attempt();
        assert!(answer.is_none_or(|answer| answer.status == 413), "{version}");
    }
    assert_eq!(app.requests().len(), 4);
    sidegate.assert_alive();
}

#[test]
fn requests_beyond_the_limit_are_shed_until_a_body_has_ended() {
    let (app, release) = held();
    let sidegate = public(&app).set(json!({ "limits": { "max_in_flight": 1 } })).start();
    let mut first = sidegate.wire();
    first.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    // Its head has arrived, its body has not ended: it counts all the while.
    until("the head", || (first.line() == "part").then_some(()));
    let shed = sidegate.get("/", &[]);
    shed.assert_refused(503, "overloaded");
    assert_eq!(shed.header("Retry-After"), Some("1"));
    assert_eq!(app.requests().len(), 1);
    release.send(()).unwrap();
    until("the end", || (first.line() == "0").then_some(()));
    sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 0.0);

    let mut second = sidegate.wire();
    second.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    until("the head", || (second.line() == "part").then_some(()));
    drop(second); // a client that goes frees its place too
    sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 0.0);
    release.send(()).unwrap();
}

#[test]
fn connections_beyond_the_limit_wait_for_one_to_end() {
    let app = Recorder::start();
    let sidegate = public(&app).set(json!({ "limits": { "max_connections": 2 } })).start();
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut held: Vec<Wire> = (0..2).map(|_| sidegate.wire()).collect();
    for wire in &mut held {
        assert_eq!(wire.send(request).answer().status, 200);
    }
    let mut waiting = Wire::tcp(sidegate.address());
    waiting.send(CLIENT_HELLO_START);
    // The listener that matters to the kubelet is not the one that is full.
    assert_eq!(sidegate.ask_admin("/livez").status, 200);
    assert_eq!(held[0].send(request).answer().status, 200);
    drop(waiting);
    drop(held.pop());
    assert_eq!(sidegate.get("/", &[]).status, 200);
}

#[test]
fn whoever_is_connected_is_served_when_no_descriptors_are_left_and_the_wait_burns_no_cpu() {
    let app = Recorder::start();
    // Every request takes a descriptor for a connection of its own to the app.
    let settings = json!({ "upstream": { "keep_alive": 0 } });
    let sidegate = public(&app).plaintext().set(settings).descriptors(256).start();
    let mut connected: Vec<Wire> = (0..200).map(|_| Wire::tcp(sidegate.address())).collect();
    let served = |client: &mut Wire| {
        client.be_patient_for(Duration::from_secs(2));
        let answer = client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").answer_or_end();
        answer.is_some_and(|answer| answer.status == 200)
    };
    // As many of them as are let in are answered, and may stay; the others wait, as the crowd does.
    let let_in = connected.iter_mut().position(|client| !served(client)).unwrap_or(connected.len());
    let waiting = connected.split_off(let_in);
    assert!(let_in >= 50, "only {let_in} of 200 clients are let in");
    let crowd: Vec<_> = (0..100).map(|_| Wire::tcp(sidegate.address())).collect();
    for client in &mut connected {
        assert!(served(client), "a client that is connected");
        assert_eq!(sidegate.ask_admin("/livez").status, 200);
    }
    let (started, before) = (Instant::now(), sidegate.cpu_time());
    until("a second to pass", || (started.elapsed() > Duration::from_secs(1)).then_some(()));
    let used = sidegate.cpu_time() - before;
    assert!(used < Duration::from_millis(200), "it used {used:?} of a second for accepting nothing");
    drop((waiting, crowd, connected));
    assert_eq!(sidegate.get("/", &[]).status, 200);
}

#[test]
fn a_header_that_trickles_in_is_not_waited_for() {
    let app = Recorder::start();
    let sidegate = public(&app).set(json!({ "limits": { "header_timeout": "1s" } })).start();
    let mut wire = sidegate.wire();
    wire.send("GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");
    let started = Instant::now();
    // A byte at a time is no reason to wait longer.
    until("the end of patience", || {
        let gone = wire.try_send("x").is_err();
        (gone || started.elapsed() > Duration::from_millis(1500)).then_some(())
    });
    let answer = wire.answer_or_end();
    assert!(answer.is_none_or(|answer| answer.status == 408));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(app.requests().len(), 0);
    sidegate.assert_alive();
}

#[test]
fn an_idle_connection_is_kept_for_a_while_and_then_ended() {
    let app = Recorder::start();
    let sidegate = public(&app).set(impatient()).start();
    let mut wire = sidegate.wire();
    for _ in 0..2 {
        assert_eq!(wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").answer().status, 200);
    }
    let started = Instant::now();
    assert!(wire.read_to_end().is_empty());
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    // Over HTTP/2 too, where the goodbye is a frame.
    let mut h2 = Wire::tls(sidegate.address(), &["h2"]);
    h2.send(H2_PREFACE);
    let started = Instant::now();
    assert!(!h2.read_to_end().is_empty());
    assert!(started.elapsed() < Duration::from_secs(5), "HTTP/2: {:?}", started.elapsed());
}

#[test]
fn a_client_that_does_not_read_its_answer_is_cut_off() {
    let app = Recorder::scripted(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")?;
        for _ in 0..50 {
            stream.write_all(&[b'x'; 1_000_000])?;
        }
        Ok(true)
    });
    let sidegate = public(&app).set(impatient()).start();
    let one: fn(&Sidegate) -> Box<dyn Any> = |sidegate| {
        let mut wire = sidegate.wire();
        wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        Box::new(wire)
    };
    // One window for all of the streams, which nobody ever widens.
    let many: fn(&Sidegate) -> Box<dyn Any> = |sidegate| {
        let mut client = Frames::open(sidegate.address(), &[]);
        client.send([1, 3, 5].map(|stream| get(stream, "/")).concat());
        Box::new(client)
    };
    let mut asked = 0;
    for (what, requests, ask) in [("HTTP/1.1", 1, one), ("HTTP/2", 3, many)] {
        let stuck =
            |sidegate: &Sidegate| sidegate.metrics().sum("sidegate_connection_errors_total", &[("reason", "stuck")]);
        let before = stuck(&sidegate);
        let wire = ask(&sidegate);
        asked += requests;
        app.wait_for(asked);
        let started = Instant::now();
        sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 0.0);
        sidegate.wait_for_metric("sidegate_upstream_connections", &[("state", "active")], 0.0);
        let took = started.elapsed();
        assert!((Duration::from_millis(500)..Duration::from_secs(6)).contains(&took), "{what}: {took:?}");
        until("the connection to be counted", || (stuck(&sidegate) > before).then_some(()));
        until("the app to be left alone", || (app.open_connections() == 0).then_some(()));
        drop(wire);
    }
    sidegate.assert_alive();
}

#[test]
fn a_client_that_waits_for_an_answer_that_pauses_is_not_cut_off() {
    let app = Recorder::scripted(|_, stream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        write!(stream, "{head}9\r\ndata: 1\n\n\r\n")?;
        // Three times as long as a client may read nothing.
        thread::park_timeout(Duration::from_secs(3));
        stream.write_all(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")?;
        Ok(true)
    });
    let sidegate = public(&app).set(impatient()).start();
    thread::scope(|scope| {
        for version in ["1.1", "2"] {
            let curl = sidegate.curl("/events").args([&format!("--http{version}")]);
            scope.spawn(move || assert_eq!(curl.send_over(version).text(), "data: 1\n\ndata: 2\n\n"));
        }
    });
    sidegate.wait_for_metric("sidegate_connection_errors_total", &[], 0.0);
}

fn impatient() -> Value {
    json!({ "limits": { "client_idle_timeout": "1s" } })
}

/// The preface of HTTP/2 with empty settings.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

const CLIENT_HELLO_START: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00";

/// The status of a GET with these lines, which the server may refuse before it has read them all.
fn refusal(sidegate: &Sidegate, lines: &str) -> u16 {
    let mut wire = sidegate.wire();
    let _ = wire.try_send(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"));
    wire.answer_or_end().map_or(0, |answer: Answer| answer.status)
}

/// An app that sends part of its answer and the rest when it is told to.
fn held() -> (Recorder, SyncSender<()>) {
    let (release, released) = sync_channel(1);
    let released = Mutex::new(released);
    let app = Recorder::scripted(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\npart\n\r\n")?;
        let _ = released.lock().unwrap().recv();
        stream.write_all(b"0\r\n\r\n")?;
        Ok(true)
    });
    (app, release)
}

fn public(app: &Recorder) -> Builder {
    Sidegate::before(app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" }))
}
