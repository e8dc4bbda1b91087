//! An API server that is slow, broken or away: who has to do with it hears so, and nobody else.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{Answer, ApiServer, Builder, Issuer, Mood, Recorder, Sidegate, Users, password, until};

const CHECKOUT: &str = "system:serviceaccount:payments:checkout";

#[test]
fn without_an_answer_a_token_is_neither_good_nor_bad() {
    let (cluster, app) = (ApiServer::start(), Recorder::start());
    let sidegate = before(&app, &cluster, json!({ "cache": 0, "timeout": "1s" })).start();
    cluster.knows("a-good-token", CHECKOUT);
    // Not even one of a status that would do has to be believed, nor repeated in a log: the token is in there.
    let moods = [
        Mood::IsDown,
        Mood::Fails(500),
        Mood::Fails(403),
        Mood::Fails(401),
        Mood::Fails(429),
        Mood::Babbles(200),
        Mood::Babbles(201),
        Mood::Complains,
        Mood::Hangs,
    ];
    for mood in moods {
        cluster.set_mood(mood);
        let answer = sidegate.get_with_token("a-good-token");
        assert_eq!((answer.status, answer.reason().as_deref()), (503, Some("review_unavailable")), "{mood:?}");
        assert_eq!(answer.header("Retry-After"), Some("1"), "{mood:?}");
        cluster.set_mood(Mood::Answers);
        // For a second nobody asks, and then it is as before.
        until(&format!("an answer after {mood:?}"), || {
            (sidegate.get_with_token("a-good-token").status == 200).then_some(())
        });
    }
    let metrics = sidegate.metrics();
    assert_eq!(metrics.sum("sidegate_token_reviews_total", &[("result", "failed")]), 9.0);
    assert_eq!(app.requests().len(), moods.len());
    for said in
        ["no answer to a token review", "500 Internal Server Error", "not a TokenReview: line 1", "what is ***?"]
    {
        assert!(sidegate.log().contains(said), "{said}");
    }
}

#[test]
fn a_stale_answer_is_better_than_none_where_it_may_be() {
    let (cluster, app) = (ApiServer::start(), Recorder::start());
    let stale = json!({ "cache": "100ms", "max_stale": "60s", "timeout": "1s" });
    let sidegate = before(&app, &cluster, stale).start();
    cluster.knows("a-good-token", CHECKOUT);
    assert_eq!(sidegate.get_with_token("a-good-token").status, 200);
    for mood in [Mood::IsDown, Mood::Fails(500), Mood::Hangs] {
        cluster.set_mood(mood);
        let failed = || sidegate.metrics().sum("sidegate_token_reviews_total", &[("result", "failed")]);
        let before = failed();
        until("it to be asked in vain", || {
            assert_eq!(sidegate.get_with_token("a-good-token").status, 200, "{mood:?}");
            (failed() > before).then_some(())
        });
        // From now on it is left alone for a while, and nobody waits for it.
        let (start, vain) = (Instant::now(), failed());
        for _ in 0..20 {
            assert_eq!(sidegate.get_with_token("a-good-token").status, 200, "{mood:?}");
        }
        let most = start.elapsed().as_secs_f64() / 5.0 + 1.0;
        assert!(failed() - vain <= most, "{mood:?}: asked {} times in {:?}", failed() - vain, start.elapsed());
        // Of whom nothing is known, nothing can be said.
        sidegate.get_with_token(&format!("unknown-token-{mood:?}")).assert_refused(503, "review_unavailable");
        cluster.set_mood(Mood::Answers);
        let asked = cluster.questions();
        until("it to be asked again", || {
            assert_eq!(sidegate.get_with_token("a-good-token").status, 200);
            (cluster.questions() > asked).then_some(())
        });
    }
    cluster.forgets("a-good-token");
    until("the token to be refused", || (sidegate.get_with_token("a-good-token").status == 401).then_some(()));
    // What was refused since then is not as it was, when nobody can say how it is now.
    cluster.set_mood(Mood::IsDown);
    until("the refusal to be over", || {
        let answer = sidegate.get_with_token("a-good-token");
        assert!(matches!(answer.status, 401 | 503), "{}", answer.status);
        (answer.status == 503).then_some(())
    });
}

#[test]
fn a_stale_answer_is_not_for_ever_and_needs_to_be_allowed() {
    let (cluster, app) = (ApiServer::start(), Recorder::start());
    cluster.knows("a-good-token", CHECKOUT);
    for settings in [json!({ "cache": "1s" }), json!({ "cache": "500ms", "max_stale": "500ms" })] {
        let sidegate = before(&app, &cluster, settings.clone()).start();
        assert_eq!(sidegate.get_with_token("a-good-token").status, 200);
        cluster.set_mood(Mood::IsDown);
        let start = Instant::now();
        until("the answer to be over", || {
            let answer = sidegate.get_with_token("a-good-token");
            (answer.status != 200).then(|| answer.assert_refused(503, "review_unavailable"))
        });
        assert!(start.elapsed() < Duration::from_secs(10), "{settings}: {:?}", start.elapsed());
        cluster.set_mood(Mood::Answers);
    }
}

#[test]
fn nobody_else_waits_for_a_slow_api_server_and_not_too_many_do() {
    let (cluster, issuer, app) = (ApiServer::start(), Issuer::new(), Recorder::start());
    let users = Users::one("bob", "builder-secret");
    let sidegate = before(&app, &cluster, json!({ "timeout": "20s", "cache": "1s" }))
        .jwt(&issuer)
        .users(&users)
        .rule(json!({ "path": "/public", "allow": "anyone" }))
        .rule(json!({ "allow": "authenticated" }))
        .start();
    let tokens: Vec<_> = (0..80).map(|i| format!("a-token-of-many-{i}")).collect();
    for token in &tokens {
        cluster.knows(token, CHECKOUT);
    }
    cluster.knows("of-somebody-for-long", CHECKOUT);
    assert_eq!(sidegate.get_with_token("of-somebody-for-long").status, 200);
    cluster.set_mood(Mood::Hangs);
    let answers: Vec<Answer> = thread::scope(|scope| {
        let clients: Vec<_> = tokens.iter().map(|token| scope.spawn(|| sidegate.get_with_token(token))).collect();
        sidegate.wait_for_metric_above("sidegate_auth_decisions_total", &[("reason", "overloaded")], 55.5);
        until("the API server to be busy", || (cluster.questions() == 25).then_some(()));
        // The rest of the places are for those who were somebody when they were last asked about.
        let old = scope.spawn(|| {
            until("an answer that is not remembered", || {
                let answer = sidegate.get_with_token("of-somebody-for-long");
                (cluster.questions() == 26).then_some(answer)
            })
        });
        until("it to be asked about", || (cluster.questions() == 26).then_some(()));
        assert_eq!(sidegate.get("/public", &[]).status, 200);
        assert_eq!(sidegate.get_with_token(&issuer.token("alice")).status, 200);
        assert_eq!(sidegate.get("/", &[&password("bob", "builder-secret")]).status, 200);
        cluster.set_mood(Mood::Answers);
        assert_eq!(old.join().unwrap().status, 200);
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
    assert_eq!(refused.len(), 56);
    for answer in refused {
        answer.assert_refused(503, "overloaded");
        assert_eq!(answer.header("Retry-After"), Some("1"));
    }
    assert_eq!((cluster.questions(), cluster.asked_at_once()), (26, 25));
}

/// Before this app, having the cluster asked about every token.
fn before(app: &Recorder, cluster: &ApiServer, settings: Value) -> Builder {
    let builder = Sidegate::before(app);
    let mut keys = cluster.keys(&builder, "token_review");
    for (key, value) in settings.as_object().unwrap() {
        keys[key] = value.clone();
    }
    builder.jwt_with(&cluster.issuer, json!({ "issuer": null, "keys": keys }))
}
