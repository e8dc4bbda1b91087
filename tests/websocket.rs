//! Upgrades, byte for byte: what becomes a tunnel, and what never does.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
};

use serde_json::json;

use crate::support::{App, Builder, H2, Issuer, Received, Recorder, Sidegate, Users, Wire, now, until};

const HANDSHAKE: &str = "Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                           Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhK\r\nSec-WebSocket-Protocol: chat\r\nX-App: 1\r\n";

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn after_a_matching_101_bytes_go_both_ways() {
    let app = echo();
    let (sidegate, issuer) = guarded(&app);
    let mut wire = sidegate.wire();
    wire.send(request("/ws?x=1", &issuer, "Sec-WebSocket-Protocol: chat, v2\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"));
    let answer = wire.answer();
    assert_eq!(answer.status, 101);
    for (name, value) in [
        ("Connection", Some("Upgrade")),
        ("Upgrade", Some("websocket")),
        ("Sec-WebSocket-Accept", Some("s3pPLMBiTxaQ9kYGzzhK")),
        ("Sec-WebSocket-Protocol", Some("chat")),
        ("X-App", Some("1")),
        ("Content-Length", None),
        ("Transfer-Encoding", None),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    for message in ["one\n", "GET /admin HTTP/1.1\r\n"] {
        wire.send(message);
        assert_eq!(wire.read_exact(message.len()), message.as_bytes());
    }

    let received = app.only_request();
    assert_eq!(received.line, "GET /ws?x=1 HTTP/1.1");
    for (name, value) in [
        ("Connection", Some("Upgrade")),
        ("Upgrade", Some("websocket")),
        ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25jZQ==")),
        ("Sec-WebSocket-Version", Some("13")),
        ("Sec-WebSocket-Protocol", Some("chat, v2")),
        ("X-Forwarded-User", Some("alice")),
        ("Host", Some("localhost")),
        ("X-Hop", None),
        ("Authorization", None),
    ] {
        assert_eq!(received.header(name), value, "{name}");
    }

    sidegate.wait_for_metric("sidegate_tunnels", &[], 1.0);
    sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 1.0);
    sidegate.wait_for_metric("sidegate_upstream_connections", &[("state", "active")], 1.0);
    drop(wire);
    let log = sidegate.access_log(1);
    let bytes = 4 + 21;
    assert_eq!((&log[0]["response_code"], &log[0]["auth_user"]), (&json!(101), &json!("alice")));
    assert_eq!((&log[0]["bytes_received"], &log[0]["bytes_sent"]), (&json!(bytes), &json!(bytes)));
    for gauge in ["sidegate_tunnels", "sidegate_requests_in_flight", "sidegate_connections"] {
        sidegate.wait_for_metric(gauge, &[], 0.0);
    }
    sidegate.wait_for_metric("sidegate_upstream_connections", &[], 0.0);
    assert!(sidegate.metrics().sum("sidegate_request_duration_seconds_count", &[]).abs() < 1e-9);
}

#[test]
fn nobody_gets_a_tunnel_who_would_not_get_an_answer() {
    let app = echo();
    let (sidegate, issuer) = guarded(&app);
    let ask = |authorization: &str| {
        let mut wire = sidegate.wire();
        wire.send(format!("GET /ws HTTP/1.1\r\n{HANDSHAKE}{authorization}\r\nsmuggled")).answer()
    };
    ask("").assert_refused(401, "credentials_missing");
    ask("Authorization: Bearer x\r\n").assert_refused(401, "jwt_malformed");
    let expired = issuer.token_with("alice", json!({ "exp": now() - 60 }));
    ask(&format!("Authorization: Bearer {expired}\r\n")).assert_refused(401, "jwt_expired");
    let mut wire = sidegate.wire();
    wire.send(request("/admin/ws", &issuer, "")).answer().assert_refused(403, "rule_denied");
    wire.send(request("/a/../ws", &issuer, "")).answer().assert_refused(400, "path_ambiguous");
    assert!(app.requests().is_empty());
}

#[test]
fn an_app_that_does_not_switch_leaves_the_connection_to_http() {
    for refusal in [
        "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone",
        "HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 4\r\n\r\nnone",
        "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 4\r\n\r\nnone",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nnone\r\n0\r\n\r\n",
    ] {
        let app = Recorder::answering(refusal);
        let (sidegate, issuer) = guarded(&app);
        let mut wire = sidegate.wire();
        // What comes right behind is for the app if this becomes a tunnel, and a request of its own if it does not.
        wire.send(request("/ws", &issuer, "") + "GET /orders HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = wire.answer();
        assert_eq!((&refusal[9..12], answer.text().as_str()), (answer.status.to_string().as_str(), "none"));
        assert_eq!((answer.header("Upgrade"), answer.header("Connection")), (None, None), "{refusal}");
        wire.answer().assert_refused(401, "credentials_missing");
        wire.send("GET /orders HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .answer()
            .assert_refused(401, "credentials_missing");
        assert_eq!(wire.send(request("/again", &issuer, "")).answer().text(), "none");
        assert_eq!(app.requests().iter().map(Received::target).collect::<Vec<_>>(), ["/ws", "/again"]);
        sidegate.wait_for_metric("sidegate_tunnels", &[], 0.0);
    }
}

#[test]
fn a_101_that_was_not_asked_for_is_no_answer() {
    let switching = |upgrade: &str| format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n{upgrade}\r\n");
    for answer in [
        switching("Upgrade: h2c\r\n"),
        switching("Upgrade: websocket, h2c\r\n"),
        switching("Upgrade: websocket\r\nUpgrade: h2c\r\n"),
        switching(""),
        "HTTP/1.0 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".to_owned(),
    ] {
        let app = Recorder::answering(answer.clone());
        let (sidegate, issuer) = guarded(&app);
        let mut wire = sidegate.wire();
        wire.send(request("/ws", &issuer, "")).answer().assert_refused(502, "upstream_broken");
        // Still HTTP, and still guarded.
        wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").answer().assert_refused(401, "credentials_missing");
        assert_eq!(app.requests().len(), 1, "{answer}");
    }
    // The right protocol, and nobody who has asked for one.
    let app = Recorder::answering([SWITCHING, b"\r\n"].concat());
    let (sidegate, issuer) = guarded(&app);
    let bearer = format!("Authorization: Bearer {}", issuer.token("alice"));
    sidegate.get("/", &[&bearer]).assert_refused(502, "upstream_broken");
    let fields = [("authorization", &bearer["Authorization: ".len()..])];
    H2::connect(&sidegate).send("GET", "/", &fields, b"").assert_refused(502, "upstream_broken");
}

#[test]
fn what_is_not_one_plain_request_for_a_websocket_is_a_request_like_any_other() {
    let app = Recorder::scripted(|received, stream| {
        let asked = received.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("upgrade"));
        stream.write_all(if asked { b"HTTP/1.1 500 Asked\r\nContent-Length: 0\r\n\r\n" } else { OK })?;
        Ok(true)
    });
    let (sidegate, issuer) = guarded(&app);
    let host = format!("Host: localhost\r\nAuthorization: Bearer {}\r\n", issuer.token("alice"));
    for (what, asked) in [
        ("another protocol", "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"),
        (
            "h2c with its settings",
            "GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        ),
        ("two protocols", "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n"),
        ("two headers", "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n"),
        ("two different headers", "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n"),
        ("a version", "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket/13\r\n"),
        ("an empty one", "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade:\r\n"),
        ("a comma", "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: ,\r\n"),
        ("no Connection", "GET / HTTP/1.1\r\nUpgrade: websocket\r\n"),
        ("another Connection", "GET / HTTP/1.1\r\nConnection: upgraded\r\nUpgrade: websocket\r\n"),
        ("a POST", "POST / HTTP/1.1\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"),
        ("an OPTIONS", "OPTIONS / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"),
        ("HTTP/1.0", "GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"),
    ] {
        let answer = sidegate.wire().send(format!("{asked}{host}\r\n")).answer();
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{what}");
        let received = app.last_request();
        assert_eq!((received.header("Upgrade"), received.header("Connection")), (None, None), "{what}");
        assert_eq!(received.header("HTTP2-Settings"), None, "{what}");
    }
    let asks = format!("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{host}");
    for body in ["Content-Length: 4\r\n\r\nbody", "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"] {
        assert_eq!(sidegate.wire().send(format!("{asks}{body}")).answer().status, 200);
        assert_eq!(app.last_request().header("Upgrade"), None, "{body}");
    }
}

#[test]
fn a_refused_upload_that_asked_for_an_upgrade_sees_its_refusal() {
    // Java's client asks for h2c with whatever it sends in the clear. A socket that is closed with bytes unread resets
    // the connection, and the reset overtakes the answer.
    let app = echo();
    let sidegate = Sidegate::before(&app).jwt(&Issuer::new()).rule(json!({ "allow": "authenticated" })).plaintext();
    let sidegate = sidegate.start();
    for _ in 0..20 {
        let mut wire = sidegate.wire();
        let head = "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                    HTTP2-Settings: AAMAAABk\r\nContent-Length: 10000000\r\n\r\n";
        wire.send(head);
        for _ in 0..100 {
            wire.send([0; 10_000]);
        }
        wire.answer().assert_refused(401, "credentials_missing");
        assert_eq!(wire.read_to_end(), b"");
    }
    assert!(app.requests().is_empty());
}

#[test]
fn what_is_sent_right_behind_the_handshake_arrives() {
    let app = Recorder::scripted(|_, stream| {
        stream.write_all(&[SWITCHING, b"\r\nfrom the app"].concat())?;
        let mut reader = stream.try_clone()?;
        let mut bytes = [0; 15];
        reader.read_exact(&mut bytes)?;
        stream.write_all(&bytes)?;
        Ok(false)
    });
    for builder in [Builder::plaintext as fn(Builder) -> Builder, |builder| builder] {
        let issuer = Issuer::new();
        let sidegate = builder(Sidegate::before(&app).jwt(&issuer)).rule(json!({ "allow": "authenticated" })).start();
        let mut wire = sidegate.wire();
        wire.send(request("/ws", &issuer, "") + "from the client");
        assert_eq!(wire.answer().status, 101);
        assert_eq!(wire.read_exact(27), b"from the appfrom the client");
        assert_eq!(wire.read_to_end(), b"");
    }
}

#[test]
fn a_side_that_ends_its_half_still_hears_the_other() {
    // Once the app waits for the client's end, once the client for the app's.
    let app = Recorder::scripted(|received, stream| {
        stream.write_all(&[SWITCHING, b"\r\n"].concat())?;
        let mut reader = stream.try_clone()?;
        let mut all = Vec::new();
        if received.target() == "/client-first" {
            reader.read_to_end(&mut all)?;
            stream.write_all(&[b"heard: ", &*all].concat())?;
        } else {
            stream.write_all(b"that is all")?;
            stream.shutdown(Shutdown::Write)?;
            reader.read_to_end(&mut all)?;
        }
        assert_eq!(all, b"hello");
        Ok(false)
    });
    for builder in [Builder::plaintext as fn(Builder) -> Builder, |builder| builder] {
        let issuer = Issuer::new();
        let sidegate = builder(Sidegate::before(&app).jwt(&issuer)).rule(json!({ "allow": "authenticated" })).start();
        let mut wire = sidegate.wire();
        assert_eq!(wire.send(request("/client-first", &issuer, "")).answer().status, 101);
        wire.send("hello").finish_sending();
        assert_eq!(wire.read_to_end(), b"heard: hello");

        let mut wire = sidegate.wire();
        assert_eq!(wire.send(request("/app-first", &issuer, "")).answer().status, 101);
        assert_eq!(wire.read_exact(11), b"that is all");
        wire.send("hello").finish_sending();
        assert_eq!(wire.read_to_end(), b"");
        let log = sidegate.access_log(2);
        assert!(log.iter().all(|line| line["response_code"] == 101 && line["bytes_received"] == 5), "{log:?}");
    }
}

#[test]
fn either_side_that_goes_away_ends_the_other() {
    let app = echo();
    let (sidegate, issuer) = guarded(&app);
    let mut wire = sidegate.wire();
    assert_eq!(wire.send(request("/ws", &issuer, "")).answer().status, 101);
    drop(wire);
    until("the app's end", || (app.open_connections() == 0).then_some(()));

    let mut wire = sidegate.wire();
    assert_eq!(wire.send(request("/ws", &issuer, "")).answer().status, 101);
    wire.send("bye\n");
    assert_eq!(wire.read_to_end(), b"bye\n");
    drop(wire);
    sidegate.wait_for_metric("sidegate_tunnels", &[], 0.0);
}

#[test]
fn a_thousand_of_them_leave_nothing_behind() {
    let app = echo();
    let issuer = Issuer::new();
    let sidegate = Sidegate::before(&app).jwt(&issuer).rule(json!({ "allow": "authenticated" })).plaintext().start();
    let cycle = |ends: &str| {
        let mut wire = sidegate.wire();
        assert_eq!(wire.send(request("/ws", &issuer, "")).answer().status, 101);
        wire.send(ends);
        assert_eq!(wire.read_exact(ends.len()), ends.as_bytes());
    };
    let settled = || {
        sidegate.wait_for_metric("sidegate_tunnels", &[], 0.0);
        sidegate.wait_for_metric("sidegate_connections", &[], 0.0);
        until("no connection to the app", || (app.open_connections() == 0).then_some(()));
        sidegate.descriptors()
    };
    cycle("x\n");
    let before = settled();
    for number in 0..1000 {
        // Ended by the client, and by the app.
        cycle(if number % 2 == 0 { "ping\n" } else { "bye\n" });
    }
    let after = settled();
    // One more or less is the scrape's own connection.
    assert!(after.abs_diff(before) <= 1, "{before} descriptors before, {after} after");
    sidegate.wait_for_metric("sidegate_requests_total", &[("code", "101")], 1001.0);
}

#[test]
fn a_tunnel_has_a_place_among_the_requests_in_flight_until_it_ends() {
    let app = echo();
    let issuer = Issuer::new();
    let sidegate = Sidegate::before(&app)
        .jwt(&issuer)
        .rule(json!({ "allow": "authenticated" }))
        .set(json!({ "limits": { "max_in_flight": 1 } }))
        .start();
    let mut wire = sidegate.wire();
    assert_eq!(wire.send(request("/ws", &issuer, "")).answer().status, 101);
    sidegate.get("/", &[]).assert_refused(503, "overloaded");
    drop(wire);
    until("the place", || (sidegate.get("/", &[]).status == 401).then_some(()));
}

#[test]
fn http2_is_not_told_that_there_are_websockets() {
    let app = echo();
    let (sidegate, _) = guarded(&app);
    let mut wire = Wire::tls(sidegate.address(), &["h2"]);
    wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let header = wire.read_exact(9);
    assert_eq!(header[3], 4, "the first frame is SETTINGS");
    let length = usize::from(header[1]) << 8 | usize::from(header[2]);
    let settings = wire.read_exact(length);
    let known: Vec<_> = settings.chunks(6).map(|setting| u16::from_be_bytes([setting[0], setting[1]])).collect();
    // SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441): without it browsers take HTTP/1.1 for a WebSocket.
    assert!(!known.is_empty() && !known.contains(&8), "{known:?}");
}

/// Switches, and gives every line back; `bye` is the last one.
pub(crate) fn echo() -> Recorder {
    Recorder::scripted(|_, stream| {
        stream.write_all(&[SWITCHING, b"\r\n"].concat())?;
        give_back(stream)?;
        Ok(false)
    })
}

fn give_back(stream: &mut TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        stream.write_all(&line)?;
        if line == b"bye\n" {
            break;
        }
        line.clear();
    }
    Ok(())
}

fn guarded(app: &impl App) -> (Sidegate, Issuer) {
    let issuer = Issuer::new();
    let sidegate = Sidegate::before(app)
        .jwt(&issuer)
        .users(&Users::one("bob", "correct-horse"))
        .rule(json!({ "path": "/admin/**", "allow": { "groups": ["admin"] } }))
        .rule(json!({ "allow": "authenticated" }))
        .start();
    (sidegate, issuer)
}

/// A handshake of alice's, with these header lines besides.
pub(crate) fn request(target: &str, issuer: &Issuer, lines: &str) -> String {
    handshake(target, &format!("Authorization: Bearer {}\r\n{lines}", issuer.token("alice")))
}

/// A handshake with these header lines besides.
pub(crate) fn handshake(target: &str, lines: &str) -> String {
    format!("GET {target} HTTP/1.1\r\n{HANDSHAKE}{lines}\r\n")
}
