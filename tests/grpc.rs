//! gRPC through sidegate: a real client and a real server, trailers and streams both ways, and refusals that a client
//! understands.

use serde_json::{Value, json};

use crate::support::{Builder, Issuer, Nothing, Program, PythonApp, Sidegate, until};

#[test]
fn calls_of_every_kind_pass_with_their_metadata() {
    let app = PythonApp::start("grpc_app.py", &[]);
    let sidegate = public(&app).start();
    let unary = call(&sidegate, &["Unary", "hello"]);
    assert_eq!((&unary["status"], &unary["answer"]), (&json!("OK"), &json!("hello")), "{unary}");
    assert_eq!(unary["trailing"], json!({ "x-trailing": "at the end", "x-binary-bin": "00ff" }));
    let down = call(&sidegate, &["Down", "100"]);
    assert_eq!((&down["status"], down["messages"].as_array().unwrap().len()), (&json!("OK"), 100), "{down}");
    let up = call(&sidegate, &["Up", "100"]);
    assert_eq!((&up["status"], &up["answer"]), (&json!("OK"), &json!("1000000")), "{up}");
    let failed = call(&sidegate, &["Fail", ""]);
    assert_eq!((&failed["status"], &failed["details"]), (&json!("FAILED_PRECONDITION"), &json!("not now: é")));
    assert_eq!(failed["trailing"]["x-trailing"], "with the error");
    let unknown = call(&sidegate, &["Nothing", ""]);
    assert_eq!(unknown["status"], "UNIMPLEMENTED");
}

#[test]
fn both_sides_talk_at_once() {
    let app = PythonApp::start("grpc_app.py", &[]);
    let sidegate = public(&app).start();
    let both = call(&sidegate, &["Both", "20"]);
    let echoes: Vec<_> = (0..20).map(|number| format!("echo {number}")).collect();
    assert_eq!((&both["status"], &both["messages"], &both["rest"]), (&json!("OK"), &json!(echoes), &json!([])));
}

#[test]
fn large_messages_arrive_whole() {
    let app = PythonApp::start("grpc_app.py", &[]);
    let sidegate = public(&app).start();
    let big = call(&sidegate, &["Big", "20000000"]);
    assert_eq!((&big["status"], &big["length"], &big["intact"]), (&json!("OK"), &json!(20_000_000), &json!(true)));
}

#[test]
fn a_refusal_is_a_grpc_status_and_the_app_sees_nothing() {
    let app = PythonApp::start("grpc_app.py", &[]);
    let issuer = Issuer::new();
    let sidegate = before(&app)
        .jwt(&issuer)
        .rule(json!({ "path": "/test.Echo/Wait", "allow": { "groups": ["admin"] } }))
        .rule(json!({ "path": "/test.Echo/Events", "allow": "anyone" }))
        .rule(json!({ "allow": "authenticated" }))
        .start();
    let token = format!("authorization=Bearer {}", issuer.token("alice"));
    let refused = call(&sidegate, &["Unary", "hello"]);
    assert_eq!(
        (&refused["status"], &refused["details"]),
        (&json!("UNAUTHENTICATED"), &json!("credentials_missing")),
        "{refused}"
    );
    let forbidden = call(&sidegate, &["Wait", "hello", &token]);
    assert_eq!((&forbidden["status"], &forbidden["details"]), (&json!("PERMISSION_DENIED"), &json!("rule_denied")));
    assert_eq!(call(&sidegate, &["Events", ""])["answer"], "[]");
    // Who is calling, and nobody else that the client names.
    let who = call(&sidegate, &["Who", "", &token, "x-forwarded-user=root", "x-remote-user=root", "x-kept=1"]);
    let seen: Vec<(String, String)> = serde_json::from_str(who["answer"].as_str().unwrap()).unwrap();
    let value = |name: &str| seen.iter().filter(|(key, _)| key == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
    assert_eq!(value("x-forwarded-user"), ["alice"], "{seen:?}");
    assert_eq!((value("x-remote-user"), value("authorization")), (vec![], vec![]), "{seen:?}");
    assert_eq!((value("x-kept"), value("x-forwarded-proto")), (vec!["1"], vec!["https"]), "{seen:?}");
}

#[test]
fn an_absent_server_is_unavailable_and_a_silent_one_exceeds_the_deadline() {
    let nothing = Nothing::reserve();
    let address = crate::support::App::address(&nothing);
    let upstream = json!({ "upstream": { "address": format!("h2c://{address}"), "connect_timeout": "200ms" } });
    let sidegate =
        Sidegate::before(&nothing).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" })).set(upstream).start();
    let absent = call(&sidegate, &["Unary", "hello"]);
    assert_eq!((&absent["status"], &absent["details"]), (&json!("UNAVAILABLE"), &json!("upstream_unreachable")));
    assert_eq!(sidegate.ask_admin("/readyz").status, 503);

    let app = PythonApp::start("grpc_app.py", &[]);
    let sidegate = public(&app).set(json!({ "upstream": { "response_timeout": "300ms" } })).start();
    assert_eq!(sidegate.ask_admin("/readyz").status, 200);
    let late = call(&sidegate, &["Late"]);
    assert_eq!((&late["status"], &late["details"]), (&json!("DEADLINE_EXCEEDED"), &json!("upstream_timeout")));
    until("the server to be told", || (events(&sidegate) == ["message", "gone"]).then_some(()));
}

#[test]
fn a_client_that_goes_is_one_499_and_the_server_is_told() {
    let app = PythonApp::start("grpc_app.py", &[]);
    for (argument, expected) in [(["Wait", ""], ["waiting", "gone"]), (["Wait", "first"], ["waiting", "gone"])] {
        let sidegate = public(&app).start();
        let before = events(&sidegate).len();
        let mut client = client(&sidegate, &argument);
        client.line();
        until("the call to arrive", || (events(&sidegate).len() > before).then_some(()));
        client.kill();
        until("the server to be told", || (events(&sidegate)[before..] == expected).then_some(()));
        assert_one_499(&sidegate, "/test.Echo/Wait");
    }
    // While it is still sending.
    let sidegate = public(&app).start();
    let before = events(&sidegate).len();
    let mut client = client(&sidegate, &["Listen", ""]);
    client.line();
    until("the message to arrive", || (events(&sidegate).len() > before).then_some(()));
    client.kill();
    until("the server to be told", || (events(&sidegate)[before..] == ["message", "gone"]).then_some(()));
    assert_one_499(&sidegate, "/test.Echo/Listen");
}

#[test]
fn a_call_that_is_cancelled_is_cancelled_at_the_server_and_the_connection_goes_on() {
    let app = PythonApp::start("grpc_app.py", &[]);
    let sidegate = public(&app).start();
    let mut cancelled = client(&sidegate, &["Wait", "first"]);
    cancelled.line();
    cancelled.finish();
    until("the server to be told", || (events(&sidegate) == ["waiting", "gone"]).then_some(()));
    assert_one_499(&sidegate, "/test.Echo/Wait");
    sidegate.wait_for_metric("sidegate_upstream_connections", &[("state", "idle")], 1.0);
}

#[test]
fn many_calls_share_one_connection_and_a_client_that_does_not_read_stops_none() {
    let app = PythonApp::start("grpc_app.py", &[]);
    let sidegate = public(&app).start();
    assert_eq!(call(&sidegate, &["Many", "200"])["right"], 200);
    let slow: Vec<_> = (0..8)
        .map(|_| {
            let mut slow = client(&sidegate, &["Flood", "now"]);
            slow.line();
            slow
        })
        .collect();
    sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 8.0);
    assert_eq!(call(&sidegate, &["Big", "5000000"])["intact"], true);
    sidegate.wait_for_metric("sidegate_upstream_connections", &[("state", "active")], 1.0);
    drop(slow);
    sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 0.0);
    sidegate.wait_for_metric("sidegate_upstream_connections", &[("state", "active")], 0.0);
    sidegate.wait_for_metric("sidegate_upstream_connections", &[("state", "idle")], 1.0);
}

#[test]
fn a_server_that_says_goodbye_again_and_again_costs_no_call() {
    let app = PythonApp::start("grpc_app.py", &["100"]);
    let sidegate = public(&app).start();
    let again = call(&sidegate, &["Again", "2"]);
    assert_eq!(again["status"], "OK", "{again}");
    assert!(again["right"].as_u64().unwrap() > 2, "{again}");
}

#[test]
fn calls_of_every_kind_pass_without_tls_where_it_ends_before_us() {
    let app = PythonApp::start("grpc_app.py", &[]);
    let issuer = Issuer::new();
    let sidegate = before(&app).jwt(&issuer).plaintext().start();
    let token = format!("authorization=Bearer {}", issuer.token("alice"));
    let call = |arguments: &[&str]| -> Value {
        serde_json::from_str(&start_client(&sidegate, "-", arguments).line()).unwrap()
    };
    let refused = call(&["Unary", "hello", "x-kept=1"]);
    assert_eq!((&refused["status"], &refused["details"]), (&json!("UNAUTHENTICATED"), &json!("credentials_missing")));
    for (kind, argument) in [("Unary", "hello"), ("Down", "100"), ("Up", "100"), ("Both", "20"), ("Big", "5000000")] {
        let answer = call(&[kind, argument, &token]);
        assert_eq!(answer["status"], "OK", "{kind}: {answer}");
    }
    let who = call(&["Who", "", &token, "x-forwarded-user=root"]);
    let seen: Vec<(String, String)> = serde_json::from_str(who["answer"].as_str().unwrap()).unwrap();
    let value = |name: &str| seen.iter().filter(|(key, _)| key == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
    assert_eq!((value("x-forwarded-user"), value("x-forwarded-proto")), (vec!["alice"], vec!["http"]), "{seen:?}");
}

/// What one call comes to.
#[track_caller]
fn call(sidegate: &Sidegate, arguments: &[&str]) -> Value {
    serde_json::from_str(&client(sidegate, arguments).line()).unwrap()
}

fn client(sidegate: &Sidegate, arguments: &[&str]) -> Program {
    start_client(sidegate, &ca(sidegate), arguments)
}

fn start_client(sidegate: &Sidegate, ca: &str, arguments: &[&str]) -> Program {
    Program::python("grpc_client.py", &[&[sidegate.address().to_string().as_str(), ca], arguments].concat())
}

fn ca(sidegate: &Sidegate) -> String {
    sidegate.file("ca.pem").display().to_string()
}

/// What happened at the server.
fn events(sidegate: &Sidegate) -> Vec<String> {
    let events = call(sidegate, &["Events", ""]);
    serde_json::from_str(events["answer"].as_str().unwrap_or_else(|| panic!("{events}"))).unwrap()
}

fn assert_one_499(sidegate: &Sidegate, path: &str) {
    let lines = until("the line", || {
        let log = sidegate.access_log(1);
        let lines: Vec<_> = log.into_iter().filter(|line| line["path"] == path).collect();
        (!lines.is_empty()).then_some(lines)
    });
    sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 0.0);
    assert_eq!((lines.len(), &lines[0]["response_code"]), (1, &json!(499)), "{lines:?}");
}

fn before(app: &PythonApp) -> Builder {
    Sidegate::before(app).set(json!({ "upstream": { "address": format!("h2c://{}", app.listens) } }))
}

fn public(app: &PythonApp) -> Builder {
    before(app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" }))
}
