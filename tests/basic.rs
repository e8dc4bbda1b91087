//! Names and passwords: every hash of a users file, groups, and what is refused.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::support::{Answer, Recorder, Sidegate, Users, apr1, argon2id, bcrypt, sha, sha256_crypt, sha512_crypt};

#[test]
fn one_users_file_mixes_every_hash() {
    let password = "right horse";
    let hashes = [
        ("sha", sha(password)),
        ("apr1", apr1(password)),
        ("crypt5", sha256_crypt(password)),
        ("crypt6", sha512_crypt(password)),
        ("bcrypt", bcrypt(password)),
        ("argon2id", argon2id(password)),
    ];
    let users = hashes.iter().fold(Users::default(), |users, (name, hash)| users.and(name, hash));
    let app = Recorder::start();
    // There are more wrong ones here than a client may send.
    let unlimited = json!({ "auth": { "basic": { "failures": { "per_client": 0 } } } });
    let sidegate = Sidegate::before(&app).users(&users).set(unlimited).start();
    for (name, hash) in &hashes {
        let answer = sidegate.get("/", &[&basic(name, password)]);
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        assert_eq!(app.last_request().header("X-Forwarded-User"), Some(*name));
        // Once more, now that the password is remembered.
        assert_eq!(sidegate.get("/", &[&basic(name, password)]).status, 200, "{name}");
        for wrong in ["wrong horse", "", "right horse ", "RIGHT HORSE", hash] {
            sidegate.get("/", &[&basic(name, wrong)]).assert_refused(401, "password_wrong");
        }
    }
    assert_eq!(app.requests().len(), 2 * hashes.len());
    assert!(sidegate.metrics().sum("sidegate_password_cache_total", &[("result", "hit")]) >= 6.0);
}

#[test]
fn an_unknown_user_is_answered_as_a_wrong_password_is() {
    let app = Recorder::start();
    let sidegate = Sidegate::before(&app).users(&Users::one("alice", "correct-horse")).start();
    let answers = [
        ("alice", "wrong-horse"),
        ("nobody", "correct-horse"),
        ("", "correct-horse"),
        ("ALICE", "correct-horse"),
        ("alic", "ecorrect-horse"),
    ]
    .map(|(name, password)| sidegate.get("/", &[&basic(name, password)]));
    for answer in &answers {
        answer.assert_refused(401, "password_wrong");
        let names = |answer: &Answer| answer.headers.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>();
        assert_eq!(names(answer), names(&answers[0]));
    }
    sidegate.wait_for_metric(
        "sidegate_auth_decisions_total",
        &[("method", "basic"), ("reason", "password_wrong")],
        answers.len() as f64,
    );
    for entry in sidegate.access_log(answers.len()) {
        assert_eq!(entry["auth_reason"], "password_wrong");
    }
    assert_eq!(app.requests().len(), 0);
}

#[test]
fn where_the_name_ends_and_the_password_begins_is_not_confused() {
    let app = Recorder::start();
    let users = Users::one("alice", "a:b:c").and("ab", &sha("c")).and("zoë", &sha("pässwörd")).and("empty", &sha(""));
    let sidegate = Sidegate::before(&app).users(&users).start();
    for (name, password, status) in [
        ("alice", "a:b:c", 200),
        ("alice", "a:b", 401),
        ("ab", "c", 200),
        ("a", "bc", 401),
        ("abc", "", 401),
        ("zoë", "pässwörd", 200),
        ("empty", "", 200),
    ] {
        let answer = sidegate.get("/", &[&basic(name, password)]);
        assert_eq!(answer.status, status, "{name}:{password}: {}", answer.text());
    }
}

#[test]
fn the_app_is_told_the_user_and_the_groups() {
    let app = Recorder::start();
    let users = Users::one("alice", "correct-horse")
        .and("bob", &sha("correct-horse"))
        .groups("admin: alice\nwriter: alice bob\n");
    let sidegate = Sidegate::before(&app).users(&users).start();
    for (name, groups) in [("alice", "admin,writer"), ("bob", "writer")] {
        assert_eq!(sidegate.curl("/").basic(name, "correct-horse").send().status, 200);
        let request = app.last_request();
        assert_eq!(request.header("X-Forwarded-User"), Some(name));
        assert_eq!(request.header("X-Forwarded-Groups"), Some(groups));
        assert_eq!(request.header("X-Forwarded-Email"), None);
    }
    let log = sidegate.access_log(2);
    assert_eq!((&log[0]["auth_method"], &log[0]["auth_user"]), (&json!("basic"), &json!("alice")));
}

#[test]
fn credentials_that_cannot_be_read_are_refused() {
    let app = Recorder::start();
    let sidegate = Sidegate::before(&app).users(&Users::one("alice", "correct-horse")).start();
    let good = STANDARD.encode("alice:correct-horse");
    for line in [
        "Basic ####".to_owned(),
        format!("Basic {}", STANDARD.encode("alice")),
        format!("Basic {}", STANDARD.encode("ali\0ce:correct-horse")),
        format!("Basic {good} {good}"),
        format!("Basic {good}, Basic {good}"),
        format!("Basic {good}\u{e9}"),
    ] {
        let answer = sidegate.get("/", &[&format!("Authorization: {line}")]);
        assert_eq!(answer.status, 401, "{line}: {}", answer.text());
        assert_eq!(answer.reason().as_deref(), Some("basic_malformed"), "{line}");
        assert!(answer.header("WWW-Authenticate").is_some_and(|challenge| challenge.starts_with("Basic ")));
    }
    // Nothing that could be looked at.
    for line in ["", "Basic", "Basic ", "Digest username=alice", "Negotiate abc", "alice:correct-horse"] {
        let answer = sidegate.get("/", &[&format!("Authorization: {line}")]);
        assert_eq!(answer.status, 401, "{line}");
        assert!(answer.header("WWW-Authenticate").is_some());
    }
    assert_eq!(app.requests().len(), 0);
}

#[test]
fn two_sets_of_credentials_are_one_too_many() {
    let app = Recorder::start();
    let users = Users::one("alice", "correct-horse").and("bob", &sha("correct-horse"));
    let sidegate = Sidegate::before(&app).users(&users).start();
    sidegate
        .get("/", &[&basic("alice", "correct-horse"), &basic("bob", "correct-horse")])
        .assert_refused(401, "credentials_ambiguous");
    assert_eq!(app.requests().len(), 0);
}

#[test]
fn an_endless_password_costs_nothing() {
    let app = Recorder::start();
    let sidegate = Sidegate::before(&app).users(&Users::default().and("alice", &argon2id("correct-horse"))).start();
    let answer = sidegate.get("/", &[&basic("alice", &"x".repeat(16 * 1024))]);
    assert_eq!(answer.status, 401);
    assert_eq!(app.requests().len(), 0);
}

#[test]
fn names_and_passwords_may_be_of_any_letters_and_as_long_as_the_limits_say() {
    let app = Recorder::start();
    let (name, password) = ("ñ".repeat(127) + "n", "pässwörd…".repeat(73));
    let password = password.clone() + &"x".repeat(1024 - password.len());
    assert_eq!((name.len(), password.len()), (255, 1024));
    let pairs =
        [("Zoë Ångström", "pä:ss:wörd 🔑"), ("empty", ""), (&name, &password), ("colon", ":"), ("用户", "密码")];
    let users = pairs.iter().fold(Users::default(), |users, (name, password)| users.and(name, &sha(password)));
    let sidegate = Sidegate::before(&app).users(&users).start();
    for (name, password) in pairs {
        assert_eq!(sidegate.curl("/").basic(name, password).send().status, 200, "{name}:{password}");
        assert_eq!(app.last_request().header("X-Forwarded-User"), Some(name));
        let wrong = sidegate.curl("/").basic(name, &password.chars().rev().chain(['x']).take(500).collect::<String>());
        wrong.send().assert_refused(401, "password_wrong");
    }
    for (name, password) in [(format!("{name}n"), "x".to_owned()), ("alice".to_owned(), password + "x")] {
        sidegate.curl("/").basic(&name, &password).send().assert_refused(401, "basic_malformed");
    }
}

#[test]
fn neither_the_answer_nor_the_logs_nor_the_metrics_tell_an_unknown_user_from_a_wrong_password() {
    let app = Recorder::start();
    let users = Users::one("mixed", "right").and("alice", &bcrypt("right"));
    let sidegate = Sidegate::before(&app).users(&users).set(json!({ "log": { "level": "trace" } })).start();
    // The last one is a password that was typed where the name belongs.
    let names = ["alice", "stranger", "correct-horse"];
    let seen = names.map(|name| {
        let mut answer = sidegate.get("/", &[&basic(name, "mistaken-staple"), "X-Request-Id: the-same"]);
        answer.headers.retain(|(header, _)| !header.eq_ignore_ascii_case("date"));
        (answer.status, answer.headers, answer.body)
    });
    assert!(seen.iter().all(|answer| *answer == seen[0]), "{seen:?}");
    let mut entries = sidegate.access_log(names.len());
    for entry in &mut entries {
        for varies in ["start_time", "duration", "downstream_remote_address"] {
            entry.as_object_mut().unwrap().remove(varies);
        }
    }
    assert!(entries.iter().all(|entry| *entry == entries[0] && entry["auth_user"].is_null()), "{entries:?}");
    let decided = |labels: &[_]| sidegate.metrics().sum("sidegate_auth_decisions_total", labels);
    assert_eq!(decided(&[("method", "basic"), ("reason", "password_wrong"), ("rule", "rule-1")]), 3.0);
    assert_eq!(decided(&[]), 3.0);
    let written = [
        sidegate.access_lines(names.len()).join(
            "
",
        ),
        sidegate.log(),
        sidegate.ask_admin("/metrics").text(),
    ];
    for text in written {
        for name in names.into_iter().chain(["staple"]) {
            assert!(!text.contains(name), "{name} in {text}");
        }
    }
}

#[test]
fn weak_hashes_are_taken_with_a_warning_from_serve_and_from_check() {
    let app = Recorder::start();
    let users = Users::one("alice", "correct-horse").and("bob", &apr1("correct-horse"));
    let mut builder = Sidegate::before(&app).users(&users);
    let finished = builder.run(&["check", "--config"]);
    let checked = finished.succeeded();
    let sidegate = builder.start();
    for told in ["users:1: an {SHA} hash, which is guessed fast", "users:2: an APR1 hash, which is guessed fast"] {
        assert!(checked.contains(told), "{told} in {checked}");
        assert!(sidegate.log().contains(told), "{told} in {}", sidegate.log());
    }
    assert_eq!(sidegate.get("/", &[&basic("bob", "correct-horse")]).status, 200);
}

fn basic(name: &str, password: &str) -> String {
    format!("Authorization: Basic {}", STANDARD.encode(format!("{name}:{password}")))
}
