//! HTTP/2 said by hand: what RFC 9113 calls malformed, and peers that flood or stand still.

use serde_json::json;

use crate::support::{
    Builder, H2, Issuer, Recorder, Sidegate,
    frames::{Frames, block, data, flag, frame, headers, kind, literal, ping, reset, setting, settings},
    until,
};

/// A good request's fields.
const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "localhost")];

#[test]
fn a_malformed_request_reaches_no_app_and_harms_no_other() {
    let app = Recorder::start();
    let sidegate = public(&app).start();
    let with = |fields: &[(&'static str, &'static str)]| [&GET[..], fields].concat();
    let without = |name: &str| GET.iter().copied().filter(|(field, _)| *field != name).collect::<Vec<_>>();
    let instead = |name: &str, value: &'static str| {
        GET.map(|(field, old)| (field, if field == name { value } else { old })).to_vec()
    };
    for (what, fields) in [
        ("Connection", with(&[("connection", "close")])),
        ("Keep-Alive", with(&[("keep-alive", "timeout=5")])),
        ("Proxy-Connection", with(&[("proxy-connection", "close")])),
        ("Transfer-Encoding", with(&[("transfer-encoding", "chunked")])),
        ("Upgrade", with(&[("upgrade", "websocket")])),
        ("TE other than trailers", with(&[("te", "gzip")])),
        ("TE with more than trailers", with(&[("te", "trailers, gzip")])),
        ("upper case", with(&[("X-Upper", "1")])),
        ("a name with a colon", with(&[("x:y", "1")])),
        ("a name with a space", with(&[("x y", "1")])),
        ("an empty name", with(&[("", "1")])),
        ("a line break in a value", with(&[("x", "a\r\nx-admin: 1")])),
        ("a NUL in a value", with(&[("x", "a\0b")])),
        ("a status", with(&[(":status", "200")])),
        ("an unknown pseudo-header", with(&[(":admin", "1")])),
        ("a pseudo-header twice", with(&[(":path", "/b")])),
        ("a pseudo-header after others", [&[("x", "1")], &GET[..]].concat()),
        ("no method", without(":method")),
        ("no scheme", without(":scheme")),
        ("no path", without(":path")),
        ("an empty path", instead(":path", "")),
        ("a path that is none", instead(":path", "a")),
        ("an empty method", instead(":method", "")),
        ("a method that is no token", instead(":method", "GET /admin HTTP/1.1\r\n")),
        ("a space in the path", instead(":path", "/a b")),
        ("a line break in the path", instead(":path", "/ HTTP/1.1\r\nx: y")),
        ("another scheme", instead(":scheme", "ftp")),
        ("an authority that is none", instead(":authority", "a b")),
        ("somebody's authority", instead(":authority", "a@b")),
        ("two lengths", with(&[("content-length", "0"), ("content-length", "0")])),
        ("a length that is none", with(&[("content-length", "+0")])),
        ("a length with a zero before it", with(&[("content-length", "00")])),
        ("a length without a body", with(&[("content-length", "5")])),
    ] {
        let mut wire = Frames::open(sidegate.address(), &[]);
        wire.send(headers(flag::END_STREAM, 1, block(&fields)));
        wire.send(headers(flag::END_STREAM, 3, block(&with(&[("x-good", "1")]))));
        // A stream error or our refusal, and the next request is answered; or the end of the connection.
        let end = until("an end", || {
            let frame = wire.next().expect("a frame");
            match (frame.kind, frame.stream) {
                (kind::HEADERS, 1) => assert_ne!(frame.payload[0], 0x88, "{what}: 200"),
                (kind::HEADERS, 3) => assert_eq!(frame.payload[0], 0x88, "{what}: not 200"),
                _ => {}
            }
            let answered = frame.stream == 3 && frame.flags & flag::END_STREAM != 0;
            (frame.kind == kind::GOAWAY || answered).then_some(frame.kind)
        });
        if end != kind::GOAWAY {
            assert_eq!(app.last_request().header("X-Good"), Some("1"), "{what}");
        }
    }
    assert!(app.requests().iter().all(|request| request.header("X-Good").is_some()), "{:#?}", app.requests());
    sidegate.assert_alive();
}

#[test]
fn what_we_refuse_ourselves_has_a_reason_and_a_log_line() {
    let app = Recorder::start();
    let sidegate = public(&app).start();
    let mut h2 = H2::connect(&sidegate);
    let twice = [("content-length", "0"), ("content-length", "0")];
    h2.send("GET", "/", &twice, b"").assert_refused(400, "framing_invalid");
    h2.send("GET", "/", &[("x", "a ")], b"").assert_refused(400, "header_invalid");
    let many: Vec<(&str, &str)> = vec![("x", "1"); 101];
    h2.send("GET", "/", &many, b"").assert_refused(431, "header_too_large");
    let large = "x".repeat(33 << 10);
    h2.send("GET", "/", &[("x", &large)], b"").assert_refused(431, "header_too_large");
    assert_eq!(h2.send("GET", "/", &many[..100], b"").status, 200);
    let reasons: Vec<_> = sidegate.access_log(5).iter().map(|line| line["response_code_details"].clone()).collect();
    assert_eq!(reasons[..4], ["framing_invalid", "header_invalid", "header_too_large", "header_too_large"]);
    assert_eq!(app.requests().len(), 1);
}

#[test]
fn a_flood_of_resets_ends_the_connection() {
    let app = Recorder::start();
    let sidegate = public(&app).start();
    let mut wire = Frames::open(sidegate.address(), &[]);
    let mut flood = Vec::new();
    for stream in (1..20_000).step_by(2) {
        flood.extend(headers(flag::END_STREAM, stream, block(&GET)));
        flood.extend(reset(stream, 8));
    }
    let _ = wire.try_send(&flood);
    wire.read_to_end();
    assert!(app.requests().len() < 5_000, "{} of 10000 reached the app", app.requests().len());
    sidegate.assert_alive();
}

#[test]
fn a_flood_of_malformed_requests_ends_the_connection() {
    let app = Recorder::start();
    let sidegate = public(&app).start();
    let mut wire = Frames::open(sidegate.address(), &[]);
    let fields = [&GET[..], &[("connection", "close")]].concat();
    let flood: Vec<u8> =
        (1..20_000).step_by(2).flat_map(|stream| headers(flag::END_STREAM, stream, block(&fields))).collect();
    let _ = wire.try_send(&flood);
    wire.read_to_end();
    assert_eq!(app.requests().len(), 0);
    sidegate.assert_alive();
}

#[test]
fn a_header_that_never_ends_ends_the_connection() {
    let app = Recorder::start();
    let sidegate = public(&app).start();
    for (what, fragment) in [("empty", Vec::new()), ("large", literal(b"x", &[b'y'; 8_000]))] {
        let mut wire = Frames::open(sidegate.address(), &[]);
        wire.send(frame(kind::HEADERS, flag::END_STREAM, 1, block(&GET)));
        let before = sidegate.peak_memory();
        for _ in 0..50_000 {
            if !wire.try_send(frame(kind::CONTINUATION, 0, 1, &fragment)) {
                break;
            }
        }
        wire.read_to_end();
        assert!(sidegate.peak_memory() < before + (16 << 20), "{what}: {} bytes", sidegate.peak_memory());
    }
    // One that just stands still is not waited for.
    let impatient = public(&app).set(json!({ "limits": { "header_timeout": "1s" } })).start();
    let mut wire = Frames::open(impatient.address(), &[]);
    wire.send(frame(kind::HEADERS, flag::END_STREAM, 1, block(&GET)));
    wire.read_to_end();
    assert_eq!(app.requests().len(), 0);
    sidegate.assert_alive();
}

#[test]
fn frames_that_carry_nothing_end_the_connection() {
    let app = Recorder::start();
    let sidegate = public(&app).start();
    for (what, frame) in [("empty data", data(0, 1, "")), ("settings", settings(&[(3, 100)])), ("pings", ping(&[0; 8]))]
    {
        let mut wire = Frames::open(sidegate.address(), &[]);
        let mut post = GET;
        post[0].1 = "POST";
        wire.send(headers(0, 1, block(&post)));
        let before = sidegate.peak_memory();
        // Nobody reads the answers, if there are any: either the connection ends, or no more is taken.
        wire.send_until_stuck(&frame.repeat(1000), 16 << 20);
        assert!(sidegate.peak_memory() < before + (16 << 20), "{what}: {} bytes", sidegate.peak_memory());
        sidegate.assert_alive();
    }
    assert_eq!(app.requests().len(), 0);
}

#[test]
fn streams_beyond_the_limit_are_refused() {
    let app = Recorder::scripted(|_, _| Ok(true));
    let sidegate = public(&app).set(json!({ "limits": { "http2_streams": 3 } })).start();
    let mut wire = Frames::open(sidegate.address(), &[]);
    for stream in [1, 3, 5, 7] {
        wire.send(headers(flag::END_STREAM, stream, block(&GET)));
    }
    let refused = until("a refusal", || wire.next().filter(|frame| frame.kind == kind::RST_STREAM));
    assert_eq!((refused.stream, refused.payload.as_slice()), (7, &7_u32.to_be_bytes()[..]), "REFUSED_STREAM");
}

#[test]
fn a_window_that_is_never_opened_ends_the_connection() {
    let app = Recorder::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let sidegate = public(&app).set(json!({ "limits": { "client_idle_timeout": "1s" } })).start();
    let mut wire = Frames::open(sidegate.address(), &[(setting::INITIAL_WINDOW_SIZE, 0)]);
    wire.send(headers(flag::END_STREAM, 1, block(&GET)));
    app.wait_for(1);
    // It is told that it may go, or cut off; and sees no byte of the body.
    let bytes = wire.read_to_end();
    assert!(!bytes.windows(5).any(|window| window == b"hello"));
    sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 0.0);
    sidegate.wait_for_metric("sidegate_upstream_connections", &[("state", "active")], 0.0);
}

fn public(app: &Recorder) -> Builder {
    Sidegate::before(app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" }))
}
