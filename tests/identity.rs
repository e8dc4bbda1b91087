//! Who the caller is, is what we say: nothing that a client sends can be taken for it, on any route.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::support::{H2, Issuer, Received, Recorder, Sidegate, Users};

/// What a client might call itself, in the spellings that an app could fold into ours.
const SPELLINGS: [&str; 9] = [
    "X-Forwarded-User",
    "x-forwarded-user",
    "X-FORWARDED-USER",
    "X_Forwarded_User",
    "x_forwarded_user",
    "X-Forwarded_User",
    "x.forwarded.user",
    "X.Forwarded-User",
    "x~forwarded!user",
];

/// What a WSGI server could take for its own variables.
const VARIABLES: [&str; 10] = [
    "SCRIPT_NAME",
    "script_name",
    "Script-Name",
    "PATH_INFO",
    "Path-Info",
    "REMOTE_USER",
    "Remote-User",
    "Remote.User",
    "HTTP_X_FORWARDED_USER",
    "X_Anything",
];

#[test]
fn no_spelling_of_an_identity_header_reaches_the_app() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = sidegate(&app, &issuer);
    let token = issuer.token_with("alice", json!({ "email": "alice@example.com", "groups": ["staff"] }));
    let bearer = format!("Bearer {token}");
    let mut h2 = H2::connect(&sidegate);
    for spelling in SPELLINGS {
        for (path, user) in [("/private", Some("alice")), ("/public", None)] {
            let lines = [format!("Authorization: {bearer}"), format!("{spelling}: root"), format!("{spelling}: root")];
            let lines = lines.each_ref().map(String::as_str);
            assert_eq!(sidegate.get(path, &lines).status, 200, "{spelling}");
            assert_eq!(app.last_request().lookalikes("x-forwarded-user"), Vec::from_iter(user), "{spelling} {path}");

            let field = spelling.to_ascii_lowercase();
            let fields = [("authorization", bearer.as_str()), (&field, "root"), (&field, "root")];
            assert_eq!(h2.send("GET", path, &fields, b"").status, 200, "{spelling}");
            assert_eq!(app.last_request().lookalikes("x-forwarded-user"), Vec::from_iter(user), "{spelling} {path} h2");
        }
    }
    for (line, name, value) in [
        ("X-Forwarded-Email: root@example.com", "x-forwarded-email", "alice@example.com"),
        ("X_Forwarded_Groups: admin", "x-forwarded-groups", "staff"),
    ] {
        sidegate.get("/private", &[&format!("Authorization: {bearer}"), line]);
        assert_eq!(app.last_request().lookalikes(name), [value]);
    }
}

#[test]
fn a_header_is_removed_even_if_this_caller_has_no_value_for_it() {
    let app = Recorder::start();
    let sidegate = Sidegate::before(&app).users(&Users::one("alice", "correct-horse")).start();
    let credentials = format!("Authorization: Basic {}", STANDARD.encode("alice:correct-horse"));
    sidegate.get("/", &[&credentials, "X-Forwarded-Email: root@example.com", "X-Forwarded-Groups: admin"]);
    let request = app.only_request();
    assert_eq!(request.header("X-Forwarded-User"), Some("alice"));
    assert!(request.lookalikes("x-forwarded-email").is_empty() && request.lookalikes("x-forwarded-groups").is_empty());
}

#[test]
fn a_header_of_ones_own_choice_is_guarded_as_well() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = Sidegate::before(&app)
        .jwt(&issuer)
        .set(json!({ "identity": { "headers": { "X-Tenant": "tenant", "Remote-User": "sub" } } }))
        .start();
    let bearer = format!("Authorization: Bearer {}", issuer.token("alice"));
    sidegate.get("/", &[&bearer, "X-Tenant: evil", "x.tenant: evil", "REMOTE-USER: root", "Remote_User: root"]);
    let request = app.only_request();
    assert_eq!(request.lookalikes("x-tenant"), [""; 0]);
    assert_eq!(request.lookalikes("remote-user"), ["alice"]);
}

#[test]
fn the_connection_header_cannot_take_away_what_we_say() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = sidegate(&app, &issuer);
    let bearer = format!("Authorization: Bearer {}", issuer.token("alice"));
    for connection in [
        "Connection: X-Forwarded-User",
        "Connection: close, x-forwarded-user, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, Host",
        "Connection: keep-alive, X-FORWARDED-USER\r\nConnection: x-forwarded-for, x-forwarded-proto, x-forwarded-host",
        "Connection: Authorization, Cookie, Content-Length",
    ] {
        let answer = sidegate.get("/private", &[connection, &bearer, "X-Forwarded-User: root", "Cookie: a=1"]);
        assert_eq!(answer.status, 200, "{connection}");
        let request = app.last_request();
        assert_eq!(request.header("X-Forwarded-User"), Some("alice"), "{connection}");
        assert_eq!(request.header("X-Forwarded-For"), Some("127.0.0.1"), "{connection}");
        assert_eq!(request.header("X-Forwarded-Proto"), Some("https"), "{connection}");
        assert_eq!(request.header("X-Forwarded-Host"), Some("localhost"), "{connection}");
        assert_eq!(request.header("Host"), Some("localhost"), "{connection}");
    }
}

#[test]
fn what_a_wsgi_server_would_take_for_a_variable_never_arrives() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = sidegate(&app, &issuer);
    let mut h2 = H2::connect(&sidegate);
    for name in VARIABLES {
        let gone = |request: Received| {
            assert_eq!(request.lookalikes(name), [""; 0], "{name} on {}", request.line);
        };
        sidegate.get("/public", &[&format!("{name}: /admin")]);
        gone(app.last_request());
        h2.send("GET", "/public", &[(&name.to_ascii_lowercase(), "/admin")], b"");
        gone(app.last_request());
    }
    assert_eq!(app.requests().len(), 2 * VARIABLES.len());
}

#[test]
fn other_headers_arrive_as_they_were_sent() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let sidegate = sidegate(&app, &issuer);
    sidegate.get("/public", &["X-Custom: a", "X-Custom: b", "X-Dotted.Name: c", "Accept-Language: de", "X-Empty:"]);
    let request = app.only_request();
    assert_eq!(request.header_values("X-Custom"), ["a", "b"]);
    assert_eq!(request.header("Accept-Language"), Some("de"));
    assert_eq!(request.header("X-Empty"), Some(""));
}

/// `/public` is for anyone, the rest for whoever is known.
fn sidegate(app: &Recorder, issuer: &Issuer) -> Sidegate {
    Sidegate::before(app)
        .jwt(issuer)
        .rule(json!({ "path": "/public", "allow": "anyone" }))
        .rule(json!({ "allow": "authenticated" }))
        .start()
}
