//! What an attacker, a careless app and a client that has gone quiet do: none of it may reach further than itself.

use std::{
    any::Any,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    Builder, H2, Issuer, Recorder, Sidegate,
    frames::{Frames, flag, get, kind},
    until,
};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn a_method_that_the_app_would_read_as_another_is_refused() {
    // Werkzeug would make a POST of `post`; this app writes down what came.
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app)
        .jwt(&issuer)
        .rule(json!({ "path": "/orders/**", "methods": ["POST"], "allow": { "groups": ["writers"] } }))
        .rule(json!({ "allow": "authenticated" }))
        .start();
    let (alice, will) = (issuer.token("alice"), issuer.token_with("will", json!({ "groups": ["writers"] })));
    for version in ["1.1", "2"] {
        let ask = |method: &str, token: &str| {
            let curl = sidegate.curl("/orders/1").args([&format!("--http{version}")]).method(method);
            curl.bearer(token).send_over(version)
        };
        // No rule is about `post`, so the last one would let it in.
        for method in ["post", "Post", "posT", "gET", "head"] {
            ask(method, &alice).assert_refused(400, "method_invalid");
        }
        ask("POST", &alice).assert_refused(403, "rule_denied");
        assert_eq!(ask("POST", &will).status, 200);
    }
    // curl is not the only one that speaks HTTP/2.
    let fields = [("authorization", &*format!("Bearer {alice}"))];
    H2::connect(&sidegate).send("post", "/orders/1", &fields, b"").assert_refused(400, "method_invalid");
    let lines: Vec<_> = app.requests().iter().map(|request| request.line.clone()).collect();
    assert_eq!(lines, ["POST /orders/1 HTTP/1.1"; 2]);
}

#[test]
fn a_rule_about_get_is_about_head_too() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app)
        .jwt(&issuer)
        .rule(json!({ "path": "/admin/**", "methods": ["GET", "POST"], "allow": { "groups": ["admin"] } }))
        .rule(json!({ "path": "/inbox/**", "methods": ["POST"], "allow": { "groups": ["admin"] } }))
        .rule(json!({ "allow": "authenticated" }))
        .start();
    let (alice, anna) = (issuer.token("alice"), issuer.token_with("anna", json!({ "groups": ["admin"] })));
    for (token, path, status) in [
        (&alice, "/admin/", 403),
        (&alice, "/admin/users", 403),
        (&anna, "/admin/", 200),
        (&alice, "/inbox/", 200), // only GET has HEAD within it
        (&alice, "/", 200),
    ] {
        for version in ["1.1", "2"] {
            let curl = sidegate.curl(path).args([&format!("--http{version}")]).head().bearer(token);
            assert_eq!(curl.send_over(version).status, status, "HEAD {path} over HTTP/{version}");
        }
    }
    let targets: Vec<_> = app.requests().iter().map(|request| request.target().to_owned()).collect();
    assert_eq!(targets, ["/admin/", "/admin/", "/inbox/", "/inbox/", "/", "/"]);
}

#[test]
fn what_an_app_says_after_an_answer_without_a_body_reaches_no_other_client() {
    // What the attacker has had the app store, and now has it send where no body belongs.
    const STORED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nSet-Cookie: session=evil\r\n\r\nEVIL";
    for (method, status) in [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not Modified")] {
        let app = Recorder::scripted(move |request, stream| {
            if request.target() == "/stored" {
                let length =
                    if method == "HEAD" { format!("Content-Length: {}\r\n", STORED.len()) } else { String::new() };
                write!(stream, "HTTP/1.1 {status}\r\n{length}\r\n")?;
                pause(Duration::from_millis(3)); // long enough for the next request to be on its way
                stream.write_all(STORED.as_bytes())?;
            } else {
                let own = request.target();
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{own}", own.len())?;
            }
            Ok(true)
        });
        let sidegate = public(&app).plaintext().start();
        let (mut attacker, mut victim) = (sidegate.wire(), sidegate.wire());
        for round in 0..50 {
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
        wire.send(REQUEST);
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
        pause(Duration::from_secs(3));
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

#[test]
fn an_http2_client_that_has_fallen_silent_does_not_hold_up_the_end() {
    let app = Recorder::start();
    let mut sidegate = public(&app).set(json!({ "shutdown": { "grace": "20s" } })).start();
    let mut client = Frames::open(sidegate.address(), &[]);
    client.send(get(1, "/"));
    // Its answer, to the end of the stream; and from here on it neither reads nor acknowledges anything.
    until("the answer", || {
        let frame = client.next().expect("a frame");
        (frame.kind == kind::DATA && frame.flags & flag::END_STREAM != 0).then_some(())
    });
    let started = Instant::now();
    sidegate.terminate();
    assert!(sidegate.exit().success());
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    drop(client);
}

#[test]
fn whoever_is_connected_is_served_when_there_are_no_descriptors_left() {
    let app = Recorder::start();
    // Every request takes a descriptor for a connection of its own to the app.
    let settings = json!({ "upstream": { "keep_alive": 0 } });
    let sidegate = public(&app).plaintext().set(settings).descriptors(256).start();
    let mut connected: Vec<_> = (0..200).map(|_| TcpStream::connect(sidegate.address()).unwrap()).collect();
    // As many of them as are let in are answered, and may stay; the others wait, as the crowd does.
    let let_in = connected.iter_mut().position(|client| status(client) != Some(200)).unwrap_or(connected.len());
    let waiting = connected.split_off(let_in);
    assert!(let_in >= 50, "only {let_in} of 200 clients are let in");
    let crowd: Vec<_> = (0..100).map(|_| TcpStream::connect(sidegate.address()).unwrap()).collect();
    let started = Instant::now();
    let mut asked = 0;
    until("two seconds to be over", || {
        assert_eq!(status(&mut connected[asked % let_in]), Some(200), "a client that is connected");
        assert_eq!(status_of("/livez", sidegate.admin()), Some(200), "a probe");
        asked += 1;
        (started.elapsed() > Duration::from_secs(2)).then_some(())
    });
    drop((waiting, crowd));
}

#[test]
fn a_connection_that_ends_badly_is_counted_as_what_it_was() {
    let app = Recorder::start();
    let sidegate = public(&app).plaintext().start();
    let errors = "sidegate_connection_errors_total";
    for (reason, sent) in [
        ("incomplete", "GET / HT"),
        ("incomplete", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Le"),
        ("malformed", "\0\u{1}\u{2}\u{3}\r\n\r\n"),
        ("malformed", "GET / HTTP/1.1\r\nno colon\r\n\r\n"),
    ] {
        let before = sidegate.metrics();
        let mut wire = sidegate.wire();
        wire.send(sent).finish_sending();
        wire.read_to_end();
        sidegate.wait_for_metric(errors, &[("reason", reason)], before.sum(errors, &[("reason", reason)]) + 1.0);
        // As that, and as nothing else besides.
        sidegate.wait_for_metric(errors, &[], before.sum(errors, &[]) + 1.0);
    }
    assert_eq!(app.requests().len(), 0);
}

/// The status that this connection's next request is answered with within three seconds.
fn status(client: &mut TcpStream) -> Option<u16> {
    ask(client, "/")
}

fn status_of(path: &str, address: SocketAddr) -> Option<u16> {
    ask(&mut TcpStream::connect(address).ok()?, path)
}

fn ask(client: &mut TcpStream, path: &str) -> Option<u16> {
    client.set_read_timeout(Some(Duration::from_secs(3))).ok()?;
    write!(client, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = [0; 4096];
    let count = client.read(&mut answer).ok()?;
    String::from_utf8_lossy(&answer[..count]).split(' ').nth(1)?.parse().ok()
}

/// Stands still as an app does that has something else to do.
fn pause(duration: Duration) {
    let end = Instant::now() + duration;
    while let Some(rest) = end.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero()) {
        thread::park_timeout(rest);
    }
}

fn impatient() -> Value {
    json!({ "limits": { "client_idle_timeout": "1s" } })
}

fn public(app: &Recorder) -> Builder {
    Sidegate::before(app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" }))
}
