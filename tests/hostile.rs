//! The hostile corpus (`tests/corpus`), driven over both versions of HTTP to real apps that write down what they routed.
//!
//! Every case is sent twice: without credentials, and with a token that does not open `/admin`. Its id travels in
//! `User-Agent`, which the app and the access log both write down, so that each case is judged on its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use serde_json::json;

use self::{
    cases::{Case, Input, Version, load},
    clients::Clients,
    verdict::{Caller, Expected, Sent, judge},
};
use crate::support::{Issuer, Routed, Server, Sidegate, until};

mod cases;
mod clients;
mod hpack;
mod http1;
mod http2;
mod verdict;

/// No case need take longer.
const SLOW: Duration = Duration::from_secs(2);

/// How long an app may take to finish what was broken off.
const SETTLING: Duration = Duration::from_secs(10);

#[test]
fn werkzeug_sees_nothing_that_the_rules_do_not_allow() {
    drive(Server::Werkzeug);
}

#[test]
fn gunicorn_with_one_request_at_a_time_sees_nothing_that_the_rules_do_not_allow() {
    drive(Server::GunicornSync);
}

#[test]
fn gunicorn_with_threads_sees_nothing_that_the_rules_do_not_allow() {
    drive(Server::GunicornThreads);
}

#[test]
fn waitress_sees_nothing_that_the_rules_do_not_allow() {
    drive(Server::Waitress);
}

#[test]
fn pywsgi_sees_nothing_that_the_rules_do_not_allow() {
    drive(Server::Pywsgi);
}

#[test]
fn nginx_sees_nothing_that_the_rules_do_not_allow() {
    drive(Server::Nginx);
}

#[test]
fn the_corpus_is_large_and_no_case_is_there_twice() {
    let cases = load();
    assert!(cases.len() >= 400, "{} cases", cases.len());
    let (mut names, mut inputs) = (BTreeSet::new(), BTreeMap::new());
    for case in &cases {
        assert!(names.insert(&case.name), "two cases are called {}", case.name);
        if let Some(other) = inputs.insert(format!("{:?}", case.input), &case.name) {
            panic!("{} says what {other} says", case.name);
        }
        assert!(case.why.len() > 10, "{} has neither source nor reason", case.name);
        assert!(case.versions().next().is_some(), "{} is sent over nothing", case.name);
    }
}

/// Sends every case to this app through a sidegate of its own, and fails with all that was wrong.
fn drive(server: Server) {
    let (issuer, app) = (Issuer::new(), Routed::start(server));
    let sidegate = Sidegate::before(&app)
        .jwt(&issuer)
        .rule(json!({ "path": "/public/**", "allow": "anyone" }))
        .rule(json!({ "path": "/admin/**", "allow": { "groups": ["admin"] } }))
        .rule(json!({ "allow": "authenticated" }))
        .start();
    let token = issuer.token_with("alice", json!({ "groups": ["staff"] }));
    let cases = load();
    let mut clients = Clients::new(&sidegate);
    assert_eq!(clients.honest("start"), "200 routed public", "{server:?} does not serve");
    let mut sent = Vec::new();
    for caller in [Caller::Anonymous, Caller::Alice] {
        let authorization = (caller == Caller::Alice).then(|| format!("Bearer {token}"));
        for case in &cases {
            for version in case.versions() {
                let id = format!("corpus/{}/{version:?}/{caller:?};", case.name);
                let started = Instant::now();
                let answers = clients.send(case, version, &id, authorization.as_deref());
                if started.elapsed() > SLOW {
                    // Nothing of it is wrong, but a corpus that waits is one that nobody runs.
                    eprintln!("{server:?} {id} took {:?}", started.elapsed());
                }
                let honest = case.may_break_connections().then(|| clients.honest(&id));
                sent.push(Sent { case, version, caller, id, answers, honest });
            }
        }
    }
    assert_eq!(clients.honest("end"), "200 routed public", "at the end");
    sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 0.0);
    until("the last line", || sidegate.access_lines(1).iter().any(|line| line.contains("honest/end")).then_some(()));
    let deadline = Instant::now() + SETTLING;
    let findings = until("the verdict", || {
        let findings = judge(&sent, &sidegate.access_log(1), &app.seen(), server);
        (findings.is_empty() || Instant::now() > deadline).then_some(findings)
    });
    assert!(findings.is_empty(), "{server:?}: {} findings\n{}", findings.len(), findings.join("\n"));
    sidegate.assert_alive();
}
