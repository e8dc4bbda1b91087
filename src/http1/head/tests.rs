//! A good head has one reading, and a bad one is refused for a reason.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

const LIMITS: Limits = Limits { bytes: 4096, lines: 4 };

fn read(text: &str) -> Result<Option<Head>, Reason> {
    Scan::default().read(text.as_bytes(), LIMITS)
}

#[test]
fn a_good_head_says_where_its_body_ends() {
    for (text, framing) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::Length(0)),
        ("\r\nGET / HTTP/1.0\r\n\r\n", Framing::Length(0)),
        ("OPTIONS * HTTP/1.1\r\n\r\n", Framing::Length(0)),
        ("GET http://a.example/x?y HTTP/1.1\r\nA:\r\nB: \t \r\n\r\n", Framing::Length(0)),
        ("GET /?q={a:[1]}|^`\\é HTTP/1.1\r\n\r\n", Framing::Length(0)),
        ("POST /a HTTP/1.1\r\ncONTENT-lENGTH: \t17 \r\n\r\n", Framing::Length(17)),
        ("POST /a HTTP/1.1\r\nContent-Length:0\r\n\r\n", Framing::Length(0)),
        ("POST /a HTTP/1.1\r\nX: a\tb \u{e9}\r\nTransfer-Encoding: Chunked\r\n\r\n", Framing::Chunked),
    ] {
        let head = read(&format!("{text}GET /next HTTP/1.1\r\n")).unwrap().unwrap();
        assert_eq!((head.framing, head.bytes), (framing, text.len()), "{text:?}");
    }
}

#[test]
fn a_head_that_does_not_fit_is_refused_before_its_end() {
    let large = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(LIMITS.bytes));
    assert_eq!(read(&large), Err(Reason::HeaderTooLarge));
    assert_eq!(read(&format!("{large}\r\n\r\n")), Err(Reason::HeaderTooLarge));
    let many = |count| read(&format!("GET / HTTP/1.1\r\n{}\r\n", "X: 1\r\n".repeat(count)));
    assert!(many(LIMITS.lines).unwrap().is_some());
    assert_eq!(many(LIMITS.lines + 1), Err(Reason::HeaderTooLarge));
}

#[test]
fn what_stands_in_repeats_only_what_is_safe() {
    let line = |bad: &[u8]| {
        let text = String::from_utf8(stand_in(bad)).unwrap();
        assert!(read(&text).unwrap().is_some(), "{text:?}");
        text.lines().next().unwrap().to_owned()
    };
    assert_eq!(line(b"POST /a?b HTTP/1.1\r\nContent-Length: 1, 2\r\n"), "POST /a?b HTTP/1.1");
    assert_eq!(line(b"\r\nHEAD /a#b HTTP/1.1\n"), "HEAD /a HTTP/1.1");
    assert_eq!(line(b"GET  / HTTP/1.1\n"), "GET * HTTP/1.1");
    for bad in [&b"\x16\x03\x01"[..], b"", b"\n", b" GET / HTTP/1.1", &[b'A'; 5000]] {
        assert_eq!(line(bad), "- * HTTP/1.1");
    }
}
