//! Who may do what: the first rule that matches decides, and what no rule allows is denied.

use serde_json::{Value, json};

use crate::support::{Answer, H2, Issuer, Recorder, Sidegate};

#[test]
fn the_first_rule_that_matches_decides_and_none_denies() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app)
        .jwt(&issuer)
        .rule(json!({ "name": "health", "path": "/healthz", "allow": "anyone" }))
        .rule(json!({ "name": "admins", "path": "/admin/**", "allow": { "groups": ["admin"] } }))
        .rule(json!({ "name": "readers", "path": "/orders/**", "methods": ["GET", "HEAD"], "allow": "authenticated" }))
        .rule(json!({ "name": "writers", "path": "/orders/**", "allow": { "claims": { "scope": "orders:write" } } }))
        .rule(json!({ "name": "pictures", "path": "/static/*.png", "allow": "anyone" }))
        .start();
    let reader = issuer.token_with("rita", json!({ "scope": "orders:read openid" }));
    let writer = issuer.token_with("will", json!({ "scope": "orders:read orders:write" }));
    let admin = issuer.token_with("anna", json!({ "groups": ["staff", "admin"] }));
    let cases: &[(&str, &str, Option<&str>, u16, &str)] = &[
        ("GET", "/healthz", None, 200, "health"),
        // No credentials would help where no rule matches, so none are asked for.
        ("GET", "/healthz/", None, 403, ""),
        ("GET", "/healthzz", None, 403, ""),
        ("GET", "/admin", None, 401, "admins"),
        ("GET", "/admin", Some(&reader), 403, "admins"),
        ("GET", "/admin", Some(&admin), 200, "admins"),
        ("GET", "/admin/users/7", Some(&admin), 200, "admins"),
        ("GET", "/admin/users/7", Some(&reader), 403, "admins"),
        ("GET", "/administrator", Some(&admin), 403, ""),
        ("GET", "/orders/1", Some(&reader), 200, "readers"),
        ("HEAD", "/orders/1", Some(&reader), 200, "readers"),
        ("POST", "/orders/1", Some(&reader), 403, "writers"),
        ("POST", "/orders/1", Some(&writer), 200, "writers"),
        ("DELETE", "/orders", Some(&writer), 200, "writers"),
        ("GET", "/static/a.png", None, 200, "pictures"),
        ("GET", "/static/deep/a.png", None, 403, ""),
        ("GET", "/static/a.png.html", None, 403, ""),
        ("GET", "/", Some(&admin), 403, ""),
        ("GET", "/", None, 403, ""),
    ];
    for (method, path, token, status, _) in cases {
        let answer = ask(&sidegate, method, path, *token);
        assert_eq!(answer.status, *status, "{method} {path}: {}", answer.text());
    }
    let log = sidegate.access_log(cases.len());
    for ((method, path, _, status, rule), entry) in cases.iter().zip(&log) {
        assert_eq!(entry["rule"].as_str().unwrap_or_default(), *rule, "{method} {path}: {entry}");
        if *status == 403 {
            let reason = if rule.is_empty() { "no_rule" } else { "rule_denied" };
            assert_eq!(entry["auth_reason"], reason, "{method} {path}: {entry}");
        }
    }
    assert_eq!(app.requests().len(), cases.iter().filter(|case| case.3 == 200).count());
    sidegate.wait_for_metric("sidegate_auth_decisions_total", &[("reason", "rule_denied"), ("rule", "writers")], 1.0);
    sidegate.wait_for_metric("sidegate_auth_decisions_total", &[("reason", "no_rule")], 7.0);
}

#[test]
fn each_property_that_a_rule_names_must_hold() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let allow = json!({ "users": ["alice", "bob"], "groups": ["ops"], "claims": { "tenant.id": "t-1", "level": 3 } });
    let sidegate = Sidegate::before(&app).jwt(&issuer).rule(json!({ "allow": allow })).start();
    let claims = || json!({ "groups": ["dev", "ops"], "tenant": { "id": "t-1" }, "level": 3 });
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        claims
    };
    for (user, claims, status) in [
        ("alice", claims(), 200),
        ("bob", claims(), 200),
        ("carol", claims(), 403),
        ("alice", with("groups", json!(["dev"])), 403),
        ("alice", with("groups", json!("ops")), 200),
        ("alice", with("groups", json!("opsy")), 403),
        ("alice", with("groups", json!(null)), 403),
        ("alice", with("tenant", json!({ "id": "t-2" })), 403),
        ("alice", with("tenant", json!({ "id": ["t-9", "t-1"] })), 200),
        ("alice", with("tenant", json!("t-1")), 403),
        ("alice", with("level", json!(4)), 403),
    ] {
        let token = issuer.token_with(user, claims.clone());
        assert_eq!(ask(&sidegate, "GET", "/", Some(&token)).status, status, "{user} {claims}");
    }
}

#[test]
fn text_of_a_claim_is_one_value_unless_it_is_a_scope() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let terms = json!({ "required_claims": { "unit": "north", "tenant": { "present": true } } });
    let sidegate = Sidegate::before(&app)
        .jwt_with(&issuer, terms)
        .rule(json!({ "path": "/finance", "allow": { "claims": { "department": ["finance", "audit"] } } }))
        .rule(json!({ "path": "/scope", "allow": { "claims": { "scope": "write", "realm.scp": "x" } } }))
        .rule(json!({ "path": "/badge", "allow": { "claims": { "badge": { "present": true } } } }))
        .start();
    let good = || json!({ "unit": "north", "tenant": "t-1" });
    for (path, claim, value, status) in [
        ("/finance", "department", json!("finance"), 200),
        ("/finance", "department", json!(["it", "audit"]), 200),
        ("/finance", "department", json!("not finance"), 403),
        ("/finance", "unit", json!("not north"), 401),
        ("/finance", "tenant", json!(""), 401),
        ("/scope", "scope", json!("read write"), 200),
        ("/scope", "scope", json!("read-write"), 403),
        ("/badge", "badge", json!(7), 200),
        ("/badge", "badge", json!(""), 403),
        ("/badge", "badge", Value::Null, 403),
        ("/badge", "other", json!(7), 403),
    ] {
        let mut claims = good();
        claims["realm"] = json!({ "scp": "w x" });
        claims[claim] = value.clone();
        let token = issuer.token_with("alice", claims);
        assert_eq!(ask(&sidegate, "GET", path, Some(&token)).status, status, "{path}: {claim} {value}");
    }
}

#[test]
fn a_public_route_takes_any_credentials_and_none() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app).jwt(&issuer).rule(json!({ "allow": "anyone" })).start();
    assert_eq!(ask(&sidegate, "GET", "/", None).status, 200);
    assert_eq!(ask(&sidegate, "GET", "/", Some("not a token")).status, 200);
    assert_eq!(app.requests().len(), 2);
}

#[test]
fn only_the_path_is_looked_at_and_neither_the_query_nor_what_a_header_says_it_was() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app)
        .jwt(&issuer)
        .rule(json!({ "path": "/public/**", "allow": "anyone" }))
        .rule(json!({ "methods": ["OPTIONS"], "allow": "anyone" }))
        .rule(json!({ "allow": "authenticated" }))
        .start();
    for path in ["/admin?/public/x", "/admin?x=/public/", "/admin?path=/public/../public"] {
        assert_eq!(sidegate.get(path, &[]).status, 401, "{path}");
    }
    for line in [
        "X-Forwarded-Uri: /public/x",
        "X-Original-URL: /public/x",
        "X-Original-Uri: /public/x",
        "X-Rewrite-URL: /public/x",
        "X-Forwarded-Prefix: /public",
        "X-Forwarded-Path: /public/x",
        "X-Original-Method: OPTIONS",
        "X-Forwarded-Method: OPTIONS",
        "X-HTTP-Method-Override: OPTIONS",
        "X-HTTP-Method: OPTIONS",
    ] {
        assert_eq!(sidegate.get("/admin", &[line]).status, 401, "{line}");
    }
    let mut h2 = H2::connect(&sidegate);
    assert_eq!(h2.send("GET", "/admin?/public/x", &[("x-forwarded-uri", "/public/x")], b"").status, 401);
    assert_eq!(app.requests().len(), 0);
}

#[test]
fn a_method_is_matched_as_it_is_written_and_written_in_capitals() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app)
        .jwt(&issuer)
        .rule(json!({ "methods": ["GET"], "allow": "anyone" }))
        .rule(json!({ "allow": { "groups": ["admin"] } }))
        .start();
    for (method, status) in [("GET", 200), ("get", 400), ("Get", 400), ("GETX", 401), ("BREW", 401), ("POST", 401)] {
        assert_eq!(ask(&sidegate, method, "/", None).status, status, "{method}");
    }
}

#[test]
fn a_rule_is_for_the_hosts_that_it_names_however_they_are_written() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app)
        .jwt(&issuer)
        .rule(json!({ "hosts": ["WWW.example.com", "[2001:db8::1]"], "path": "/pages/**", "allow": "anyone" }))
        .rule(json!({ "hosts": ["*.public.example.com"], "allow": "anyone" }))
        .rule(json!({ "allow": "authenticated" }))
        .start();
    for (host, path, status) in [
        ("www.example.com", "/pages/1", 200),
        ("wWw.Example.COM.:8443", "/pages/1", 200),
        ("[2001:DB8:0::1]:8443", "/pages/1", 200),
        ("www.example.com", "/", 401),
        ("example.com", "/pages/1", 401),
        ("xwww.example.com", "/pages/1", 401),
        ("www.example.com.evil.test", "/pages/1", 401),
        ("[2001:db8::2]", "/pages/1", 401),
        ("a.public.example.com", "/", 200),
        ("a.b.Public.example.com.", "/", 200),
        ("public.example.com", "/", 401),
        ("apublic.example.com", "/", 401),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Host: www.example.com\r\n\r\n");
        assert_eq!(sidegate.wire().send(request).answer().status, status, "{host}{path}");
        let over_h2 = sidegate.curl(path).args(["--http2"]).header(&format!("Host: {host}")).send_over("2");
        assert_eq!(over_h2.status, status, "{host}{path} over HTTP/2");
    }
}

#[test]
fn a_rule_is_for_the_clients_in_its_networks_whatever_their_headers_say() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let with = |networks: Value| {
        Sidegate::before(&app)
            .jwt(&issuer)
            .rule(json!({ "client_ips": networks, "allow": "anyone" }))
            .rule(json!({ "allow": "authenticated" }))
            .start()
    };
    for (networks, status) in [
        (json!(["127.0.0.0/8"]), 200),
        (json!(["10.0.0.0/8", "::ffff:127.0.0.1"]), 200),
        (json!(["10.0.0.0/8"]), 401),
        (json!(["::/0"]), 401),
    ] {
        let sidegate = with(networks.clone());
        let claims = ["X-Forwarded-For: 10.0.0.1", "Forwarded: for=10.0.0.1", "X-Real-IP: 10.0.0.1"];
        assert_eq!(sidegate.get("/", &claims).status, status, "{networks}");
    }
}

#[test]
fn a_method_that_the_app_would_read_as_another_is_refused() {
    // Werkzeug would make a POST of `post`; this app writes down what came.
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app)
        .jwt(&issuer)
        .rule(json!({ "path": "/orders/**", "methods": ["POST"], "allow": { "groups": ["writers"] } }))
        .rule(json!({ "allow": "authenticated" }))
        .start();
    let (alice, will) = (issuer.token("alice"), issuer.token_with("will", json!({ "groups": ["writers"] })));
    for version in ["1.1", "2"] {
        let ask = |method: &str, token: &str| {
            let curl = sidegate.curl("/orders/1").args([&format!("--http{version}")]).method(method);
            curl.bearer(token).send_over(version)
        };
        // No rule is about `post`, so the last one would let it in.
        for method in ["post", "Post", "posT", "gET", "head"] {
            ask(method, &alice).assert_refused(400, "method_invalid");
        }
        ask("POST", &alice).assert_refused(403, "rule_denied");
        assert_eq!(ask("POST", &will).status, 200);
    }
    // curl is not the only one that speaks HTTP/2.
    let fields = [("authorization", &*format!("Bearer {alice}"))];
    H2::connect(&sidegate).send("post", "/orders/1", &fields, b"").assert_refused(400, "method_invalid");
    let lines: Vec<_> = app.requests().iter().map(|request| request.line.clone()).collect();
    assert_eq!(lines, ["POST /orders/1 HTTP/1.1"; 2]);
}

#[test]
fn a_rule_about_get_is_about_head_too() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app)
        .jwt(&issuer)
        .rule(json!({ "path": "/admin/**", "methods": ["GET", "POST"], "allow": { "groups": ["admin"] } }))
        .rule(json!({ "path": "/inbox/**", "methods": ["POST"], "allow": { "groups": ["admin"] } }))
        .rule(json!({ "allow": "authenticated" }))
        .start();
    let (alice, anna) = (issuer.token("alice"), issuer.token_with("anna", json!({ "groups": ["admin"] })));
    for (token, path, status) in [
        (&alice, "/admin/", 403),
        (&alice, "/admin/users", 403),
        (&anna, "/admin/", 200),
        (&alice, "/inbox/", 200), // only GET has HEAD within it
        (&alice, "/", 200),
    ] {
        for version in ["1.1", "2"] {
            let curl = sidegate.curl(path).args([&format!("--http{version}")]).head().bearer(token);
            assert_eq!(curl.send_over(version).status, status, "HEAD {path} over HTTP/{version}");
        }
    }
    let targets: Vec<_> = app.requests().iter().map(|request| request.target().to_owned()).collect();
    assert_eq!(targets, ["/admin/", "/admin/", "/inbox/", "/inbox/", "/", "/"]);
}

fn ask(sidegate: &Sidegate, method: &str, path: &str, token: Option<&str>) -> Answer {
    let credentials = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{credentials}{length}\r\n");
    sidegate.wire().send(request).answer_to(method)
}
