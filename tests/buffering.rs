//! `upstream.buffer_request`: a small body without a length gets one, because many apps cannot read another; a larger one
//! streams.

use std::{io::Write, net::Shutdown};

use bytes::Bytes;
use hyper::body::Frame;
use serde_json::{Value, json};

use crate::support::{App, Builder, H2, Issuer, PythonApp, Recorder, Sidegate, Wire, until};

/// The default.
const BUFFER: usize = 256 * 1024;

#[test]
fn every_server_gets_the_same_data_whether_or_not_its_length_was_said() {
    for server in ["werkzeug", "waitress", "sync", "gthread"] {
        let app = PythonApp::start("wsgi_app.py", &[server]);
        let sidegate = public(&app).start();
        for size in [0, 1, 1000, 100_000] {
            let data: Vec<u8> = (0..size).map(|i: usize| (i % 251) as u8).collect();
            let sized = H2::connect(&sidegate).send("POST", "/form?a=1", &[], &data).json();
            assert_eq!(sized["length"], size, "{server}: {sized}");
            let over_h2 = H2::connect(&sidegate).send_frames("POST", "/form?a=1", &[], frames(&data)).0.json();
            let over_h1 = chunked(&mut sidegate.wire(), "/form?a=1", &data, 777).answer().json();
            for unsized_ in [over_h2, over_h1] {
                assert_eq!(unsized_["content_length"], size.to_string(), "{server}: {unsized_}");
                assert_eq!(unsized_["transfer_encoding"], Value::Null, "{server}: {unsized_}");
                for key in ["digest", "length", "method", "path"] {
                    assert_eq!(unsized_[key], sized[key], "{server}, {size}: {key}");
                }
            }
        }
    }
}

#[test]
fn what_is_larger_than_the_buffer_streams_from_its_first_byte() {
    let app = Recorder::start();
    let sidegate = public(&app).start();
    for (count, (size, is_sized)) in
        [(BUFFER - 1, true), (BUFFER, true), (BUFFER + 1, false), (5 * BUFFER, false)].into_iter().enumerate()
    {
        let data: Vec<u8> = (0..size).map(|i| (i % 253) as u8).collect();
        let answers = [
            chunked(&mut sidegate.wire(), "/", &data, 5000).answer(),
            H2::connect(&sidegate).send_frames("POST", "/", &[], frames(&data)).0,
        ];
        assert_eq!(answers.map(|answer| answer.status), [200, 200]);
        for seen in &app.requests()[2 * count..] {
            assert!(seen.body == data, "{size}: the body is not what was sent");
            let framing = (seen.header("content-length"), seen.header("transfer-encoding"));
            let length = size.to_string();
            assert_eq!(framing, if is_sized { (Some(length.as_str()), None) } else { (None, Some("chunked")) });
        }
    }
}

#[test]
fn nothing_is_held_back_when_the_buffer_is_0() {
    let app = Recorder::start();
    let sidegate = public(&app).set(json!({ "upstream": { "buffer_request": 0 } })).start();
    assert_eq!(chunked(&mut sidegate.wire(), "/", b"small", 2).answer().status, 200);
    let seen = app.only_request();
    assert_eq!((seen.header("transfer-encoding"), seen.header("content-length")), (Some("chunked"), None));
    assert_eq!(seen.body, b"small");
}

#[test]
fn a_body_that_breaks_a_limit_while_it_is_read_never_reaches_the_app() {
    let app = Recorder::start();
    let settings = json!({ "upstream": { "idle_timeout": "300ms" }, "limits": { "max_body_bytes": 1000 } });
    let sidegate = public(&app).set(settings).start();
    chunked(&mut sidegate.wire(), "/", &[b'x'; 1001], 100).answer().assert_refused(413, "body_too_large");
    let over_h2 = H2::connect(&sidegate).send_frames("POST", "/", &[], frames(&[b'x'; 1001])).0;
    over_h2.assert_refused(413, "body_too_large");
    let mut wire = sidegate.wire();
    wire.send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    wire.answer().assert_refused(408, "request_timeout");
    let mut wire = sidegate.wire();
    wire.send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n");
    assert_eq!(wire.answer().status, 400);
    assert_eq!((app.requests().len(), app.open_connections()), (0, 0));
    assert_eq!(chunked(&mut sidegate.wire(), "/", &[b'x'; 1000], 100).answer().status, 200);
}

#[test]
fn a_client_that_goes_while_its_body_is_read_is_one_499_and_the_app_hears_nothing() {
    let app = Recorder::start();
    let sidegate = public(&app).start();
    let mut wire = sidegate.wire();
    wire.send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 1.0);
    drop(wire);
    sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 0.0);
    let log = sidegate.access_log(1);
    assert_eq!((log.len(), &log[0]["response_code"]), (1, &json!(499)), "{log:?}");
    assert_eq!((app.requests().len(), app.open_connections()), (0, 0));
}

#[test]
fn a_body_in_tiny_chunks_costs_no_more_memory_than_its_bytes() {
    let app = Recorder::start();
    let sidegate = public(&app).start();
    let upload = || {
        let body = [b'x'; 100_000];
        assert_eq!(chunked(&mut sidegate.wire(), "/", &body, 1).answer().status, 200);
    };
    upload();
    let memory = sidegate.peak_memory();
    for _ in 0..5 {
        upload();
    }
    let grown = sidegate.peak_growth(memory);
    assert!(grown < 2048, "it grew by {grown} kB");
    assert_eq!(app.last_request().body.len(), 100_000);
}

#[test]
fn an_answer_to_the_first_half_needs_a_buffer_of_0() {
    // Whoever waits for an answer before the end of its body has to say so: nothing tells it from a slow client.
    let app = Recorder::scripted(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")?;
        stream.shutdown(Shutdown::Write)?;
        Ok(false)
    });
    let sidegate = public(&app).start();
    let mut wire = sidegate.wire();
    wire.send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 1.0);
    assert_eq!(app.open_connections(), 0, "the app was asked before the body had ended");
    assert_eq!(wire.send("0\r\n\r\n").answer().text(), "ok\n");
    until("the request", || (app.requests().len() == 1).then_some(()));
    assert_eq!(app.only_request().header("content-length"), Some("3"));
}

/// Sends `data` in chunks of this size.
fn chunked<'w>(wire: &'w mut Wire, path: &str, data: &[u8], size: usize) -> &'w mut Wire {
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut bytes = head.into_bytes();
    for chunk in data.chunks(size) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    wire.send(bytes)
}

fn frames(data: &[u8]) -> Vec<Frame<Bytes>> {
    data.chunks(9000).map(|chunk| Frame::data(Bytes::copy_from_slice(chunk))).collect()
}

fn public(app: &impl App) -> Builder {
    Sidegate::before(app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" }))
}
