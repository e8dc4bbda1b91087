//! How often a password may be tried, and by whom: from other addresses of loopback, which Linux has many of.

use serde_json::json;

use crate::support::{Answer, Builder, Issuer, Recorder, Sidegate, Users, bcrypt, password, sha};

/// A few wrong passwords, so that tests need not try many.
fn limited(app: &Recorder, users: &Users, per_client: u32, per_user: u32) -> Builder {
    let failures = json!({ "per_client": per_client, "per_user": per_user, "window": "1h" });
    Sidegate::before(app).users(users).set(json!({ "auth": { "basic": { "failures": failures } } }))
}

/// Asks from this address.
fn ask_from(sidegate: &Sidegate, address: &str, name: &str, password: &str) -> Answer {
    sidegate.curl("/").args(["--interface", address]).basic(name, password).send()
}

/// Asserts that a password was not looked at, and says when one will be.
#[track_caller]
fn assert_throttled(answer: &Answer) -> u64 {
    answer.assert_refused(429, "password_throttled");
    assert_eq!(answer.header("WWW-Authenticate"), None, "a browser need not ask for another one");
    answer.header("Retry-After").and_then(|seconds| seconds.parse().ok()).expect("whole seconds")
}

#[test]
fn a_client_with_too_many_wrong_passwords_waits_and_others_do_not() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let users = Users::one("alice", "correct-horse")
        .and("bob", &bcrypt("correct-horse"))
        .and("carol", &bcrypt("correct-horse"));
    let sidegate = limited(&app, &users, 5, 0).jwt(&issuer).start();
    assert_eq!(ask_from(&sidegate, "127.0.0.1", "bob", "correct-horse").status, 200);
    for i in 0..5 {
        ask_from(&sidegate, "127.0.0.1", &format!("user{i}"), "wrong-horse").assert_refused(401, "password_wrong");
    }
    for (name, password) in
        [("alice", "wrong-horse"), ("alice", "correct-horse"), ("carol", "correct-horse"), ("nobody", "wrong-horse")]
    {
        let seconds = assert_throttled(&ask_from(&sidegate, "127.0.0.1", name, password));
        assert!((700..=720).contains(&seconds), "a fifth of an hour: {seconds}");
    }
    assert_eq!(ask_from(&sidegate, "127.0.0.1", "bob", "correct-horse").status, 200, "it is remembered");
    assert_eq!(ask_from(&sidegate, "127.0.0.2", "carol", "correct-horse").status, 200);
    ask_from(&sidegate, "127.0.0.2", "alice", "wrong-horse").assert_refused(401, "password_wrong");
    assert_eq!(sidegate.curl("/").bearer(&issuer.token("alice")).send().status, 200, "tokens are no passwords");
    sidegate.wait_for_metric(
        "sidegate_auth_decisions_total",
        &[("method", "basic"), ("outcome", "denied"), ("reason", "password_throttled")],
        4.0,
    );
}

#[test]
fn beyond_the_limit_of_a_client_every_name_is_answered_alike_and_the_right_password_of_a_known_one_passes() {
    let app = Recorder::start();
    // One file remembers passwords, the other is checked on the spot.
    for hash in [sha, bcrypt] {
        let users =
            ["alice", "bob"].iter().fold(Users::default(), |users, name| users.and(name, &hash("correct-horse")));
        // A client has used up its limit by guesses at each of them.
        let seen = ["alice", "bob", "nobody"].map(|name| {
            let sidegate = limited(&app, &users, 5, 8).start();
            assert_eq!(ask_from(&sidegate, "127.0.0.1", "alice", "correct-horse").status, 200);
            let seen: Vec<_> = (0..8)
                .map(|i| {
                    let answer = ask_from(&sidegate, "127.0.0.1", name, &format!("wrong-horse-{i}"));
                    let names: Vec<_> = answer.headers.iter().map(|(name, _)| name.clone()).collect();
                    (answer.status, answer.reason(), names)
                })
                .collect();
            for other in ["alice", "bob", "nobody"].into_iter().filter(|other| *other != name) {
                assert_throttled(&ask_from(&sidegate, "127.0.0.1", other, "wrong-horse"));
            }
            if name != "alice" {
                assert_eq!(ask_from(&sidegate, "127.0.0.1", "alice", "correct-horse").status, 200, "after {name}");
            }
            assert_throttled(&ask_from(&sidegate, "127.0.0.1", "bob", "correct-horse"));
            seen
        });
        let statuses: Vec<_> = seen[0].iter().map(|(status, ..)| *status).collect();
        assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429, 429]);
        assert!(seen.iter().all(|answers| *answers == seen[0]), "{seen:?}");
    }
}

#[test]
fn a_name_that_too_many_tried_waits_but_not_where_its_user_has_logged_in() {
    let app = Recorder::start();
    // Where all hashes are like this, no password is remembered.
    let users = Users::one("alice", "correct-horse").and("bob", &sha("correct-horse"));
    let sidegate = limited(&app, &users, 0, 4).start();
    for name in ["alice", "bob"] {
        assert_eq!(ask_from(&sidegate, "127.0.0.1", name, "correct-horse").status, 200);
    }
    for name in ["alice", "bob", "nobody"] {
        for i in 0..4 {
            let stranger = format!("127.0.0.{}", 10 + i);
            ask_from(&sidegate, &stranger, name, &format!("wrong-horse-{i}")).assert_refused(401, "password_wrong");
        }
        for stranger in ["127.0.0.10", "127.0.0.99"] {
            assert_throttled(&ask_from(&sidegate, stranger, name, "wrong too"));
        }
    }
    assert_throttled(&ask_from(&sidegate, "127.0.0.98", "alice", "correct-horse"));
    assert_eq!(ask_from(&sidegate, "127.0.0.1", "alice", "correct-horse").status, 200, "from where she is known");
    // Nor has a stranger there any more guesses than elsewhere.
    for i in 0..4 {
        ask_from(&sidegate, "127.0.0.1", "alice", &format!("wrong-horse-{i}")).assert_refused(401, "password_wrong");
    }
    assert_throttled(&ask_from(&sidegate, "127.0.0.1", "alice", "correct-horse"));
}

#[test]
fn a_client_is_whom_a_trusted_proxy_names_and_not_whom_it_names_itself() {
    let app = Recorder::start();
    let users = Users::one("alice", "correct-horse");
    let direct = limited(&app, &users, 3, 0).start();
    let behind = limited(&app, &users, 3, 0).set(json!({ "listen": { "trusted_proxies": ["127.0.0.1"] } })).start();
    for (sidegate, looked_at) in [(&direct, 3), (&behind, 10)] {
        let answers = (0..10).map(|i| {
            let named = format!("X-Forwarded-For: 192.0.2.{i}");
            sidegate.get("/", &[&password("alice", &format!("wrong-horse-{i}")), &named]).status
        });
        assert_eq!(answers.filter(|status| *status == 401).count(), looked_at);
    }
}

#[test]
fn wrong_passwords_at_once_are_not_all_looked_at_before_the_first_counts() {
    let app = Recorder::start();
    for hash in [sha("correct-horse"), bcrypt("correct-horse")] {
        let sidegate = limited(&app, &Users::default().and("alice", &hash), 5, 0).plaintext().start();
        let mut wires: Vec<_> = (0..40).map(|_| sidegate.wire()).collect();
        for (i, wire) in wires.iter_mut().enumerate() {
            let line = password("alice", &format!("wrong-horse-{i}"));
            wire.send(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{line}\r\n\r\n"));
        }
        let statuses: Vec<_> = wires.iter_mut().map(|wire| wire.answer().status).collect();
        assert!(statuses.iter().filter(|status| **status == 401).count() <= 5, "{statuses:?}");
        assert!(statuses.iter().all(|status| [401, 429, 503].contains(status)), "{statuses:?}");
    }
}

#[test]
fn without_limits_one_may_try_for_ever() {
    let app = Recorder::start();
    let sidegate = limited(&app, &Users::one("alice", "correct-horse"), 0, 0).plaintext().start();
    let mut wire = sidegate.wire();
    for i in 0..200 {
        let line = password("alice", &format!("wrong-horse-{i}"));
        let answer = wire.send(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{line}\r\n\r\n")).answer();
        answer.assert_refused(401, "password_wrong");
    }
}
