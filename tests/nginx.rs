//! nginx as the app: static files and locations that used to have `auth_basic`.

use serde_json::json;

use crate::support::{App, Builder, Issuer, Nginx, Sidegate, Users, bcrypt, until};

const VERSIONS: [&str; 2] = ["--http1.1", "--http2"];

#[test]
fn who_proves_who_they_are_reaches_nginx_and_nobody_else_does() {
    let (issuer, app) = (Issuer::new(), Nginx::start());
    let sidegate = guarded(&app, &issuer).start();
    for version in VERSIONS {
        let curl = |path: &str| sidegate.curl(path).args([version]);
        let token = issuer.token_with("alice", json!({ "email": "alice@example.com", "groups": ["admin"] }));
        let told = curl("/whoami").bearer(&token).header("Cookie: a=1").send();
        assert_eq!(
            told.json(),
            json!({
                "user": "alice", "email": "alice@example.com", "groups": "admin", "uri": "/whoami", "proto": "https",
                "host": sidegate.address().to_string(), "authorization": "", "cookie": "a=1",
            })
        );
        assert_eq!(curl("/whoami").basic("bob", "correct-horse").send().json()["user"], "bob");
        assert_eq!(curl("/whoami").header("X-Forwarded-User: root").send().status, 401);
        assert_eq!(curl("/whoami").basic("bob", "wrong-horse").send().status, 401);
        assert_eq!(curl("/whoami").bearer(&issuer.impostor().token("alice")).send().status, 401);
        curl("/files/secret.txt").basic("bob", "correct-horse").send().assert_refused(403, "rule_denied");
    }
    let expected = vec!["GET /whoami"; 4];
    until("nginx to have written its log", || (app.seen() == expected).then_some(()));
}

#[test]
fn files_come_with_ranges_and_validators_intact() {
    let (issuer, app) = (Issuer::new(), Nginx::start());
    let content: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    app.put("data.bin", &content);
    let sidegate = guarded(&app, &issuer).start();
    let token = issuer.token_with("alice", json!({ "groups": ["admin"] }));
    for version in VERSIONS {
        let curl = || sidegate.curl("/files/data.bin").args([version]).bearer(&token);
        let whole = curl().send();
        assert_eq!((whole.status, whole.body == content), (200, true));
        let etag = whole.header("ETag").unwrap().to_owned();
        let part = curl().args(["--range", "1000-1999"]).send();
        assert_eq!((part.status, part.body == content[1000..2000]), (206, true));
        assert_eq!(part.header("Content-Range"), Some("bytes 1000-1999/3000000"));
        let known = curl().header(&format!("If-None-Match: {etag}")).send();
        assert_eq!((known.status, known.body.len()), (304, 0));
        let head = curl().head().send();
        assert_eq!((head.status, head.header("Content-Length")), (200, Some("3000000")));
        let expected = curl().args(["--header", "Expect: 100-continue"]).body(vec![b'x'; 2 << 20]).send();
        assert_eq!(expected.status, 405, "nginx's own answer to a POST to a file");
    }
}

#[test]
fn nginx_keeps_its_connections_and_no_request_is_lost() {
    let (issuer, app) = (Issuer::new(), Nginx::start());
    let sidegate = guarded(&app, &issuer).start();
    let token = issuer.token("alice");
    let mut wire = sidegate.wire();
    for i in 0..300 {
        let request = format!("GET /n/{i} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
        let answer = wire.send(request).answer();
        assert_eq!((answer.status, answer.text()), (200, format!("GET /n/{i}\n")));
    }
    until("nginx to have written its log", || (app.seen().len() == 300).then_some(()));
}

#[test]
fn no_hostile_request_is_two_requests_to_nginx() {
    let (issuer, app) = (Issuer::new(), Nginx::start());
    let sidegate = guarded(&app, &issuer).start();
    let smuggled = "GET /admin HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for lines in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Content-Length: 0\r\nContent-Length: 44\r\n",
    ] {
        let mut wire = sidegate.wire();
        let _ = wire.try_send(format!("POST /public HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n0\r\n\r\n{smuggled}"));
        wire.read_to_end();
    }
    // The log is written in order: when this one is there, the others would be.
    assert_eq!(sidegate.get("/public", &[]).status, 200);
    until("nginx to have written its log", || app.seen().contains(&"GET /public".to_owned()).then_some(()));
    assert!(app.seen().iter().all(|request| request.ends_with(" /public")), "{:?}", app.seen());
}

/// What used to be `auth_basic` for everything, and a group for the files.
fn guarded(app: &impl App, issuer: &Issuer) -> Builder {
    Sidegate::before(app)
        .jwt(issuer)
        .users(&Users::default().and("bob", &bcrypt("correct-horse")))
        .rule(json!({ "path": "/public", "allow": "anyone" }))
        .rule(json!({ "path": "/files/**", "allow": { "groups": ["admin"] } }))
        .rule(json!({ "allow": "authenticated" }))
}
