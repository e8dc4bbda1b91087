//! The corpus of tokens (`tests/corpus/tokens.yaml`), sent through the real binary over a connection that is kept.
//!
//! Each bad token is sent before and after its twin, the same token without what is wrong with it: so the refusal comes
//! from that and from nothing else, and a remembered twin opens no door to it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use self::{cases::load, world::World};
use crate::support::{Answer, Issuer, Received, Recorder, Sidegate, Wire};

mod cases;
mod signatures;
mod world;

#[test]
fn every_token_of_the_corpus_meets_its_verdict_whether_or_not_its_twin_is_remembered() {
    let (app, elsewhere) = (Recorder::start(), Recorder::start());
    let world = World::new(&elsewhere);
    let sidegate = world.accepted(Sidegate::before(&app)).start();
    let mut wire = sidegate.wire();
    let mut faults = Vec::new();
    let (mut wanted, mut accepted) = (BTreeMap::new(), BTreeSet::new());
    for case in load() {
        let (bad, good) = (case.expected_reason(), case.twin());
        let token = case.token(&world);
        let steps = match bad {
            Some(reason) => {
                let twin = good.token(&world);
                assert_ne!(token, twin, "{} is its own twin", case.name);
                vec![
                    ("cold", token.clone(), Err(reason)),
                    ("twin", twin, Ok(good.user())),
                    ("warm", token, Err(reason)),
                ]
            }
            None => vec![("cold", token.clone(), Ok(case.user())), ("warm", token, Ok(case.user()))],
        };
        for (step, token, verdict) in steps {
            let path = format!("/{}/{step}", case.name);
            let answer = ask(&mut wire, &path, &token);
            match verdict {
                Ok(user) => {
                    wanted.insert(path.clone(), user.to_owned());
                    accepted.insert(token);
                    if answer.status != 200 {
                        faults.push(format!("{path}: {} {}", answer.status, answer.text()));
                    }
                }
                Err(reason) => faults.extend(wrong(&answer, reason).map(|what| format!("{path}: {what}"))),
            }
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));

    let requests = app.requests();
    let user = |request: &Received| request.header("X-Forwarded-User").unwrap_or_default().to_owned();
    let asked: BTreeMap<_, _> = requests.iter().map(|request| (request.target().to_owned(), user(request))).collect();
    assert_eq!(asked, wanted, "the app was asked what was allowed, by whom it was allowed, and nothing else");
    assert_eq!(requests.len(), wanted.len());
    assert_eq!(elsewhere.connections(), 0, "a token has told sidegate to fetch something");
    let remembered = f64::from(u32::try_from(accepted.len()).unwrap());
    sidegate.wait_for_metric("sidegate_token_cache_entries", &[], remembered);
}

#[test]
fn the_corpus_of_tokens_is_large_and_says_where_each_comes_from() {
    let cases = load();
    let (bad, good): (Vec<_>, Vec<_>) = cases.iter().partition(|case| case.expected_reason().is_some());
    assert!(bad.len() >= 150 && good.len() >= 30, "{} bad ones, {} good ones", bad.len(), good.len());
    let (mut names, mut built) = (BTreeSet::new(), BTreeMap::new());
    for case in &cases {
        assert!(names.insert(&case.name), "two cases are called {}", case.name);
        assert!(case.why.len() > 10, "{} has neither source nor reason", case.name);
        if let Some(other) = built.insert(case.input(), &case.name) {
            panic!("{} is built like {other}", case.name);
        }
    }
    let seen: BTreeSet<_> = bad.iter().filter_map(|case| case.expected_reason()).collect();
    let all = sidegate::reason::Reason::ALL.iter().map(|reason| reason.code());
    // That one is an API server's, who is asked about tokens that nobody here can read.
    let all = all.filter(|code| code.starts_with("jwt_") && *code != "jwt_review_denied");
    assert_eq!(seen, all.collect(), "each reason has a case, and no other has");
}

/// What is wrong with a refusal for this reason (RFC 6750 section 3.1).
fn wrong(answer: &Answer, reason: &str) -> Option<String> {
    let found = answer.reason().unwrap_or_default();
    if (answer.status, found.as_str()) != (401, reason) {
        return Some(format!("{} {found}, and not {reason}", answer.status));
    }
    let challenge = answer.header("WWW-Authenticate").unwrap_or_default();
    let start = r#"Bearer realm="sidegate", error="invalid_token", error_description=""#;
    (!challenge.starts_with(start)).then(|| format!("the challenge is {challenge}"))
}

fn ask(wire: &mut Wire, path: &str, token: &[u8]) -> Answer {
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ");
    wire.send([head.as_bytes(), token, b"\r\n\r\n"].concat()).answer()
}

#[test]
fn a_cache_that_is_switched_off_remembers_nothing() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let off = json!({ "auth": { "token_cache": { "entries": 0 } } });
    let sidegate = Sidegate::before(&app).jwt(&issuer).set(off).start();
    let token = issuer.token("alice");
    for _ in 0..3 {
        assert_eq!(sidegate.get("/", &[&format!("Authorization: Bearer {token}")]).status, 200);
    }
    sidegate.wait_for_metric("sidegate_token_cache_total", &[("result", "miss")], 3.0);
    assert!(sidegate.metrics().sum("sidegate_token_cache_total", &[("result", "hit")]) < 1.0);
    assert!(sidegate.metrics().sum("sidegate_token_cache_bytes", &[]) < 1.0);
}
