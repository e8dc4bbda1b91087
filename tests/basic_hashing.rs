//! What checking passwords costs: nothing that an attacker could learn from, and nobody else's requests.

use std::{
    thread::available_parallelism,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{
    Builder, Recorder, Sidegate, Users, Wire, apr1, argon2id_with, bcrypt, bcrypt_with_cost, password, sha,
    sha512_crypt, until,
};

/// Without a limit on wrong passwords, so that they come as far as hashing.
fn unlimited(app: &Recorder, users: &Users) -> Builder {
    let failures = json!({ "per_client": 0, "per_user": 0 });
    Sidegate::before(app).users(users).set(json!({ "auth": { "basic": { "failures": failures } } })).plaintext()
}

fn request(name: &str, secret: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n\r\n", password(name, secret))
}

/// Sends so many requests, each over a connection of its own, before it waits for the first answer.
fn send_together(sidegate: &Sidegate, count: usize, line: impl Fn(usize) -> String) -> Vec<Wire> {
    let mut wires: Vec<Wire> = (0..count).map(|_| sidegate.wire()).collect();
    for (i, wire) in wires.iter_mut().enumerate() {
        wire.send(line(i));
    }
    wires
}

#[test]
fn a_page_of_thirty_requests_costs_one_hash_and_all_of_them_are_answered() {
    let app = Recorder::start();
    let hash = bcrypt_with_cost("correct-horse", 12);
    let sidegate = unlimited(&app, &Users::default().and("alice", &hash)).start();
    let one = processor_time_of(&sidegate, || {
        sidegate.get("/", &[&password("alice", "wrong-horse")]).assert_refused(401, "password_wrong");
    });
    for (secret, status) in [("wrong too", 401), ("correct-horse", 200)] {
        let all = processor_time_of(&sidegate, || {
            for mut wire in send_together(&sidegate, 30, |_| request("alice", secret)) {
                assert_eq!(wire.answer().status, status, "{secret}");
            }
        });
        assert!(all < 5 * one, "{all:?} for thirty, {one:?} for one");
    }
    assert_eq!(app.requests().len(), 30);
}

#[test]
fn what_finds_no_thread_is_refused_at_once_and_holds_up_nobody_else() {
    let app = Recorder::start();
    let sidegate = unlimited(&app, &Users::default().and("alice", &bcrypt_with_cost("correct-horse", 14)))
        .rule(json!({ "path": "/public", "allow": "anyone" }))
        .rule(json!({ "allow": "authenticated" }))
        .start();
    let threads = available_parallelism().unwrap().get().saturating_sub(1).max(1);
    let mut flood = send_together(&sidegate, threads + 40, |i| request("alice", &format!("wrong-horse-{i}")));
    // The hashes take longer than all the rest.
    sidegate.wait_for_metric("sidegate_auth_decisions_total", &[("reason", "overloaded")], 40.0);
    let started = Instant::now();
    for _ in 0..20 {
        assert_eq!(sidegate.get("/public", &[]).status, 200);
        assert_eq!(sidegate.ask_admin("/livez").status, 200);
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let mut hashed = 0;
    for wire in &mut flood {
        let answer = wire.answer();
        if answer.status == 401 {
            answer.assert_refused(401, "password_wrong");
            hashed += 1;
        } else {
            answer.assert_refused(503, "overloaded");
            assert_eq!(answer.header("Retry-After"), Some("1"));
        }
    }
    assert_eq!(hashed, threads);
    assert_eq!(sidegate.get("/", &[&password("alice", "correct-horse")]).status, 200);
}

#[test]
fn an_unknown_user_takes_the_processor_as_long_as_a_wrong_password_does() {
    const ROUNDS: usize = 10;
    const EACH: usize = 50;
    let app = Recorder::start();
    let kinds = [
        ("bcrypt4", bcrypt("correct-horse")),
        ("bcrypt5", bcrypt_with_cost("correct-horse", 5)),
        ("crypt", sha512_crypt("correct-horse")),
        ("argon2id", argon2id_with("correct-horse", 64)),
        ("apr1", apr1("correct-horse")),
        ("sha", sha("correct-horse")),
    ];
    let users = kinds.iter().fold(Users::default(), |users, (name, hash)| users.and(name, hash));
    let sidegate = unlimited(&app, &users).start();
    let mut wire = sidegate.wire();
    let mut ask = |name: &str, number: usize| {
        wire.send(request(name, &format!("wrong-horse-{number}"))).answer().assert_refused(401, "password_wrong");
    };
    // In turns, so that whatever else runs here slows both down. All users together, since one alone could be lucky.
    let (mut known, mut unknown) = (Duration::ZERO, Duration::ZERO);
    for round in 0..ROUNDS {
        let (name, number) = (|i: usize| kinds[i % kinds.len()].0, |i: usize| round * EACH + i);
        known += processor_time_of(&sidegate, || (0..EACH).for_each(|i| ask(name(i), number(i))));
        unknown += processor_time_of(&sidegate, || (0..EACH).for_each(|i| ask(&format!("{}x", name(i)), number(i))));
    }
    let ratio = unknown.as_secs_f64() / known.as_secs_f64();
    assert!((0.95..1.05).contains(&ratio), "{ratio}: {unknown:?} for unknown users, {known:?} for wrong passwords");
}

/// What sidegate's threads compute for this, as far as the kernel counts it, which is in hundredths of a second.
fn processor_time_of(sidegate: &Sidegate, work: impl FnOnce()) -> Duration {
    // A thread that has ended is counted in full; one that is about to end is not.
    let threads = sidegate.threads();
    let before = sidegate.cpu_time();
    work();
    until("the threads that hash to end", || (sidegate.threads() <= threads).then_some(()));
    sidegate.cpu_time() - before
}
