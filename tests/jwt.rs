//! Bearer tokens: which are accepted, what the app is told, and why the others are refused.

use jsonwebtoken::Algorithm;
use serde_json::json;

use crate::support::{Builder, Issuer, Recorder, Sidegate, der, now, signed_with_public_key, unsigned, until};

#[test]
fn every_algorithm_is_accepted_from_a_jwks_or_a_secret_file() {
    use Algorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512};
    let algorithms = [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA, HS256, HS384, HS512];
    let issuers = algorithms.map(|algorithm| Issuer::with(algorithm).named(&format!("https://{algorithm:?}.test/")));
    let app = Recorder::start();
    let sidegate = issuers.iter().fold(Sidegate::before(&app), |builder, issuer| {
        builder.jwt_with(issuer, json!({ "algorithms": [format!("{:?}", issuer.algorithm)] }))
    });
    let sidegate = sidegate.start();
    for issuer in &issuers {
        let answer = sidegate.get("/", &[&format!("Authorization: Bearer {}", issuer.token("alice"))]);
        assert_eq!(answer.status, 200, "{:?}: {}", issuer.algorithm, answer.text());
        assert_eq!(app.last_request().header("X-Forwarded-User"), Some("alice"));
    }
}

#[test]
fn a_token_of_this_very_moment_is_none_of_the_future() {
    let (app, issuer) = (Recorder::start(), Issuer::with(Algorithm::HS256));
    let sidegate = Sidegate::before(&app).jwt_with(&issuer, json!({ "leeway": 0 })).start();
    let mut wire = sidegate.wire();
    for _ in 0..3 {
        // The first milliseconds of a second are those in which a clock that is behind has another one.
        let second = now();
        while now() == second {
            std::hint::spin_loop();
        }
        let token = issuer.token_with("alice", json!({ "nbf": now() }));
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
        let answer = wire.send(request).answer();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[test]
fn the_usual_algorithms_need_not_be_configured() {
    use Algorithm::{ES256, ES384, EdDSA, HS256, PS256, RS256};
    let issuers = [RS256, PS256, ES256, ES384, EdDSA, HS256]
        .map(|algorithm| Issuer::with(algorithm).named(&format!("https://{algorithm:?}.test/")));
    let app = Recorder::start();
    let sidegate = issuers.iter().fold(Sidegate::before(&app), Builder::jwt).start();
    for issuer in &issuers {
        let answer = sidegate.get("/", &[&format!("Authorization: Bearer {}", issuer.token("alice"))]);
        assert_eq!(answer.status, 200, "{:?}: {}", issuer.algorithm, answer.text());
    }
}

#[test]
fn public_keys_and_certificates_in_pem_are_accepted() {
    use Algorithm::{ES256, EdDSA, RS256};
    let issuers =
        [RS256, ES256, EdDSA].map(|algorithm| Issuer::with(algorithm).named(&format!("https://{algorithm:?}.test/")));
    let app = Recorder::start();
    let sidegate = issuers.iter().fold(Sidegate::before(&app), |builder, issuer| {
        let pem = builder.write(&format!("{:?}.pem", issuer.algorithm), &issuer.public_pem);
        builder.jwt_with(issuer, json!({ "keys": { "file": null, "pem_file": pem } }))
    });
    let sidegate = sidegate.start();
    for issuer in &issuers {
        let answer = sidegate.get("/", &[&format!("Authorization: Bearer {}", issuer.token("alice"))]);
        assert_eq!(answer.status, 200, "{:?}: {}", issuer.algorithm, answer.text());
    }
}

#[test]
fn the_app_is_told_the_claims_that_were_asked_for() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app)
        .jwt_with(&issuer, json!({ "groups_claim": "realm_access.roles" }))
        .set(json!({ "identity": { "group_separator": "|", "headers": {
            "X-Tenant": "tenant.id", "X-Plan": "/https:~1~1example.com~1plan", "X-Age": "age", "X-Missing": "missing",
        } } }))
        .start();
    let token = issuer.token_with(
        "alice",
        json!({
            "email": "alice@example.com", "age": 41, "tenant": { "id": "t-17" },
            "https://example.com/plan": "gold", "realm_access": { "roles": ["admin", "writer"] },
        }),
    );
    assert_eq!(sidegate.get("/", &[&format!("Authorization: Bearer {token}")]).status, 200);
    let request = app.only_request();
    assert_eq!(request.header("X-Tenant"), Some("t-17"));
    assert_eq!(request.header("X-Plan"), Some("gold"));
    assert_eq!(request.header("X-Age"), Some("41"));
    assert_eq!(request.header("X-Missing"), None);

    let sidegate = Sidegate::before(&app)
        .jwt_with(&issuer, json!({ "groups_claim": "realm_access.roles" }))
        .set(json!({ "identity": { "group_separator": "|" } }))
        .start();
    assert_eq!(sidegate.get("/", &[&format!("Authorization: Bearer {token}")]).status, 200);
    let request = app.last_request();
    assert_eq!(request.header("X-Forwarded-User"), Some("alice"));
    assert_eq!(request.header("X-Forwarded-Email"), Some("alice@example.com"));
    assert_eq!(request.header("X-Forwarded-Groups"), Some("admin|writer"));
}

#[test]
fn a_claim_cannot_smuggle_a_header() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app).jwt(&issuer).start();
    for email in ["a\r\nX-Admin: 1", "a\nX-Admin: 1", "a\0b", "\r\n\r\nGET /admin HTTP/1.1\r\n"] {
        let token = issuer.token_with("alice", json!({ "email": email, "groups": [email] }));
        let answer = sidegate.get("/", &[&format!("Authorization: Bearer {token}")]);
        assert!(matches!(answer.status, 200 | 401), "{email:?}: {}", answer.status);
    }
    for request in app.requests() {
        assert_eq!(request.line, "GET / HTTP/1.1");
        assert_eq!(request.header("X-Admin"), None);
        assert!(request.header("X-Forwarded-Email").is_none_or(|email| email.chars().all(|c| !c.is_control())));
    }
}

#[test]
fn the_scheme_is_read_in_any_case() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app).jwt(&issuer).start();
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let answer = sidegate.get("/", &[&format!("authorization: {scheme} {}", issuer.token("alice"))]);
        assert_eq!(answer.status, 200, "{scheme}");
    }
}

#[test]
fn a_bad_token_is_refused_with_its_reason_in_body_log_and_metric() {
    let (issuer, app) = (Issuer::with(Algorithm::RS256), Recorder::start());
    let sidegate = Sidegate::before(&app).jwt(&issuer).start();
    let good = issuer.token("alice");
    let with = |claims| issuer.token_with("alice", claims);
    // The claims of one token under the signature of another.
    let tampered = {
        let other = issuer.token_with("root", json!({ "admin": true }));
        let part = |token: &str, n: usize| token.split('.').nth(n).unwrap().to_owned();
        [part(&good, 0), part(&other, 1), part(&good, 2)].join(".")
    };
    let claims = issuer.claims("root");
    let stranger = json!({ "alg": "RS256", "kid": "../../dev/null" });
    let cases = [
        ("another key under the same key id", issuer.impostor().token("root"), "jwt_signature"),
        ("other claims under the signature", tampered, "jwt_signature"),
        ("no signature", unsigned("none", &claims), "jwt_algorithm"),
        ("no signature, in capitals", unsigned("NONE", &claims), "jwt_algorithm"),
        (
            "HS256 with the public key's PEM",
            public_key_as_secret(issuer.public_pem.as_bytes(), &issuer),
            "jwt_algorithm",
        ),
        (
            "HS256 with the trimmed PEM",
            public_key_as_secret(issuer.public_pem.trim().as_bytes(), &issuer),
            "jwt_algorithm",
        ),
        ("HS256 with the public key's DER", public_key_as_secret(&der(&issuer.public_pem), &issuer), "jwt_algorithm"),
        ("another good algorithm", Issuer::with(Algorithm::ES256).token("root"), "jwt_key_unknown"),
        ("an unknown key id", issuer.sign_raw(&stranger, &claims.to_string()), "jwt_key_unknown"),
        ("expired", with(json!({ "exp": now() - 60 })), "jwt_expired"),
        ("never expiring", with(json!({ "exp": null })), "jwt_expired"),
        ("not yet valid", with(json!({ "nbf": now() + 60 })), "jwt_not_yet_valid"),
        ("another issuer", with(json!({ "iss": "https://evil.test/" })), "jwt_issuer"),
        ("the issuer without its slash", with(json!({ "iss": "https://issuer.test" })), "jwt_issuer"),
        ("no issuer", with(json!({ "iss": null })), "jwt_issuer"),
        ("another audience", with(json!({ "aud": "billing" })), "jwt_audience"),
        ("other audiences", with(json!({ "aud": ["billing", "orders2"] })), "jwt_audience"),
        ("an empty list of audiences", with(json!({ "aud": [] })), "jwt_audience"),
        ("no audience", with(json!({ "aud": null })), "jwt_audience"),
        ("two dots and nothing else", "..".to_owned(), "jwt_malformed"),
        ("one part", "abc".to_owned(), "jwt_malformed"),
        ("a fourth part", format!("{good}.x"), "jwt_malformed"),
        ("no JSON", "YWJj.YWJj.YWJj".to_owned(), "jwt_malformed"),
        ("padded base64", format!("{good}=="), "jwt_malformed"),
        ("a claim twice", issuer.sign_raw(&json!({ "alg": "RS256" }), &twice(&claims.to_string())), "jwt_malformed"),
    ];
    for (what, token, reason) in &cases {
        let before = sidegate.metrics().sum("sidegate_auth_decisions_total", &[("method", "jwt"), ("reason", reason)]);
        let answer = sidegate.get("/orders", &[&format!("Authorization: Bearer {token}")]);
        assert_eq!((answer.status, answer.reason().as_deref()), (401, Some(*reason)), "{what}: {}", answer.text());
        let challenge = answer.header("WWW-Authenticate").unwrap();
        assert!(
            challenge.starts_with("Bearer ") && challenge.contains(r#"error="invalid_token""#),
            "{what}: {challenge}"
        );
        sidegate.wait_for_metric(
            "sidegate_auth_decisions_total",
            &[("method", "jwt"), ("reason", reason)],
            before + 1.0,
        );
    }
    let log = sidegate.access_log(cases.len());
    for ((what, _, reason), entry) in cases.iter().zip(&log) {
        assert_eq!(entry["auth_reason"], *reason, "{what}: {entry}");
        assert_eq!(entry["response_code"], 401, "{what}: {entry}");
    }
    assert_eq!(app.requests().len(), 0, "the app was asked");
}

#[test]
fn clocks_may_differ_by_the_leeway() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app).jwt(&issuer).start();
    for (claims, status) in [
        (json!({ "exp": now() - 20 }), 200),
        (json!({ "exp": now() - 40 }), 401),
        (json!({ "nbf": now() + 20 }), 200),
        (json!({ "nbf": now() + 40 }), 401),
    ] {
        let token = issuer.token_with("alice", claims.clone());
        assert_eq!(sidegate.get("/", &[&format!("Authorization: Bearer {token}")]).status, status, "{claims}");
    }
}

#[test]
fn each_issuer_is_checked_with_its_own_keys_and_audiences() {
    let ours = Issuer::new();
    let mut theirs = Issuer::with(Algorithm::EdDSA).named("https://partner.test/");
    theirs.audience = "partners".to_owned();
    let app = Recorder::start();
    let sidegate = Sidegate::before(&app).jwt_with(&ours, json!({ "name": "corp" })).jwt(&theirs).start();
    let ask = |token: String| sidegate.get("/", &[&format!("Authorization: Bearer {token}")]);
    assert_eq!(ask(ours.token("alice")).status, 200);
    assert_eq!(ask(theirs.token("bob")).status, 200);
    ask(ours.token_with("alice", json!({ "aud": "partners" }))).assert_refused(401, "jwt_audience");
    ask(theirs.token_with("bob", json!({ "aud": "orders" }))).assert_refused(401, "jwt_audience");
    // Their key is good for their name only.
    assert_eq!(ask(theirs.token_with("alice", json!({ "iss": ours.name, "aud": "orders" }))).status, 401);
    assert_eq!(app.requests().len(), 2);
    let log = sidegate.access_log(2);
    assert_eq!((&log[0]["auth_user"], &log[0]["auth_issuer"]), (&json!("alice"), &json!("corp")));
    assert_eq!((&log[1]["auth_user"], &log[1]["auth_issuer"]), (&json!("bob"), &json!("partner.test")));
}

#[test]
fn a_remembered_token_is_that_token_only_and_until_it_expires() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app).jwt_with(&issuer, json!({ "leeway": "0s" })).start();
    let ask = |token: &str| sidegate.get("/", &[&format!("Authorization: Bearer {token}")]);
    let token = issuer.token_with("alice", json!({ "exp": now() + 3 }));
    assert_eq!((ask(&token).status, ask(&token).status), (200, 200));
    sidegate.wait_for_metric("sidegate_token_cache_total", &[("result", "hit")], 1.0);

    let (message, _) = token.rsplit_once('.').unwrap();
    let forged = issuer.impostor().token("alice");
    let (_, signature) = forged.rsplit_once('.').unwrap();
    ask(&format!("{message}.{signature}")).assert_refused(401, "jwt_signature");

    until("the remembered token to expire", || (ask(&token).status == 401).then_some(()));
    ask(&token).assert_refused(401, "jwt_expired");
}

#[test]
fn a_usable_key_is_used_beside_keys_that_are_not() {
    let (issuer, app) = (Issuer::with(Algorithm::RS256), Recorder::start());
    let mut encryption = Issuer::with(Algorithm::RS256).impostor().jwk();
    encryption["alg"] = json!("RSA-OAEP");
    encryption["use"] = json!("enc");
    let mut nameless = issuer.jwk();
    for field in ["alg", "kid"] {
        nameless.as_object_mut().unwrap().remove(field);
    }
    let keys = json!({ "keys": [
        { "kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA", "kid": "post-quantum" }, { "kty": "EC" }, 7, encryption, nameless,
    ] });
    let builder = Sidegate::before(&app);
    let file = builder.write("mixed.json", &keys.to_string());
    let sidegate = builder.jwt_with(&issuer, json!({ "keys": { "file": file } })).start();
    let token = issuer.sign_raw(&json!({ "alg": "RS256" }), &issuer.claims("alice").to_string());
    assert_eq!(sidegate.get("/", &[&format!("Authorization: Bearer {token}")]).status, 200);
}

fn public_key_as_secret(key: &[u8], issuer: &Issuer) -> String {
    signed_with_public_key(key, &issuer.claims("root"))
}

/// The same claims with a second `sub`.
fn twice(claims: &str) -> String {
    claims.replacen('{', r#"{"sub":"alice","#, 1)
}
