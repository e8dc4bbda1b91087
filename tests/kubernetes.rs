//! The service accounts of a Kubernetes cluster as callers, by tokens that the cluster signed.

use serde_json::{Value, json};

use crate::support::{Answer, ApiServer, Builder, Issuer, Recorder, Sidegate, until};

#[test]
fn a_service_account_is_let_in_by_its_name_or_its_namespace() {
    let (cluster, app) = (ApiServer::start(), Recorder::start());
    let sidegate = start(
        before(&app, &cluster)
            .rule(json!({ "path": "/pay", "allow": { "service_accounts": ["payments/checkout"] } }))
            .rule(json!({ "path": "/watch", "allow": { "service_accounts": ["monitoring/*", "payments/checkout"] } }))
            .rule(json!({ "allow": "authenticated" })),
    );
    for (path, namespace, name, status) in [
        ("/pay", "payments", "checkout", 200),
        ("/pay", "payments", "refunds", 403),
        ("/pay", "payments-dev", "checkout", 403),
        ("/pay", "dev", "checkout", 403),
        ("/pay", "checkout", "payments", 403),
        ("/watch", "monitoring", "prometheus", 200),
        ("/watch", "monitoring-dev", "prometheus", 403),
        ("/watch", "payments", "checkout", 200),
        ("/else", "dev", "tinker", 200),
    ] {
        let answer = ask(&sidegate, path, &cluster.token(namespace, name));
        assert_eq!(answer.status, status, "{path} {namespace}/{name}: {}", answer.text());
    }
    let log = sidegate.access_log(2);
    assert_eq!(
        (&log[0]["auth_issuer"], &log[0]["auth_user"]),
        (&json!("kubernetes.default.svc.cluster.local"), &json!("system:serviceaccount:payments:checkout"))
    );
    assert_eq!(log[1]["auth_reason"], "rule_denied");
}

#[test]
fn the_app_is_told_which_account_it_is() {
    let (cluster, issuer, app) = (ApiServer::start(), Issuer::new(), Recorder::start());
    let told = json!({
        "X-User": "sub", "X-Groups": "groups", "X-Namespace": "$namespace", "X-Account": "$service_account",
        "X-Pod": "/kubernetes.io/pod/name",
    });
    let sidegate = start(before(&app, &cluster).jwt(&issuer).set(json!({ "identity": { "headers": told } })));
    assert_eq!(ask(&sidegate, "/", &cluster.token("payments", "checkout")).status, 200);
    let request = app.last_request();
    assert_eq!(request.header("X-User"), Some("system:serviceaccount:payments:checkout"));
    let groups = "system:serviceaccounts,system:serviceaccounts:payments,system:authenticated";
    assert_eq!(request.header("X-Groups"), Some(groups));
    assert_eq!(request.header("X-Namespace"), Some("payments"));
    assert_eq!(request.header("X-Account"), Some("checkout"));
    assert_eq!(request.header("X-Pod"), Some("checkout-6d4b75cb6d-hwzkq"));

    // Nobody else can say so.
    let claims = json!({
        "$namespace": "payments", "$service_account": "checkout", "namespace": "payments",
        "kubernetes.io": { "namespace": "payments", "serviceaccount": { "name": "checkout" } },
    });
    let token = issuer.token_with("system:serviceaccount:payments:checkout", claims);
    assert_eq!(ask(&sidegate, "/", &token).status, 200);
    let request = app.last_request();
    assert_eq!((request.header("X-Namespace"), request.header("X-Account")), (None, None));
}

#[test]
fn what_is_no_service_accounts_token_is_refused() {
    let (cluster, app) = (ApiServer::start(), Recorder::start());
    let sidegate = start(before(&app, &cluster));
    let with = |pointer: &str, value: Value| {
        let mut claims = cluster.claims("payments", "checkout");
        *claims.pointer_mut(pointer).unwrap() = value;
        cluster.issuer.sign(&claims)
    };
    for (pointer, value, reason) in [
        ("/sub", json!("alice"), "jwt_claim"),
        ("/sub", json!("system:serviceaccount:payments"), "jwt_claim"),
        ("/sub", json!("system:serviceaccount:payments:checkout:admin"), "jwt_claim"),
        ("/sub", json!("system:serviceaccount:payments/x:checkout"), "jwt_claim"),
        ("/sub", json!("system:serviceaccount:*:checkout"), "jwt_claim"),
        // What is said in two places must be the same.
        ("/sub", json!("system:serviceaccount:payments:refunds"), "jwt_claim"),
        ("/kubernetes.io/namespace", json!("kube-system"), "jwt_claim"),
        ("/kubernetes.io/namespace", json!(null), "jwt_claim"),
        ("/kubernetes.io/serviceaccount/name", json!("refunds"), "jwt_claim"),
        ("/kubernetes.io/serviceaccount/name", json!(["checkout"]), "jwt_claim"),
        ("/aud", json!(["https://kubernetes.default.svc.cluster.local"]), "jwt_audience"),
        ("/aud", json!([]), "jwt_audience"),
        ("/aud", json!(null), "jwt_audience"),
        ("/iss", json!("kubernetes/serviceaccount"), "jwt_issuer"),
        ("/exp", json!(1), "jwt_expired"),
    ] {
        let answer = ask(&sidegate, "/", &with(pointer, value.clone()));
        assert_eq!((answer.status, answer.reason().as_deref()), (401, Some(reason)), "{pointer} {value}");
    }
    let impostor = cluster.issuer.impostor().sign(&cluster.claims("payments", "checkout"));
    ask(&sidegate, "/", &impostor).assert_refused(401, "jwt_signature");
    // The kind of token that Kubernetes kept in Secrets: without an end and without an audience.
    let mut claims = cluster.claims("payments", "checkout");
    for name in ["aud", "exp", "kubernetes.io"] {
        claims.as_object_mut().unwrap().remove(name);
    }
    ask(&sidegate, "/", &cluster.issuer.sign(&claims)).assert_refused(401, "jwt_expired");
    assert_eq!(app.requests().len(), 0);
    assert_eq!(ask(&sidegate, "/", &cluster.token("payments", "checkout")).status, 200);
}

#[test]
fn no_other_issuer_can_name_a_service_account() {
    let (cluster, issuer, app) = (ApiServer::start(), Issuer::new(), Recorder::start());
    let sidegate = start(
        before(&app, &cluster)
            .jwt(&issuer)
            .rule(json!({ "path": "/pay", "allow": { "service_accounts": ["payments/checkout"] } }))
            .rule(json!({ "allow": "authenticated" })),
    );
    let kubernetes = cluster.claims("payments", "checkout")["kubernetes.io"].clone();
    let token = issuer.token_with("system:serviceaccount:payments:checkout", json!({ "kubernetes.io": kubernetes }));
    ask(&sidegate, "/pay", &token).assert_refused(403, "rule_denied");
    assert_eq!(ask(&sidegate, "/", &token).status, 200);
    assert_eq!(ask(&sidegate, "/pay", &cluster.token("payments", "checkout")).status, 200);
}

#[test]
fn a_pod_finds_its_cluster_by_itself() {
    let (cluster, app) = (ApiServer::start(), Recorder::start());
    let builder = Sidegate::before(&app);
    let mut keys = cluster.files(&builder);
    keys["kubernetes"] = json!(true);
    // Neither a URL nor an issuer: the one is in the environment, the other in our own token.
    let builder = builder.jwt_with(&cluster.issuer, json!({ "issuer": null, "keys": keys }));
    let sidegate = start(cluster.in_environment(builder));
    assert_eq!(ask(&sidegate, "/", &cluster.token("payments", "checkout")).status, 200);
    let mut claims = cluster.claims("payments", "checkout");
    claims["iss"] = json!("https://other-cluster.test/");
    ask(&sidegate, "/", &cluster.issuer.sign(&claims)).assert_refused(401, "jwt_issuer");
    assert_eq!(sidegate.access_log(1)[0]["auth_issuer"], "kubernetes");
}

#[test]
fn the_token_that_the_api_server_is_shown_is_read_anew() {
    let (cluster, app) = (ApiServer::start(), Recorder::start());
    let builder = Sidegate::before(&app);
    let mut keys = cluster.keys(&builder, "kubernetes");
    keys["min_refetch"] = json!("10ms");
    keys["refresh"] = json!("20ms");
    let sidegate = start(builder.jwt_with(&cluster.issuer, json!({ "keys": keys })));
    let rotated = cluster.rotate_asker();
    sidegate.wait_for_metric_above("sidegate_jwks_refresh_total", &[("result", "failed")], 0.0);
    std::fs::write(sidegate.file("asker"), rotated).unwrap();
    let before = cluster.key_sets();
    until("the keys, with the new token", || (cluster.key_sets() > before).then_some(()));
}

#[test]
fn outside_of_a_cluster_it_says_what_to_do() {
    let (cluster, app) = (ApiServer::start(), Recorder::start());
    let refuse = |issuer: Value, keys: Value| {
        let settings = json!({ "issuer": issuer, "keys": keys });
        Sidegate::before(&app)
            .jwt_with(&cluster.issuer, settings)
            .env("KUBERNETES_SERVICE_HOST", "")
            .env("KUBERNETES_SERVICE_PORT", "")
            .refuse()
    };
    for source in ["kubernetes", "token_review"] {
        refuse(json!("https://k.test"), json!({ "file": null, source: true })).assert_failed(
            64,
            &["auth.jwt[0].keys", "this is no pod", "KUBERNETES_SERVICE_HOST", "run it in a pod, or set `url`, `ca`"],
        );
    }
    let url = json!({ "file": null, "kubernetes": true, "url": "https://k.test/openid/v1/jwks" });
    refuse(json!(null), url).assert_failed(64, &["the cluster's issuer is not known", "set `issuer` to what `kubectl"]);

    let builder = Sidegate::before(&app);
    let mut keys = cluster.keys(&builder, "kubernetes");
    keys["bearer_token_file"] = json!(builder.write("opaque", "not-a-token"));
    let builder = builder.jwt_with(&cluster.issuer, json!({ "issuer": null, "keys": keys }));
    builder.refuse().assert_failed(64, &["opaque is no service account's token", "kubectl get --raw"]);
}

#[test]
fn an_issuer_that_is_found_twice_is_one_too_many() {
    let (cluster, app) = (ApiServer::start(), Recorder::start());
    let builder = Sidegate::before(&app);
    let keys = cluster.keys(&builder, "kubernetes");
    let found = json!({ "name": "found", "issuer": null, "keys": keys });
    let builder = builder.jwt(&cluster.issuer).jwt_with(&cluster.issuer, found);
    builder.refuse().assert_failed(64, &["auth.jwt[1].issuer", "auth.jwt[0] has the issuer", "keep one of them"]);
}

/// Before this app, taking the tokens that the cluster signed.
fn before(app: &Recorder, cluster: &ApiServer) -> Builder {
    let builder = Sidegate::before(app);
    let keys = cluster.keys(&builder, "kubernetes");
    builder.jwt_with(&cluster.issuer, json!({ "keys": keys }))
}

/// Starts it, and waits until it has the cluster's keys.
fn start(builder: Builder) -> Sidegate {
    let sidegate = builder.start();
    sidegate.wait_until_ready();
    sidegate
}

fn ask(sidegate: &Sidegate, path: &str, token: &str) -> Answer {
    sidegate.get(path, &[&format!("Authorization: Bearer {token}")])
}
