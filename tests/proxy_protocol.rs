//! The PROXY protocol on the listener: whom a load balancer announces is the client, and nobody else may announce.

use std::{fmt::Write as _, net::Ipv4Addr};

use serde_json::json;

use crate::support::{Builder, Issuer, Recorder, Sidegate, Wire};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2.
fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [V2_START, &[command, family], &length, body].concat()
}

/// 203.0.113.9:4711 to 192.0.2.2:443, with an addition.
fn v2_client() -> Vec<u8> {
    let addition = [0xea, 0, 3, 1, 2, 3];
    v2(0x21, 0x11, &[&[203, 0, 113, 9, 192, 0, 2, 2, 0x12, 0x67, 1, 0xbb][..], &addition].concat())
}

const V1_CLIENT: &[u8] = b"PROXY TCP4 203.0.113.9 192.0.2.2 4711 443\r\n";

#[test]
fn whom_the_load_balancer_announces_is_the_client_before_tls_and_without() {
    let app = Recorder::start();
    let tls = balanced(&app, &["127.0.0.1"]).start();
    let plain = balanced(&app, &["127.0.0.1"]).plaintext().start();
    let mut lines = 0;
    for (header, client, address) in [
        (V1_CLIENT.to_vec(), "203.0.113.9", "203.0.113.9:4711"),
        (v2_client(), "203.0.113.9", "203.0.113.9:4711"),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n".to_vec(), "2001:db8::1", "[2001:db8::1]:4711"),
        (b"PROXY TCP6 ::ffff:203.0.113.9 ::1 4711 443\r\n".to_vec(), "203.0.113.9", "203.0.113.9:4711"),
        // Nobody is announced: it is the load balancer's own connection, or as good as.
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1", "127.0.0.1:"),
        (v2(0x20, 0, b""), "127.0.0.1", "127.0.0.1:"),
        (v2(0x21, 0, b""), "127.0.0.1", "127.0.0.1:"),
        (v2(0x21, 0x31, &[b'/'; 216]), "127.0.0.1", "127.0.0.1:"),
    ] {
        let mut over_tls = Wire::tls_after(tls.address(), &["http/1.1"], &header);
        let mut over_tcp = plain.wire();
        // The request follows in the same packet.
        over_tcp.send([&header[..], REQUEST.as_bytes()].concat());
        lines += 1;
        for (wire, sidegate) in [(over_tls.send(REQUEST), &tls), (&mut over_tcp, &plain)] {
            assert_eq!(wire.answer().status, 200, "{header:?}");
            assert_eq!(app.last_request().lookalikes("x-forwarded-for"), [client], "{header:?}");
            let log = sidegate.access_log(lines);
            assert!(log[lines - 1]["downstream_remote_address"].as_str().unwrap().starts_with(address), "{log:?}");
        }
    }
}

#[test]
fn curl_and_http2_come_through() {
    let app = Recorder::start();
    let sidegate = balanced(&app, &["127.0.0.1"]).start();
    for (version, spoken) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let answer = sidegate.curl("/").args([version, "--haproxy-protocol"]).send_over(spoken);
        assert_eq!(answer.status, 200);
        assert_eq!(app.last_request().lookalikes("x-forwarded-for"), ["127.0.0.1"]);
    }
}

#[test]
fn a_header_may_come_byte_by_byte() {
    let app = Recorder::start();
    let sidegate = balanced(&app, &["127.0.0.1"]).plaintext().start();
    for header in [V1_CLIENT.to_vec(), v2_client()] {
        let mut wire = sidegate.wire();
        for byte in header {
            wire.send([byte]);
        }
        assert_eq!(wire.send(REQUEST).answer().status, 200);
        assert_eq!(app.last_request().header("X-Forwarded-For"), Some("203.0.113.9"));
    }
}

#[test]
fn without_a_valid_header_the_connection_is_closed_and_counted() {
    let app = Recorder::start();
    let sidegate = balanced(&app, &["127.0.0.1"]).plaintext().start();
    let mut short = v2_client();
    short[15] = 11;
    let refused = [
        REQUEST.as_bytes().to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a client hello".to_vec(),
        b"PROXY TCP4 203.0.113.9 192.0.2.2 4711\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.9 192.0.2.2 4711 443\n".to_vec(),
        format!("PROXY UNKNOWN {}\r\n", "f".repeat(200)).into_bytes(),
        short,
        v2(0x21, 0x11, &[0; 11]),
        v2(0x11, 0x11, &[0; 12]),
        v2(0x21, 0x11, &[0; 5000]),
    ];
    for (i, bytes) in refused.iter().enumerate() {
        let mut wire = sidegate.wire();
        let _ = wire.try_send(bytes);
        let _ = wire.try_send(REQUEST);
        assert_eq!(wire.read_to_end(), b"", "{bytes:?}");
        let count = f64::from(u32::try_from(i).unwrap() + 1);
        sidegate.wait_for_metric("sidegate_connection_errors_total", &[("reason", "proxy_header")], count);
    }
    assert!(app.requests().is_empty());
    // One connection has one header: what comes after it is the request.
    let mut wire = sidegate.wire();
    let _ = wire.try_send([V1_CLIENT, b"PROXY TCP4 198.51.100.1 192.0.2.2 1 2\r\n", REQUEST.as_bytes()].concat());
    wire.read_to_end();
    assert!(app.requests().is_empty());
}

#[test]
fn who_says_nothing_is_closed_in_time() {
    let app = Recorder::start();
    let builder = balanced(&app, &["127.0.0.1"]).set(json!({ "limits": { "handshake_timeout": "300ms" } }));
    let sidegate = builder.start();
    for first in [&b""[..], b"PROXY ", &V2_START[..5], V1_CLIENT] {
        let mut wire = Wire::tcp(sidegate.address());
        wire.send(first);
        assert_eq!(wire.read_to_end(), b"");
    }
    sidegate.wait_for_metric("sidegate_connection_errors_total", &[("reason", "proxy_header")], 3.0);
    sidegate.wait_for_metric("sidegate_tls_handshakes_total", &[("result", "timeout")], 1.0);
    sidegate.wait_for_metric("sidegate_connections", &[("state", "handshaking")], 0.0);
}

#[test]
fn other_peers_may_not_announce_anybody() {
    let app = Recorder::start();
    let sidegate = balanced(&app, &["10.0.0.0/8"]).plaintext().start();
    for header in [V1_CLIENT, &v2_client(), b""] {
        let mut wire = sidegate.wire();
        let _ = wire.try_send([header, REQUEST.as_bytes()].concat());
        assert_eq!(wire.read_to_end(), b"");
    }
    sidegate.wait_for_metric("sidegate_connection_errors_total", &[("reason", "proxy_untrusted")], 3.0);
    assert!(app.requests().is_empty());
}

#[test]
fn without_proxy_protocol_a_header_is_no_request() {
    let app = Recorder::start();
    let sidegate =
        balanced(&app, &["127.0.0.1"]).set(json!({ "listen": { "proxy_protocol": false } })).plaintext().start();
    let mut wire = sidegate.wire();
    let _ = wire.try_send([V1_CLIENT, REQUEST.as_bytes()].concat());
    wire.read_to_end();
    assert!(app.requests().is_empty());
}

#[test]
fn who_is_announced_is_believed_about_others_only_as_a_trusted_proxy() {
    let app = Recorder::start();
    let everyone = ["0.0.0.0/0", "::/0", "198.51.100.0/24"];
    let sidegate = balanced(&app, &everyone).plaintext().start();
    let ask = |announced: &str| {
        let mut said = format!("{announced}\r\nGET / HTTP/1.1\r\nHost: localhost\r\n");
        write!(said, "X-Forwarded-For: 192.0.2.66\r\nX-Forwarded-Proto: https\r\n\r\n").unwrap();
        assert_eq!(sidegate.wire().send(said).answer().status, 200, "{announced}");
        let request = app.last_request();
        let told = ["x-forwarded-for", "x-forwarded-proto"].map(|name| request.lookalikes(name).join("+"));
        told.join(" ")
    };
    assert_eq!(ask("PROXY TCP4 203.0.113.9 192.0.2.2 4711 443"), "203.0.113.9 http");
    assert_eq!(ask("PROXY TCP4 198.51.100.7 192.0.2.2 4711 443"), "192.0.2.66, 198.51.100.7 https");
    // The load balancer's own address is no reason to believe whoever it cannot name.
    assert_eq!(ask("PROXY UNKNOWN"), format!("{} http", Ipv4Addr::LOCALHOST));
}

#[test]
fn somebody_must_be_trusted_to_announce() {
    let app = Recorder::start();
    for proxies in [&[][..], &["unix"]] {
        balanced(&app, proxies).refuse().assert_failed(
            64,
            &[
                "listen.proxy_protocol: there is nobody whose PROXY header is believed",
                "name the load balancer's networks",
            ],
        );
    }
}

/// Open to anyone, behind a load balancer in one of these networks.
fn balanced(app: &Recorder, proxies: &[&str]) -> Builder {
    Sidegate::before(app)
        .jwt(&Issuer::new())
        .rule(json!({ "allow": "anyone" }))
        .set(json!({ "listen": { "proxy_protocol": true, "trusted_proxies": proxies } }))
}
