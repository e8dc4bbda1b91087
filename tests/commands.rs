//! What a person types: the commands, their output, and their exit codes.

use std::{fs, net::TcpListener};

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::support::{AUTHORITY, Builder, Issuer, Recorder, Sidegate, Users, bcrypt_with_cost, command, sha};

#[test]
fn check_shows_what_would_be_served_and_no_secret() {
    let (app, issuer) = (Recorder::start(), Issuer::with(Algorithm::HS256));
    let mut builder = Sidegate::before(&app)
        .jwt(&issuer)
        .users(&Users::one("alice", "correct-horse"))
        .rule(json!({ "name": "health", "path": "/healthz", "allow": "anyone" }))
        .rule(
            json!({ "name": "writers", "path": "/orders/**", "methods": ["POST"], "allow": { "groups": ["writer"] } }),
        )
        .rule(json!({ "allow": "authenticated" }));
    let finished = builder.run(&["check", "--config"]);
    let shown = finished.succeeded();
    // The defaults as well: it is the configuration in effect.
    for text in ["response_timeout: 60s", "max_header_bytes: 32KiB", "health", "/orders/**", "writer", "rule-3"] {
        assert!(shown.contains(text), "{text} is missing in {shown}");
    }
    let hash = sha("correct-horse").replace("{SHA}", "");
    for secret in [issuer.secret.as_str(), &hash, "BEGIN"] {
        assert!(!shown.contains(secret) && !finished.stderr.contains(secret), "{secret} is in {shown}");
    }
    assert!(!shown.contains('\u{1b}'), "colours in a pipe");

    let report = builder.run(&["check", "--output", "json", "--config"]);
    let report: Value = serde_json::from_str(report.succeeded()).unwrap();
    assert_eq!((&report["ok"], &report["problems"]), (&json!(true), &json!([])));
    assert_eq!(report["config"]["rules"][1]["name"], "writers");
}

#[test]
fn what_check_accepts_serve_accepts_and_the_other_way_round() {
    let app = Recorder::start();
    let broken = |builder: Builder| {
        builder.write("tls.key", &AUTHORITY.issue().key);
        builder.users(&Users { lines: "no colon\n".to_owned(), groups: None })
    };
    let mut checked = broken(Sidegate::before(&app));
    let finished = checked.run(&["check", "--config"]);
    finished.assert_failed(64, &["tls.crt", "users:1"]);
    let report = checked.run(&["check", "--output", "json", "--config"]);
    assert_eq!(report.code, 64);
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!((&report["ok"], report["problems"].as_array().unwrap().len()), (&json!(false), 2), "{report}");
    let served = broken(Sidegate::before(&app)).refuse();
    assert_eq!(served.code, 64);
    assert_eq!(served.stderr.lines().count(), finished.stderr.lines().count(), "{}", served.stderr);
}

#[test]
fn check_opens_no_port() {
    let app = Recorder::start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut builder = Sidegate::before(&app)
        .users(&Users::one("alice", "correct-horse"))
        .set(json!({ "listen": { "address": taken.local_addr().unwrap() } }));
    builder.run(&["check", "--config"]).succeeded();
}

#[test]
fn check_warns_of_what_is_allowed_and_unwise() {
    let app = Recorder::start();
    let mut builder = Sidegate::before(&app)
        .users(&Users::one("alice", "correct-horse"))
        .rule(json!({ "name": "open", "path": "/shop/*/public", "allow": "anyone" }))
        .rule(json!({ "name": "wide", "path": "/files/**", "methods": ["GET"], "allow": "anyone" }))
        .rule(json!({ "name": "secret", "path": "/files/secret/**", "allow": { "groups": ["admin"] } }))
        .set(json!({ "upstream": { "address": "http://192.0.2.1:5000" } }));
    let finished = builder.run(&["check", "--config"]);
    let shown = finished.succeeded();
    assert!(shown.contains("warning: upstream.address"), "{shown}");
    assert!(shown.contains("`wide`") && shown.contains("`secret`"), "{shown}");
    assert!(!shown.contains("`open` comes first"), "{shown}");
}

#[test]
fn check_shows_hosts_and_clients_where_a_rule_has_them() {
    let app = Recorder::start();
    let checked = |rule: Value| {
        let rules = [rule, json!({ "allow": "authenticated" })];
        let builder = Sidegate::before(&app).users(&Users::one("alice", "correct-horse"));
        let mut builder = rules.into_iter().fold(builder, Builder::rule);
        builder.run(&["check", "--config"]).succeeded().to_owned()
    };
    let shown = checked(json!({ "path": "/a", "allow": "anyone" }));
    assert!(shown.contains("   NAME    METHODS  PATH  ALLOWS"), "{shown}");
    let hosts = json!({ "path": "/a", "hosts": ["A.example", "*.b.example"], "allow": "anyone" });
    let shown = checked(hosts);
    assert!(shown.contains("NAME    METHODS  HOSTS                  PATH  ALLOWS"), "{shown}");
    assert!(shown.contains("rule-1  any      a.example,*.b.example  /a    anyone"), "{shown}");
    assert!(shown.contains("rule-2  any      any                    any   authenticated"), "{shown}");
    let shown = checked(json!({ "client_ips": ["10.0.0.0/8", "::ffff:192.0.2.7"], "allow": "anyone" }));
    assert!(shown.contains("rule-1  any      any   10.0.0.0/8,192.0.2.7  anyone"), "{shown}");
}

#[test]
fn check_warns_of_public_rules_that_take_what_others_protect_and_of_no_usual_exception() {
    let app = Recorder::start();
    let warnings = |rules: Value| -> Vec<String> {
        let builder = Sidegate::before(&app).users(&Users::one("alice", "correct-horse"));
        let mut builder = rules.as_array().unwrap().iter().cloned().fold(builder, Builder::rule);
        let report: Value =
            serde_json::from_str(builder.run(&["check", "--output", "json", "--config"]).succeeded()).unwrap();
        let warnings = report["warnings"].as_array().unwrap().iter();
        warnings
            .map(|warning| format!("{}: {}", warning["place"].as_str().unwrap(), warning["what"].as_str().unwrap()))
            .filter(|warning| warning.contains("public"))
            .collect()
    };
    let all = json!({ "allow": "authenticated" });
    for rules in [
        json!([{ "path": "/healthz", "allow": "anyone" }, all]),
        json!([{ "path": "/", "allow": "anyone" }, { "path": "/static/**", "allow": "anyone" }, { "path": "/**", "allow": "authenticated" }]),
        json!([{ "path": "/admin/login", "allow": "anyone" }, { "path": "/admin/**", "allow": "authenticated" }]),
        json!([{ "path": "/a/**", "methods": ["GET"], "allow": "anyone" }, { "path": "/a/**", "methods": ["POST"], "allow": "authenticated" }]),
        json!([{ "client_ips": ["10.0.0.0/8"], "allow": "anyone" }, all]),
        json!([{ "hosts": ["www.example.com"], "allow": "anyone" }, all]),
        json!([{ "path": "/admin/**", "allow": "authenticated" }, { "allow": "anyone" }]),
    ] {
        assert_eq!(warnings(rules.clone()), [""; 0], "{rules}");
    }
    for (rules, place) in [
        (json!([{ "path": "/a", "allow": "anyone" }, { "path": "/a/**", "allow": "authenticated" }]), "rules[0]: "),
        (json!([{ "path": "/a/*", "allow": "anyone" }, { "path": "/a/**", "allow": "authenticated" }]), "rules[0]: "),
        (
            json!([{ "path": "/a/**", "methods": ["GET"], "allow": "anyone" }, { "path": "/a/b", "methods": ["HEAD", "POST"], "allow": "authenticated" }]),
            "rules[0]: ",
        ),
        (json!([{ "path": "/admin", "allow": "authenticated" }, { "allow": "anyone" }]), "rules[0].path: "),
        (
            json!([{ "path": "/a/*", "allow": "authenticated" }, { "path": "/a/**", "allow": "anyone" }]),
            "rules[0].path: ",
        ),
    ] {
        let warnings = warnings(rules.clone());
        assert!(warnings.len() == 1 && warnings[0].starts_with(place), "{rules}: {warnings:?}");
    }
}

#[test]
fn check_warns_of_rules_that_nobody_meets_of_paths_that_pass_and_of_an_app_that_is_us() {
    let app = Recorder::start();
    let users = Users { lines: format!("alice:{}\n", sha("correct-horse")), groups: Some("ops: alice\n".to_owned()) };
    let allow = json!({ "users": ["alice", "alcie"], "groups": ["ops", "opps"], "claims": { "scope": "x" } });
    let unmet = ["`alcie`", "`opps`", "passwords prove no claims"];
    let mut builder = Sidegate::before(&app)
        .users(&users)
        .rule(json!({ "path": "/a", "paths": { "ambiguous": "pass" }, "allow": "anyone" }))
        .rule(json!({ "allow": allow }))
        .set(json!({ "paths": { "encoded_slash": "pass" } }))
        .set(json!({ "upstream": { "address": "http://localhost:19" }, "admin": { "address": "0.0.0.0:19" } }));
    let finished = builder.run(&["check", "--config"]);
    let shown = finished.succeeded();
    for warning in unmet.iter().chain(&["rules[0].paths: ", "warning: paths: ", "our own admin listener"]) {
        assert_eq!(shown.matches(warning).count(), 1, "{warning} in {shown}");
    }
    assert!(!shown.contains("`alice`") && !shown.contains("`ops`"), "{shown}");
    // A token may name anyone.
    let mut builder = Sidegate::before(&app).users(&users).jwt(&Issuer::new()).rule(json!({ "allow": allow }));
    let finished = builder.run(&["check", "--config"]);
    assert!(unmet.iter().all(|warning| !finished.succeeded().contains(warning)), "{}", finished.stdout);
}

#[test]
fn check_warns_of_what_a_rules_credentials_cannot_prove_and_of_tokens_for_others_and_in_the_clear() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let claims = json!({ "any": [{ "users": ["alice"] }, { "claims": { "scope": "x" } }] });
    let mut builder = Sidegate::before(&app)
        .jwt(&issuer)
        .jwt_with(&Issuer::new().named("https://other.test/"), json!({ "audiences": null }))
        .users(&Users::default().and("alice", &bcrypt_with_cost("correct-horse", 4)))
        .plaintext()
        .set(json!({ "listen": { "address": "0.0.0.0:0" } }))
        .rule(json!({ "path": "/a", "credentials": ["basic"], "allow": claims }))
        .rule(json!({ "path": "/b", "credentials": ["basic", "jwt"], "allow": claims }))
        .rule(json!({ "allow": claims }));
    let finished = builder.run(&["check", "--config"]);
    let shown = finished.succeeded();
    for warning in [
        "warning: rules[0].allow.any[1].claims: passwords prove no claims",
        "warning: auth.jwt[1].audiences: tokens of `other.test` that are meant for other services are accepted",
        "warning: listen.plaintext: passwords and tokens cross the network unencrypted",
    ] {
        assert_eq!(shown.matches(warning).count(), 1, "{warning} in {shown}");
    }
    assert_eq!(shown.matches("warning: ").count(), 3, "{shown}");
    let mut builder =
        Sidegate::before(&app).jwt(&issuer).plaintext().set(json!({ "listen": { "address": "0.0.0.0:0" } }));
    let finished = builder.run(&["check", "--config"]);
    assert_eq!(finished.succeeded().matches("warning: listen.plaintext: tokens cross the network").count(), 1);
}

#[test]
fn check_shows_no_query_of_a_url() {
    let app = Recorder::start();
    let keys = json!({ "url": "https://issuer.test/keys?code=wonderland" });
    let mut builder = Sidegate::before(&app).remote("corp", "https://issuer.test/", keys);
    for args in [&["check", "--config"][..], &["check", "--output", "json", "--config"]] {
        let finished = builder.run(args);
        let shown = finished.succeeded();
        assert!(shown.contains("https://issuer.test/keys?***"), "{shown}");
        assert!(!shown.contains("wonderland") && !finished.stderr.contains("wonderland"), "{shown}");
    }
}

#[test]
fn a_hashed_password_is_a_line_that_serve_takes() {
    let app = Recorder::start();
    let lines: String = [("bcrypt", "4"), ("argon2id", "1"), ("sha512-crypt", "1000")]
        .map(|(algorithm, cost)| {
            let args = ["hash-password", "--user", algorithm, "--algorithm", algorithm, "--cost", cost];
            let finished = command(&args, "right horse\n");
            let line = finished.succeeded().to_owned();
            assert!(line.starts_with(&format!("{algorithm}:$")) && !line.contains("horse"), "{line}");
            line
        })
        .concat();
    let sidegate = Sidegate::before(&app).users(&Users { lines, groups: None }).start();
    for user in ["bcrypt", "argon2id", "sha512-crypt"] {
        assert_eq!(sidegate.curl("/").basic(user, "right horse").send().status, 200, "{user}");
        assert_eq!(sidegate.curl("/").basic(user, "wrong horse").send().status, 401, "{user}");
    }
    command(&["hash-password", "--user", "a:b"], "x\n").assert_failed(64, &["colon"]);
}

#[test]
fn healthcheck_asks_the_admin_listener() {
    let app = Recorder::start();
    let sidegate = Sidegate::before(&app).users(&Users::one("alice", "correct-horse")).start();
    let admin = sidegate.admin().to_string();
    command(&["healthcheck", "--admin", &admin], "").succeeded();
    command(&["healthcheck", "--admin", &admin, "--probe", "livez"], "").succeeded();

    // By its configuration, as a container would be asked.
    let file = sidegate.file("sidegate.yaml");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    config["admin"]["address"] = json!(admin);
    fs::write(&file, config.to_string()).unwrap();
    command(&["healthcheck", "--config", file.to_str().unwrap()], "").succeeded();

    // The app is gone: not ready, and alive.
    drop(app);
    let absent = crate::support::Nothing::reserve();
    let lonely = Sidegate::before(&absent).users(&Users::one("alice", "correct-horse")).start();
    let admin = lonely.admin().to_string();
    command(&["healthcheck", "--admin", &admin], "").assert_failed(1, &["503"]);
    command(&["healthcheck", "--admin", &admin, "--probe", "livez"], "").succeeded();
    // Nobody is there.
    drop(lonely);
    command(&["healthcheck", "--admin", &admin], "").assert_failed(1, &[&admin]);
}
