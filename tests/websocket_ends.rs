//! How a WebSocket ends that nobody ends: limits, its token, and ours.

use serde_json::{Value, json};

use crate::{
    support::{Builder, Issuer, Recorder, Sidegate, Wire, now, until},
    websocket::{echo, handshake, request},
};

#[test]
fn nothing_either_way_for_long_ends_it() {
    let (sidegate, mut wire, _app) = open(&json!({ "upgrade_idle_timeout": "300ms" }), &json!({}));
    assert_eq!(wire.read_to_end(), b"");
    assert_eq!(reason(&sidegate), "upgrade_idle");
}

#[test]
fn what_is_said_in_time_keeps_it() {
    let (sidegate, mut wire, _app) = open(&json!({ "upgrade_idle_timeout": "20s" }), &json!({}));
    for _ in 0..50 {
        wire.send("ping\n");
        assert_eq!(wire.read_exact(5), b"ping\n");
    }
    drop(wire);
    assert_eq!(reason(&sidegate), Value::Null);
}

#[test]
fn it_lasts_no_longer_than_its_lifetime() {
    let (sidegate, mut wire, _app) = open(&json!({ "upgrade_lifetime": "500ms" }), &json!({}));
    // Whatever it does: it is not idle.
    while wire.try_send("ping\n").is_ok() && wire.line() == "ping" {}
    assert_eq!(reason(&sidegate), "upgrade_lifetime");
}

#[test]
fn it_ends_with_the_token_that_opened_it() {
    let (sidegate, mut wire, _app) = open(&json!({}), &json!({ "exp": now() + 2 }));
    wire.send("ping\n");
    assert_eq!(wire.read_exact(5), b"ping\n");
    assert_eq!(wire.read_to_end(), b"");
    assert_eq!(reason(&sidegate), "jwt_expired");
}

#[test]
fn it_may_be_let_outlast_its_token() {
    let settings = json!({ "upgrade_past_expiry": true, "upgrade_idle_timeout": "4s" });
    let (sidegate, mut wire, _app) = open(&settings, &json!({ "exp": now() + 2 }));
    assert_eq!(wire.read_to_end(), b"");
    assert_eq!(reason(&sidegate), "upgrade_idle");
}

#[test]
fn it_lives_on_when_we_are_told_to_end_and_ends_with_us() {
    let app = echo();
    let issuer = Issuer::new();
    let mut sidegate = builder(&app, &issuer).set(json!({ "shutdown": { "grace": "3s" } })).start();
    let mut wire = sidegate.wire();
    assert_eq!(wire.send(request("/ws", &issuer, "")).answer().status, 101);
    sidegate.terminate();
    until("no new connections", || std::net::TcpStream::connect(sidegate.address()).is_err().then_some(()));
    wire.send("still there\n");
    assert_eq!(wire.read_exact(12), b"still there\n");
    assert_eq!(wire.read_to_end(), b"");
    assert!(sidegate.exit().success());
    let log = sidegate.access_log(1);
    assert_eq!((&log[0]["response_code"], &log[0]["bytes_sent"]), (&json!(101), &json!(12)));
}

#[test]
fn one_that_ends_while_we_drain_lets_us_end_at_once() {
    let app = echo();
    let issuer = Issuer::new();
    let mut sidegate = builder(&app, &issuer).set(json!({ "shutdown": { "grace": "1h" } })).start();
    let mut wire = sidegate.wire();
    assert_eq!(wire.send(request("/ws", &issuer, "")).answer().status, 101);
    sidegate.terminate();
    until("no new connections", || std::net::TcpStream::connect(sidegate.address()).is_err().then_some(()));
    assert!(!sidegate.has_exited());
    drop(wire);
    assert!(sidegate.exit().success());
}

fn builder(app: &Recorder, issuer: &Issuer) -> Builder {
    Sidegate::before(app).jwt_with(issuer, json!({ "leeway": 0 })).rule(json!({ "allow": "authenticated" }))
}

/// A WebSocket under these limits, opened with a token with these claims.
fn open(limits: &Value, claims: &Value) -> (Sidegate, Wire, Recorder) {
    let app = echo();
    let issuer = Issuer::new();
    let sidegate = builder(&app, &issuer).set(json!({ "limits": limits })).start();
    let mut wire = sidegate.wire();
    let token = issuer.token_with("alice", claims.clone());
    let authorization = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(wire.send(handshake("/ws", &authorization)).answer().status, 101);
    (sidegate, wire, app)
}

/// Why the only one has ended.
fn reason(sidegate: &Sidegate) -> Value {
    let log = sidegate.access_log(1);
    assert_eq!(log[0]["response_code"], 101);
    sidegate.wait_for_metric("sidegate_tunnels", &[], 0.0);
    log[0]["response_code_details"].clone()
}
