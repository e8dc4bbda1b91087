//! Where a message ends: one reading for both sides, on every combination of HTTP/1.1 and HTTP/2.

use serde_json::json;

use crate::support::{H2, Issuer, Recorder, Sidegate};

#[test]
fn a_request_that_could_end_in_two_places_is_refused() {
    let app = Recorder::start();
    let sidegate = public(&app);
    let smuggled = "GET /admin HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (what, lines) in [
        ("two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n"),
        ("two lengths in one line", "Content-Length: 5, 6\r\n"),
        ("a signed length", "Content-Length: +5\r\n"),
        ("a negative length", "Content-Length: -5\r\n"),
        ("a hexadecimal length", "Content-Length: 0x5\r\n"),
        ("an endless length", "Content-Length: 99999999999999999999999\r\n"),
        ("a length with a zero before it", "Content-Length: 05\r\n"),
        ("the same length twice", "Content-Length: 5\r\nContent-Length: 5\r\n"),
        ("the same length twice in one line", "Content-Length: 5, 5\r\n"),
        ("no length at all", "Content-Length:\r\n"),
        ("a length before chunked", "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n"),
        ("a length after chunked", "Transfer-Encoding: chunked\r\nContent-Length: 48\r\n"),
        ("a length far from chunked", "content-length: 5\r\nX: y\r\nTRANSFER-ENCODING: \tCHUNKED \r\n"),
        ("another coding", "Transfer-Encoding: gzip\r\n"),
        ("chunked not last", "Transfer-Encoding: chunked, gzip\r\n"),
        ("chunked in two lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        ("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("chunked twice in one line", "Transfer-Encoding: chunked, chunked\r\n"),
        ("a coding before chunked", "Transfer-Encoding: gzip, chunked\r\n"),
        ("identity", "Transfer-Encoding: identity\r\n"),
        ("chunked with a parameter", "Transfer-Encoding: chunked;q=1\r\n"),
        ("chunked after a comma", "Transfer-Encoding: ,chunked\r\n"),
        ("quoted chunked", "Transfer-Encoding: \"chunked\"\r\n"),
        ("no coding at all", "Transfer-Encoding:\r\n"),
        ("a misspelling", "Transfer-Encoding: xchunked\r\n"),
        ("a vertical tab", "Transfer-Encoding: \x0bchunked\r\n"),
        ("a space before the colon", "Transfer-Encoding : chunked\r\n"),
        ("a folded line", "X-Folded: a\r\n Transfer-Encoding: chunked\r\n"),
        ("a bare CR", "X-Bare: a\rTransfer-Encoding: chunked\r\n"),
        ("a NUL", "X-Nul: a\0b\r\n"),
        ("no name", ": value\r\n"),
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n0\r\n\r\n{smuggled}");
        let mut wire = sidegate.wire();
        let answer = wire.send(request).answer();
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        assert!(matches!(answer.reason().as_deref(), Some("framing_invalid" | "header_invalid")), "{what}");
        // And nothing after it is taken for a request.
        assert_eq!(String::from_utf8_lossy(&wire.read_to_end()), "", "{what}");
    }
    assert_eq!(app.requests().len(), 0, "{:#?}", app.requests());
    sidegate.assert_alive();
}

#[test]
fn a_request_of_http_1_0_cannot_be_chunked() {
    let app = Recorder::start();
    let sidegate = public(&app);
    let mut wire = sidegate.wire();
    wire.send("POST / HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(wire.answer().status, 400);
    assert_eq!(app.requests().len(), 0);
}

#[test]
fn a_broken_chunk_ends_the_request() {
    let app = Recorder::start();
    let sidegate = public(&app);
    for chunk in [
        "zz\r\nhello\r\n",
        "5hello\r\n",
        "-5\r\nhello\r\n",
        "ffffffffffffffffff\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: 1\nGET / HTTP/1.1\r\n\r\n",
        "5\r\nhello\r\n0\r\n X: folded\r\n\r\n",
    ] {
        let mut wire = sidegate.wire();
        wire.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"));
        wire.answer().assert_refused(400, "framing_invalid");
        assert_eq!(wire.read_to_end(), b"", "{chunk:?}");
    }
    assert!(app.requests().is_empty(), "{:#?}", app.requests());
    sidegate.assert_alive();
}

#[test]
fn a_body_arrives_whole_and_no_body_stays_none() {
    let app = Recorder::start();
    let sidegate = public(&app);
    let ask = |request: &str| {
        let method = request.split(' ').next().unwrap();
        assert_eq!(sidegate.wire().send(request).answer_to(method).status, 200, "{request:?}");
        app.last_request()
    };
    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        let request = ask(&format!("{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!(request.header("Content-Length"), None, "{method}");
        assert_eq!(request.header("Transfer-Encoding"), None, "{method}");
    }
    let request = ask("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(request.header("Content-Length"), Some("0"));
    for method in ["POST", "GET", "DELETE"] {
        let request = ask(&format!("{method} / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"));
        assert_eq!((request.header("Content-Length"), request.body.as_slice()), (Some("5"), &b"hello"[..]), "{method}");
    }
    let request = ask(
        "PUT / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nT: r\r\n\r\n",
    );
    assert_eq!(request.body, b"hello");
}

#[test]
fn a_body_over_http2_arrives_whole_with_and_without_a_length() {
    let app = Recorder::start();
    let sidegate = public(&app);
    let mut h2 = H2::connect(&sidegate);
    assert_eq!(h2.send("GET", "/", &[], b"").status, 200);
    let request = app.last_request();
    assert_eq!((request.header("Content-Length"), request.header("Transfer-Encoding")), (None, None));
    h2.send("POST", "/", &[("content-length", "5")], b"hello");
    let request = app.last_request();
    assert_eq!((request.header("Content-Length"), request.body.as_slice()), (Some("5"), &b"hello"[..]));
    assert_eq!(sidegate.curl("/").args(["--http2"]).stream("hello").send_over("2").status, 200);
    assert_eq!(app.last_request().body, b"hello");
}

#[test]
fn a_length_over_http2_that_lies_reaches_no_app_as_a_whole_request() {
    let app = Recorder::start();
    let sidegate = public(&app);
    for length in ["3", "7"] {
        // Answered or reset: either is right; that the app takes it for a whole request is not.
        let answer = H2::connect(&sidegate).try_send("POST", "/", &[("content-length", length)], b"hello");
        assert!(answer.as_ref().is_none_or(|answer| answer.status >= 400), "{length}: {answer:?}");
    }
    assert!(app.requests().is_empty(), "{:#?}", app.requests());
    sidegate.assert_alive();
}

#[test]
fn cookies_that_http2_splits_arrive_as_one_line() {
    let app = Recorder::start();
    let sidegate = public(&app);
    let fields = [("cookie", "session=abc"), ("x-between", "1"), ("cookie", "theme=dark"), ("cookie", "a=b; c=d")];
    assert_eq!(H2::connect(&sidegate).send("GET", "/", &fields, b"").status, 200);
    assert_eq!(app.only_request().header_values("Cookie"), ["session=abc; theme=dark; a=b; c=d"]);
}

#[test]
fn hop_by_hop_headers_end_here_in_both_directions() {
    let app = Recorder::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: X-App-Hop, keep-alive\r\nX-App-Hop: 1\r\n\
         Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nX-App-End: 2\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n",
    );
    let sidegate = public(&app);
    let answer = sidegate.get(
        "/",
        &[
            "Connection: X-Client-Hop, close, TE",
            "X-Client-Hop: 1",
            "Keep-Alive: timeout=5",
            "Proxy-Connection: keep-alive",
            "TE: trailers, deflate",
            "Trailer: X",
            "X-Client-End: 2",
        ],
    );
    let request = app.only_request();
    for name in ["X-Client-Hop", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade"] {
        assert_eq!(request.header(name), None, "{name}");
    }
    assert_eq!(request.header("X-Client-End"), Some("2"));
    assert_ne!(request.header("Connection").map(str::to_ascii_lowercase).as_deref(), Some("x-client-hop, close, te"));
    for name in ["X-App-Hop", "Keep-Alive", "Proxy-Authenticate"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    assert_eq!(answer.header("X-App-End"), Some("2"));
    assert_eq!(answer.header_values("Set-Cookie"), ["a=1", "b=2"]);
    // Over HTTP/2 such a header would be a protocol error.
    let answer = H2::connect(&sidegate).send("GET", "/", &[("te", "trailers")], b"");
    assert_eq!((answer.status, answer.header("X-App-End"), answer.header("Connection")), (200, Some("2"), None));
    assert_eq!(app.last_request().header("TE"), None);
}

#[test]
fn the_answer_to_head_keeps_its_length() {
    let app = Recorder::answering("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n");
    let sidegate = public(&app);
    let answer = sidegate.wire().send("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n").answer_to("HEAD");
    assert_eq!((answer.header("Content-Length"), answer.header("Transfer-Encoding")), (Some("1234"), None));
    let answer = sidegate.curl("/").args(["--http2"]).head().send_over("2");
    assert_eq!((answer.header("content-length"), answer.body.len()), (Some("1234"), 0));
}

#[test]
fn an_answer_without_a_body_has_none() {
    for (head, length) in [("204 No Content\r\n", None), ("304 Not Modified\r\nETag: \"x\"\r\n", None)] {
        let app = Recorder::answering(format!("HTTP/1.1 {head}Connection: close\r\n\r\n"));
        let sidegate = public(&app);
        let mut wire = sidegate.wire();
        for _ in 0..2 {
            let answer = wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").answer();
            assert_eq!((answer.header("Content-Length"), answer.header("Transfer-Encoding")), (length, None), "{head}");
        }
        assert_eq!(sidegate.curl("/").args(["--http2"]).send_over("2").body.len(), 0);
    }
}

#[test]
fn an_answer_that_ends_with_its_connection_arrives_whole() {
    let app = Recorder::answering("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nfrom an old server\n");
    let sidegate = public(&app);
    assert_eq!(sidegate.get("/", &[]).text(), "from an old server\n");
    assert_eq!(sidegate.curl("/").args(["--http2"]).send_over("2").text(), "from an old server\n");
}

#[test]
fn nobody_is_invited_to_upload_what_will_be_refused() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app).jwt(&issuer).start();
    let mut wire = sidegate.wire();
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n";
    assert!(wire.send(format!("{head}\r\n")).line().starts_with("HTTP/1.1 401"));

    let mut wire = sidegate.wire();
    wire.send(format!("{head}Authorization: Bearer {}\r\n\r\n", issuer.token("alice")));
    assert_eq!(wire.line(), "HTTP/1.1 100 Continue");
    assert_eq!(wire.line(), "");
    assert_eq!(wire.send("hello").answer().status, 200);
    let request = app.only_request();
    assert_eq!((request.body.as_slice(), request.header("Expect")), (&b"hello"[..], None));
}

#[test]
fn a_large_upload_without_credentials_gets_its_refusal_and_not_a_reset() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app).jwt(&issuer).start();
    let body = vec![b'x'; 8 << 20];
    // More than once: what is lost to a reset is lost now and then.
    for _ in 0..10 {
        let curl = sidegate.curl("/").args(["--http1.1"]).header("Expect:").body(body.clone());
        curl.send().assert_refused(401, "credentials_missing");
    }
    // Not by curl: the one of Debian 12 takes the end of such a stream (RST_STREAM, NO_ERROR) for an error.
    H2::connect(&sidegate).send("POST", "/", &[], &body).assert_refused(401, "credentials_missing");
    assert_eq!(app.requests().len(), 0);
    sidegate.assert_alive();
}

#[test]
fn a_small_upload_is_read_to_its_end_before_it_is_refused() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app).jwt(&issuer).start();
    // The curl of Debian 12 reports an error, and no status, where the stream ends before it has sent its body.
    for _ in 0..20 {
        sidegate.curl("/").args(["--http2"]).body(vec![b'x'; 2000]).send().assert_refused(401, "credentials_missing");
    }
}

/// Everybody may do everything: these tests are about bytes.
fn public(app: &Recorder) -> Sidegate {
    Sidegate::before(app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" })).start()
}
