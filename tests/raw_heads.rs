//! Heads that two readers could read in two ways: refused with a reason and a log line, over TLS and plaintext, whole,
//! byte by byte and behind good requests; and what only looks odd still works.

use serde_json::json;

use crate::support::{Answer, Builder, H2, Issuer, Recorder, Sidegate};

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// What is wrong, the head, and the reason it is refused with.
const BAD: &[(&str, &str, &str)] = &[
    ("bare LF after the request line", "GET / HTTP/1.1\nHost: localhost\r\n\r\n", "framing_invalid"),
    ("bare LF after a header line", "GET / HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n", "framing_invalid"),
    ("bare LF at the end", "GET / HTTP/1.1\r\nHost: localhost\r\n\n", "framing_invalid"),
    ("bare LF everywhere", "GET / HTTP/1.1\nHost: localhost\n\n", "framing_invalid"),
    ("a leading LF", "\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "framing_invalid"),
    ("two leading empty lines", "\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "framing_invalid"),
    ("a leading space", " GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "framing_invalid"),
    ("two spaces after the method", "GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n", "framing_invalid"),
    ("two spaces before the version", "GET /  HTTP/1.1\r\nHost: localhost\r\n\r\n", "framing_invalid"),
    ("a space at the end of the line", "GET / HTTP/1.1 \r\nHost: localhost\r\n\r\n", "framing_invalid"),
    ("a tab between method and target", "GET\t/ HTTP/1.1\r\nHost: localhost\r\n\r\n", "framing_invalid"),
    ("a space in the target", "GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n", "framing_invalid"),
    ("no version", "GET /\r\nHost: localhost\r\n\r\n", "framing_invalid"),
    ("another version", "GET / HTTP/1.2\r\nHost: localhost\r\n\r\n", "framing_invalid"),
    ("an old version", "GET / HTTP/0.9\r\nHost: localhost\r\n\r\n", "framing_invalid"),
    ("a new version", "GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", "framing_invalid"),
    ("a small version", "GET / http/1.1\r\nHost: localhost\r\n\r\n", "framing_invalid"),
    ("a long version", "GET / HTTP/1.10\r\nHost: localhost\r\n\r\n", "framing_invalid"),
    ("almost the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\n", "framing_invalid"),
    ("a method that is no token", "GE(T / HTTP/1.1\r\nHost: localhost\r\n\r\n", "framing_invalid"),
    ("TLS where HTTP is spoken", "\u{16}\u{3}\u{1}\u{2}", "framing_invalid"),
    ("a fragment", "GET /a#b HTTP/1.1\r\nHost: localhost\r\n\r\n", "path_ambiguous"),
    ("a fragment that climbs", "GET /a#/../b HTTP/1.1\r\nHost: localhost\r\n\r\n", "path_ambiguous"),
    ("a fragment in a query", "GET /a?b#c HTTP/1.1\r\nHost: localhost\r\n\r\n", "path_ambiguous"),
    (
        "a fragment in an absolute target",
        "GET http://localhost/#a HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "path_ambiguous",
    ),
    ("what is no URI", "GET /<a> HTTP/1.1\r\nHost: localhost\r\n\r\n", "path_ambiguous"),
    ("a backslash first", "GET \\a HTTP/1.1\r\nHost: localhost\r\n\r\n", "path_ambiguous"),
    ("a CR in the target", "GET /a\rb HTTP/1.1\r\nHost: localhost\r\n\r\n", "path_ambiguous"),
    ("a NUL in the target", "GET /a\0b HTTP/1.1\r\nHost: localhost\r\n\r\n", "path_ambiguous"),
    ("a space before the colon", "GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", "header_invalid"),
    ("a tab before the colon", "GET / HTTP/1.1\r\nHost: localhost\r\nX\t: y\r\n\r\n", "header_invalid"),
    ("a folded line", "GET / HTTP/1.1\r\nHost: localhost\r\nX: y\r\n z\r\n\r\n", "header_invalid"),
    ("a line folded with a tab", "GET / HTTP/1.1\r\nHost: localhost\r\nX: y\r\n\tz\r\n\r\n", "header_invalid"),
    ("a space before the first line", "GET / HTTP/1.1\r\n Host: localhost\r\n\r\n", "header_invalid"),
    ("a line of spaces", "GET / HTTP/1.1\r\nHost: localhost\r\n  \r\n\r\n", "header_invalid"),
    ("no colon", "GET / HTTP/1.1\r\nHost: localhost\r\nX\r\n\r\n", "header_invalid"),
    ("no name", "GET / HTTP/1.1\r\nHost: localhost\r\n: y\r\n\r\n", "header_invalid"),
    ("a name in quotes", "GET / HTTP/1.1\r\nHost: localhost\r\n\"X\": y\r\n\r\n", "header_invalid"),
    ("a name with a slash", "GET / HTTP/1.1\r\nHost: localhost\r\nX/Y: z\r\n\r\n", "header_invalid"),
    ("a name with an umlaut", "GET / HTTP/1.1\r\nHost: localhost\r\nÄ: z\r\n\r\n", "header_invalid"),
    ("a name with a NUL", "GET / HTTP/1.1\r\nHost: localhost\r\nX\0: z\r\n\r\n", "header_invalid"),
    ("a bare CR in a value", "GET / HTTP/1.1\r\nHost: localhost\r\nX: a\rY: b\r\n\r\n", "header_invalid"),
    ("a CR too many", "GET / HTTP/1.1\r\nHost: localhost\r\nX: a\r\r\n\r\n", "header_invalid"),
    ("a CR too many at the end", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\r\n", "header_invalid"),
    ("a NUL in a value", "GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n", "header_invalid"),
    ("a vertical tab in a value", "GET / HTTP/1.1\r\nHost: localhost\r\nX: a\u{b}b\r\n\r\n", "header_invalid"),
    ("an escape in a value", "GET / HTTP/1.1\r\nHost: localhost\r\nX: a\u{1b}[2J\r\n\r\n", "header_invalid"),
    ("a DEL in a value", "GET / HTTP/1.1\r\nHost: localhost\r\nX: a\u{7f}b\r\n\r\n", "header_invalid"),
];

#[test]
fn a_bad_head_is_refused_with_its_reason_and_nothing_after_it_is_read() {
    let app = Recorder::start();
    for sidegate in both(&app) {
        for (what, head, reason) in BAD {
            let mut wire = sidegate.wire();
            let answer = wire.send([head, SMUGGLED, SMUGGLED].concat()).answer();
            assert_refused(what, &answer, reason);
            assert_eq!(String::from_utf8_lossy(&wire.read_to_end()), "", "{what}");
        }
        let log = sidegate.access_log(BAD.len());
        for ((what, _, reason), line) in BAD.iter().zip(&log) {
            assert_eq!(
                (&line["response_code"], &line["response_code_details"]),
                (&json!(400), &json!(reason)),
                "{what}"
            );
        }
        let errors = "sidegate_connection_errors_total";
        #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
        sidegate.wait_for_metric(errors, &[("reason", "malformed")], BAD.len() as f64);
        sidegate.assert_alive();
    }
    assert_eq!(app.requests().len(), 0, "{:#?}", app.requests());
}

#[test]
fn a_bad_head_behind_good_requests_ends_the_connection_after_them() {
    let app = Recorder::start();
    for sidegate in both(&app) {
        let post = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        let put =
            "PUT / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n\r\n\r\r\n0\r\nT: r\r\n\r\n";
        for (what, head, reason) in BAD {
            let before = app.requests().len();
            // The third empty line after the chunks would make two with the first of `head`.
            let mut wire = sidegate.wire();
            wire.send([GET, put, post, head, SMUGGLED].concat());
            for _ in 0..3 {
                assert_eq!(wire.answer().status, 200, "{what}");
            }
            assert_refused(what, &wire.answer(), reason);
            assert_eq!(String::from_utf8_lossy(&wire.read_to_end()), "", "{what}");
            let methods: Vec<_> = app.requests()[before..].iter().map(|request| request.line.clone()).collect();
            assert_eq!(methods, ["GET / HTTP/1.1", "PUT / HTTP/1.1", "POST / HTTP/1.1"], "{what}");
        }
    }
}

#[test]
fn a_head_that_arrives_byte_by_byte_is_judged_as_one_that_arrives_whole() {
    let app = Recorder::start();
    let [tls, plain] = both(&app);
    for (what, head, reason) in BAD {
        let mut wire = plain.wire();
        for byte in [GET, head, SMUGGLED].concat().bytes() {
            // After the refusal it may hang up.
            if wire.try_send([byte]).is_err() {
                break;
            }
        }
        assert_eq!(wire.answer().status, 200, "{what}");
        assert_refused(what, &wire.answer(), reason);
        assert_eq!(String::from_utf8_lossy(&wire.read_to_end()), "", "{what}");
    }
    assert_eq!(app.requests().len(), BAD.len());
    let chunked = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5;x=\"y\"\r\nhello\r\n0\r\nT: r\r\n\r\n";
    for sidegate in [tls, plain] {
        let mut wire = sidegate.wire();
        for byte in [GET, chunked, GET].concat().bytes() {
            wire.send([byte]);
        }
        for _ in 0..3 {
            assert_eq!(wire.answer().status, 200);
        }
        assert_eq!(app.requests().iter().rev().nth(1).unwrap().body, b"hello");
    }
}

#[test]
fn the_log_says_of_a_bad_head_what_can_be_said_safely() {
    let app = Recorder::start();
    let [sidegate, _] = both(&app);
    let lines = [
        ("GET /a/b?token=x HTTP/1.1\nHost: localhost\r\n\r\n", "GET", "/a/b"),
        ("HEAD /a#b HTTP/1.1\r\nHost: localhost\r\n\r\n", "HEAD", "/a"),
        ("GET /a\"\u{1b}[2J HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET", "/a"),
        ("\0\0\0\r\n\r\n", "-", "*"),
    ];
    for (head, method, _) in lines {
        assert_eq!(sidegate.wire().send(head).answer_to(method).status, 400, "{head:?}");
    }
    for ((head, method, path), line) in lines.iter().zip(sidegate.access_log(lines.len())) {
        assert_eq!((&line["method"], &line["path"]), (&json!(method), &json!(path)), "{head:?}");
        assert!(line["request_id"].is_string() && line["downstream_remote_address"].is_string(), "{line}");
    }
}

#[test]
fn a_head_that_is_too_large_is_refused_with_a_log_line_over_both_versions() {
    let app = Recorder::start();
    let limits = json!({ "limits": { "max_headers": 20, "max_header_bytes": "16KiB" } });
    let sidegate = public(&app).set(limits).start();
    let many: Vec<String> = (0..21).map(|i| format!("X-{i}: 1")).collect();
    let large = vec![format!("X-Large: {}", "x".repeat(17_000))];
    let name = vec![format!("{}: x", "x".repeat(17_000))];
    for version in ["1.1", "2"] {
        for lines in [&many, &large, &name] {
            let curl = lines.iter().fold(sidegate.curl("/"), |curl, line| curl.header(line));
            let answer = curl.args([&format!("--http{version}")]).send_over(version);
            answer.assert_refused(431, "header_too_large");
        }
    }
    let cookies: Vec<String> = (0..30).map(|i| format!("{i}={i}")).collect();
    let fields: Vec<_> = cookies.iter().map(|cookie| ("cookie", cookie.as_str())).collect();
    let answer = H2::connect(&sidegate).send("GET", "/", &fields, b"");
    assert_eq!(answer.status, 200, "a browser may split its cookies: they become one line again");
    assert_eq!(app.only_request().header_values("Cookie"), [cookies.join("; ")]);
    let lines = sidegate.access_log(7);
    let refused = lines.iter().filter(|line| line["response_code_details"] == "header_too_large");
    assert_eq!(refused.count(), 6, "{lines:#?}");
}

#[test]
fn half_a_head_is_answered_when_nothing_more_will_come() {
    let app = Recorder::start();
    let [_, sidegate] = both(&app);
    let mut wire = sidegate.wire();
    wire.send("POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Le").finish_sending();
    wire.answer().assert_refused(400, "request_incomplete");
    assert_eq!(wire.read_to_end(), b"");
    // Who says nothing at all is nobody: probes do that.
    let mut silent = sidegate.wire();
    silent.finish_sending();
    assert_eq!(silent.read_to_end(), b"");
    let log = sidegate.access_log(1);
    assert_eq!((&log[0]["path"], &log[0]["response_code_details"]), (&json!("/a"), &json!("request_incomplete")));
    assert_eq!(app.requests().len(), 0);
}

#[test]
fn what_only_looks_odd_still_works() {
    let app = Recorder::start();
    for sidegate in both(&app) {
        for (what, request) in [
            ("one leading empty line", format!("\r\n{GET}")),
            ("an absolute target", "GET http://localhost/a HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned()),
            ("HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n".to_owned()),
            ("HTTP/1.0 with Host", "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n".to_owned()),
            ("OPTIONS", "OPTIONS /a HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned()),
            ("a WebDAV method", "VERSION-CONTROL /a HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned()),
            ("no space after a colon", "GET / HTTP/1.1\r\nHost:localhost\r\nX:y\r\n\r\n".to_owned()),
            ("an empty value", "GET / HTTP/1.1\r\nHost: localhost\r\nX:\r\nY:   \r\n\r\n".to_owned()),
            ("tabs and umlauts", "GET / HTTP/1.1\r\nHost: localhost\r\nX:\ta\tü\t \r\n\r\n".to_owned()),
            ("an odd name", "GET / HTTP/1.1\r\nHost: localhost\r\n!#$%&'*+-.^`|~9: x\r\n\r\n".to_owned()),
            ("any case", "GET / HTTP/1.1\r\nhOST: localhost\r\ntRANSFER-eNCODING: Chunked\r\n\r\n0\r\n\r\n".to_owned()),
            ("what is odd in a query", "GET /?q={a:[1]}|^` HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned()),
            (
                "an upgrade",
                "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n".to_owned(),
            ),
            ("a long target", format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(9000))),
        ] {
            let mut wire = sidegate.wire();
            let keep = !request.contains("HTTP/1.0");
            // Whole and in one go with the next; and in two halves.
            for pieces in [vec![request.clone() + GET], request.split_at(request.len() / 2).into_pieces(GET)] {
                for piece in &pieces {
                    wire.send(piece);
                }
                let answer = wire.answer();
                assert_eq!(answer.status, 200, "{what}: {}", answer.text());
                if !keep {
                    wire = sidegate.wire();
                } else {
                    assert_eq!(wire.answer().status, 200, "{what}: the request after it");
                }
            }
        }
        let mut wire = sidegate.wire();
        wire.send("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2));
        assert_eq!([wire.answer_to("HEAD").status, wire.answer_to("HEAD").status], [200, 200]);
        let before = app.requests().len();
        wire.send(GET.repeat(200));
        for _ in 0..200 {
            assert_eq!(wire.answer().status, 200);
        }
        assert_eq!(app.requests().len(), before + 200);
    }
}

#[test]
fn a_body_of_any_size_and_pace_is_followed_to_its_end() {
    let app = Recorder::start();
    for sidegate in both(&app) {
        let mut wire = sidegate.wire();
        for size in [1, 100, 8_191, 8_192, 70_000, 300_000] {
            // What looks like requests, so that a wrong end would show.
            let body: String = SMUGGLED.chars().cycle().take(size).collect();
            let plain = format!("POST /{size} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n{body}");
            let chunks = body.as_bytes().chunks(1 + size / 7).fold(Vec::new(), |all, chunk| {
                [all, format!("{:x}\r\n", chunk.len()).into_bytes(), chunk.to_vec(), b"\r\n".to_vec()].concat()
            });
            let head = format!("POST /{size} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
            let chunked = [head.as_bytes(), &chunks, b"0\r\n\r\n"].concat();
            wire.send([plain.as_bytes(), &chunked, GET.as_bytes()].concat());
            for _ in 0..3 {
                assert_eq!(wire.answer().status, 200, "{size}");
            }
            let last: Vec<_> = app.requests().into_iter().rev().take(3).map(|request| request.body).collect();
            assert!(last[0].is_empty() && last[1] == body.as_bytes() && last[2] == body.as_bytes(), "{size}");
        }
    }
}

#[test]
fn what_a_client_says_before_its_upgrade_is_answered_is_no_request_until_it_is() {
    let app = Recorder::scripted(|_, stream| {
        use std::io::Write;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        Ok(true)
    });
    // No timer may be what makes the next request go on.
    let limits = json!({ "limits": { "header_timeout": "300s", "client_idle_timeout": "300s" } });
    for sidegate in [public(&app).set(limits.clone()).start(), public(&app).plaintext().set(limits).start()] {
        let ask = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: x\r\nSec-X: y\r\n\r\n";
        let mut wire = sidegate.wire();
        wire.send([ask, GET].concat());
        assert_eq!([wire.answer().status, wire.answer().status], [200, 200]);
        // And it is held to what every request is held to.
        wire.send([ask, "GET / HTTP/1.1\n\r\n", SMUGGLED].concat());
        assert_eq!(wire.answer().status, 200);
        wire.answer().assert_refused(400, "framing_invalid");
        assert_eq!(wire.read_to_end(), b"");
    }
    assert!(app.requests().iter().all(|request| request.target() != "/smuggled"));
}

#[test]
fn half_a_head_on_a_kept_connection_does_not_hold_up_the_end() {
    let app = Recorder::start();
    let limits = json!({ "limits": { "header_timeout": "2s" }, "shutdown": { "grace": "60s" } });
    let mut sidegate = public(&app).set(limits).start();
    let mut wire = sidegate.wire();
    assert_eq!(wire.send(GET).answer().status, 200);
    wire.send("GET / HTTP/1.1\r\nHost: lo");
    let mut late = sidegate.wire();
    late.send("GET / HTTP/1.1\r\nHost: lo");
    sidegate.terminate();
    assert!(sidegate.exit().success());
    let answered = late.answer_or_end().is_some() || wire.answer_or_end().is_some();
    assert!(!answered, "half a request is none");
}

trait IntoPieces {
    fn into_pieces(self, last: &str) -> Vec<String>;
}

impl IntoPieces for (&str, &str) {
    fn into_pieces(self, last: &str) -> Vec<String> {
        [self.0, self.1, last].map(str::to_owned).to_vec()
    }
}

#[track_caller]
fn assert_refused(what: &str, answer: &Answer, reason: &str) {
    assert_eq!((answer.status, answer.reason().as_deref()), (400, Some(reason)), "{what}: {}", answer.text());
    assert_eq!(answer.header("Connection"), Some("close"), "{what}");
    assert!(answer.header("X-Request-Id").is_some(), "{what}");
}

/// The same over TLS and without.
fn both(app: &Recorder) -> [Sidegate; 2] {
    [public(app).start(), public(app).plaintext().start()]
}

fn public(app: &Recorder) -> Builder {
    Sidegate::before(app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" }))
}
