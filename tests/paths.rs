//! One target has one reading: what could be read in two ways is refused, and what was matched is what is forwarded.

use serde_json::json;

use crate::support::{Issuer, Recorder, Sidegate};

/// Targets that a proxy and an app could read differently, most of them to get from `/public` to `/admin`.
const HOSTILE: [&str; 45] = [
    "/public/../admin",
    "/public/./../admin",
    "/public/..",
    "/public/.",
    "/./admin",
    "/../admin",
    "//admin",
    "/public//admin",
    "/public//../admin",
    "/public/%2e%2e/admin",
    "/public/%2E%2E/admin",
    "/public/.%2e/admin",
    "/public/%2e./admin",
    "/public/%2e/admin",
    "/public%2fadmin",
    "/public%2Fadmin",
    "/public/..%2fadmin",
    "/public/%2e%2e%2fadmin",
    "/public%5cadmin",
    "/public/..%5cadmin",
    "/public\\..\\admin",
    "/public\\admin",
    "/public/%252e%252e/admin",
    "/public%252fadmin",
    "/public/..%252fadmin",
    "/public%25%32%66admin",
    "/public%00/../admin",
    "/public/%00",
    "/admin%00.png",
    "/public/%0a",
    "/public/%0d%0aX-Admin:%201",
    "/public/%7f",
    "/public/%",
    "/public/%2",
    "/public/%zz",
    "/public/%u002e%u002e/admin",
    "/public/%c0%ae%c0%ae/admin",
    "/public/%c0%af",
    "/public/%e0%80%af",
    "/public/%ff",
    "/public/..;/admin",
    "/public/.;/admin",
    "/public/..;a=b/admin",
    "/public/;/../admin",
    "/public/%2e%2e;/admin",
];

#[test]
fn an_ambiguous_target_is_refused_even_where_everybody_may_go() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = sidegate(&app, &issuer);
    for target in HOSTILE {
        let answer = sidegate.get(target, &[]);
        assert_eq!((answer.status, answer.reason().as_deref()), (400, Some("path_ambiguous")), "{target}");
    }
    assert_eq!(app.requests().len(), 0, "{:#?}", app.requests());
    sidegate.wait_for_metric("sidegate_requests_total", &[("code", "400")], HOSTILE.len() as f64);
}

#[test]
fn the_same_holds_over_http2() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = sidegate(&app, &issuer);
    for target in HOSTILE {
        let answer = sidegate.curl(target).args(["--http2"]).send_over("2");
        assert_eq!(answer.status, 400, "{target}: {}", answer.text());
    }
    assert_eq!(app.requests().len(), 0, "{:#?}", app.requests());
}

#[test]
fn what_is_no_path_is_refused() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = sidegate(&app, &issuer);
    for line in [
        "OPTIONS * HTTP/1.1",
        "CONNECT localhost:443 HTTP/1.1",
        "GET public HTTP/1.1",
        "GET http://evil.test/public HTTP/1.1",
        "GET http://user@localhost/public HTTP/1.1",
        "GET /public /admin HTTP/1.1",
        "GET /public\tHTTP/1.1",
        "GET /pub\x00lic HTTP/1.1",
    ] {
        let answer = sidegate.wire().send(format!("{line}\r\nHost: localhost\r\n\r\n")).answer();
        assert_eq!(answer.status, 400, "{line:?}: {}", answer.text());
    }
    assert_eq!(app.requests().len(), 0, "{:#?}", app.requests());
    sidegate.assert_alive();
}

#[test]
fn what_was_matched_is_forwarded_byte_by_byte() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = sidegate(&app, &issuer);
    for target in [
        "/public/",
        "/public/caf%C3%A9",
        "/public/a%20b+c",
        "/public/100%25",
        "/public/...",
        "/public/~a:b@c!$&'()*+,=-_.",
        "/public/x?next=/../admin&y=%2f%2e%2e&z=//",
        "/public/x?",
        "/public/x?%00",
    ] {
        assert_eq!(sidegate.get(target, &[]).status, 200, "{target}");
        assert_eq!(app.last_request().target(), target);
    }
    // The absolute form is for proxies; the app is given the usual one.
    let mut wire = sidegate.wire();
    let answer = wire.send("GET http://localhost/public/x?y HTTP/1.1\r\nHost: localhost\r\n\r\n").answer();
    assert_eq!(answer.status, 200);
    assert_eq!(app.last_request().target(), "/public/x?y");
}

#[test]
fn a_fragment_is_part_of_no_path() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = sidegate(&app, &issuer);
    for target in ["/admin#/public/x", "/public#/../admin", "/public/x#", "/public/x?y#z"] {
        sidegate.get(target, &[]).assert_refused(400, "path_ambiguous");
    }
    assert_eq!(app.requests().len(), 0);
}

#[test]
fn a_rule_covers_every_spelling_of_its_path() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app)
        .jwt(&issuer)
        .rule(json!({ "path": "/admin/**", "allow": { "groups": ["admin"] } }))
        .rule(json!({ "allow": "anyone" }))
        .start();
    for target in
        ["/admin", "/admin/", "/%61dmin", "/adm%69n/x", "/%61%64%6d%69%6e/x", "/admin;x", "/admin;x/y", "/admin%3bx/y"]
    {
        let answer = sidegate.get(target, &[]);
        assert!(matches!(answer.status, 400 | 401), "{target}: {}", answer.status);
    }
    assert_eq!(app.requests().len(), 0, "{:#?}", app.requests());
}

#[test]
fn there_is_one_host_and_it_is_a_host() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = sidegate(&app, &issuer);
    for hosts in
        ["", "Host: a\r\nHost: b\r\n", "Host: a\r\nHost: a\r\n", "Host: a b\r\n", "Host: user@a\r\n", "Host: a/b\r\n"]
    {
        let answer = sidegate.wire().send(format!("GET /public HTTP/1.1\r\n{hosts}\r\n")).answer();
        assert_eq!(answer.status, 400, "{hosts:?}");
    }
    assert_eq!(app.requests().len(), 0);
}

/// `/public/**` is for anyone, the rest for administrators.
fn sidegate(app: &Recorder, issuer: &Issuer) -> Sidegate {
    Sidegate::before(app)
        .jwt(issuer)
        .rule(json!({ "path": "/public/**", "allow": "anyone" }))
        .rule(json!({ "allow": { "groups": ["admin"] } }))
        .start()
}
