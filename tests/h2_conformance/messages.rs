//! RFC 9113 section 8: pseudo-header fields, other fields, the length of a body, trailers and CONNECT.

use serde_json::json;

use super::{Case, Connection, NEVER, Nothing, Outcome, Status, Stream, case, run};
use crate::support::{
    H2, Issuer, Recorder, Sidegate,
    frames::{Frames, block, code::*, data, flag, headers, literal, request},
};

const OK: &[Outcome] = &[Status(200)];

/// A malformed request is a stream error, before which a server may answer 400 (RFC 9113 section 8.1.1); or, as any stream
/// error may be, an error of the connection (section 5.4.2).
const MALFORMED: &[Outcome] = &[Stream(PROTOCOL_ERROR), Status(400), Connection(PROTOCOL_ERROR)];

type Fields<'a> = &'a [(&'a str, &'a str)];

/// A request of these fields alone, without a body.
fn fields(section: &'static str, name: &'static str, fields: Fields<'_>, accepts: &[Outcome]) -> Case {
    case(section, name, [headers(flag::END_STREAM, 1, block(fields))], accepts)
}

/// A good GET with these further fields.
fn with(section: &'static str, name: &'static str, fields: Fields<'_>) -> Case {
    case(section, name, [headers(flag::END_STREAM, 1, request("GET", NEVER, fields))], MALFORMED)
}

/// A good GET with a field of these bytes.
fn raw(name: &'static str, field: &[u8], value: &[u8]) -> Case {
    let block = [request("GET", NEVER, &[]), literal(field, value)].concat();
    case("8.2.1", name, [headers(flag::END_STREAM, 1, block)], MALFORMED)
}

#[test]
fn a_request_says_what_it_asks_for_once_and_first() {
    const METHOD: (&str, &str) = (":method", "GET");
    const SCHEME: (&str, &str) = (":scheme", "https");
    const HOST: (&str, &str) = (":authority", "localhost");
    const PATH: (&str, &str) = (":path", NEVER);
    let bad = |name, list: Fields<'_>| fields("8.3", name, list, MALFORMED);
    run(&[
        bad("no method", &[SCHEME, HOST, PATH]),
        bad("no scheme", &[METHOD, HOST, PATH]),
        bad("no path", &[METHOD, SCHEME, HOST]),
        bad("nothing at all", &[]),
        bad("an empty path", &[METHOD, SCHEME, HOST, (":path", "")]),
        bad("a path without its slash", &[METHOD, SCHEME, HOST, (":path", "never")]),
        // The library cuts it off before anybody sees it: the rules and the app see the same path without it.
        fields(
            "8.3",
            "a path with a fragment",
            &[METHOD, SCHEME, HOST, (":path", "/#/never")],
            &[Status(200), Status(400)],
        ),
        bad("a path with a space", &[METHOD, SCHEME, HOST, (":path", "/never /x")]),
        bad("a path with a line end", &[METHOD, SCHEME, HOST, (":path", "/never HTTP/1.1\r\nx: y")]),
        bad("a path with a control character", &[METHOD, SCHEME, HOST, (":path", "/never\u{1}")]),
        bad("a path that is a URL", &[METHOD, SCHEME, HOST, (":path", "http://other/never")]),
        bad("an asterisk, and not OPTIONS", &[METHOD, SCHEME, HOST, (":path", "*")]),
        bad("an empty method", &[(":method", ""), SCHEME, HOST, PATH]),
        bad("a method with a space", &[(":method", "GET /x"), SCHEME, HOST, PATH]),
        bad("a method with a line end, and more", &[(":method", "GET /admin HTTP/1.1\r\n"), SCHEME, HOST, PATH]),
        bad("a method with a line end", &[(":method", "GET\r\n"), SCHEME, HOST, PATH]),
        bad("two methods", &[METHOD, METHOD, SCHEME, HOST, PATH]),
        bad("two schemes", &[METHOD, SCHEME, SCHEME, HOST, PATH]),
        bad("two authorities", &[METHOD, SCHEME, HOST, HOST, PATH]),
        bad("two paths", &[METHOD, SCHEME, HOST, PATH, PATH]),
        bad("an unknown pseudo-header", &[METHOD, SCHEME, HOST, PATH, (":version", "HTTP/2")]),
        bad("one of an answer", &[METHOD, SCHEME, HOST, PATH, (":status", "200")]),
        bad("one after a field", &[METHOD, SCHEME, HOST, ("x-a", "1"), PATH]),
        bad("one in upper case", &[(":Method", "GET"), SCHEME, HOST, PATH]),
        bad("a scheme that is another's", &[METHOD, (":scheme", "ftp"), HOST, PATH]),
        bad("a scheme that is none", &[METHOD, (":scheme", "ht tp"), HOST, PATH]),
        bad("no authority and no host", &[METHOD, SCHEME, PATH]),
        bad("an empty authority", &[METHOD, SCHEME, (":authority", ""), PATH]),
        bad("an authority with a user", &[METHOD, SCHEME, (":authority", "user@localhost"), PATH]),
        bad("an authority with a space", &[METHOD, SCHEME, (":authority", "a b"), PATH]),
        bad("an authority with a path", &[METHOD, SCHEME, (":authority", "localhost/x"), PATH]),
        bad("a host that is another one", &[METHOD, SCHEME, HOST, PATH, ("host", "other")]),
        bad("two hosts", &[METHOD, SCHEME, PATH, ("host", "localhost"), ("host", "localhost")]),
        fields("8.3.1", "a host and no authority", &[METHOD, SCHEME, (":path", "/"), ("host", "localhost")], OK),
        fields("8.3.1", "both, and they agree", &[METHOD, SCHEME, HOST, (":path", "/"), ("host", "localhost")], OK),
        fields("8.3", "pseudo-headers in any order", &[(":path", "/"), HOST, METHOD, SCHEME], OK),
        // The scheme is not what the proxy decides by: it knows how it was reached.
        fields("8.3.1", "another scheme", &[METHOD, (":scheme", "http"), HOST, (":path", "/")], OK),
    ]);
}

#[test]
fn fields_are_those_of_http_2() {
    run(&[
        raw("a name in upper case", b"X-Upper", b"1"),
        raw("an empty name", b"", b"1"),
        raw("a name with a space", b"x y", b"1"),
        raw("a name with a colon", b"x:y", b"1"),
        raw("a name with a line end", b"x\r\ny", b"1"),
        raw("a name with a NUL", b"x\0", b"1"),
        raw("a name with a DEL", b"x\x7f", b"1"),
        raw("a name that is not ASCII", b"x\xc3\xa4", b"1"),
        raw("a value with a NUL", b"x-a", b"1\x002"),
        raw("a value with a line end", b"x-a", b"1\r\nx-b: 2"),
        raw("a value with a bare LF", b"x-a", b"1\n2"),
        raw("a value with a bare CR", b"x-a", b"1\r2"),
        with("8.2.2", "connection", &[("connection", "close")]),
        with("8.2.2", "connection that names a field", &[("connection", "x-a"), ("x-a", "1")]),
        with("8.2.2", "keep-alive", &[("keep-alive", "timeout=5")]),
        with("8.2.2", "proxy-connection", &[("proxy-connection", "keep-alive")]),
        with("8.2.2", "transfer-encoding", &[("transfer-encoding", "chunked")]),
        with("8.2.2", "upgrade", &[("upgrade", "websocket")]),
        with("8.2.2", "te that is not trailers", &[("te", "gzip")]),
        with("8.2.2", "te of trailers and more", &[("te", "trailers, deflate")]),
        case("8.2.2", "te of trailers", [headers(1, 1, request("GET", "/", &[("te", "trailers")]))], OK),
        case(
            "8.2.3",
            "a cookie in crumbs",
            [headers(1, 1, request("GET", "/", &[("cookie", "a=1"), ("cookie", "b=2")]))],
            OK,
        ),
    ]);
}

#[test]
fn a_body_has_the_length_that_was_said() {
    let post = |fields: Fields<'_>| headers(0, 1, request("POST", "/", fields));
    let never = |flags, fields: Fields<'_>| headers(flags, 1, request("POST", NEVER, fields));
    let end = flag::END_STREAM;
    let trailers = |flags, list: Fields<'_>| headers(flags, 1, block(list));
    let bad = |name, sends: Vec<Vec<u8>>| case("8.1.1", name, sends, MALFORMED);
    run(&[
        bad("a length and no body", vec![never(end, &[("content-length", "1")])]),
        bad("a body that is shorter", vec![never(0, &[("content-length", "9")]), data(end, 1, "x")]),
        bad("a body that is longer", vec![never(0, &[("content-length", "1")]), data(end, 1, "xy")]),
        bad(
            "longer in several frames",
            vec![never(0, &[("content-length", "3")]), data(0, 1, "xy"), data(end, 1, "xy")],
        ),
        bad(
            "shorter, ended by trailers",
            vec![never(0, &[("content-length", "3")]), data(0, 1, "x"), trailers(end, &[("x-t", "1")])],
        ),
        bad("a length and no body", vec![never(end, &[("content-length", "5")])]),
        bad("the same length twice", vec![never(end, &[("content-length", "0"), ("content-length", "0")])]),
        bad("a length with a zero before it", vec![never(end, &[("content-length", "00")])]),
        bad("a length that is no number", vec![never(0, &[("content-length", "x")]), data(end, 1, "x")]),
        bad("a length with a sign", vec![never(0, &[("content-length", "+1")]), data(end, 1, "x")]),
        bad("a negative length", vec![never(0, &[("content-length", "-1")]), data(end, 1, "x")]),
        bad(
            "a length beyond all numbers",
            vec![never(0, &[("content-length", "99999999999999999999")]), data(end, 1, "x")],
        ),
        bad("a list of lengths", vec![never(0, &[("content-length", "1, 1")]), data(end, 1, "x")]),
        bad("two lengths", vec![never(0, &[("content-length", "1"), ("content-length", "2")]), data(end, 1, "x")]),
        case(
            "8.1",
            "a body in several frames",
            [post(&[("content-length", "3")]), data(0, 1, "x"), data(0, 1, ""), data(end, 1, "yz")],
            OK,
        ),
        case("8.1", "a body without a length", [post(&[]), data(end, 1, "xyz")], OK),
        case("8.1", "an empty body", [post(&[("content-length", "0")]), data(end, 1, "")], OK),
        case("8.1", "GET with a body", [headers(0, 1, request("GET", "/", &[])), data(end, 1, "xyz")], OK),
        case("8.1", "trailers", [post(&[]), data(0, 1, "x"), trailers(end, &[("x-t", "1")])], OK),
        case("8.1", "trailers and no body", [post(&[]), trailers(end, &[("x-t", "1")])], OK),
        bad(
            "trailers that do not end the request",
            vec![never(0, &[]), data(0, 1, "x"), trailers(0, &[("x-t", "1")]), data(end, 1, "x")],
        ),
        // The library drops it, as the RFC does not want; so the request stays what its header said.
        case(
            "8.1",
            "a pseudo-header in trailers",
            [post(&[]), data(0, 1, "x"), trailers(end, &[(":path", NEVER)])],
            &[Status(200), Stream(PROTOCOL_ERROR)],
        ),
        bad("upper case in trailers", vec![never(0, &[]), data(0, 1, "x"), trailers(end, &[("X-Upper", "1")])]),
        bad(
            "transfer-encoding in trailers",
            vec![never(0, &[]), data(0, 1, "x"), trailers(end, &[("transfer-encoding", "chunked")])],
        ),
        case("8.1", "a request that is not over yet", [never(0, &[]), data(0, 1, "x")], &[Nothing]),
    ]);
}

#[test]
fn a_tunnel_is_not_what_this_is_for() {
    let bad = |name, list: Fields<'_>| fields("8.5", name, list, MALFORMED);
    run(&[
        bad("CONNECT", &[(":method", "CONNECT"), (":authority", "localhost:22")]),
        bad(
            "CONNECT with a path",
            &[(":method", "CONNECT"), (":scheme", "https"), (":authority", "localhost"), (":path", NEVER)],
        ),
        bad("CONNECT to nobody", &[(":method", "CONNECT")]),
        bad(
            "a protocol over CONNECT, which we do not offer",
            &[
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                (":scheme", "https"),
                (":authority", "localhost"),
                (":path", NEVER),
            ],
        ),
        bad(
            "a protocol over GET",
            &[
                (":method", "GET"),
                (":protocol", "websocket"),
                (":scheme", "https"),
                (":authority", "localhost"),
                (":path", NEVER),
            ],
        ),
    ]);
}

#[test]
fn what_we_refuse_ourselves_has_a_reason_and_a_log_line() {
    let app = Recorder::start();
    let sidegate = Sidegate::before(&app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" })).start();
    let mut h2 = H2::connect(&sidegate);
    let twice = [("content-length", "0"), ("content-length", "0")];
    h2.send("GET", "/", &twice, b"").assert_refused(400, "framing_invalid");
    // No client library sends this one.
    let quoted = headers(flag::END_STREAM, 1, request("GET", "/", &[("x\"y", "1")]));
    assert_eq!(Frames::open(sidegate.address(), &[]).send(quoted).outcome(1, true), Status(400));
    let many: Vec<(&str, &str)> = vec![("x", "1"); 101];
    h2.send("GET", "/", &many, b"").assert_refused(431, "header_too_large");
    let large = "x".repeat(33 << 10);
    h2.send("GET", "/", &[("x", &large)], b"").assert_refused(431, "header_too_large");
    assert_eq!(h2.send("GET", "/", &many[..100], b"").status, 200);
    let reasons: Vec<_> = sidegate.access_log(5).iter().map(|line| line["response_code_details"].clone()).collect();
    assert_eq!(reasons[..4], ["framing_invalid", "header_invalid", "header_too_large", "header_too_large"]);
    assert_eq!(app.requests().len(), 1);
}
