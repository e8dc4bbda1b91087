//! TLS: what is spoken, what is refused, and that nobody waits for somebody else's handshake.

use std::{io::Write, net::TcpStream, sync::Arc};

use rustls::{
    CipherSuite, ClientConfig, ClientConnection, NamedGroup, SupportedCipherSuite,
    crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs},
    pki_types::ServerName,
};
use serde_json::json;

use crate::support::{Authority, Builder, Curl, Issuer, Recorder, Sidegate, Wire, tls_config, tls_config_with, until};

#[test]
fn both_versions_are_spoken_and_verified() {
    let app = Recorder::start();
    let sidegate = public(&app).start();
    for version in [["--tlsv1.2", "--tls-max", "1.2"], ["--tlsv1.3", "--tls-max", "1.3"]] {
        assert_eq!(sidegate.curl("/").args(version).send().status, 200, "{version:?}");
    }
    // By a name of the certificate, with SNI.
    let port = sidegate.address().port();
    let by_name = Curl::new(&format!("https://app.test:{port}/"), &sidegate.file("ca.pem"));
    assert_eq!(by_name.args(["--resolve", &format!("app.test:{port}:127.0.0.1")]).send().status, 200);
    // And the tests do look: another authority is not believed.
    let stranger = sidegate.file("stranger.pem");
    std::fs::write(&stranger, Authority::named("somebody else").pem()).unwrap();
    assert_eq!(Curl::new(&sidegate.url("/"), &stranger).fail(), 60);
}

#[test]
fn older_versions_are_refused() {
    let app = Recorder::start();
    let sidegate = public(&app).start();
    let old = ["--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT:@SECLEVEL=0"];
    assert_eq!(sidegate.curl("/").args(old).fail(), 35);

    let sidegate = public(&app).set(json!({ "listen": { "tls": { "min_version": "1.3" } } })).start();
    assert_eq!(sidegate.curl("/").args(["--tls-max", "1.2"]).fail(), 35);
    assert_eq!(sidegate.curl("/").send().status, 200);
    assert_eq!(app.requests().len(), 1);
}

#[test]
fn alpn_chooses_the_version_of_http() {
    let app = Recorder::start();
    let sidegate = public(&app).start();
    assert_eq!(sidegate.curl("/").args(["--http2"]).send_over("2").status, 200);
    assert_eq!(sidegate.curl("/").args(["--http1.1"]).send_over("1.1").status, 200);
    assert_eq!(sidegate.curl("/").args(["--no-alpn"]).send_over("1.1").status, 200);
    // Names HTTP/1.0 and nothing else; the answer is one of HTTP/1.1 all the same (RFC 9110 section 2.5).
    assert_eq!(sidegate.curl("/").args(["--http1.0"]).send().status, 200);
    let log = sidegate.access_log(4);
    assert_eq!(log[3]["protocol"], "HTTP/1.0");
    assert_eq!((&log[0]["protocol"], &log[1]["protocol"]), (&json!("HTTP/2"), &json!("HTTP/1.1")));

    let sidegate = public(&app).set(json!({ "listen": { "http2": false } })).start();
    assert_eq!(sidegate.curl("/").args(["--http2"]).send_over("1.1").status, 200);
    assert_eq!(sidegate.curl("/").args(["--http1.0"]).send().status, 200);
}

#[test]
fn the_key_exchange_withstands_a_quantum_computer() {
    let app = Recorder::start();
    let sidegate = public(&app).start();
    let tls = handshake(&sidegate, tls_config(&["http/1.1"]));
    assert_eq!(tls.negotiated_key_exchange_group().map(SupportedKxGroup::name), Some(NamedGroup::X25519MLKEM768));
}

#[test]
fn aes_128_is_chosen_by_default_and_whatever_the_client_can_where_it_cannot() {
    let app = Recorder::start();
    let sidegate = public(&app).start();
    let chosen = |offered: &[SupportedCipherSuite]| {
        let provider = CryptoProvider { cipher_suites: offered.to_vec(), ..aws_lc_rs::default_provider() };
        let tls = handshake(&sidegate, tls_config_with(provider, &["http/1.1"]));
        tls.negotiated_cipher_suite().unwrap().suite()
    };
    // The certificate is an ECDSA one.
    let usable = aws_lc_rs::ALL_CIPHER_SUITES.iter().filter(|suite| !format!("{suite:?}").contains("_RSA_"));
    let (new, old): (Vec<_>, Vec<_>) = usable.copied().partition(|suite| suite.tls13().is_some());
    // Both name AES-256 first.
    assert_eq!(chosen(&new), CipherSuite::TLS13_AES_128_GCM_SHA256);
    assert_eq!(chosen(&old), CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256);
    for only in [new, old].concat() {
        assert_eq!(chosen(&[only]), only.suite());
    }
}

#[test]
fn without_tls_plain_http_is_served_when_it_is_meant() {
    let app = Recorder::start();
    let sidegate = public(&app).plaintext().start();
    assert_eq!(sidegate.curl("/").send_over("1.1").status, 200);
}

#[test]
fn silent_connections_hold_up_nobody_and_are_ended() {
    let app = Recorder::start();
    let sidegate = public(&app).set(json!({ "limits": { "handshake_timeout": "1s" } })).start();
    let mut silent: Vec<Wire> = (0..64).map(|_| Wire::tcp(sidegate.address())).collect();
    // Half a ClientHello is as good as nothing.
    for wire in &mut silent[..8] {
        wire.send(&CLIENT_HELLO[..20]);
    }
    for _ in 0..5 {
        assert_eq!(sidegate.get("/", &[]).status, 200);
    }
    for wire in &mut silent {
        wire.read_to_end();
    }
    // A client may see the end before it is counted.
    sidegate.wait_for_metric("sidegate_tls_handshakes_total", &[("result", "timeout")], 64.0);
    sidegate.assert_alive();
}

#[test]
fn what_is_not_tls_is_refused_and_counted() {
    let app = Recorder::start();
    let sidegate = public(&app).start();
    let garbage: Vec<u8> = (0..4096).map(|i| (i * 7 % 251) as u8).collect();
    let broken_hello: Vec<u8> = CLIENT_HELLO.iter().map(|byte| byte ^ 0x55).collect();
    let attempts: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        &garbage,
        &broken_hello,
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
    ];
    for bytes in attempts {
        let mut wire = Wire::tcp(sidegate.address());
        let _ = wire.try_send(bytes);
        wire.finish_sending();
        let said = wire.read_to_end();
        assert!(!said.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&said));
    }
    until("five failed handshakes", || {
        let metrics = sidegate.metrics();
        let count = |labels: &[_]| metrics.sum("sidegate_tls_handshakes_total", labels);
        (count(&[]) - count(&[("result", "ok")]) >= 5.0).then_some(())
    });
    sidegate.assert_alive();
    assert_eq!(app.requests().len(), 0);
}

#[test]
fn a_connection_cut_within_tls_harms_nobody() {
    let app = Recorder::start();
    let sidegate = public(&app).start();
    for cut in [0, 1, 5, 40, CLIENT_HELLO.len() - 1] {
        let mut tcp = TcpStream::connect(sidegate.address()).unwrap();
        tcp.write_all(&CLIENT_HELLO[..cut]).unwrap();
    }
    for request in [
        "",
        "GET / HT",
        "GET / HTTP/1.1\r\nHost: loc",
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf",
    ] {
        sidegate.wire().send(request);
        let mut wire = sidegate.wire();
        wire.send(request).finish_sending();
        wire.read_to_end();
    }
    until("all of them to be gone", || {
        (sidegate.metrics().sum("sidegate_requests_in_flight", &[]) < 0.5).then_some(())
    });
    assert!(app.requests().is_empty(), "{:?}", app.requests());
    sidegate.assert_alive();
}

/// The start of a ClientHello, as far as a server must read to know that it is one.
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x00\x80\x01\x00\x00\x7c\x03\x03\
    0123456789abcdef0123456789abcdef\x20fedcba9876543210fedcba9876543210\x00\x02\x13\x01\x01\x00";

fn public(app: &Recorder) -> Builder {
    Sidegate::before(app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" }))
}

/// A client of this configuration, after its handshake.
fn handshake(sidegate: &Sidegate, config: ClientConfig) -> ClientConnection {
    let mut tls = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let mut tcp = TcpStream::connect(sidegate.address()).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp).unwrap();
    }
    tls
}
