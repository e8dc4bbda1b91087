//! What it is given at the start: every fault is named by its place, with what to do, all of them in one go.

use std::{fs, net::TcpListener};

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::support::{AUTHORITY, App, Builder, Issuer, Recorder, Sidegate, Users, command, sha};

#[test]
fn files_that_are_missing_are_named() {
    let app = Recorder::start();
    let missing = |sections: Value| usable(&app).set(sections).refuse();
    for (sections, key) in [
        (json!({ "listen": { "tls": { "key": "/nowhere/tls.key" } } }), "listen.tls.key"),
        (json!({ "listen": { "tls": { "certificate": "/nowhere/tls.crt" } } }), "listen.tls.certificate"),
        (json!({ "auth": { "basic": { "users_file": "/nowhere/users" } } }), "auth.basic.users_file"),
        (json!({ "auth": { "basic": { "groups_file": "/nowhere/groups" } } }), "auth.basic.groups_file"),
        (json!({ "auth": { "jwt": [{ "keys": { "file": "/nowhere/jwks.json" } }] } }), "auth.jwt[0].keys"),
    ] {
        missing(sections).assert_failed(64, &[key, "/nowhere/", "sidegate.yaml:"]);
    }
    // Readable by nobody: root reads everything, but not a directory.
    missing(json!({ "listen": { "tls": { "key": "/" } } })).assert_failed(64, &["listen.tls.key", "directory"]);
}

#[test]
fn a_certificate_must_be_valid_and_belong_to_its_key() {
    let app = Recorder::start();
    let with = |name: &str, content: &str| {
        let builder = usable(&app);
        builder.write(name, content);
        let path = builder.path(name).display().to_string();
        (builder.refuse(), path)
    };
    let (other, expired) = (AUTHORITY.issue(), AUTHORITY.issue_expired());
    let (finished, _) = with("tls.key", &other.key);
    finished.assert_failed(64, &["tls.crt", "tls.key", "does not belong"]);
    for (name, content) in
        [("tls.key", "not a key"), ("tls.crt", "not a certificate"), ("tls.key", ""), ("tls.crt", "")]
    {
        let (finished, path) = with(name, content);
        finished.assert_failed(64, &[&path]);
    }
    let truncated: String = other.certificate.lines().take(3).collect::<Vec<_>>().join("\n");
    let (finished, path) = with("tls.crt", &truncated);
    finished.assert_failed(64, &[&path]);

    let builder = usable(&app);
    builder.write("tls.key", &expired.key);
    let path = builder.write("tls.crt", &expired.certificate).display().to_string();
    builder.refuse().assert_failed(64, &[&path, "expired", "2020"]);
}

#[test]
fn a_users_file_is_read_to_its_last_line() {
    let app = Recorder::start();
    let lines = [
        format!("alice:{}", sha("correct-horse")),
        "# a comment".to_owned(),
        "no colon".to_owned(),
        "bob:hunter2".to_owned(),
        "carol:$9$unknown$hash".to_owned(),
        "dave:$2y$10$tooshort".to_owned(),
        format!("alice:{}", sha("again")),
        ":nameless".to_owned(),
    ];
    let builder = usable(&app).users(&Users { lines: lines.join("\n"), groups: None });
    let users = builder.path("users").display().to_string();
    let finished = builder.refuse();
    for line in [3, 4, 5, 6, 7, 8] {
        finished.assert_failed(64, &[&format!("{users}:{line}")]);
    }
    // What is wrong is told, what is secret is not.
    for secret in ["hunter2", "$9$unknown$hash", "tooshort", &sha("again").replace("{SHA}", "")] {
        assert!(!finished.stderr.contains(secret), "{secret} is shown: {}", finished.stderr);
    }

    let builder = usable(&app).users(&Users::one("alice", "correct-horse").groups("admin: alice\nno colon here\n"));
    let groups = builder.path("groups").display().to_string();
    builder.refuse().assert_failed(64, &[&format!("{groups}:2")]);
}

#[test]
fn an_issuer_must_have_a_key_that_can_be_used() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let with = |keys: String| {
        let builder = Sidegate::before(&app);
        let file = builder.write("broken.json", &keys);
        let shown = file.display().to_string();
        (builder.jwt_with(&issuer, json!({ "keys": { "file": file } })).refuse(), shown)
    };
    let mut encryption = Issuer::with(Algorithm::RS256).jwk();
    encryption["use"] = json!("enc");
    for keys in [
        String::new(),
        "not JSON".to_owned(),
        "{}".to_owned(),
        json!({ "keys": [] }).to_string(),
        json!({ "keys": [{ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA" }] }).to_string(),
        json!({ "keys": [encryption] }).to_string(),
        json!({ "keys": [{ "kty": "oct", "k": "c2VjcmV0" }] }).to_string(),
    ] {
        let (finished, file) = with(keys);
        finished.assert_failed(64, &[&file]);
    }
    let pem = |content: &str| {
        let builder = Sidegate::before(&app);
        let file = builder.write("broken.pem", content);
        builder.jwt_with(&issuer, json!({ "keys": { "file": null, "pem_file": file } })).refuse()
    };
    for content in ["", "not PEM", &AUTHORITY.issue().key] {
        pem(content).assert_failed(64, &["broken.pem"]);
    }
    let builder = Sidegate::before(&app);
    let short = builder.write("short-secret", "too short\n");
    let hmac = Issuer::with(Algorithm::HS256);
    let finished = builder.jwt_with(&hmac, json!({ "keys": { "secret_file": short } })).refuse();
    finished.assert_failed(64, &["short-secret", "32"]);
    assert!(!finished.stderr.contains("too short\n"));
}

#[test]
fn a_rule_that_can_never_match_is_a_fault() {
    let app = Recorder::start();
    let finished = usable(&app)
        .rule(json!({ "path": "/orders/**", "allow": "authenticated" }))
        .rule(json!({ "name": "late", "path": "/orders/new", "methods": ["POST"], "allow": { "groups": ["admin"] } }))
        .refuse();
    finished.assert_failed(64, &["rules[1]", "never match", "rules[0]"]);
}

#[test]
fn everything_that_is_wrong_is_told_in_one_go() {
    let app = Recorder::start();
    let builder = Sidegate::before(&app).users(&Users { lines: "broken\n".to_owned(), groups: None });
    builder.write("tls.key", &AUTHORITY.issue().key);
    let jwks = builder.write("empty.json", r#"{"keys":[]}"#);
    let finished = builder.jwt_with(&Issuer::new(), json!({ "keys": { "file": jwks } })).refuse();
    finished.assert_failed(64, &["tls.crt", "users:1", "empty.json"]);
}

#[test]
fn a_misspelt_key_is_told_with_what_was_meant() {
    let app = Recorder::start();
    let finished = usable(&app)
        .set(json!({ "upstream": { "conect_timeout": "1s" }, "limts": {}, "log": { "level": "loud" } }))
        .refuse();
    finished.assert_failed(64, &["conect_timeout", "`connect_timeout`", "limts", "`limits`", "loud", "sidegate.yaml:"]);
}

#[test]
fn a_file_that_forgets_authentication_or_encryption_does_not_load() {
    let app = Recorder::start();
    let nobody = Sidegate::before(&app).rule(json!({ "allow": "authenticated" }));
    nobody.refuse().assert_failed(64, &["auth"]);
    let no_rules = Sidegate::before(&app).set(json!({ "rules": [] }));
    no_rules.refuse().assert_failed(64, &["rules"]);
    let no_tls = usable(&app).set(json!({ "listen": { "tls": null } }));
    no_tls.refuse().assert_failed(64, &["listen", "plaintext"]);
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_its_line() {
    let missing = command(&["serve", "--config", "/nowhere/sidegate.yaml"], "");
    missing.assert_failed(64, &["/nowhere/sidegate.yaml"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("broken.yaml");
    for (content, place) in [("listen:\n  address: [\n", "broken.yaml:"), ("listen: {}\nlisten: {}\n", "broken.yaml:2")]
    {
        fs::write(&file, content).unwrap();
        command(&["serve", "--config", file.to_str().unwrap()], "").assert_failed(64, &[place]);
    }
}

#[test]
fn bad_usage_is_64_and_says_how_it_is_meant() {
    for args in [&["srve"][..], &["serve", "--nothing"], &[], &["check", "--output", "xml"]] {
        command(args, "").assert_failed(64, &["--help"]);
    }
    assert!(command(&["--help"], "").succeeded().contains("Examples"));
    assert!(command(&["serve", "--help"], "").succeeded().contains("--config"));
    assert!(command(&["--version"], "").succeeded().contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_port_in_use_is_1_and_named() {
    let app = Recorder::start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _held = TcpListener::bind(taken).unwrap();
    for key in ["listen", "admin"] {
        let finished = usable(&app).set(json!({ key: { "address": taken } })).refuse();
        finished.assert_failed(1, &[&format!("{key}.address"), &taken.to_string()]);
    }
}

#[test]
fn the_environment_and_flags_win_over_the_file() {
    let app = Recorder::start();
    let sidegate = usable(&app)
        .set(json!({ "upstream": { "address": "http://127.0.0.1:1" }, "log": { "access": "off" } }))
        .env("SIDEGATE__UPSTREAM__ADDRESS", &format!("http://{}", app.address()))
        .env("SIDEGATE__LOG__ACCESS", "json")
        .start();
    assert_eq!(sidegate.curl("/").basic("alice", "correct-horse").send().status, 200);
    assert_eq!(sidegate.access_log(1)[0]["response_code"], 200);

    let finished = usable(&app).env("SIDEGATE__UPSTREM__ADDRESS", "http://127.0.0.1:1").refuse();
    finished.assert_failed(64, &["SIDEGATE__UPSTREM__ADDRESS", "SIDEGATE__UPSTREAM__ADDRESS"]);
}

#[test]
fn one_worker_means_few_threads() {
    let app = Recorder::start();
    let sidegate = usable(&app).start();
    assert_eq!(sidegate.curl("/").basic("alice", "correct-horse").send().status, 200);
    assert!(sidegate.threads() <= 8, "{} threads", sidegate.threads());
}

/// A configuration with which it would start.
fn usable(app: &Recorder) -> Builder {
    Sidegate::before(app).users(&Users::one("alice", "correct-horse"))
}
