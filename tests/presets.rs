//! The headers that the app is told a caller in: by preset, by choice, and all claims in one.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

use crate::support::{Flask, H2, Issuer, Received, Recorder, Sidegate, Users, Worker};

/// A header, what the app is told in it of Alice by a token, and of Bob by a password.
type Told = (&'static str, Option<&'static str>, Option<&'static str>);

/// The presets; what that of Envoy says is looked at elsewhere.
const PRESETS: [(&str, &[Told]); 5] = [
    (
        "forwarded",
        &[
            ("X-Forwarded-User", Some("alice"), Some("bob")),
            ("X-Forwarded-Email", Some("alice@example.com"), None),
            ("X-Forwarded-Groups", Some("staff,admin"), Some("staff,sales")),
            ("X-Forwarded-Preferred-Username", Some("al"), None),
        ],
    ),
    (
        "auth-request",
        &[
            ("X-Auth-Request-User", Some("alice"), Some("bob")),
            ("X-Auth-Request-Email", Some("alice@example.com"), None),
            ("X-Auth-Request-Groups", Some("staff,admin"), Some("staff,sales")),
            ("X-Auth-Request-Preferred-Username", Some("al"), None),
        ],
    ),
    (
        "remote-user",
        &[
            ("Remote-User", Some("alice"), Some("bob")),
            ("Remote-Email", Some("alice@example.com"), None),
            ("Remote-Groups", Some("staff,admin"), Some("staff,sales")),
            ("Remote-Name", Some("Alice Liddell"), None),
        ],
    ),
    (
        "kube",
        &[("X-Remote-User", Some("alice"), Some("bob")), ("X-Remote-Groups", Some("staff|admin"), Some("staff|sales"))],
    ),
    ("envoy", &[]),
];

/// Every header of every preset, and the one of what is signed.
const ALL: [&str; 16] = [
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "X-Auth-Request-User",
    "X-Auth-Request-Email",
    "X-Auth-Request-Groups",
    "X-Auth-Request-Preferred-Username",
    "Remote-User",
    "Remote-Email",
    "Remote-Groups",
    "Remote-Name",
    "X-Remote-User",
    "X-Remote-Groups",
    "X-Jwt-Payload",
    "X-Sidegate-Identity",
];

#[test]
fn each_preset_tells_the_app_in_its_own_headers() {
    for (preset, told) in PRESETS {
        let (app, issuer) = (Recorder::start(), Issuer::new());
        let sidegate = before(&app, &issuer, json!({ "preset": preset }));
        let (alice, bob) = (alice(&issuer), bob());
        for (line, told) in [
            (&alice, told.iter().map(|(name, token, _)| (*name, *token)).collect::<Vec<_>>()),
            (&bob, told.iter().map(|(name, _, password)| (*name, *password)).collect()),
        ] {
            assert_eq!(sidegate.get("/", &[line]).status, 200, "{preset}");
            let request = app.last_request();
            for name in ALL.into_iter().filter(|name| !(preset == "envoy" && *name == "X-Jwt-Payload")) {
                let value = told.iter().find(|(told, _)| *told == name).and_then(|(_, value)| *value);
                assert_eq!(request.lookalikes(name), Vec::from_iter(value), "{preset}: {name}");
            }
        }
    }
}

#[test]
fn no_header_of_any_preset_can_be_sent_by_a_client_whichever_is_in_use() {
    for (preset, _) in PRESETS {
        let (app, issuer) = (Recorder::start(), Issuer::new());
        let sidegate = before(&app, &issuer, json!({ "preset": preset, "signed": { "audience": "app" } }));
        let (alice, mut h2) = (alice(&issuer), H2::connect(&sidegate));
        let bearer = alice.split_once(": ").unwrap().1;
        for name in ALL {
            for spelling in
                [name.to_owned(), name.replace('-', "_"), name.replace('-', "."), name.replacen('-', "~", 1)]
            {
                for path in ["/public", "/"] {
                    let lie = format!("{spelling}: mallory");
                    assert_eq!(sidegate.get(path, &[&alice, &lie, &lie]).status, 200, "{preset}: {lie}");
                    assert_unheard(&app.last_request(), preset, &lie);
                }
                let field = spelling.to_ascii_lowercase();
                let fields = [("authorization", bearer), (&*field, "mallory")];
                assert_eq!(h2.send("GET", "/public", &fields, b"").status, 200, "{preset}: {spelling}");
                assert_unheard(&app.last_request(), preset, &spelling);
                // And who is not even asked is told of nobody.
                assert_eq!(app.last_request().lookalikes(name), [""; 0], "{preset}: {name}");
            }
        }
    }
}

#[test]
fn all_claims_fit_into_one_header_and_a_passwords_are_no_tokens() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let sidegate = before(&app, &issuer, json!({ "preset": "envoy", "add_headers": { "X-Tenant": "tenant" } }));
    assert_eq!(sidegate.get("/", &[&alice(&issuer)]).status, 200);
    let claims = payload(&app.last_request(), "x-jwt-payload");
    assert_eq!(
        (&claims["sub"], &claims["iss"], &claims["groups"]),
        (&json!("alice"), &json!(issuer.name), &json!(["staff", "admin"]))
    );
    assert_eq!(app.last_request().header("X-Tenant"), Some("blue"));
    assert_eq!(sidegate.get("/", &[&bob()]).status, 200);
    let claims = payload(&app.last_request(), "x-jwt-payload");
    assert_eq!(
        claims,
        json!({ "sub": "bob", "groups": ["staff", "sales"], "auth_method": "basic", "auth_issuer": "sidegate" })
    );
    // Any header can have them.
    let sidegate = before(&app, &issuer, json!({ "headers": { "X-All": "$payload" } }));
    assert_eq!(sidegate.get("/", &[&alice(&issuer)]).status, 200);
    assert_eq!(payload(&app.last_request(), "X-All")["sub"], "alice");
    assert_eq!(app.last_request().lookalikes("X-Forwarded-User"), [""; 0]);
}

#[test]
fn what_does_not_fit_into_a_header_is_refused_and_the_reason_says_so() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    for identity in [json!({ "preset": "envoy" }), json!({ "signed": { "audience": "a", "claims": ["note"] } })] {
        let sidegate = before(&app, &issuer, identity);
        let with = |length| {
            format!("Authorization: Bearer {}", issuer.token_with("alice", json!({ "note": "x".repeat(length) })))
        };
        assert_eq!(sidegate.get("/", &[&with(5000)]).status, 200);
        sidegate.get("/", &[&with(6500)]).assert_refused(401, "jwt_claim");
    }
    assert_eq!(app.requests().len(), 2);
    // Of a user that is known before anybody calls.
    let groups: String = (0..1000).map(|n| format!("a-group-{n}: bob\n")).collect();
    let refused = Sidegate::before(&app).users(&Users::one("bob", "correct-horse").groups(&groups)).refuse();
    refused.assert_failed(64, &["user `bob`", "8 KiB"]);
}

#[test]
fn flask_sees_the_headers_of_a_preset() {
    let (app, issuer) = (Flask::start(Worker::Sync), Issuer::new());
    for (preset, variable, value) in [
        ("auth-request", "HTTP_X_AUTH_REQUEST_GROUPS", "staff,admin"),
        ("remote-user", "HTTP_REMOTE_USER", "alice"),
        ("kube", "HTTP_X_REMOTE_GROUPS", "staff|admin"),
    ] {
        let sidegate = before(&app, &issuer, json!({ "preset": preset }));
        let seen = sidegate.get("/", &[&alice(&issuer), "X-Forwarded-User: mallory"]).json();
        assert_eq!((&seen["environ"][variable], &seen["user"]), (&json!(value), &Value::Null), "{preset}: {seen}");
        // A header never is the variable of that name.
        assert_eq!(seen["remote_user"], Value::Null);
    }
}

#[track_caller]
fn assert_unheard(request: &Received, preset: &str, lie: &str) {
    let heard = request.headers.iter().find(|(_, value)| value.contains("mallory"));
    assert_eq!(heard, None, "{preset}: {lie}");
}

fn payload(request: &Received, name: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(request.header(name).unwrap()).unwrap()).unwrap()
}

fn alice(issuer: &Issuer) -> String {
    let claims = json!({
        "email": "alice@example.com", "groups": ["staff", "admin"], "preferred_username": "al", "name": "Alice Liddell",
        "tenant": "blue",
    });
    format!("Authorization: Bearer {}", issuer.token_with("alice", claims))
}

fn bob() -> String {
    format!("Authorization: Basic {}", STANDARD.encode("bob:correct-horse"))
}

fn before(app: &impl crate::support::App, issuer: &Issuer, identity: Value) -> Sidegate {
    Sidegate::before(app)
        .jwt(issuer)
        .users(&Users::one("bob", "correct-horse").groups("staff: bob\nsales: bob\n"))
        .rule(json!({ "path": "/public", "allow": "anyone" }))
        .rule(json!({ "allow": "authenticated" }))
        .set(json!({ "identity": identity }))
        .start()
}
