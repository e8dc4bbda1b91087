//! What the app is told about the connection, and what it is not shown.

use serde_json::json;

use crate::support::{H2, Issuer, Recorder, Sidegate, Users, password};

#[test]
fn the_app_learns_what_the_client_connected_to() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app).jwt(&issuer).start();
    let bearer = format!("Authorization: Bearer {}", issuer.token("alice"));
    let port = sidegate.address().port().to_string();
    let host = format!("shop.example:{port}");
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{bearer}\r\n\r\n");
    assert_eq!(sidegate.wire().send(request).answer().status, 200);
    let request = app.only_request();
    assert_eq!(request.header("X-Forwarded-For"), Some("127.0.0.1"));
    assert_eq!(request.header("X-Forwarded-Proto"), Some("https"));
    assert_eq!(request.header("X-Forwarded-Host"), Some(host.as_str()));
    assert_eq!(request.header("X-Forwarded-Port"), Some(port.as_str()));
    assert_eq!(request.header("Host"), Some(host.as_str()));
}

#[test]
fn the_authority_of_http2_is_the_host() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app).jwt(&issuer).start();
    let bearer = format!("Bearer {}", issuer.token("alice"));
    assert_eq!(H2::connect(&sidegate).send("GET", "/", &[("authorization", &bearer)], b"").status, 200);
    let request = app.only_request();
    let host = format!("localhost:{}", sidegate.address().port());
    assert_eq!(request.line, "GET / HTTP/1.1");
    assert_eq!(request.header("Host"), Some(host.as_str()));
    assert_eq!(request.header("X-Forwarded-Host"), Some(host.as_str()));
}

#[test]
fn without_tls_the_app_is_told_http() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app).jwt(&issuer).plaintext().start();
    sidegate.get("/", &[&format!("Authorization: Bearer {}", issuer.token("alice"))]);
    assert_eq!(app.only_request().header("X-Forwarded-Proto"), Some("http"));
}

#[test]
fn what_a_client_says_about_its_way_here_is_not_believed() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app).jwt(&issuer).rule(json!({ "allow": "anyone" })).start();
    let lies = [
        "X-Forwarded-For: 203.0.113.9",
        "X-Forwarded-For: 203.0.113.10",
        "X_Forwarded_For: 203.0.113.11",
        "X-Forwarded-Host: evil.test",
        "X-Forwarded-Proto: gopher",
        "X-Forwarded-Port: 1",
        "X-Forwarded-Prefix: /evil",
        "X-Forwarded-Uri: /evil",
        "X-Forwarded-Server: evil.test",
        "X-Forwarded-Ssl: off",
        "X-Forwarded-Method: EVIL",
        "X-Forwarded-Client-Cert: evil",
        "X-Real-IP: 203.0.113.12",
        "Forwarded: for=203.0.113.13;host=evil.test;proto=gopher",
    ];
    sidegate.get("/", &lies);
    let request = app.only_request();
    assert_eq!(request.lookalikes("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(request.lookalikes("x-forwarded-proto"), ["https"]);
    assert_eq!(request.lookalikes("x-forwarded-host"), ["localhost"]);
    for (name, value) in &request.headers {
        let lie = ["203.0.113", "evil", "gopher", "EVIL"].iter().find(|lie| value.contains(**lie));
        assert_eq!(lie, None, "{name}: {value}");
    }
}

#[test]
fn the_app_does_not_see_the_credentials() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let builder = || {
        Sidegate::before(&app)
            .jwt(&issuer)
            .users(&Users::one("alice", "correct-horse"))
            .rule(json!({ "path": "/public", "allow": "anyone" }))
            .rule(json!({ "allow": "authenticated" }))
    };
    let bearer = format!("Authorization: Bearer {}", issuer.token("alice"));
    let basic = password("alice", "correct-horse");
    let sidegate = builder().start();
    for credentials in [&bearer, &basic] {
        for path in ["/", "/public"] {
            sidegate.get(path, &[credentials, "Proxy-Authorization: Basic eDp5"]);
            let request = app.last_request();
            assert!(request.lookalikes("authorization").is_empty(), "{path} {request:?}");
            assert!(request.lookalikes("proxy-authorization").is_empty(), "{path} {request:?}");
        }
    }
    let sidegate = builder().set(json!({ "identity": { "forward_credentials": true } })).start();
    for credentials in [&bearer, &basic] {
        sidegate.get("/", &[credentials]);
        let seen = app.last_request().header("Authorization").map(str::to_owned);
        assert_eq!(seen.as_deref(), credentials.strip_prefix("Authorization: "));
    }
}

#[test]
fn blanks_at_the_ends_of_a_value_are_no_part_of_it() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let sidegate = Sidegate::before(&app).jwt(&issuer).start();
    let token = format!(" Bearer {}\t", issuer.token("alice"));
    let fields =
        [("authorization", &*token), ("cookie", "a=b; "), ("user-agent", "\tDalvik/2.1.0 (Linux) "), ("x-a", " ")];
    let lines = fields.map(|(name, value)| format!("{name}:{value}"));
    let mut h2 = H2::connect(&sidegate);
    assert_eq!(sidegate.get("/", &lines.each_ref().map(String::as_str)).status, 200);
    let over_h1 = app.last_request();
    let mut h2 = |fields: &[_]| h2.send("GET", "/", fields, b"");
    assert_eq!(h2(&fields).status, 200);
    for request in [over_h1, app.last_request()] {
        assert_eq!(request.header("X-Forwarded-User"), Some("alice"));
        assert_eq!(request.header_values("Cookie"), ["a=b;"]);
        assert_eq!(request.header_values("User-Agent"), ["Dalvik/2.1.0 (Linux)"]);
        assert_eq!(request.header_values("X-A"), [""]);
    }
    // Two are two, whatever stands between them.
    let twice = [("authorization", &*token), ("authorization", token.trim())];
    h2(&twice).assert_refused(401, "credentials_ambiguous");
    assert_eq!(app.requests().len(), 2);
}
