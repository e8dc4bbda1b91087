//! One target has one reading: what could be read in two ways is refused, and what was matched is what is forwarded.

use serde_json::json;

use crate::support::{H2, Issuer, Recorder, Sidegate};

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
fn the_same_holds_for_the_absolute_form() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = sidegate(&app, &issuer);
    for target in HOSTILE {
        let request = format!("GET http://localhost{target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(sidegate.wire().send(request).answer().status, 400, "{target}");
    }
    assert_eq!(app.requests().len(), 0, "{:#?}", app.requests());
}

#[test]
fn a_normalised_path_is_what_is_matched_and_what_the_app_gets() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app)
        .jwt(&issuer)
        .rule(json!({ "path": "/public/**", "allow": "anyone" }))
        .rule(json!({ "allow": { "groups": ["admin"] } }))
        .set(json!({ "paths": { "ambiguous": "normalize", "encoded_slash": "normalize" } }))
        .start();
    let mut h2 = H2::connect(&sidegate);
    for (target, forwarded) in [
        ("/public/../admin", None),
        ("/public/%2e%2e/admin", None),
        ("//admin", None),
        ("/public//../admin", None),
        ("/public%2f..%2fadmin", None),
        ("/public/..%5Cadmin", None),
        ("/admin/../public/x", Some("/public/x")),
        ("//public//x", Some("/public/x")),
        ("/public%2fx%2F?y=%2f//", Some("/public/x/?y=%2f//")),
        ("/public/./caf%c3%a9/%2e/", Some("/public/caf%c3%a9/")),
    ] {
        let absolute = format!("GET http://localhost{target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answers =
            [sidegate.get(target, &[]), sidegate.wire().send(absolute).answer(), h2.send("GET", target, &[], b"")];
        let expected = if forwarded.is_some() { 200 } else { 401 };
        assert!(answers.iter().all(|answer| answer.status == expected), "{target}: {answers:?}");
        if let Some(forwarded) = forwarded {
            let requests = app.requests();
            let seen = &requests[requests.len() - 3..];
            assert!(seen.iter().all(|request| request.target() == forwarded), "{target}: {seen:#?}");
        }
    }
    assert_eq!(app.requests().len(), 4 * 3);
    for target in ["/../public", "/public/..;/x", "/public/%00", "/public/%252fx"] {
        assert_eq!(sidegate.get(target, &[]).reason().as_deref(), Some("path_ambiguous"), "{target}");
    }
}

#[test]
fn what_one_rule_passes_is_passed_for_its_own_paths_only() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app)
        .jwt(&issuer)
        .rule(json!({ "path": "/packages/admin/**", "allow": { "groups": ["admin"] } }))
        .rule(json!({
            "name": "packages", "path": "/packages/**", "allow": "anyone",
            "paths": { "ambiguous": "pass", "encoded_slash": "pass" },
        }))
        .rule(json!({ "name": "rest", "allow": "anyone" }))
        .start();
    let mut h2 = H2::connect(&sidegate);
    let targets =
        ["/packages/%40scope%2fname", "/packages/a%5Cb", "/packages//x", "/packages/x?y=//", "/packages/x;v=1/y"];
    for target in targets {
        assert_eq!(sidegate.get(target, &[]).status, 200, "{target}");
        assert_eq!(app.last_request().target(), target);
        assert_eq!(h2.send("GET", target, &[], b"").status, 200, "{target}");
        assert_eq!(app.last_request().target(), target);
    }
    for target in [
        "/packages%2fadmin",
        "/packages/admin%2fx",
        "/packages//admin/x",
        "/packages/%5Cadmin",
        "/packages/admin;v=1",
        "/packages/x/../admin",
        "/packages/x%2f..%2fadmin",
        "/packages\\admin",
        "//packages/x",
        // It says nothing about the others.
        "/other/a%2fb",
        "/other//x",
    ] {
        let answer = sidegate.get(target, &[]);
        assert_eq!((answer.status, answer.reason().as_deref()), (400, Some("path_ambiguous")), "{target}");
        assert_eq!(h2.send("GET", target, &[], b"").status, 400, "{target}");
    }
    assert_eq!(app.requests().len(), targets.len() * 2, "{:#?}", app.requests());
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
        "GET http://localhost:80/public HTTP/1.1",
        "GET ftp://localhost/public HTTP/1.1",
        "GET http:///public HTTP/1.1",
        "GET localhost:80 HTTP/1.1",
        "GET * HTTP/1.1",
        "GET /public/caf\u{e9} HTTP/1.1",
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
        "/public/x?%00#",
    ] {
        assert_eq!(sidegate.get(target, &[]).status, 200, "{target}");
        assert_eq!(app.last_request().target(), target.trim_end_matches('#'));
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
    assert_eq!(sidegate.get("/admin#/public/x", &[]).status, 401);
    assert_eq!(app.requests().len(), 0);
    // It is refused, or cut off before anybody looks; what it hides never reaches the app.
    for target in ["/public#/../admin", "/public/x#"] {
        assert!(matches!(sidegate.get(target, &[]).status, 200 | 400), "{target}");
    }
    assert!(app.requests().iter().all(|request| !request.target().contains(['#', '.'])), "{:#?}", app.requests());
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
fn over_http2_the_asterisk_and_connect_are_refused_too() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = sidegate(&app, &issuer);
    let asterisk = sidegate.curl("/").args(["--http2", "--request-target", "*"]).method("OPTIONS").send_over("2");
    assert_eq!(asterisk.status, 400, "{}", asterisk.text());
    // CONNECT has no path in HTTP/2: what answers, or resets the stream, is the library or sidegate.
    let connect = H2::connect(&sidegate).try_send("CONNECT", "", &[], b"");
    assert!(connect.is_none_or(|answer| answer.status == 400));
    assert_eq!(app.requests().len(), 0);
    sidegate.assert_alive();
}

#[test]
fn there_is_one_host_and_it_is_a_host() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = sidegate(&app, &issuer);
    for hosts in [
        "",
        "Host: a\r\nHost: b\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host:\r\n",
        "Host: a b\r\n",
        "Host: user@a\r\n",
        "Host: a/b\r\n",
        "Host: a,b\r\n",
        "Host: a%2eb\r\n",
        "Host: a..\r\n",
        "Host: a:0\r\n",
        "Host: a:\r\n",
        "Host: a:65536\r\n",
        "Host: a:http\r\n",
        "Host: ::1\r\n",
        "Host: [::1\r\n",
        "Host: [fe80::1%25eth0]\r\n",
        "Host: caf\u{e9}\r\n",
    ] {
        let answer = sidegate.wire().send(format!("GET /public HTTP/1.1\r\n{hosts}\r\n")).answer();
        assert_eq!((answer.status, answer.reason().as_deref()), (400, Some("header_invalid")), "{hosts:?}");
    }
    let mut h2 = H2::connect(&sidegate);
    let answer = h2.send("GET", "/public", &[("host", "elsewhere")], b"");
    assert_eq!((answer.status, answer.reason().as_deref()), (400, Some("header_invalid")));
    assert_eq!(app.requests().len(), 0);
}

#[test]
fn the_host_is_forwarded_as_it_was_written() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = sidegate(&app, &issuer);
    for host in ["App.Example", "app.example.:8443", "[::1]:8443", "my_app", "127.0.0.1:1"] {
        for line in ["/public", &format!("http://{}/public", host.to_ascii_lowercase())] {
            let answer = sidegate.wire().send(format!("GET {line} HTTP/1.1\r\nHost: {host}\r\n\r\n")).answer();
            assert_eq!(answer.status, 200, "{line} {host}: {}", answer.text());
            let request = app.last_request();
            assert_eq!((request.target(), request.header_values("Host")), ("/public", vec![host]));
            assert_eq!(request.header_values("X-Forwarded-Host"), [host]);
        }
        let answer = sidegate.curl("/public").args(["--http2"]).header(&format!("Host: {host}")).send_over("2");
        assert_eq!(answer.status, 200, "{host}: {}", answer.text());
        assert_eq!(app.last_request().header_values("Host"), [host]);
    }
    // HTTP/1.0 need not name one; the app, to which we speak HTTP/1.1, must be given one.
    assert_eq!(sidegate.wire().send("GET /public HTTP/1.0\r\n\r\n").answer().status, 200);
    assert_eq!(app.last_request().header_values("Host"), ["localhost"]);
}

/// `/public/**` is for anyone, the rest for administrators.
fn sidegate(app: &Recorder, issuer: &Issuer) -> Sidegate {
    Sidegate::before(app)
        .jwt(issuer)
        .rule(json!({ "path": "/public/**", "allow": "anyone" }))
        .rule(json!({ "allow": { "groups": ["admin"] } }))
        .start()
}
