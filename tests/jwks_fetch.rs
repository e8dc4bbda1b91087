//! Fetching keys from whoever says to be the issuer: what is believed, followed and read, and what is told.

use std::{fs, time::Duration};

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::support::{Authority, Builder, ForwardProxy, Issuer, JwksServer, Recorder, Reply, Sidegate, secret, until};

/// Redirects and documents that lead where credentials of machines are, as addresses and as names of these.
const OFF_LIMITS: [&str; 8] = [
    "https://169.254.169.254/latest/meta-data",
    "https://169.254.0.1:8443/jwks",
    "https://[fe80::1]/jwks",
    "https://[fd00:ec2::254]/jwks",
    "https://[::ffff:169.254.169.254]/jwks",
    "https://[::ffff:a9fe:a9fe]/jwks",
    // Names, to whoever reads URLs; addresses, to whoever resolves names.
    "https://2852039166/jwks",
    "https://0xa9fea9fe/jwks",
];

#[test]
fn redirects_are_followed_within_their_scheme_and_three_at_most() {
    let (server, other, plain) = (JwksServer::start(), JwksServer::start(), JwksServer::plaintext());
    let (issuer, app) = (Issuer::new(), Recorder::start());
    for server in [&server, &other, &plain] {
        server.publish(&issuer.jwks());
    }
    server.put("/0", Reply::redirect("/jwks"));
    server.put("/1", Reply::redirect(&server.url("/0")).with_status(308));
    server.put("/2", Reply::redirect("/1").with_status(307));
    server.put("/3", Reply::redirect("/2").with_status(301));
    server.put("/elsewhere", Reply::redirect(&other.url("/jwks")));
    server.put("/loop", Reply::redirect("/loop"));
    server.put("/plain", Reply::redirect(&plain.url("/jwks")));
    server.put("/file", Reply::redirect("file:///etc/passwd"));
    server.put("/nowhere", Reply::status(302));
    plain.put("/secure", Reply::redirect(&other.url("/secure")));
    let (good, bad) = (["/0", "/1", "/2", "/elsewhere"], ["/3", "/loop", "/plain", "/file", "/nowhere"]);
    let mut builder = Sidegate::before(&app);
    for path in good.iter().chain(&bad) {
        builder = builder.remote(path, &named(path), json!({ "url": server.url(path) }));
    }
    builder = builder.remote("/secure", &named("/secure"), json!({ "url": plain.url("/secure") }));
    let sidegate = builder.start();
    for path in good {
        sidegate.wait_for_key_fetch(path, "changed", 0.0);
        let token = issuer.token_with("alice", json!({ "iss": named(path) }));
        assert_eq!(sidegate.get_with_token(&token).status, 200, "{path}");
    }
    for path in bad.iter().chain(&["/secure"]) {
        assert_failed(&sidegate, path);
    }
    assert_eq!((plain.asked("/jwks"), other.asked("/secure")), (0, 0));
    // Four requests to a fetch, and it may have been tried again by now.
    let fetches = sidegate.key_fetches("/loop", "failed");
    assert!(server.asked("/loop") as f64 <= 4.0 * (fetches + 1.0), "{} in {fetches}", server.asked("/loop"));
}

#[test]
fn nothing_leads_to_where_machines_get_their_credentials() {
    let (server, app) = (JwksServer::start(), Recorder::start());
    let mut builder = Sidegate::before(&app);
    let label = |how: &str, i: usize| format!("{how}-{i}");
    for (i, url) in OFF_LIMITS.iter().enumerate() {
        let (redirect, discovery) = (label("redirect", i), label("discovery", i));
        server.put(&format!("/{redirect}"), Reply::redirect(url));
        builder = builder.remote(&redirect, &named(&redirect), json!({ "url": server.url(&format!("/{redirect}")) }));
        let name = server.url(&format!("/{discovery}"));
        server.put(&format!("/{discovery}{METADATA}"), Reply::discovery(&name, url));
        builder = builder.remote(&discovery, &name, json!({ "discovery": true }));
    }
    let sidegate = builder.start();
    for (i, url) in OFF_LIMITS.iter().enumerate() {
        for label in [label("redirect", i), label("discovery", i)] {
            let why = assert_failed(&sidegate, &label);
            // And not because nobody was there.
            assert!(why.contains("link-local"), "{url}: {why}");
        }
    }
}

#[test]
fn keys_are_where_the_issuer_says_if_it_is_the_issuer() {
    let (server, other, plain) = (JwksServer::start(), JwksServer::start(), JwksServer::plaintext());
    let (issuer, app) = (Issuer::new(), Recorder::start());
    for server in [&server, &other, &plain] {
        server.publish(&issuer.jwks());
    }
    let (jwks, realm) = (server.url("/jwks"), |path: &str| server.url(path));
    for (path, reply) in [
        ("/good", Reply::discovery(&realm("/good"), &jwks)),
        ("/slash/", Reply::discovery(&realm("/slash/"), &jwks)),
        ("/elsewhere", Reply::discovery(&realm("/elsewhere"), &other.url("/jwks"))),
        ("/other", Reply::discovery(&realm("/good"), &jwks)),
        ("/slashed", Reply::discovery(&realm("/slashed/"), &jwks)),
        ("/unslashed/", Reply::discovery(&realm("/unslashed"), &jwks)),
        ("/plain", Reply::discovery(&realm("/plain"), &plain.url("/jwks"))),
        ("/file", Reply::discovery(&realm("/file"), "file:///etc/passwd")),
        ("/no-keys", Reply::json(&json!({ "issuer": realm("/no-keys") }))),
        ("/no-issuer", Reply::json(&json!({ "jwks_uri": jwks }))),
        ("/list", Reply::json(&json!([]))),
        ("/html", Reply::body("text/html", "<html>")),
        ("/gone", Reply::status(404)),
    ] {
        server.put(&format!("{}{METADATA}", path.trim_end_matches('/')), reply);
    }
    let good = ["/good", "/slash/", "/elsewhere"];
    let bad =
        ["/other", "/slashed", "/unslashed/", "/plain", "/file", "/no-keys", "/no-issuer", "/list", "/html", "/gone"];
    let with = |builder: Builder, path: &&str| builder.remote(path, &realm(path), json!({ "discovery": true }));
    let sidegate = good.iter().chain(&bad).fold(Sidegate::before(&app), with).start();
    for path in good {
        sidegate.wait_for_key_fetch(path, "changed", 0.0);
        let token = issuer.token_with("alice", json!({ "iss": realm(path) }));
        assert_eq!(sidegate.get_with_token(&token).status, 200, "{path}");
    }
    for path in bad {
        assert_failed(&sidegate, path);
        let token = issuer.token_with("alice", json!({ "iss": realm(path) }));
        sidegate.get_with_token(&token).assert_refused(503, "keys_unavailable");
    }
    assert_eq!(plain.asked("/jwks"), 0);
}

#[test]
fn an_answer_that_is_no_set_of_keys_is_refused_and_bounded() {
    let (server, app) = (JwksServer::start(), Recorder::start());
    let issuer = Issuer::new();
    let keys = issuer.jwks().to_string();
    let deep = "[".repeat(100_000);
    let huge = format!("{}{keys}", " ".repeat(2 << 20));
    let mut many = issuer.jwks();
    many["padding"] = json!("x".repeat(1 << 20));
    let replies = [
        ("huge", Reply::body("application/json", huge)),
        ("padded", Reply::json(&many)),
        ("endless", Reply::endless(&" ".repeat(1 << 16), Duration::ZERO)),
        ("slow", Reply::endless(" ", Duration::from_millis(100))),
        ("silent", Reply::silence()),
        ("late", Reply::json(&issuer.jwks()).after(Duration::from_secs(5))),
        ("deep", Reply::body("application/json", format!(r#"{{"keys":{deep}"#))),
        ("deep-key", Reply::body("application/json", format!(r#"{{"keys":[{{"kty":{deep}"#))),
        ("500", Reply::json(&issuer.jwks()).with_status(500)),
        ("404", Reply::json(&issuer.jwks()).with_status(404)),
        ("206", Reply::json(&issuer.jwks()).with_status(206)),
        ("204", Reply::status(204)),
        ("html", Reply::body("text/html", "<html>Please log in</html>")),
        ("cut", Reply::body("application/json", &keys[..keys.len() / 2])),
        ("twice", Reply::body("application/json", format!("{keys}{keys}"))),
        ("bytes", Reply::body("application/json", vec![0xff; 1000])),
        ("empty", Reply::json(&json!({ "keys": [] }))),
        ("null", Reply::json(&json!({ "keys": null }))),
        ("no-set", Reply::json(&issuer.jwk())),
        ("header", Reply::json(&issuer.jwks()).header(&format!("X-Padding: {}", "x".repeat(1 << 20)))),
    ];
    let mut builder = Sidegate::before(&app).remote("good", &named("good"), json!({ "url": server.url("/good") }));
    server.put("/good", Reply::json(&issuer.jwks()));
    for (label, reply) in &replies {
        server.put(&format!("/{label}"), reply.clone());
        builder =
            builder.remote(label, &named(label), json!({ "url": server.url(&format!("/{label}")), "timeout": "1s" }));
    }
    let sidegate = builder.start();
    for (label, _) in &replies {
        assert_failed(&sidegate, label);
        let token = issuer.token_with("alice", json!({ "iss": named(label) }));
        sidegate.get_with_token(&token).assert_refused(503, "keys_unavailable");
    }
    let token = issuer.token_with("alice", json!({ "iss": named("good") }));
    assert_eq!(sidegate.get_with_token(&token).status, 200);
    let memory = sidegate.peak_memory();
    assert!(memory < 200 << 10, "{memory} kB");
    sidegate.assert_alive();
}

#[test]
fn one_bad_key_does_not_take_the_others_down() {
    let (server, app) = (JwksServer::start(), Recorder::start());
    let issuer = Issuer::with(Algorithm::RS256);
    let secret = Issuer::with(Algorithm::HS256);
    let with = |members: Value| {
        let mut jwk = issuer.impostor().jwk();
        for (name, value) in members.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        jwk
    };
    let bad = [
        json!({ "kty": "AKP", "alg": "ML-DSA-65", "pub": "AAAA", "kid": "post-quantum" }),
        json!({ "kty": "unknown" }),
        json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" }),
        json!({ "kty": "EC", "crv": "P-256", "x": [1], "y": {} }),
        json!({ "kty": "OKP", "crv": "Ed448", "x": "AAAA" }),
        json!({ "kty": 7 }),
        json!(null),
        json!("a key"),
        with(json!({ "alg": "RSA-OAEP", "use": "enc" })),
        with(json!({ "n": "not base64!" })),
        with(json!({ "n": "" })),
        with(json!({ "n": "AAAA" })),
        with(json!({ "n": "A".repeat(500_000) })),
        with(json!({ "e": "" })),
        secret.jwk(),
    ];
    let keys: Vec<_> = bad.into_iter().chain([issuer.jwk()]).collect();
    server.publish(&json!({ "keys": keys }));
    let builder = Sidegate::before(&app).remote("corp", &issuer.name, json!({ "url": server.url("/jwks") }));
    let sidegate = builder.start();
    sidegate.wait_until_ready();
    assert_eq!(sidegate.get_with_token(&issuer.token("alice")).status, 200);
    // A public document is no place for a shared secret; whoever reads it could sign.
    sidegate.get_with_token(&secret.token("root")).assert_refused(401, "jwt_algorithm");
    sidegate.get_with_token(&issuer.impostor().token("root")).assert_refused(401, "jwt_signature");
}

#[test]
fn the_server_must_prove_itself() {
    let (server, app, issuer) = (JwksServer::start(), Recorder::start(), Issuer::new());
    server.publish(&issuer.jwks());
    let url = server.url("/jwks");
    let builder = Sidegate::before(&app);
    let other = builder.write("other.pem", &Authority::named("another authority").pem());
    let sidegate = builder
        .remote("ours", &named("ours"), json!({ "url": url }))
        .remote("another", &named("another"), json!({ "url": url, "ca": other }))
        .remote("system", &named("system"), json!({ "url": url, "ca": null }))
        // 127.0.0.1 for whoever resolves names, and a name that the certificate does not have.
        .remote("name", &named("name"), json!({ "url": url.replace("127.0.0.1", "0x7f000001") }))
        .start();
    sidegate.wait_for_key_fetch("ours", "changed", 0.0);
    for label in ["another", "system", "name"] {
        let why = assert_failed(&sidegate, label);
        assert!(why.contains("certificate"), "{label}: {why}");
    }
    assert_eq!(server.asked("/jwks"), 1);
}

#[test]
fn a_token_for_the_issuer_is_shown_to_it_alone_and_read_anew() {
    let (server, other, app) = (JwksServer::start(), JwksServer::start(), Recorder::start());
    let issuer = Issuer::new();
    for path in ["/jwks", "/redirected", "/discovered"] {
        server.put(path, Reply::json(&issuer.jwks()));
        other.put(path, Reply::json(&issuer.jwks()));
    }
    server.put("/elsewhere", Reply::redirect(&other.url("/redirected")));
    let name = server.url("/realm");
    server.put(&format!("/realm{METADATA}"), Reply::discovery(&name, &other.url("/discovered")));
    let (first, second) = (secret(), secret());
    let builder = Sidegate::before(&app);
    let file = builder.write("token", &format!("{first}\n"));
    let keys = |source: Value| {
        let mut keys = json!({ "bearer_token_file": file, "refresh": "1s", "min_refetch": "1s" });
        keys.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        keys
    };
    let sidegate = builder
        .remote("direct", &named("direct"), keys(json!({ "url": server.url("/jwks") })))
        .remote("redirected", &named("redirected"), keys(json!({ "url": server.url("/elsewhere") })))
        .remote("discovered", &name, keys(json!({ "discovery": true })))
        .start();
    sidegate.wait_until_ready();
    let shown = |server: &JwksServer, path: &str| {
        server.requests(path).last().and_then(|request| request.header("Authorization").map(str::to_owned))
    };
    let metadata = format!("/realm{METADATA}");
    for path in ["/jwks", "/elsewhere", &metadata] {
        assert_eq!(shown(&server, path), Some(format!("Bearer {first}")), "{path}");
    }
    fs::write(&file, &second).unwrap();
    until("the new token", || (shown(&server, "/jwks")? == format!("Bearer {second}")).then_some(()));
    // Whom the issuer sends us to is somebody else.
    for path in ["/redirected", "/discovered"] {
        assert!(other.asked(path) > 0);
        assert!(other.requests(path).iter().all(|request| request.header("Authorization").is_none()), "{path}");
    }
}

#[test]
fn a_proxy_of_the_environment_is_used_but_not_for_this_machine() {
    let (server, proxy, app) = (JwksServer::start(), ForwardProxy::start(), Recorder::start());
    let issuer = Issuer::new();
    server.publish(&issuer.jwks());
    let far = server.url("/jwks").replace("127.0.0.1", "app.test");
    let target = format!("CONNECT app.test:{} HTTP/1.1", server.port());
    let sidegate = Sidegate::before(&app)
        .env("HTTPS_PROXY", &proxy.url())
        .remote("far", &named("far"), json!({ "url": far }))
        .remote("near", &named("near"), json!({ "url": server.url("/jwks") }))
        .start();
    sidegate.wait_until_ready();
    assert_eq!(proxy.asked(), [target]);
    let token = issuer.token_with("alice", json!({ "iss": named("far") }));
    assert_eq!(sidegate.get_with_token(&token).status, 200);

    let sidegate = Sidegate::before(&app)
        .env("HTTPS_PROXY", &proxy.url())
        .env("NO_PROXY", "app.test")
        .remote("far", &named("far"), json!({ "url": far }))
        .start();
    assert_failed(&sidegate, "far");
    assert_eq!(proxy.asked().len(), 1, "{:?}", proxy.asked());
}

#[test]
fn a_source_of_keys_that_nobody_should_trust_is_refused_at_the_start() {
    let app = Recorder::start();
    for (keys, says) in [
        (json!({ "url": "http://issuer.test/jwks" }), "https"),
        (json!({ "url": OFF_LIMITS[0] }), "link-local"),
        (json!({ "url": "https://alice:wonderland@issuer.test/jwks" }), "password"),
        (json!({ "discovery": true, "url": "https://issuer.test/jwks" }), "exactly one"),
        (json!({ "discovery": true, "ca": "/nowhere/ca.pem" }), "/nowhere/ca.pem"),
        (json!({ "discovery": true, "bearer_token_file": "/nowhere/token" }), "/nowhere/token"),
        (json!({ "discovery": true, "refresh": "0s" }), "refresh"),
        (json!({ "discovery": true, "max_stale": "1s" }), "max_stale"),
        (json!({ "discovery": true, "reload": "5m" }), "reload"),
    ] {
        let refused = Sidegate::before(&app).remote("corp", "https://issuer.test/", keys).refuse();
        refused.assert_failed(64, &["auth.jwt[0].keys", says]);
        assert!(!refused.stderr.contains("wonderland"), "{}", refused.stderr);
    }
    let plain = Sidegate::before(&app).remote("corp", "http://issuer.test/", json!({ "discovery": true })).refuse();
    plain.assert_failed(64, &["auth.jwt[0]", "https"]);
}

const METADATA: &str = "/.well-known/openid-configuration";

/// The name of the issuer that has this label.
fn named(label: &str) -> String {
    format!("https://issuer.test/{}", label.trim_start_matches('/'))
}

/// Waits until the keys of the issuer of this label could not be fetched, and says why.
#[track_caller]
fn assert_failed(sidegate: &Sidegate, label: &str) -> String {
    sidegate.wait_for_key_fetch(label, "failed", 0.0);
    let probe = sidegate.ask_admin("/readyz?verbose");
    let text = probe.text();
    let start = format!("[-] keys of {label} failed: ");
    let why = text.lines().find_map(|line| line.strip_prefix(start.as_str()));
    assert_eq!((probe.status, why.is_some()), (503, true), "{label}: {text}");
    assert_eq!(sidegate.key_fetches(label, "changed"), 0.0, "{label}");
    why.unwrap_or_default().to_owned()
}
