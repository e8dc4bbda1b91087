//! The reason for all of it: a Flask app that knows nothing of authentication, under gunicorn, behind sidegate.

use std::thread;

use aws_lc_rs::digest::{SHA256, digest};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::support::{
    Answer, App, Builder, Curl, Flask, H2, Issuer, Sidegate, Users, Worker, der, now, sha, signed_with_public_key,
    unsigned, until,
};

const WORKERS: [Worker; 2] = [Worker::Sync, Worker::Threads];
const VERSIONS: [&str; 2] = ["--http1.1", "--http2"];

#[test]
fn who_proves_who_they_are_reaches_the_app_and_nobody_else_does() {
    for worker in WORKERS {
        let (issuer, app) = (Issuer::with(Algorithm::RS256), Flask::start(worker));
        let sidegate = guarded(&app, &issuer).start();
        for version in VERSIONS {
            let curl = |path: &str| sidegate.curl(path).args([version]);
            let sees = |answer: Answer, user: &str, email: Option<&str>, groups: &str| {
                assert_eq!(answer.status, 200, "{worker:?} {version}: {}", answer.text());
                let (environ, user) = (&answer.json()["environ"], Some(user));
                assert_eq!(environ["HTTP_X_FORWARDED_USER"].as_str(), user);
                assert_eq!(environ["HTTP_X_FORWARDED_EMAIL"].as_str(), email);
                assert_eq!(environ["HTTP_X_FORWARDED_GROUPS"].as_str(), Some(groups));
                assert_eq!(environ["HTTP_AUTHORIZATION"], Value::Null);
            };
            let claims = json!({ "email": "alice@example.com", "groups": ["staff", "admin"] });
            let token = issuer.token_with("alice", claims);
            sees(curl("/orders/7").bearer(&token).send(), "alice", Some("alice@example.com"), "staff,admin");
            sees(curl("/orders/7").basic("bob", "correct-horse").send(), "bob", None, "staff");
            sees(curl("/admin").bearer(&token).send(), "alice", Some("alice@example.com"), "staff,admin");

            let forbidden = curl("/admin").basic("bob", "correct-horse").send();
            forbidden.assert_refused(403, "rule_denied");
            let public = curl("/public").send();
            assert_eq!((public.status, &public.json()["user"]), (200, &Value::Null));
        }
        assert_eq!(app.seen().len(), 2 * 4, "{:?}", app.seen());
    }
}

#[test]
fn bad_credentials_never_reach_the_app() {
    let (issuer, app) = (Issuer::with(Algorithm::RS256), Flask::start(Worker::Sync));
    let sidegate = guarded(&app, &issuer).start();
    let with = |claims| issuer.token_with("alice", claims);
    let claims = issuer.claims("alice");
    let bearer = |token: String| sidegate.curl("/orders/7").bearer(&token);
    let basic = |name, password| sidegate.curl("/orders/7").basic(name, password);
    let cases: [(&str, Curl, &str); 11] = [
        ("none", sidegate.curl("/orders/7"), "credentials_missing"),
        ("wrong signature", bearer(issuer.impostor().token("alice")), "jwt_signature"),
        ("alg none", bearer(unsigned("none", &claims)), "jwt_algorithm"),
        ("PEM as secret", bearer(signed_with_public_key(issuer.public_pem.as_bytes(), &claims)), "jwt_algorithm"),
        ("DER as secret", bearer(signed_with_public_key(&der(&issuer.public_pem), &claims)), "jwt_algorithm"),
        ("expired", bearer(with(json!({ "exp": now() - 60 }))), "jwt_expired"),
        ("not yet valid", bearer(with(json!({ "nbf": now() + 60 }))), "jwt_not_yet_valid"),
        ("wrong issuer", bearer(with(json!({ "iss": "https://evil.test/" }))), "jwt_issuer"),
        ("missing audience", bearer(with(json!({ "aud": null }))), "jwt_audience"),
        ("wrong password", basic("bob", "wrong-horse"), "password_wrong"),
        ("unknown user", basic("mallory", "correct-horse"), "password_wrong"),
    ];
    for (what, curl, reason) in cases {
        let answer = curl.send();
        assert_eq!((answer.status, answer.reason().as_deref()), (401, Some(reason)), "{what}");
        let challenges = answer.header_values("WWW-Authenticate");
        let invalid = challenges[0].contains(r#"error="invalid_token""#);
        assert!(
            challenges[0].starts_with("Bearer ") && invalid == reason.starts_with("jwt_"),
            "{what}: {challenges:?}"
        );
        assert_eq!(challenges[1], r#"Basic realm="sidegate", charset="UTF-8""#, "{what}");
    }
    assert!(app.seen().is_empty(), "{:?}", app.seen());
}

#[test]
fn nothing_that_a_client_says_becomes_the_user_that_flask_sees() {
    let (issuer, app) = (Issuer::new(), Flask::start(Worker::Threads));
    let sidegate = guarded(&app, &issuer).start();
    let token = issuer.token("alice");
    let lies = [
        "X-Forwarded-User: root",
        "X_Forwarded_User: root",
        "x.forwarded.user: root",
        "Connection: X-Forwarded-User",
        "REMOTE_USER: root",
        "Remote-User: root",
        "SCRIPT_NAME: /admin",
        "PATH_INFO: /admin",
        "X-Forwarded-Prefix: /admin",
    ];
    let as_flask_sees = |answer: Answer, user: Value| {
        let seen = answer.json();
        let environ = seen["environ"].as_object().unwrap();
        assert_eq!((&seen["user"], &seen["remote_user"], &seen["script_name"]), (&user, &Value::Null, &json!("")));
        assert_eq!(environ.get("HTTP_X_FORWARDED_USER").cloned().unwrap_or_default(), user);
        let lie = environ.iter().find(|(_, value)| value.as_str().is_some_and(|value| value.contains("root")));
        assert_eq!(lie, None);
    };
    for lie in lies {
        as_flask_sees(sidegate.curl("/orders").args(["--http1.1"]).bearer(&token).header(lie).send(), json!("alice"));
        as_flask_sees(sidegate.curl("/public").args(["--http1.1"]).header(lie).send(), Value::Null);
        if lie.starts_with("Connection") {
            continue; // a protocol error in HTTP/2
        }
        let (name, value) = lie.split_once(": ").unwrap();
        let (name, bearer) = (name.to_ascii_lowercase(), format!("Bearer {token}"));
        let mut h2 = H2::connect(&sidegate);
        as_flask_sees(h2.send("GET", "/orders", &[("authorization", &bearer), (&name, value)], b""), json!("alice"));
        as_flask_sees(h2.send("GET", "/public", &[(&name, value)], b""), Value::Null);
    }
    // What would have rewritten the path behind our back did not.
    assert!(app.seen().iter().all(|request| !request.contains("admin")), "{:?}", app.seen());
}

#[test]
fn a_hundred_megabytes_flow_both_ways_in_flat_memory() {
    for (worker, version) in WORKERS.into_iter().zip(VERSIONS) {
        let (issuer, app) = (Issuer::new(), Flask::start(worker));
        let sidegate = guarded(&app, &issuer).start();
        let token = issuer.token("alice");
        let curl = |path: &str| sidegate.curl(path).args([version]).bearer(&token);
        let warm = curl("/upload").body("warm").send();
        assert_eq!((warm.status, &warm.json()["bytes"]), (200, &json!(4)));
        let memory = sidegate.peak_memory();

        let answer = curl("/big?mb=100").send();
        assert_eq!((answer.status, answer.body.len()), (200, 100 << 20), "{worker:?} {version}");
        let pattern = (0..=255).collect::<Vec<u8>>();
        assert!(answer.body.chunks(256).all(|chunk| chunk == pattern), "the bytes are not those that Flask sent");

        let sha256 = hex(digest(&SHA256, &answer.body).as_ref());
        let upload = curl("/upload").body(answer.body).send().json();
        assert_eq!((&upload["bytes"], &upload["sha256"]), (&json!(100 << 20), &json!(sha256)), "{worker:?} {version}");

        let grown = sidegate.peak_growth(memory);
        assert!(grown < 16 << 10, "{worker:?} {version}: 200 MB through it cost {grown} kB of memory");
    }
}

#[test]
fn an_upload_without_a_length_arrives_whole() {
    for worker in WORKERS {
        let (issuer, app) = (Issuer::new(), Flask::start(worker));
        let sidegate = guarded(&app, &issuer).start();
        for version in VERSIONS {
            for size in [0, 1, 100_000, 3 << 20] {
                let body = vec![b'x'; size];
                let curl = sidegate.curl("/upload").args([version]).bearer(&issuer.token("alice"));
                let answer = curl.stream(body).send();
                assert_eq!(answer.json()["bytes"], size, "{worker:?} {version} {size}");
            }
        }
    }
}

#[test]
fn a_slow_answer_survives_sigterm() {
    for (worker, version) in WORKERS.into_iter().zip(VERSIONS) {
        let (issuer, app) = (Issuer::new(), Flask::start(worker));
        let mut sidegate = guarded(&app, &issuer).start();
        let curl = sidegate.curl("/slow?gate=term").args([version]).bearer(&issuer.token("alice"));
        let client = thread::spawn(move || curl.send());
        app.wait_for("term");
        sidegate.terminate();
        until("the listener to be closed", || std::net::TcpStream::connect(sidegate.address()).is_err().then_some(()));
        app.open("term");
        let answer = client.join().unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "finished\n"), "{worker:?}");
        assert!(sidegate.exit().success());
    }
}

#[test]
fn an_event_is_seen_while_the_app_is_still_at_work() {
    let (issuer, app) = (Issuer::new(), Flask::start(Worker::Threads));
    let sidegate = guarded(&app, &issuer).start();
    let mut wire = sidegate.wire();
    let token = issuer.token("alice");
    wire.send(format!("GET /stream?gate=sse HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"));
    until("the first event", || (wire.line() == "first").then_some(()));
    app.open("sse");
    until("the second event", || (wire.line() == "second").then_some(()));
}

#[test]
fn flask_builds_the_urls_that_the_client_knows() {
    let (issuer, app) = (Issuer::new(), Flask::start(Worker::Sync));
    let sidegate = guarded(&app, &issuer).start();
    let token = issuer.token("alice");
    let root = sidegate.url("/");
    for version in VERSIONS {
        let curl = |path: &str| sidegate.curl(path).args([version]).bearer(&token).send();
        // Flask's own redirect of the missing slash.
        let redirect = curl("/dir");
        assert_eq!((redirect.status, redirect.header("Location")), (308, Some(format!("{root}dir/").as_str())));
        assert_eq!(curl("/dir/").json(), json!({ "url": format!("{root}dir/"), "root": root }));
        assert_eq!(curl("/elsewhere").header("Location"), Some("/dir/"));
        assert_eq!(curl("/x").json()["remote_addr"], "127.0.0.1");
    }
}

#[test]
fn a_session_cookie_survives_http2() {
    let (issuer, app) = (Issuer::new(), Flask::start(Worker::Sync));
    let sidegate = guarded(&app, &issuer).start();
    let bearer = format!("Bearer {}", issuer.token("alice"));
    let mut h2 = H2::connect(&sidegate);
    let login = h2.send("POST", "/login", &[("authorization", &bearer)], b"");
    let cookies: Vec<_> =
        login.header_values("set-cookie").iter().map(|cookie| cookie.split(';').next().unwrap()).collect();
    assert_eq!(cookies.len(), 3, "{login:?}");
    // As browsers do: a field for each cookie.
    let mut fields = vec![("authorization", bearer.as_str())];
    fields.extend(cookies.iter().map(|cookie| ("cookie", *cookie)));
    let session = h2.send("GET", "/session", &fields, b"").json();
    assert_eq!(session["cart"], "seven books");
    assert_eq!(session["cookies"].as_object().unwrap().len(), 3, "{session}");
}

#[test]
fn a_single_sync_worker_is_never_blocked_by_a_silent_connection() {
    let (issuer, app) = (Issuer::new(), Flask::start(Worker::Sync));
    let sidegate = guarded(&app, &issuer).start();
    let token = issuer.token("alice");
    // A burst; whatever connections it left behind, the worker must be free for who comes next.
    for _ in 0..3 {
        let clients: Vec<_> = (0..12)
            .map(|i| {
                let curl = sidegate.curl(&format!("/burst/{i}")).bearer(&token);
                thread::spawn(move || curl.args(["--max-time", "10"]).send().status)
            })
            .collect();
        assert!(clients.into_iter().all(|client| client.join().unwrap() == 200));
        let answer = sidegate.curl("/after").bearer(&token).args(["--max-time", "5"]).send();
        assert_eq!(answer.status, 200);
        assert_eq!(sidegate.ask_admin("/readyz").status, 200);
    }
    assert_eq!(app.seen().len(), 3 * 13);
}

#[test]
fn statuses_and_methods_pass_as_they_are() {
    let (issuer, app) = (Issuer::new(), Flask::start(Worker::Threads));
    let sidegate = guarded(&app, &issuer).start();
    let curl = |path: &str| sidegate.curl(path).bearer(&issuer.token("alice"));
    for status in [200, 201, 204, 304, 401, 403, 404, 418, 500, 503] {
        let answer = curl(&format!("/status/{status}")).send();
        assert_eq!((answer.status, answer.reason()), (status, None), "the app's own");
    }
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        assert_eq!(curl("/x?a=b").method(method).send().json()["method"], method);
    }
    assert_eq!(curl("/x").head().send().body.len(), 0);
    assert_eq!(curl("/caf%C3%A9?q=%2F").send().json()["query"], "q=%2F");
}

/// `/public` for anyone, `/admin` for administrators, the rest for whoever is known; tokens and passwords.
fn guarded(app: &impl App, issuer: &Issuer) -> Builder {
    let users = Users::one("bob", "correct-horse").and("carol", &sha("correct-horse")).groups("staff: bob carol\n");
    Sidegate::before(app)
        .jwt(issuer)
        .users(&users)
        .rule(json!({ "path": "/public", "allow": "anyone" }))
        .rule(json!({ "path": "/admin/**", "allow": { "groups": ["admin"] } }))
        .rule(json!({ "allow": "authenticated" }))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
