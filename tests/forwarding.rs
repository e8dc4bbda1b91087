//! What the app sees of the credentials, by the rule: nothing, what was checked, a signed identity, or a login of its own.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    support::{Builder, H2, Issuer, Recorder, Sidegate, Users},
    websocket::{echo, handshake},
};

/// The login of sidegate at the app, made up here.
fn login() -> String {
    format!("Basic {}", STANDARD.encode("sidegate:not-a-secret-at-all"))
}

#[test]
fn each_rule_says_what_the_app_sees_of_the_credentials() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let builder = Sidegate::before(&app);
    let file = builder.write("login", &format!("{}\n", login()));
    let rule =
        |path: &str, forward: Value| json!({ "path": path, "allow": "authenticated", "forward_credentials": forward });
    let sidegate = builder
        .jwt(&issuer)
        .users(&Users::one("bob", "correct-horse"))
        .rule(rule("/strip", json!(false)))
        .rule(rule("/pass", json!(true)))
        .rule(rule("/signed", json!("signed")))
        .rule(rule("/file", json!({ "file": file })))
        .rule(json!({ "path": "/own-login", "allow": "anyone", "forward_credentials": true }))
        .rule(json!({ "path": "/public", "allow": "anyone" }))
        .rule(json!({ "path": "/public-file", "allow": "anyone", "forward_credentials": { "file": file } }))
        .rule(json!({ "allow": "authenticated" }))
        .set(json!({ "identity": { "signed": { "audience": "app" }, "forward_credentials": "signed" } }))
        .start();
    let token = format!("Bearer {}", issuer.token("alice"));
    let password = format!("Basic {}", STANDARD.encode("bob:correct-horse"));
    let seen = |path: &str, value: &str| {
        assert_eq!(sidegate.get(path, &[&format!("Authorization: {value}")]).status, 200, "{path}");
        app.last_request().header_values("Authorization").into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let nothing: [&str; 0] = [];
    for sent in [&token, &password] {
        assert_eq!(seen("/strip", sent), nothing);
        assert_eq!(seen("/pass", sent), [sent.as_str()]);
        assert_eq!(seen("/file", sent), [login()]);
        for path in ["/signed", "/as-for-all-rules"] {
            let seen = seen(path, sent);
            let signed = app.last_request().header("X-Sidegate-Identity").unwrap().to_owned();
            assert_eq!(seen, [format!("Bearer {signed}")], "{path}");
        }
    }
    // Where nobody is asked, an app with a login of its own gets what the client sent, if that is wished.
    assert_eq!(seen("/own-login", "Digest of-the-app"), ["Digest of-the-app"]);
    assert_eq!(seen("/public", &token), nothing);
    assert_eq!(seen("/public-file", &token), [login()]);
    assert_eq!(app.last_request().header("X-Sidegate-Identity"), None);
    assert_eq!(sidegate.get("/public-file", &[]).status, 200);
    assert_eq!(app.last_request().header("Authorization"), Some(&*login()));
    let logged = sidegate.access_lines(14).concat() + &sidegate.log();
    assert!(!logged.contains(login().split_once(' ').unwrap().1), "{logged}");
}

#[test]
fn only_a_rule_that_shows_credentials_refuses_those_that_nobody_checks() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let sidegate = Sidegate::before(&app)
        .jwt_with(&issuer, json!({ "token_from": [{ "cookie": "t" }, { "header": "Authorization" }] }))
        .rule(json!({ "path": "/pass", "allow": "authenticated", "forward_credentials": true }))
        .rule(json!({ "allow": "authenticated" }))
        .start();
    let lines = [format!("Cookie: t={}; a=b", issuer.token("alice")), "Authorization: Basic YWRtaW46eA==".to_owned()];
    let ask = |path: &str| sidegate.get(path, &lines.each_ref().map(String::as_str));
    ask("/pass").assert_refused(401, "credentials_ambiguous");
    assert_eq!(ask("/").status, 200);
    let request = app.only_request();
    assert_eq!((request.header("Authorization"), request.header("Cookie")), (None, Some("a=b")));
}

#[test]
fn a_token_is_taken_out_wherever_it_was_when_something_else_is_shown() {
    let (app, issuer) = (echo(), Issuer::new());
    let builder = Sidegate::before(&app);
    let file = builder.write("login", &login());
    let sidegate = builder
        .jwt_with(&issuer, json!({ "token_from": [{ "cookie": "t" }, { "query": "t" }, { "header": "X-T" }] }))
        .rule(json!({ "path": "/file", "allow": "authenticated", "forward_credentials": { "file": file } }))
        .rule(json!({ "path": "/pass", "allow": "authenticated", "forward_credentials": true }))
        .set(json!({ "identity": { "signed": { "audience": "app" }, "forward_credentials": "signed" } }))
        .rule(json!({ "allow": "authenticated" }))
        .start();
    let token = issuer.token("alice");
    let lines = format!("Origin: https://localhost\r\nCookie: t={token}\r\nX-T: {token}\r\n");
    for path in ["/file", "/"] {
        let answer = sidegate.wire().send(handshake(&format!("{path}?t={token}&a=b"), &lines)).answer();
        assert_eq!(answer.status, 101, "{path}: {}", answer.text());
        let request = app.last_request();
        assert_eq!(request.target(), format!("{path}?a=b"));
        assert!(!format!("{request:?}").contains(&token), "{request:?}");
        assert!(request.header("Authorization").is_some(), "{request:?}");
    }
    assert_eq!(sidegate.wire().send(handshake("/pass", &lines)).answer().status, 101);
    assert_eq!(app.last_request().header("X-T"), Some(&*token));
}

#[test]
fn a_login_that_cannot_be_sent_is_reported_at_the_start_and_never_shown() {
    let app = Recorder::start();
    let start = |content: &str| {
        let builder = Sidegate::before(&app);
        let file = builder.write("login", content);
        let forward = json!({ "identity": { "forward_credentials": { "file": file } } });
        users(builder)
            .set(forward)
            .rule(json!({ "path": "/a", "allow": "authenticated" }))
            .rule(json!({ "allow": "authenticated" }))
    };
    for (content, says) in [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("Bearer hidden-value\nBearer hidden-value", "there is more than one line in the file"),
        ("Bearer hidden-value\u{1}", "there are characters in the file that a header cannot carry"),
        ("Bearer hidden-välue", "there are characters in the file that a header cannot carry"),
        ("hidden-value", "the file does not begin with the name of a scheme and a space"),
        (&format!("Bearer {}", "hidden-value".repeat(800)), "the value is longer than 8 KiB"),
    ] {
        let refused = start(content).refuse();
        refused.assert_failed(64, &["login: ", says, "it must hold one line"]);
        assert_eq!(refused.stderr.matches(says).count(), 1, "{}", refused.stderr);
        assert!(!refused.stderr.contains("hidden-"), "{}", refused.stderr);
    }
    let forward =
        json!({ "path": "/**", "allow": "authenticated", "forward_credentials": { "file": "/nowhere/login" } });
    let refused = users(Sidegate::before(&app)).rule(forward).refuse();
    refused.assert_failed(64, &["rules[0].forward_credentials.file", "there is no file /nowhere/login"]);
    // What is in effect is shown without it.
    let mut good = start(&login());
    let shown = good.run(&["check", "--config"]);
    assert!(shown.succeeded().contains("login") && !shown.stdout.contains(&login()), "{}", shown.stdout);
}

fn users(builder: Builder) -> Builder {
    builder.users(&Users::one("bob", "correct-horse"))
}

#[test]
fn an_app_that_sees_credentials_sees_none_under_another_spelling_of_their_header() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let sidegate = Sidegate::before(&app)
        .jwt_with(&issuer, json!({ "token_from": [{ "header": "Authorization" }, { "header": "X-Api-Token" }] }))
        .set(json!({ "identity": { "forward_credentials": true } }))
        .start();
    let token = issuer.token("alice");
    let lines = [format!("X-Api-Token: {token}"), "X.Api.Token: forged-one".to_owned()];
    let more = ["X!Api-Token: forged-two", "x-api.token: forged-three", "Authorization.: Bearer forged-four"];
    let lines: Vec<_> = lines.iter().map(String::as_str).chain(more).collect();
    assert_eq!(sidegate.get("/", &lines).status, 200);
    let seen = app.only_request();
    assert_eq!(seen.lookalikes("x-api-token"), [token.as_str()]);
    assert_eq!(seen.lookalikes("authorization"), [""; 0]);
}

#[test]
fn a_preflight_that_passes_shows_the_app_no_credentials_of_anybody() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    for fixed in [false, true] {
        let builder = Sidegate::before(&app);
        let file = builder.write("login", &login());
        let forward = if fixed { json!({ "file": file }) } else { json!(true) };
        let sidegate = builder
            .jwt_with(&issuer, json!({ "token_from": [{ "header": "Authorization" }, { "header": "X-Api-Token" }] }))
            .set(json!({ "cors": { "preflight": "pass" }, "identity": { "forward_credentials": forward } }))
            .start();
        let sent = [("X-Api-Token", "nobody-has-checked-it"), ("Authorization", "Bearer unchecked-too")];
        let page = [("Origin", "https://app.example.com"), ("Access-Control-Request-Method", "PUT")];
        let fields = [sent, page].concat();
        assert_eq!(H2::connect(&sidegate).send("OPTIONS", "/", &fields, b"").status, 200);
        let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!("OPTIONS / HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
        assert_eq!(sidegate.wire().send(request).answer().status, 200);
        for request in &app.requests()[if fixed { 2 } else { 0 }..] {
            for name in ["authorization", "x-api-token"] {
                assert_eq!(request.lookalikes(name), [""; 0], "{name}");
            }
        }
    }
    assert_eq!(app.requests().len(), 4);
}
