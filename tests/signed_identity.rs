//! The signed identity: an app that checks it believes sidegate, and nobody else.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384};
use serde_json::{Value, json};

use crate::{
    support::{App, Builder, H2, Issuer, PythonApp, Received, Recorder, Sidegate, Users, Wire, now, unsigned, until},
    websocket::{echo, handshake},
};

const HEADER: &str = "X-Sidegate-Identity";

#[test]
fn an_app_that_checks_the_signature_believes_sidegate_and_nobody_else() {
    let (app, issuer) = (PythonApp::start("signed_identity_app.py", &[]), Issuer::new());
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
    let start = |audience: &str, key: Option<&str>| {
        let builder = Sidegate::before(&app);
        let key_file = key.map(|key| builder.write("signing.pem", key));
        signing(builder, &issuer, json!({ "audience": audience, "key_file": key_file })).start()
    };
    let (sidegate, other) = (start("orders-app", Some(&key)), start("orders-app", None));
    // The same key signs for both apps.
    let elsewhere = start("another-app", Some(&key));
    let know = format!(
        "POST /__keys?url=http://{}/jwks.json HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        sidegate.admin()
    );
    assert_eq!(Wire::tcp(app.address()).send(know).answer().status, 204);

    let token = issuer.token_with("alice", json!({ "email": "alice@example.com", "groups": ["staff"] }));
    let bearer = format!("Authorization: Bearer {token}");
    let answer = sidegate.get("/orders", &[&bearer]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut claims = answer.json()["claims"].clone();
    let [iat, exp] = ["iat", "exp"].map(|name| claims.as_object_mut().unwrap().remove(name).unwrap().as_u64().unwrap());
    assert!(exp - iat == 60 && iat.abs_diff(now()) < 30, "{iat} {exp}");
    let said = json!({
        "iss": "sidegate", "aud": "orders-app", "sub": "alice", "groups": ["staff"], "email": "alice@example.com",
        "auth_method": "jwt", "auth_issuer": "issuer.test",
    });
    assert_eq!(claims, said);
    let claims = sidegate.get("/orders", &[&bob()]).json()["claims"].clone();
    assert_eq!(
        (&claims["sub"], &claims["groups"], &claims["auth_method"]),
        (&json!("bob"), &json!(["sales"]), &json!("basic"))
    );
    assert_eq!((&claims["auth_issuer"], claims.get("email")), (&json!("sidegate"), None));

    // What a client brings along is not even seen, and who is not known is told of by nobody.
    let good = answer.json()["token"].as_str().unwrap().to_owned();
    let direct = |token: &str| {
        let ask = format!("GET /orders HTTP/1.1\r\nHost: a\r\n{HEADER}: {token}\r\n\r\n");
        Wire::tcp(app.address()).send(ask).answer()
    };
    assert_eq!(direct(&good).status, 200);
    let refused = sidegate.get("/public", &[&format!("{HEADER}: {good}"), &bearer]);
    assert_eq!((refused.status, &refused.json()["error"]), (403, &json!("DecodeError")));
    // Forged, altered, of another sidegate, for another app.
    let (key, mut lie) = (Issuer::new(), said);
    (lie["sub"], lie["iat"], lie["exp"]) = (json!("root"), json!(iat), json!(exp));
    let header = decoded(&good, 0);
    let altered = {
        let parts: Vec<_> = good.split('.').collect();
        format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(lie.to_string()), parts[2])
    };
    for (what, token) in [
        ("signed by another key of this name", key.sign_raw(&header, &lie.to_string())),
        ("signed by nobody", unsigned("none", &lie)),
        ("altered", altered),
        ("the caller's own token", token),
    ] {
        assert_eq!(direct(&token).status, 403, "{what}");
    }
    for (sidegate, error) in [(other, "PyJWKClientError"), (elsewhere, "InvalidAudienceError")] {
        let answer = sidegate.get("/orders", &[&bearer]);
        assert_eq!((answer.status, &answer.json()["error"]), (403, &json!(error)));
    }
}

#[test]
fn it_is_used_again_for_the_same_caller_only_and_made_anew_in_time() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let settings = json!({ "audience": "app", "lifetime": "6s", "claims": ["email", "tenant", "nothing"] });
    let sidegate = signing(Sidegate::before(&app), &issuer, settings).start();
    let alice = format!("Authorization: Bearer {}", issuer.token_with("alice", json!({ "tenant": { "id": 7 } })));
    let carol = format!("Authorization: Bearer {}", issuer.token("carol"));
    let told = |line: &str| {
        assert_eq!(sidegate.get("/", &[line]).status, 200);
        app.last_request().header(HEADER).unwrap().to_owned()
    };
    let first = told(&alice);
    let again = told(&alice);
    let claims = decoded(&first, 1);
    assert!(again == first || decoded(&again, 1)["iat"].as_u64() >= claims["iat"].as_u64().map(|iat| iat + 4));
    assert_eq!((&claims["tenant"], claims.get("nothing"), claims.get("email")), (&json!({ "id": 7 }), None, None));
    for (line, user) in [(&carol, "carol"), (&bob(), "bob"), (&carol, "carol"), (&bob(), "bob"), (&alice, "alice")] {
        let claims = decoded(&told(line), 1);
        assert_eq!(
            (&claims["sub"], claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap()),
            (&json!(user), 6)
        );
    }
    let second = until("a new one", || {
        let claims = decoded(&told(&alice), 1);
        let left = claims["exp"].as_u64().unwrap().saturating_sub(now());
        assert!(left >= 1, "it was nearly over when it was sent: {claims} at {}", now());
        (claims["iat"] != decoded(&first, 1)["iat"]).then_some(claims)
    });
    assert!(second["iat"].as_u64() >= claims["iat"].as_u64().map(|iat| iat + 4), "{claims} {second}");
}

#[test]
fn it_ends_with_the_token_that_proves_it() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let sidegate = Sidegate::before(&app)
        .jwt_with(&issuer, json!({ "leeway": "5s" }))
        .set(json!({ "identity": { "signed": { "audience": "app" } } }))
        .start();
    let end = now() + 20;
    assert_eq!(
        sidegate
            .get("/", &[&format!("Authorization: Bearer {}", issuer.token_with("a", json!({ "exp": end })))])
            .status,
        200
    );
    assert_eq!(decoded(app.only_request().header(HEADER).unwrap(), 1)["exp"], end + 5);
}

#[test]
fn a_key_in_a_file_outlives_a_restart_and_one_without_does_not() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
    let jwks = |file: bool| {
        let builder = Sidegate::before(&app);
        let key_file = builder.write("signing.pem", &key);
        let settings = if file { json!({ "audience": "a", "key_file": key_file }) } else { json!({ "audience": "a" }) };
        let sidegate = signing(builder, &issuer, settings).start();
        let answer = sidegate.ask_admin("/.well-known/jwks.json");
        assert_eq!(answer.text(), sidegate.ask_admin("/jwks.json").text());
        assert_eq!(answer.header("Content-Type"), Some("application/jwk-set+json"));
        assert_eq!(answer.header("Cache-Control"), Some("public, max-age=300"));
        let jwks = answer.json();
        let jwk: Jwk = serde_json::from_value(jwks["keys"][0].clone()).unwrap();
        assert_eq!(jwk.common.key_id, Some(jwk.thumbprint(ThumbprintHash::SHA256).unwrap()));
        assert_eq!(jwks["keys"][0].get("d"), None);
        sidegate.get("/", &[&bob()]);
        assert_eq!(decoded(app.last_request().header(HEADER).unwrap(), 0)["kid"], jwks["keys"][0]["kid"]);
        jwks
    };
    assert_eq!(jwks(true), jwks(true));
    assert_ne!(jwks(false), jwks(false));
}

#[test]
fn websockets_and_http2_carry_it_too() {
    let (app, issuer) = (echo(), Issuer::new());
    let sidegate = signing(Sidegate::before(&app), &issuer, json!({ "audience": "a", "header": "X-Who" })).start();
    let bearer = format!("Bearer {}", issuer.token("alice"));
    let asked = handshake("/", &format!("Authorization: {bearer}\r\nX-Who: me\r\nConnection: X-Who\r\n"));
    assert_eq!(sidegate.wire().send(asked).answer().status, 101);
    let sub = |received: &Received| decoded(received.lookalikes("X-Who")[0], 1)["sub"].clone();
    assert_eq!((sub(&app.last_request()), app.last_request().lookalikes("X-Who").len()), (json!("alice"), 1));

    let app = Recorder::start();
    let sidegate = signing(Sidegate::before(&app), &issuer, json!({ "audience": "a", "header": "X-Who" })).start();
    H2::connect(&sidegate).send("POST", "/", &[("authorization", &bearer), ("x.who", "me")], b"x");
    assert_eq!((sub(&app.last_request()), app.last_request().lookalikes("X-Who").len()), (json!("alice"), 1));
}

#[test]
fn nothing_is_signed_unless_it_is_asked_for() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let sidegate = Sidegate::before(&app).jwt(&issuer).start();
    sidegate.get("/", &[&format!("Authorization: Bearer {}", issuer.token("alice")), "X-Sidegate-Identity: mine"]);
    assert_eq!(app.only_request().lookalikes(HEADER), [""; 0]);
    assert_eq!(sidegate.ask_admin("/jwks.json").status, 404);
}

#[test]
fn a_key_that_cannot_sign_is_reported_at_the_start() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let wrong_curve = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
    for (content, says) in [
        (wrong_curve.as_str(), "the private key is not one of the curve P-256"),
        ("nonsense", "no private key could be read"),
        ("", "no private key could be read"),
    ] {
        let builder = Sidegate::before(&app);
        let key_file = builder.write("signing.pem", content);
        let refused = signing(builder, &issuer, json!({ "audience": "a", "key_file": key_file })).refuse();
        refused.assert_failed(64, &["signing.pem: ", says, "openssl genpkey"]);
    }
    let missing = json!({ "audience": "a", "key_file": "/nowhere/signing.pem" });
    signing(Sidegate::before(&app), &issuer, missing)
        .refuse()
        .assert_failed(64, &["identity.signed.key_file", "no file"]);
}

fn signing(builder: Builder, issuer: &Issuer, signed: Value) -> Builder {
    builder
        .jwt(issuer)
        .users(&Users::one("bob", "correct-horse").groups("sales: bob\n"))
        .rule(json!({ "path": "/public", "allow": "anyone" }))
        .rule(json!({ "allow": "authenticated" }))
        .set(json!({ "identity": { "signed": signed } }))
}

fn bob() -> String {
    format!("Authorization: Basic {}", STANDARD.encode("bob:correct-horse"))
}

fn decoded(token: &str, part: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(part).unwrap()).unwrap()).unwrap()
}
