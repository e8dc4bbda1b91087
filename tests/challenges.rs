//! What a refused client is told: status, challenge, and a body in the form that it understands.

use serde_json::json;

use crate::support::{H2, Issuer, Recorder, Sidegate, Users, password};

#[test]
fn a_challenge_names_every_kind_of_credentials_that_is_accepted() {
    let (issuer, users, app) = (Issuer::new(), Users::one("alice", "correct-horse"), Recorder::start());
    let basic = r#"Basic realm="sidegate", charset="UTF-8""#;
    let bearer = r#"Bearer realm="sidegate""#;
    let both = Sidegate::before(&app).jwt(&issuer).users(&users).start();
    for (sidegate, challenges) in [
        (Sidegate::before(&app).jwt(&issuer).start(), vec![bearer]),
        (Sidegate::before(&app).users(&users).start(), vec![basic]),
        (both, vec![bearer, basic]),
    ] {
        let answer = sidegate.get("/", &[]);
        answer.assert_refused(401, "credentials_missing");
        assert_eq!(answer.header_values("WWW-Authenticate"), challenges);
        assert_eq!(answer.header("Content-Type"), Some("application/json"));
        assert_eq!(answer.header("Cache-Control"), Some("no-store"));
    }
    assert_eq!(app.requests().len(), 0);
}

#[test]
fn a_challenge_names_what_the_rule_takes_and_nothing_else() {
    let (issuer, users, app) = (Issuer::new(), Users::one("alice", "correct-horse"), Recorder::start());
    let sidegate = Sidegate::before(&app)
        .jwt_with(&issuer, json!({ "name": "corp", "token_from": [{ "header": "Authorization" }, { "cookie": "t" }] }))
        .users(&users)
        .rule(json!({ "path": "/people/**", "credentials": "basic", "allow": "authenticated" }))
        .rule(json!({ "path": "/machines/**", "credentials": ["corp"], "allow": "authenticated" }))
        .rule(json!({ "path": "/both/**", "credentials": { "all": ["corp", "basic"] }, "allow": "authenticated" }))
        .rule(json!({ "allow": "authenticated" }))
        .start();
    let (basic, bearer) = (r#"Basic realm="sidegate", charset="UTF-8""#, r#"Bearer realm="sidegate""#);
    let token = issuer.token("carol");
    let (alice, carol) = (password("alice", "correct-horse"), format!("Authorization: Bearer {token}"));
    let cookie = format!("Cookie: t={token}");
    for (path, challenges, good, bad) in [
        ("/people/", vec![basic], &[alice.as_str()][..], &[carol.as_str()][..]),
        ("/machines/", vec![bearer], &[carol.as_str()], &[alice.as_str()]),
        ("/both/", vec![bearer, basic], &[cookie.as_str(), alice.as_str()], &[alice.as_str()]),
        ("/", vec![bearer, basic], &[alice.as_str()], &[]),
    ] {
        let answer = sidegate.get(path, bad);
        answer.assert_refused(401, "credentials_missing");
        assert_eq!(answer.header_values("WWW-Authenticate"), challenges, "{path}");
        assert_eq!(sidegate.get(path, good).status, 200, "{path}");
    }
    let users: Vec<_> = app.requests().iter().map(|r| r.header("X-Forwarded-User").unwrap().to_owned()).collect();
    assert_eq!(users, ["alice", "carol", "carol", "alice"], "where both are proved the token says who it is");
}

#[test]
fn scripts_of_a_page_make_no_browser_ask_for_a_password_where_that_is_configured() {
    let (issuer, users, app) = (Issuer::new(), Users::one("alice", "correct-horse"), Recorder::start());
    let quiet = json!({ "auth": { "basic": { "prompt": "navigation" } } });
    let only = Sidegate::before(&app).users(&users).set(quiet.clone()).start();
    let both = Sidegate::before(&app).users(&users).jwt(&issuer).set(quiet).start();
    let always = Sidegate::before(&app).users(&users).start();
    let (asks, silent) = (r#"Basic realm="sidegate", charset="UTF-8""#, r#"xBasic realm="sidegate", charset="UTF-8""#);
    for (line, challenge) in [
        ("Sec-Fetch-Mode: navigate", asks),
        ("Sec-Fetch-Mode: cors", silent),
        ("Sec-Fetch-Mode: same-origin", silent),
        ("Sec-Fetch-Mode: no-cors", silent),
        ("X-Requested-With: XMLHttpRequest", silent),
        ("Accept: application/json, text/plain, */*", silent),
        ("Accept: text/html,application/xhtml+xml,application/json;q=0.9,*/*;q=0.8", asks),
        ("Accept: */*", asks),
        ("X-Other: 1", asks),
    ] {
        let answer = only.get("/", &[line]);
        assert_eq!(answer.status, 401, "{line}");
        assert_eq!(answer.header_values("WWW-Authenticate"), [challenge], "{line}");
        let bearer = r#"Bearer realm="sidegate""#;
        assert_eq!(both.get("/", &[line]).header_values("WWW-Authenticate"), [bearer, challenge], "{line}");
        assert_eq!(always.get("/", &[line]).header_values("WWW-Authenticate"), [asks], "{line}");
        let wrong = only.get("/", &[line, &password("alice", "wrong-horse")]);
        assert_eq!(wrong.header_values("WWW-Authenticate"), [challenge], "{line}");
        assert_eq!(only.get("/", &[line, &password("alice", "correct-horse")]).status, 200, "{line}");
    }
}

#[test]
fn the_realm_is_the_one_that_was_configured() {
    let app = Recorder::start();
    let sidegate = Sidegate::before(&app)
        .users(&Users::one("alice", "correct-horse"))
        .set(json!({ "auth": { "basic": { "realm": "Orders" } } }))
        .start();
    assert_eq!(sidegate.get("/", &[]).header("WWW-Authenticate"), Some(r#"Basic realm="Orders", charset="UTF-8""#));
}

#[test]
fn only_a_request_with_a_token_is_told_what_is_wrong_with_it() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app).jwt(&issuer).start();
    let challenge = |lines: &[&str]| sidegate.get("/", lines).header("WWW-Authenticate").unwrap().to_owned();
    assert!(!challenge(&[]).contains("error"));
    let token = issuer.token_with("alice", json!({ "exp": 1 }));
    let told = challenge(&[&format!("Authorization: Bearer {token}")]);
    assert!(told.contains(r#"error="invalid_token""#) && told.contains("expired"), "{told}");
}

#[test]
fn who_is_known_and_not_allowed_is_forbidden_and_not_asked_again() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app).jwt(&issuer).rule(json!({ "allow": { "groups": ["admin"] } })).start();
    let answer = sidegate.get("/", &[&format!("Authorization: Bearer {}", issuer.token("alice"))]);
    answer.assert_refused(403, "rule_denied");
    assert_eq!(answer.header("WWW-Authenticate"), None);
    let entry = &sidegate.access_log(1)[0];
    assert_eq!((&entry["auth_user"], &entry["auth_reason"]), (&json!("alice"), &json!("rule_denied")));
    assert_eq!(app.requests().len(), 0);
}

#[test]
fn a_refusal_takes_the_form_that_the_client_accepts() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app).jwt(&issuer).start();
    for (accept, content_type, contains) in [
        ("*/*", "application/json", r#""error":"credentials_missing""#),
        ("application/json", "application/json", r#""error":"credentials_missing""#),
        ("text/plain", "text/plain; charset=utf-8", "credentials_missing"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8", "<!doctype html>"),
    ] {
        let answer = sidegate.get("/", &[&format!("Accept: {accept}")]);
        assert_eq!((answer.status, answer.header("Content-Type")), (401, Some(content_type)), "{accept}");
        assert!(answer.text().contains(contains), "{accept}: {}", answer.text());
    }
}

#[test]
fn a_refusal_of_head_has_no_body_and_the_connection_goes_on() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app).jwt(&issuer).start();
    let mut wire = sidegate.wire();
    let refused = wire.send("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n").answer_to("HEAD");
    assert_eq!((refused.status, refused.body.len()), (401, 0));
    let token = issuer.token("alice");
    let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
    assert_eq!(wire.send(request).answer().status, 200);
    // And each request is decided by itself: what was allowed before does not count.
    assert_eq!(wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").answer().status, 401);
    assert_eq!(app.requests().len(), 1);
}

#[test]
fn a_grpc_client_is_told_in_its_own_words() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app).jwt(&issuer).rule(json!({ "allow": { "groups": ["admin"] } })).start();
    let mut h2 = H2::connect(&sidegate);
    let answer = h2.send("POST", "/svc/Call", &[("content-type", "application/grpc"), ("te", "trailers")], b"");
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("16")));
    let bearer = format!("Bearer {}", issuer.token("alice"));
    let fields = [("content-type", "application/grpc"), ("te", "trailers"), ("authorization", &bearer)];
    assert_eq!(h2.send("POST", "/svc/Call", &fields, b"").header("grpc-status"), Some("7"));
}

#[test]
fn a_request_has_one_id_in_the_answer_the_log_and_the_app() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app).jwt(&issuer).start();
    let refused = sidegate.get("/", &["X-Request-Id: b1946ac9-2492"]);
    assert_eq!(refused.json()["request_id"], "b1946ac9-2492");
    // One that could forge a line of the log is replaced.
    let replaced = sidegate.get("/", &[r#"X-Request-Id: x","auth_user":"root"#]);
    let id = replaced.json()["request_id"].as_str().unwrap().to_owned();
    assert!(id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{id}");
    sidegate.get("/", &[&format!("Authorization: Bearer {}", issuer.token("alice")), "X-Request-Id: seen-by-the-app"]);
    assert_eq!(app.only_request().header("X-Request-Id"), Some("seen-by-the-app"));
    let log = sidegate.access_log(3);
    assert_eq!(log[0]["request_id"], "b1946ac9-2492");
    assert_eq!(log[1]["request_id"], id.as_str());
    assert_eq!(log[2]["request_id"], "seen-by-the-app");
}
