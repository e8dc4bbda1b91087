//! The access log, in its forms, and what must never be in any log.

use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::support::{App, Builder, H2, Issuer, Nothing, Recorder, Sidegate, Users, password, until};

/// The fields of the contract, which are Envoy's and Istio's where those have one.
const FIELDS: [&str; 19] = [
    "start_time",
    "method",
    "path",
    "protocol",
    "response_code",
    "bytes_received",
    "bytes_sent",
    "duration",
    "upstream_service_time",
    "x_forwarded_for",
    "user_agent",
    "request_id",
    "authority",
    "downstream_remote_address",
    "auth_method",
    "auth_user",
    "auth_issuer",
    "auth_reason",
    "rule",
];

#[test]
fn an_allowed_request_is_one_line_with_all_its_fields() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app).jwt(&issuer).rule(json!({ "name": "all", "allow": "authenticated" })).start();
    let curl = sidegate.curl("/orders/7?secret=query").bearer(&issuer.token("alice")).body("hello");
    assert_eq!(curl.args(["--user-agent", "test/1.0"]).send().status, 200);
    let log = sidegate.access_log(1);
    assert_eq!(log.len(), 1);
    let entry = log[0].as_object().unwrap();
    for field in FIELDS {
        assert!(entry.contains_key(field), "{field} is missing in {entry:?}");
    }
    let expected = json!({
        "method": "POST", "path": "/orders/7", "response_code": 200, "bytes_received": 5, "bytes_sent": 3,
        "user_agent": "test/1.0", "authority": sidegate.address().to_string(), "auth_method": "jwt",
        "auth_user": "alice", "rule": "all",
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&entry[field], value, "{field}");
    }
    assert!(entry["duration"].is_number() && entry["upstream_service_time"].is_number(), "{entry:?}");
    assert!(entry["downstream_remote_address"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(entry["start_time"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn a_line_cannot_be_forged() {
    let app = Recorder::start();
    let sidegate = Sidegate::before(&app).jwt(&Issuer::new()).start();
    let evil = r#"x","response_code":200,"auth_user":"root"#;
    sidegate.get("/a\"b%22", &[&format!("User-Agent: {evil}"), "Host: also"]);
    sidegate.get("/", &[&format!("User-Agent: {evil}\u{e9}")]);
    let log = sidegate.access_log(2);
    assert!(log.iter().all(|entry| entry["auth_user"].is_null() || entry["auth_user"] == "-"), "{log:?}");
    assert!(log[1]["user_agent"].as_str().unwrap().starts_with(evil));
}

#[test]
fn combined_is_the_format_of_nginx_to_the_byte_but_for_the_query() {
    let app = Recorder::start();
    let sidegate = Sidegate::before(&app)
        .users(&Users::one("alice", "correct-horse"))
        .set(json!({ "log": { "access": "combined" } }))
        .start();
    let credentials = password("alice", "correct-horse");
    sidegate.get("/a?b=c", &[&credentials, "User-Agent: test/1.0 \"quoted\" \\ é", "Referer: http://r.test/"]);
    sidegate.get("/", &[]);
    H2::connect(&sidegate).send("GET", "/", &[], b"");
    let lines = sidegate.access_lines(3);
    let (client, rest) = lines[0].split_once(" [").unwrap();
    let (time, rest) = rest.split_once("] ").unwrap();
    assert_eq!(client, "127.0.0.1 - alice");
    assert_eq!(rest, r#""GET /a HTTP/1.1" 200 3 "http://r.test/" "test/1.0 \x22quoted\x22 \x5C \xC3\xA9""#);
    // 20/Nov/2026:16:31:49 +0000
    let shape: String = time
        .chars()
        .map(|c| {
            if c.is_ascii_digit() {
                '9'
            } else if c.is_alphabetic() {
                'A'
            } else {
                c
            }
        })
        .collect();
    assert!(shape == "99/AAA/9999:99:99:99 +9999" || shape == "99/AAA/9999:99:99:99 -9999", "{time}");
    assert!(lines[1].starts_with("127.0.0.1 - - ["), "{}", lines[1]);
    assert!(lines[1].contains(r#""GET / HTTP/1.1" 401 "#) && lines[1].ends_with(r#""-" "-""#), "{}", lines[1]);
    assert!(lines[2].contains(r#""GET / HTTP/2.0" 401 "#), "{}", lines[2]);
}

#[test]
fn off_is_silence() {
    let app = Recorder::start();
    let mut sidegate = Sidegate::before(&app).jwt(&Issuer::new()).set(json!({ "log": { "access": "off" } })).start();
    sidegate.get("/", &[]);
    sidegate.terminate();
    assert!(sidegate.exit().success());
    assert_eq!(sidegate.access_lines(0), [""; 0]);
}

#[test]
fn no_secret_is_in_any_log_at_any_level() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let users = Users::one("alice", "canary-password");
    let mut sidegate =
        Sidegate::before(&app).jwt(&issuer).users(&users).set(json!({ "log": { "level": "trace" } })).start();
    let token = issuer.token("bob");
    let expired = issuer.token_with("bob", json!({ "exp": 1 }));
    let basic = |password: &str| STANDARD.encode(format!("alice:{password}"));
    let canaries = [
        token.clone(),
        expired.clone(),
        format!("{token}x"),
        "canary-password".to_owned(),
        basic("canary-password"),
        "canary-wrong".to_owned(),
        basic("canary-wrong"),
        "canary-cookie".to_owned(),
        "canary-query".to_owned(),
        "canary-proxy".to_owned(),
    ];
    let path = "/?access_token=canary-query";
    for credentials in [
        format!("Bearer {token}"),
        format!("Bearer {expired}"),
        format!("Bearer {token}x"),
        format!("Basic {}", basic("canary-password")),
        format!("Basic {}", basic("canary-wrong")),
    ] {
        let lines = ["Cookie: session=canary-cookie", "Proxy-Authorization: canary-proxy"];
        sidegate.get(path, &[&format!("Authorization: {credentials}"), lines[0], lines[1]]);
        let fields = [("authorization", credentials.as_str()), ("cookie", "session=canary-cookie")];
        H2::connect(&sidegate).send("GET", path, &fields, b"");
    }
    sidegate.terminate();
    assert!(sidegate.exit().success());
    let access = sidegate.access_lines(10).join("\n");
    let log = sidegate.log();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "nothing was logged at this level:\n{log}");
    for canary in canaries {
        for (name, text) in [("access log", &access), ("log", &log)] {
            let line = text.lines().find(|line| line.contains(&canary));
            assert_eq!(line, None, "{canary} is in the {name}");
        }
    }
}

#[test]
fn who_was_refused_and_why_is_in_the_line() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate =
        Sidegate::before(&app).jwt(&issuer).rule(json!({ "name": "ops", "allow": { "groups": ["ops"] } })).start();
    sidegate.get("/", &[&format!("Authorization: Bearer {}", issuer.token("alice"))]);
    sidegate.get("/", &[]);
    let log = sidegate.access_log(2);
    let pick = |entry: &Value| ["auth_method", "auth_user", "auth_reason", "rule"].map(|field| entry[field].clone());
    assert_eq!(pick(&log[0]), [json!("jwt"), json!("alice"), json!("rule_denied"), json!("ops")]);
    assert_eq!(log[1]["auth_reason"], "credentials_missing");
}

#[test]
fn logs_that_nobody_reads_hold_up_neither_a_request_nor_the_end() {
    let app = Nothing::reserve();
    // An app that is down is waited for until then, each time.
    let mut sidegate = public(&app).set(json!({ "upstream": { "connect_timeout": "1ms" } })).start();
    let outputs = sidegate.outputs();
    let unread = outputs.each_ref().map(|lines| lines.lock().unwrap());
    // Each writes a line to either output; 64 KiB fit into a pipe.
    let mut wire = sidegate.wire();
    for _ in 0..2000 {
        assert_eq!(wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").answer().status, 502);
    }
    assert_eq!(sidegate.ask_admin("/livez").status, 200);
    sidegate.terminate();
    let start = Instant::now();
    assert!(sidegate.exit().success());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop(unread);
}

#[test]
fn the_last_lines_are_written_before_the_end() {
    let app = Nothing::reserve();
    let mut sidegate = public(&app).start();
    assert_eq!(sidegate.get("/last", &[]).status, 502);
    sidegate.terminate();
    assert!(sidegate.exit().success());
    assert!(sidegate.access_lines(1)[0].contains("/last"));
    until("the last diagnostics", || sidegate.log().contains("shutting down").then_some(()));
}

#[test]
fn no_password_of_an_authority_is_in_the_access_log() {
    let app = Recorder::start();
    let sidegate = public(&app).start();
    for (target, host) in
        [("/", "alice:canary@a.test"), ("http://alice:canary@a.test/", "a.test"), ("/", "x@alice:canary@a.test")]
    {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        sidegate.wire().send(head).answer();
    }
    for line in sidegate.access_log(3) {
        assert_eq!(line["authority"], "a.test", "{line}");
        assert!(!line.to_string().contains("canary"), "{line}");
    }
}

fn public(app: &impl App) -> Builder {
    Sidegate::before(app).plaintext().rule(json!({ "allow": "anyone" }))
}
