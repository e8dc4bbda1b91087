//! Tokens that a Kubernetes API server is asked about: what it says counts, and how often it is asked.

use std::thread;

use serde_json::{Value, json};

use crate::support::{Answer, ApiServer, App, Builder, Issuer, Mood, Recorder, Sidegate, now, until};

const CHECKOUT: &str = "system:serviceaccount:payments:checkout";

#[test]
fn the_api_server_says_whose_a_token_is() {
    let (cluster, app) = (ApiServer::start(), Recorder::start());
    let sidegate = before(&app, &cluster, json!({}))
        .rule(json!({ "path": "/pay", "allow": { "service_accounts": ["payments/checkout"] } }))
        .rule(json!({ "allow": "authenticated" }))
        .set(json!({ "identity": { "add_headers": { "X-Namespace": "$namespace", "X-Account": "$service_account" } } }))
        .start();
    let (checkout, refunds, person) =
        (cluster.token("payments", "checkout"), cluster.token("payments", "refunds"), "an-opaque-token");
    cluster.knows(&checkout, CHECKOUT);
    cluster.knows(&refunds, "system:serviceaccount:payments:refunds");
    cluster.knows(person, "alice");
    assert_eq!(ask(&sidegate, "/pay", &checkout).status, 200);
    assert_eq!(cluster.last_question(), json!({ "token": checkout, "audiences": ["orders"] }));
    let request = app.last_request();
    assert_eq!(request.header("X-Forwarded-User"), Some(CHECKOUT));
    assert_eq!(request.header("X-Forwarded-Groups"), Some("system:serviceaccounts,system:authenticated"));
    assert_eq!((request.header("X-Namespace"), request.header("X-Account")), (Some("payments"), Some("checkout")));
    assert_eq!(request.header("Authorization"), None);
    ask(&sidegate, "/pay", &refunds).assert_refused(403, "rule_denied");
    // Whose it is only the API server knows, and an account of the cluster it is not.
    assert_eq!(ask(&sidegate, "/", person).status, 200);
    let request = app.last_request();
    assert_eq!((request.header("X-Forwarded-User"), request.header("X-Account")), (Some("alice"), None));
    ask(&sidegate, "/pay", person).assert_refused(403, "rule_denied");

    // A signature proves nothing here: its pod is gone.
    ask(&sidegate, "/", &cluster.token("payments", "deleted")).assert_refused(401, "jwt_review_denied");
    ask(&sidegate, "/", "made-up-token").assert_refused(401, "jwt_review_denied");
    let reviews = |result| sidegate.metrics().sum("sidegate_token_reviews_total", &[("result", result)]);
    until("five reviews", || (reviews("authenticated") + reviews("refused") > 4.5).then_some(()));
    assert_eq!((reviews("authenticated"), reviews("refused"), reviews("failed")), (3.0, 2.0, 0.0));
}

#[test]
fn a_token_that_is_meant_for_another_service_is_refused() {
    let (cluster, app) = (ApiServer::start(), Recorder::start());
    let sidegate = before(&app, &cluster, json!({})).start();
    cluster.knows_for("meant-for-billing", CHECKOUT, "billing");
    ask(&sidegate, "/", "meant-for-billing").assert_refused(401, "jwt_review_denied");
    // An API server that knows no audiences would take it.
    cluster.set_mood(Mood::IgnoresAudiences);
    cluster.knows_for("meant-for-anybody", CHECKOUT, "billing");
    ask(&sidegate, "/", "meant-for-anybody").assert_refused(401, "jwt_review_denied");
    assert_eq!((cluster.questions(), app.requests().len()), (2, 0));
}

#[test]
fn it_is_asked_once_for_all_who_come_with_one_token() {
    let (cluster, app) = (ApiServer::start(), Recorder::start());
    let sidegate = before(&app, &cluster, json!({ "timeout": "20s" })).start();
    cluster.knows("one-for-all", CHECKOUT);
    cluster.set_mood(Mood::Hangs);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..100).map(|_| scope.spawn(|| ask(&sidegate, "/", "one-for-all").status)).collect();
        sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 100.0);
        cluster.set_mood(Mood::Answers);
        for client in clients {
            assert_eq!(client.join().unwrap(), 200);
        }
    });
    assert_eq!(ask(&sidegate, "/", "one-for-all").status, 200);
    assert_eq!((cluster.questions(), app.requests().len()), (1, 101));
}

#[test]
fn an_answer_is_good_for_a_while_and_then_it_is_asked_again() {
    let (cluster, app) = (ApiServer::start(), Recorder::start());
    let sidegate = before(&app, &cluster, json!({ "cache": "1s" })).start();
    cluster.knows("a-good-token", CHECKOUT);
    // Another one in between makes no difference.
    let asked =
        [ask(&sidegate, "/", "a-good-token"), ask(&sidegate, "/", "a-bad-token"), ask(&sidegate, "/", "a-good-token")];
    assert_eq!(asked.map(|answer| answer.status), [200, 401, 200]);
    until("both to be asked about again", || {
        ask(&sidegate, "/", "a-good-token");
        ask(&sidegate, "/", "a-bad-token");
        (cluster.questions() >= 4).then_some(())
    });
    // What was said is not for ever: the account is gone, and the other one has come.
    cluster.forgets("a-good-token");
    cluster.knows("a-bad-token", CHECKOUT);
    until("the good token to be refused", || (ask(&sidegate, "/", "a-good-token").status == 401).then_some(()));
    until("the bad token to be good", || (ask(&sidegate, "/", "a-bad-token").status == 200).then_some(()));
    let metrics = sidegate.metrics();
    let reviews = metrics.sum("sidegate_token_reviews_total", &[("issuer", "kubernetes")]);
    assert!(reviews <= 12.0, "it was asked {reviews} times");
}

#[test]
fn with_a_long_cache_it_is_asked_once_about_a_token_good_or_bad() {
    let (cluster, app) = (ApiServer::start(), Recorder::start());
    let sidegate = before(&app, &cluster, json!({ "cache": "60s" })).start();
    cluster.knows("a-good-token", CHECKOUT);
    for _ in 0..5 {
        assert_eq!(ask(&sidegate, "/", "a-good-token").status, 200);
        ask(&sidegate, "/", "a-bad-token").assert_refused(401, "jwt_review_denied");
    }
    assert_eq!(cluster.questions(), 2);
    let without = before(&app, &cluster, json!({ "cache": 0 })).start();
    for _ in 0..3 {
        assert_eq!(ask(&without, "/", "a-good-token").status, 200);
    }
    assert_eq!(cluster.questions(), 5);
}

#[test]
fn no_answer_outlasts_the_token() {
    let (cluster, app) = (ApiServer::start(), Recorder::start());
    let builder = Sidegate::before(&app);
    let keys = review(&cluster, &builder, json!({ "cache": "60s", "max_stale": "60s" }));
    let sidegate = builder.jwt_with(&cluster.issuer, json!({ "issuer": null, "leeway": "0s", "keys": keys })).start();
    let mut claims = cluster.claims("payments", "checkout");
    claims["exp"] = json!(now() + 3);
    let token = cluster.issuer.sign(&claims);
    cluster.knows(&token, CHECKOUT);
    assert_eq!(ask(&sidegate, "/", &token).status, 200);
    until("the token to end", || (ask(&sidegate, "/", &token).status == 401).then_some(()));
    // By its own word, for which nobody is asked.
    ask(&sidegate, "/", &token).assert_refused(401, "jwt_expired");
    assert_eq!(cluster.questions(), 1);
}

#[test]
fn the_issuer_of_a_token_chooses_whether_it_is_verified_or_asked_about() {
    let (cluster, issuer, app) = (ApiServer::start(), Issuer::new(), Recorder::start());
    let builder = Sidegate::before(&app).jwt(&issuer);
    let keys = review(&cluster, &builder, json!({}));
    let sidegate = builder
        .jwt_with(&cluster.issuer, json!({ "name": "cluster", "keys": keys }))
        .rule(json!({ "path": "/cluster", "credentials": ["cluster"], "allow": "authenticated" }))
        .rule(json!({ "allow": "authenticated" }))
        .start();
    let token = cluster.token("payments", "checkout");
    cluster.knows(&token, CHECKOUT);
    assert_eq!(ask(&sidegate, "/", &issuer.token("alice")).status, 200);
    assert_eq!(cluster.questions(), 0);
    assert_eq!(ask(&sidegate, "/cluster", &token).status, 200);
    assert_eq!(cluster.questions(), 1);
    ask(&sidegate, "/cluster", &issuer.token("alice")).assert_refused(401, "jwt_issuer");
    // Which says nothing of itself is nobody's here, and the API server hears nothing of what others issued.
    ask(&sidegate, "/", "an-opaque-token").assert_refused(401, "jwt_malformed");
    ask(&sidegate, "/", &issuer.token_with("alice", json!({ "iss": "https://else.test" })))
        .assert_refused(401, "jwt_issuer");
    assert_eq!(cluster.questions(), 1);
}

#[test]
fn what_an_api_server_would_not_look_at_cannot_be_asked_of_its_tokens() {
    let (cluster, issuer, app) = (ApiServer::start(), Issuer::new(), Recorder::start());
    let builder = Sidegate::before(&app);
    let keys = review(&cluster, &builder, json!({}));
    let settings = json!({
        "keys": keys, "typ": "at+jwt", "max_lifetime": "1h", "required_claims": { "a": 1 }, "algorithms": ["RS256"],
        "groups_claim": "roles", "subject_claim": "email",
    });
    let keys = ["typ", "max_lifetime", "required_claims", "algorithms", "groups_claim", "subject_claim"]
        .map(|key| format!("auth.jwt[0].{key}"));
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    builder.jwt_with(&cluster.issuer, settings).refuse().assert_failed(64, &keys);

    let nobody = json!({ "allow": { "any": [{ "service_accounts": ["payments/*"] }] } });
    let refused = Sidegate::before(&app).jwt(&issuer).rule(nobody).refuse();
    refused.assert_failed(64, &["rules[0].allow.any[0].service_accounts", "nobody gets through", "kubernetes: true"]);
    let others = json!({ "credentials": ["issuer.test"], "allow": { "service_accounts": ["payments/*"] } });
    let refused = before(&app, &cluster, json!({})).jwt(&issuer).rule(others).refuse();
    refused.assert_failed(64, &["rules[0].allow.service_accounts"]);
}

/// Before this app, having the cluster asked about every token.
fn before(app: &impl App, cluster: &ApiServer, settings: Value) -> Builder {
    let builder = Sidegate::before(app);
    let keys = review(cluster, &builder, settings);
    builder.jwt_with(&cluster.issuer, json!({ "issuer": null, "keys": keys }))
}

fn review(cluster: &ApiServer, builder: &Builder, settings: Value) -> Value {
    let mut keys = cluster.keys(builder, "token_review");
    for (key, value) in settings.as_object().unwrap() {
        keys[key] = value.clone();
    }
    keys
}

fn ask(sidegate: &Sidegate, path: &str, token: &str) -> Answer {
    sidegate.get(path, &[&format!("Authorization: Bearer {token}")])
}
