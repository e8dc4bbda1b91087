//! Bodies without a length, of the methods that most clients give none: the app gets them, framed once, and never half of one
//! for a whole.

use std::io::Write;

use bytes::Bytes;
use hyper::body::Frame;
use serde_json::json;

use crate::support::{
    H2, Issuer, Received, Recorder, Sidegate,
    frames::{Frames, data, headers, request},
};

const METHODS: [&str; 4] = ["GET", "HEAD", "DELETE", "OPTIONS"];

#[test]
fn a_body_without_a_length_reaches_the_app_whatever_the_method() {
    let app = Recorder::scripted(|received, stream| {
        let body = if received.line.starts_with("HEAD") { "" } else { "ok\n" };
        stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{body}").as_bytes())?;
        Ok(true)
    });
    for (buffer, size, is_sized) in [(0, 5, false), (0, 3000, false), (1000, 5, true), (1000, 3000, false)] {
        let sidegate = public(&app, buffer);
        let body: Vec<u8> = (0..size).map(|i: usize| b'a' + (i % 23) as u8).collect();
        let mut h2 = H2::connect(&sidegate);
        for method in METHODS {
            let mut wire = sidegate.wire();
            wire.send(format!("{}{size:x}\r\n", head(method)));
            wire.send(&body).send("\r\n0\r\n\r\n");
            assert_eq!(wire.answer_to(method).status, 200, "{method}");
            assert_framed_once(&app.last_request(), method, &body, is_sized);
            // The connection is where it should be.
            assert_eq!(wire.send("GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n").answer().text(), "ok\n");
            assert_eq!((app.last_request().target(), app.last_request().body.len()), ("/next", 0));

            let frames = body.chunks(700).map(|chunk| Frame::data(Bytes::copy_from_slice(chunk)));
            assert_eq!(h2.send_frames(method, "/", &[], frames).0.status, 200, "{method}");
            assert_framed_once(&app.last_request(), method, &body, is_sized);
        }
    }
}

#[test]
fn one_that_breaks_off_is_never_a_whole_one() {
    for buffer in [0, 1000] {
        for size in [5, 3000] {
            let app = Recorder::start();
            let sidegate = public(&app, buffer);
            let body = vec![b'x'; size];
            for method in METHODS {
                let mut wire = sidegate.wire();
                wire.send(format!("{}{size:x}\r\n", head(method))).send(&body).send("\r\n");
                let mut frames = Frames::open(sidegate.address(), &[]);
                frames.send(headers(0, 1, request(method, "/", &[]))).send(data(0, 1, &body));
                sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 2.0);
            }
            sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 0.0);
            sidegate.access_log(2 * METHODS.len());
            assert_eq!(app.requests().len(), 0, "{buffer}, {size}: {:?}", app.requests());
            sidegate.assert_alive();
        }
    }
}

#[track_caller]
fn assert_framed_once(seen: &Received, method: &str, body: &[u8], is_sized: bool) {
    assert!(seen.line.starts_with(method), "{}", seen.line);
    let length = body.len().to_string();
    let expected = if is_sized { (Some(length.as_str()), None) } else { (None, Some("chunked")) };
    assert_eq!((seen.header("content-length"), seen.header("transfer-encoding")), expected, "{method}");
    assert!(seen.body == body, "{method}: {} bytes of {length}", seen.body.len());
}

/// What comes before the size of the first chunk.
fn head(method: &str) -> String {
    format!("{method} / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
}

fn public(app: &Recorder, buffer: u32) -> Sidegate {
    let upstream = json!({ "upstream": { "buffer_request": buffer } });
    Sidegate::before(app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" })).set(upstream).start()
}
