//! HTTP/2 without TLS, by prior knowledge: a client that begins with the preface gets it, every other one HTTP/1.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{
    Builder, Curl, Issuer, Recorder, Sidegate, Wire,
    frames::{Frames, Outcome, PREFACE, block, flag, get, headers, settings},
    until,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn curl_speaks_it_over_tcp_and_over_a_unix_socket_and_the_rules_hold() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("http.sock");
    let builder = || Sidegate::before(&app).jwt(&issuer).plaintext();
    let tcp = builder().start();
    let unix = builder().set(json!({ "listen": { "address": format!("unix:{}", socket.display()) } })).start();
    let over_unix = |path: &Path| {
        Curl::new("http://shop.example/", &unix.file("ca.pem")).args(["--unix-socket", path.to_str().unwrap()])
    };
    for curl in [&|| tcp.curl("/") as Curl, &|| over_unix(&socket) as Curl] as [&dyn Fn() -> Curl; 2] {
        let ask = || curl().header("X-Forwarded-User: root").header("X-Forwarded-Proto: https");
        for (option, version) in [("--http2-prior-knowledge", "2"), ("--http1.1", "1.1")] {
            ask().args([option]).send_over(version).assert_refused(401, "credentials_missing");
            let body = vec![b'x'; 300_000];
            let answer = ask().args([option]).bearer(&issuer.token("alice")).body(body.clone()).send_over(version);
            assert_eq!(answer.status, 200);
            let request = app.last_request();
            assert_eq!(request.lookalikes("x-forwarded-user"), ["alice"]);
            assert_eq!(request.lookalikes("x-forwarded-proto"), ["http"]);
            assert!(request.body == body, "{} bytes of body", request.body.len());
        }
    }
    assert_eq!(app.requests().len(), 4);
    assert_eq!(tcp.access_log(2)[1]["protocol"], "HTTP/2");
}

#[test]
fn the_preface_may_come_in_any_pieces_and_with_what_follows_it() {
    let app = Recorder::start();
    let sidegate = public(&app).start();
    let all = [PREFACE, &settings(&[]), &get(1, "/"), &get(3, "/")].concat();
    for cut in 1..all.len() {
        let mut wire = sidegate.wire();
        wire.send(&all[..cut]).send(&all[cut..]);
        let mut frames = Frames::on(wire);
        assert_eq!(frames.outcome(3, true), Outcome::Status(200), "cut after {cut}");
    }
    let mut wire = sidegate.wire();
    for byte in &all {
        wire.send([*byte]);
    }
    assert_eq!(Frames::on(wire).outcome(3, true), Outcome::Status(200));
    assert_eq!(app.requests().len(), 2 * all.len());
}

#[test]
fn what_only_begins_like_the_preface_is_http_1_to_the_byte() {
    let app = Recorder::start();
    let sidegate = public(&app).start();
    for (i, first) in ["P /", "PR /", "PRI /", "PUT /", "POST /"].into_iter().enumerate() {
        let ask = format!("{first} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello{GET}");
        for cut in 1..6 {
            let mut wire = sidegate.wire();
            wire.send(&ask[..cut]).send(&ask[cut..]);
            assert_eq!([wire.answer().status, wire.answer().status], [200, 200], "{first}");
            let requests = app.requests();
            let [.., asked, _] = requests.as_slice() else { panic!("{requests:?}") };
            assert_eq!((asked.line.as_str(), &asked.body[..]), (&*format!("{first} HTTP/1.1"), &b"hello"[..]));
            assert_eq!(requests.len(), 2 * (5 * i + cut));
        }
    }
    let served = app.requests().len();
    for cut in 1..PREFACE.len() {
        // The last of them stops in the middle, too.
        for rest in [&format!("\t{GET}"), "\0", "X", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""] {
            let said = [&PREFACE[..cut], rest.as_bytes()].concat();
            let mut wire = sidegate.wire();
            wire.send(&PREFACE[..cut]);
            wire.send(rest).finish_sending();
            assert_eq!(wire.answer().status, 400, "{:?}", String::from_utf8_lossy(&said));
            assert_eq!(wire.read_to_end(), b"");
        }
    }
    assert_eq!(app.requests().len(), served, "{:?}", app.last_request());
    sidegate.assert_alive();
}

#[test]
fn who_says_half_of_it_or_nothing_is_ended_in_time_and_at_the_end() {
    let app = Recorder::start();
    let sidegate = public(&app).set(json!({ "limits": { "header_timeout": "500ms" } })).start();
    for part in [0, 1, 3, 14, 23, 24] {
        let late = || sidegate.metrics().sum("sidegate_connection_errors_total", &[]);
        let before = late();
        let mut wire = sidegate.wire();
        wire.send(&PREFACE[..part]);
        wire.read_to_end();
        until("the count", || (late() > before).then_some(()));
    }
    let header_timeout = [("reason", "header_timeout")];
    sidegate.wait_for_metric("sidegate_connections", &[("state", "open")], 0.0);
    assert!(sidegate.metrics().sum("sidegate_connection_errors_total", &header_timeout) >= 4.0);
    // What has begun to arrive may still arrive, within the time that a header has. Nothing else is waited for.
    for (part, header_timeout) in [(0, "300s"), (3, "2s"), (23, "2s")] {
        let limits = json!({ "limits": { "header_timeout": header_timeout }, "shutdown": { "grace": "60s" } });
        let mut sidegate = public(&app).set(limits).start();
        let mut wire = sidegate.wire();
        wire.send(&PREFACE[..part]);
        sidegate.wait_for_metric("sidegate_connections", &[("state", "open")], 1.0);
        let started = Instant::now();
        sidegate.terminate();
        assert!(sidegate.exit().success());
        assert!(started.elapsed() < Duration::from_secs(20), "{part}: {:?}", started.elapsed());
    }
    assert!(app.requests().is_empty());
}

#[test]
fn without_http2_the_preface_is_refused() {
    let app = Recorder::start();
    let sidegate = public(&app).set(json!({ "listen": { "http2": false } })).start();
    let mut wire = sidegate.wire();
    wire.send([PREFACE, &settings(&[]), &get(1, "/")].concat()).answer().assert_refused(400, "framing_invalid");
    assert_eq!(wire.read_to_end(), b"");
    sidegate.curl("/").args(["--http2-prior-knowledge"]).fail();
    assert_eq!(sidegate.get("/", &[]).status, 200);
    assert_eq!(app.requests().len(), 1);
}

#[test]
fn the_preface_may_follow_a_proxy_protocol_header_and_nothing_else() {
    let app = Recorder::start();
    let listen = json!({ "listen": { "proxy_protocol": true, "trusted_proxies": ["127.0.0.1"] } });
    let sidegate = public(&app).set(listen).start();
    let header = b"PROXY TCP4 203.0.113.9 192.0.2.2 4711 443\r\n";
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", "/"),
        ("x-forwarded-for", "1.1.1.1"),
    ];
    let ask = [PREFACE, &settings(&[]), &headers(flag::END_STREAM, 1, block(&fields))].concat();
    for cut in [0, header.len(), header.len() + 5] {
        let said = [header, &ask[..]].concat();
        let mut wire = sidegate.wire();
        wire.send(&said[..cut]).send(&said[cut..]);
        assert_eq!(Frames::on(wire).outcome(1, true), Outcome::Status(200));
        assert_eq!(app.last_request().lookalikes("x-forwarded-for"), ["203.0.113.9"]);
        assert_eq!(app.last_request().lookalikes("x-forwarded-proto"), ["http"]);
    }
    for said in [&ask[..], &[PREFACE, header, GET.as_bytes()].concat()] {
        let mut wire = sidegate.wire();
        let _ = wire.try_send(said);
        wire.read_to_end();
    }
    assert_eq!(app.requests().len(), 3);
}

#[test]
fn over_tls_it_is_alpn_that_decides() {
    let app = Recorder::start();
    let sidegate = Sidegate::before(&app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" })).start();
    let mut wire = Wire::tls(sidegate.address(), &["http/1.1"]);
    wire.send([PREFACE, &settings(&[]), &get(1, "/")].concat()).answer().assert_refused(400, "framing_invalid");
    assert!(app.requests().is_empty());
}

fn public(app: &Recorder) -> Builder {
    Sidegate::before(app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" })).plaintext()
}
