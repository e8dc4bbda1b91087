//! CORS: who answers a browser's preflight, which requests are one, and what pages of other origins may read.

use std::{
    io::Write,
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        mpsc::{Receiver, sync_channel},
    },
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Answer, App, Builder, H2, Issuer, Nothing, Recorder, Sidegate, until};

const PAGE: &str = "https://app.example.com";
const ORIGIN: (&str, &str) = ("Origin", PAGE);
const PUT: (&str, &str) = ("Access-Control-Request-Method", "PUT");

#[test]
fn by_default_a_preflight_is_a_request_like_any_other() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let sidegate = Sidegate::before(&app).jwt(&issuer).start();
    for mut ask in over_both(&sidegate) {
        ask("OPTIONS", &[ORIGIN, PUT], "").assert_refused(401, "credentials_missing");
    }
    assert_eq!(app.requests().len(), 0);
}

#[test]
fn a_preflight_that_passes_reaches_the_app_as_options_from_nobody() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let sidegate = passing(&app, &issuer).set(json!({ "identity": { "forward_credentials": true } })).start();
    let token = format!("Bearer {}", issuer.token("alice"));
    let claims = [("Authorization", token.as_str()), ("Cookie", "session=1"), ("X-Forwarded-User", "root")];
    for mut ask in over_both(&sidegate) {
        assert_eq!(ask("OPTIONS", &[ORIGIN, PUT, claims[0], claims[1], claims[2]], "").status, 200);
        let seen = app.last_request();
        assert_eq!(seen.line, "OPTIONS /orders HTTP/1.1");
        assert_eq!(seen.header("access-control-request-method"), Some("PUT"));
        assert_eq!(seen.header("origin"), Some(PAGE));
        for name in ["authorization", "cookie", "x-forwarded-user", "x-forwarded-groups"] {
            assert_eq!(seen.lookalikes(name), [""; 0], "{name}");
        }
    }
    assert_eq!(app.requests().len(), 2);
    let line = &sidegate.access_log(1)[0];
    assert_eq!((line["rule"].as_str(), line["auth_user"].as_str()), (Some("writers"), None), "{line}");
}

#[test]
fn a_preflight_for_what_no_rule_is_about_does_not_pass() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let sidegate = passing(&app, &issuer).start();
    let patch = ("Access-Control-Request-Method", "PATCH");
    for mut ask in over_both(&sidegate) {
        ask("OPTIONS", &[ORIGIN, patch], "").assert_refused(403, "no_rule");
    }
    let lines = [format!("Origin: {PAGE}"), "Access-Control-Request-Method: PUT".to_owned()].join("\r\n");
    for (path, status, reason) in [("/other", 403, "no_rule"), ("/x/../orders", 400, "path_ambiguous")] {
        let request = format!("OPTIONS {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n");
        sidegate.wire().send(request).answer().assert_refused(status, reason);
    }
    assert_eq!(app.requests().len(), 0);
}

#[test]
fn what_only_looks_like_a_preflight_needs_credentials() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let sidegate = passing(&app, &issuer).start();
    for mut ask in over_both(&sidegate) {
        for (method, lines, body) in [
            ("OPTIONS", &[ORIGIN][..], ""),
            ("OPTIONS", &[PUT], ""),
            ("OPTIONS", &[ORIGIN, ORIGIN, PUT], ""),
            ("OPTIONS", &[ORIGIN, PUT, PUT], ""),
            ("OPTIONS", &[ORIGIN, PUT, ("Access-Control-Request-Method", "GET")], ""),
            ("OPTIONS", &[ORIGIN, ("Access-Control-Request-Method", "put")], ""),
            ("OPTIONS", &[ORIGIN, ("Access-Control-Request-Method", "PUT, GET")], ""),
            ("OPTIONS", &[ORIGIN, ("Access-Control-Request-Method", "")], ""),
            ("OPTIONS", &[ORIGIN, PUT], "body"),
            ("GET", &[ORIGIN, PUT], ""),
            ("PUT", &[ORIGIN, PUT], ""),
            ("PUT", &[ORIGIN, PUT, ("X-HTTP-Method-Override", "OPTIONS")], ""),
        ] {
            let answer = ask(method, lines, body);
            assert_eq!(answer.status, 401, "{method} {lines:?} {body:?}: {answer:?}");
        }
    }
    for framing in
        ["Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "Content-Length: 1\r\n\r\nx", "Upgrade: websocket\r\n\r\n"]
    {
        let head = format!("OPTIONS /orders HTTP/1.1\r\nHost: localhost\r\nOrigin: {PAGE}\r\n");
        let request = format!("{head}Access-Control-Request-Method: PUT\r\n{framing}");
        assert_eq!(sidegate.wire().send(request).answer().status, 401, "{framing:?}");
    }
    assert_eq!(app.requests().len(), 0);
}

#[test]
fn a_preflight_that_cannot_be_read_is_refused_and_not_answered() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let sidegate = answering(&app, &issuer, json!({}))
        .set(json!({ "limits": { "max_header_bytes": "8KiB", "max_headers": 9 } }))
        .start();
    let large = "x".repeat(9 * 1024);
    // Over HTTP/2 the page may read that; over HTTP/1 nobody knows which page it is. None is told what it may do.
    let expected = [vec![], vec!["access-control-allow-origin: https://app.example.com"]];
    for (mut ask, expected) in over_both(&sidegate).into_iter().zip(expected) {
        assert_eq!(ask("OPTIONS", &[ORIGIN, PUT], "").status, 204);
        let answer = ask("OPTIONS", &[ORIGIN, PUT, ("X-Large", &large)], "");
        answer.assert_refused(431, "header_too_large");
        assert_eq!(terms(&answer), expected);
        let many = [&[ORIGIN, PUT][..], &[("X-A", "1"); 9]].concat();
        ask("OPTIONS", &many, "").assert_refused(431, "header_too_large");
    }
    assert_eq!(app.requests().len(), 0);
}

#[test]
fn a_preflight_is_answered_in_the_place_of_the_app() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let sidegate = answering(&app, &issuer, json!({ "credentials": true, "max_age": "10m" })).start();
    let headers = ("Access-Control-Request-Headers", "authorization,x-special");
    let network = ("Access-Control-Request-Private-Network", "true");
    for mut ask in over_both(&sidegate) {
        let answer = ask("OPTIONS", &[ORIGIN, PUT, headers, network], "");
        assert_eq!((answer.status, answer.body.len()), (204, 0));
        assert_eq!(
            terms(&answer),
            [
                "access-control-allow-credentials: true",
                "access-control-allow-headers: authorization,x-special",
                "access-control-allow-methods: PUT",
                "access-control-allow-origin: https://app.example.com",
                "access-control-max-age: 600",
            ]
        );
        let vary = answer.header_values("vary").join(",");
        for name in ["origin", "access-control-request-method", "access-control-request-headers"] {
            assert!(vary.contains(name), "{vary}");
        }
        for other in ["https://evil.example", "null", "https://app.example.com.evil.example", "http://app.example.com"]
        {
            let answer = ask("OPTIONS", &[("Origin", other), PUT], "");
            answer.assert_refused(403, "preflight_denied");
            assert_eq!(terms(&answer), [""; 0], "{other}");
        }
        // No real preflight.
        assert_eq!(ask("OPTIONS", &[ORIGIN, PUT], "body").status, 401);
    }
    assert_eq!(app.requests().len(), 0);
}

#[test]
fn methods_and_headers_are_those_that_are_listed() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let lists = json!({ "methods": ["GET", "PUT"], "headers": ["Authorization", "X-Special"], "max_age": 0 });
    let sidegate = answering(&app, &issuer, lists).start();
    let asked = [ORIGIN, ("Access-Control-Request-Method", "DELETE"), ("Access-Control-Request-Headers", "x-other")];
    for mut ask in over_both(&sidegate) {
        assert_eq!(
            terms(&ask("OPTIONS", &asked, "")),
            [
                "access-control-allow-headers: Authorization, X-Special",
                "access-control-allow-methods: GET, PUT",
                "access-control-allow-origin: https://app.example.com",
                "access-control-max-age: 0",
            ]
        );
    }
}

#[test]
fn every_answer_says_who_may_read_it_and_the_apps_own_word_does_not_count() {
    let app = Recorder::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nVary: Cookie\r\nAccess-Control-Allow-Origin: *\r\n\
         Access-Control-Allow-Credentials: true\r\nAccess-Control-Expose-Headers: X-Secret\r\n\r\nok",
    );
    let issuer = Issuer::new();
    let sidegate = answering(&app, &issuer, json!({ "expose_headers": ["X-Total", "ETag"] })).start();
    let token = format!("Bearer {}", issuer.token("alice"));
    let token = ("Authorization", token.as_str());
    let signed =
        ["access-control-allow-origin: https://app.example.com", "access-control-expose-headers: X-Total, ETag"];
    for mut ask in over_both(&sidegate) {
        for (status, method, lines) in
            [(200, "PUT", &[ORIGIN, token][..]), (401, "PUT", &[ORIGIN]), (403, "PATCH", &[ORIGIN, token])]
        {
            let answer = ask(method, lines, "");
            assert_eq!(answer.status, status);
            assert_eq!(terms(&answer), signed, "{status}");
            assert!(answer.header_values("vary").contains(&"origin"), "{answer:?}");
        }
        for lines in [&[("Origin", "https://evil.example"), token][..], &[token], &[ORIGIN, ORIGIN, token]] {
            let answer = ask("PUT", lines, "");
            assert_eq!(answer.status, 200);
            assert_eq!(terms(&answer), [""; 0], "{lines:?}");
            assert_eq!(answer.header_values("vary"), ["Cookie", "origin"]);
        }
    }
}

#[test]
fn a_page_sees_that_the_app_is_down_or_sidegate_overloaded() {
    let issuer = Issuer::new();
    let sidegate = answering(&Nothing::reserve(), &issuer, json!({})).start();
    let token = format!("Authorization: Bearer {}", issuer.token("alice"));
    let origin = format!("Origin: {PAGE}");
    let answer = sidegate.get("/orders", &[&origin, &token]);
    answer.assert_refused(502, "upstream_unreachable");
    assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));

    let (release, released) = sync_channel(0);
    let app = held(released);
    let sidegate = answering(&app, &issuer, json!({})).set(json!({ "limits": { "max_in_flight": 1 } })).start();
    let mut first = sidegate.wire();
    first.send(format!("GET /orders HTTP/1.1\r\nHost: localhost\r\n{token}\r\n\r\n"));
    app.wait_for(1);
    let answer = sidegate.get("/orders", &[&origin, &token]);
    answer.assert_refused(503, "overloaded");
    assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
    release.send(()).unwrap();
    assert_eq!(first.answer().status, 200);
}

#[test]
fn every_origin_may_be_let_in_without_credentials() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let sidegate = answering(&app, &issuer, json!({ "origins": ["*"] })).start();
    for mut ask in over_both(&sidegate) {
        let answer = ask("OPTIONS", &[("Origin", "null"), PUT], "");
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("*")));
        let answer = ask("PUT", &[], "");
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (401, Some("*")));
        assert_eq!(answer.header("vary"), None);
    }
}

#[test]
fn what_would_not_work_or_be_a_hole_is_refused_with_a_remedy() {
    for (cors, said) in [
        (json!({ "preflight": "answer" }), "cors.origins: there is no origin"),
        (json!({ "preflight": "answer", "origins": ["*"], "credentials": true }), "act as the user"),
        (json!({ "preflight": "answer", "origins": ["null"] }), "sandboxed frame"),
        (json!({ "preflight": "answer", "origins": ["https://a.example/"] }), "write `https://a.example`"),
        (json!({ "preflight": "answer", "origins": ["https://a.example", "b"] }), "cors.origins[1]"),
        (json!({ "preflight": "answer", "origins": [PAGE], "methods": ["put"] }), "cors.methods[0]"),
        (json!({ "preflight": "answer", "origins": [PAGE], "headers": ["a b"] }), "cors.headers[0]"),
        (json!({ "preflight": "answer", "origins": [PAGE], "expose_headers": ["*"] }), "cors.expose_headers[0]"),
        (json!({ "origins": [PAGE] }), "set `cors.preflight: answer`"),
        (json!({ "preflight": "pass", "credentials": true }), "set `cors.preflight: answer`"),
        (json!({ "preflight": "allow" }), "`allow` is none of `auth`, `pass`, `answer`"),
    ] {
        let refused = Sidegate::before(&Nothing::reserve()).jwt(&Issuer::new()).set(json!({ "cors": cors })).refuse();
        assert!(refused.stderr.contains(said), "{cors}: {}", refused.stderr);
    }
}

#[test]
fn a_browser_lets_a_page_of_another_origin_see_the_real_status() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let pages = Pages::start();
    let cors = json!({ "origins": [format!("http://{}", pages.recorder.address())] });
    let sidegate = answering(&app, &issuer, cors).start();
    let script = format!(
        r#"const url = "{}", bearer = {{ Authorization: "Bearer {}" }}, seen = [];
        for (const headers of [{{}}, bearer]) {{
            try {{
                const answer = await fetch(url, {{ method: "PUT", headers }});
                seen.push([answer.status, await answer.text()]);
            }} catch (error) {{ seen.push(String(error)); }}
        }}
        await fetch("/report", {{ method: "POST", body: JSON.stringify(seen) }});"#,
        sidegate.url("/orders"),
        issuer.token("alice"),
    );
    let seen = pages.run(&script);
    assert_eq!(seen[0][0], 401, "{seen}");
    assert!(seen[0][1].as_str().unwrap().contains("credentials_missing"), "{seen}");
    assert_eq!(seen[1], json!([200, "ok\n"]), "{seen}");
    assert_eq!(app.only_request().line, "PUT /orders HTTP/1.1");

    // And where the page's origin is not listed, the same browser shows it nothing.
    let sidegate = answering(&app, &issuer, json!({})).start();
    let seen = pages.run(&format!(
        r#"let seen; try {{ seen = (await fetch("{}")).status; }} catch (error) {{ seen = String(error); }}
        await fetch("/report", {{ method: "POST", body: JSON.stringify(seen) }});"#,
        sidegate.url("/orders"),
    ));
    assert_eq!(seen, json!("TypeError: Failed to fetch"));
}

fn guarded(app: &impl App, issuer: &Issuer) -> Builder {
    let rule = json!({ "name": "writers", "path": "/orders", "methods": ["GET", "PUT"], "allow": "authenticated" });
    let lookalikes = json!({ "path": "/orders", "methods": ["OPTIONS"], "allow": "authenticated" });
    Sidegate::before(app).jwt(issuer).rule(rule).rule(lookalikes)
}

fn passing(app: &impl App, issuer: &Issuer) -> Builder {
    guarded(app, issuer).set(json!({ "cors": { "preflight": "pass" } }))
}

fn answering(app: &impl App, issuer: &Issuer, cors: Value) -> Builder {
    let answer = json!({ "cors": { "preflight": "answer", "origins": [PAGE] } });
    guarded(app, issuer).set(answer).set(json!({ "cors": cors }))
}

/// An app that answers when it is released.
fn held(released: Receiver<()>) -> Recorder {
    let released = Mutex::new(released);
    Recorder::scripted(move |_, stream| {
        released.lock().unwrap().recv().map_err(std::io::Error::other)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        Ok(true)
    })
}

type Ask<'s> = Box<dyn FnMut(&str, &[(&str, &str)], &str) -> Answer + 's>;

/// Ways to send a request to `/orders`: over HTTP/1.1, and over HTTP/2.
fn over_both(sidegate: &Sidegate) -> [Ask<'_>; 2] {
    let mut h2 = H2::connect(sidegate);
    [
        Box::new(move |method, lines, body| {
            let mut head = format!("{method} /orders HTTP/1.1\r\nHost: localhost\r\n");
            lines.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
            if !body.is_empty() {
                head.push_str(&format!("Content-Length: {}\r\n", body.len()));
            }
            sidegate.wire().send(format!("{head}\r\n{body}")).answer_to(method)
        }),
        Box::new(move |method, lines, body| h2.send(method, "/orders", lines, body.as_bytes())),
    ]
}

/// The CORS headers of an answer, in order.
fn terms(answer: &Answer) -> Vec<String> {
    let lines = answer.headers.iter().map(|(name, value)| format!("{}: {value}", name.to_ascii_lowercase()));
    let mut terms: Vec<_> = lines.filter(|line| line.starts_with("access-control-")).collect();
    terms.sort();
    terms
}

/// A web server whose pages run a script in Chromium, and report to it.
struct Pages {
    recorder: Recorder,
    files: TempDir,
}

/// A browser, which is killed when dropped.
struct Browser(Child);

impl Pages {
    fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let page = files.path().join("page.html");
        let recorder = Recorder::scripted(move |request, stream| {
            let page = if request.target() == "/" { std::fs::read_to_string(&page)? } else { String::new() };
            let length = page.len();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{page}")?;
            Ok(true)
        });
        Self { recorder, files }
    }

    /// What `script` reports.
    fn run(&self, script: &str) -> Value {
        let page = format!("<!doctype html><script type=module>{script}</script>");
        std::fs::write(self.files.path().join("page.html"), page).unwrap();
        let reports = || self.recorder.requests().into_iter().filter(|request| request.target() == "/report");
        let before = reports().count();
        let mut command = Command::new("chromium");
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        // Our authority is not one of the system's.
        command.args(["--ignore-certificate-errors", "--no-proxy-server", "--remote-debugging-port=0"]);
        command.arg(format!("--user-data-dir={}", self.files.path().join("profile").display()));
        command.arg(format!("http://{}/", self.recorder.address()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let _browser = Browser(command.spawn().expect("chromium is installed"));
        let report = until("the page's report", || reports().nth(before));
        serde_json::from_slice(&report.body).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
