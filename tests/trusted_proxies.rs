//! What a trusted proxy says about the way of a request is believed, and of nobody else.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::{Builder, H2, Issuer, Received, Recorder, Sidegate};

const FORWARDING: [&str; 4] = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"];

#[test]
fn the_app_learns_whom_a_trusted_proxy_speaks_for() {
    let app = Recorder::start();
    let sidegate = trusting(&app, &["127.0.0.1", "10.0.0.0/8"]).start();
    let mut h2 = H2::connect(&sidegate);
    let port = sidegate.address().port().to_string();
    for (fields, h1_expected) in [
        (&[][..], ["127.0.0.1", "https", "localhost", "443"]),
        (&[("x-forwarded-for", "203.0.113.9")], ["203.0.113.9, 127.0.0.1", "https", "localhost", "443"]),
        (
            &[
                ("x-forwarded-for", "198.51.100.1, 203.0.113.9"),
                ("x-forwarded-for", "10.2.0.1"),
                ("x-forwarded-proto", "http"),
                ("x-forwarded-host", "shop.example"),
            ],
            ["203.0.113.9, 10.2.0.1, 127.0.0.1", "http", "shop.example", "80"],
        ),
        (
            &[("x-forwarded-proto", "https"), ("x-forwarded-host", "shop.example:444")],
            ["127.0.0.1", "https", "shop.example:444", "444"],
        ),
        (
            &[("x-forwarded-host", "shop.example:444"), ("x-forwarded-port", "445")],
            ["127.0.0.1", "https", "shop.example:444", "445"],
        ),
        // A client's own, which the proxy does not know, is not what the proxy says.
        (
            &[("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=198.51.100.1;proto=http;host=evil.test")],
            ["203.0.113.9, 127.0.0.1", "https", "localhost", "443"],
        ),
        (&[("forwarded", "for=\"")], ["127.0.0.1", "https", "localhost", "443"]),
    ] {
        let lines: Vec<_> = fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        assert_eq!(sidegate.get("/", &lines).status, 200, "{fields:?}");
        let request = app.last_request();
        assert_eq!(told(&request), h1_expected.map(|value| vec![value]), "{fields:?}");
        assert_eq!(request.header("Host"), Some("localhost"), "the host of the request itself");
        assert_eq!(request.lookalikes("forwarded"), [""; 0]);

        assert_eq!(h2.send("GET", "/", fields, b"").status, 200, "{fields:?}");
        let own = format!("localhost:{port}");
        let h2_expected = h1_expected.map(|value| match value {
            "localhost" => own.as_str(),
            "443" => port.as_str(),
            other => other,
        });
        assert_eq!(told(&app.last_request()), h2_expected.map(|value| vec![value]), "{fields:?} over h2");
    }
}

#[test]
fn what_only_looks_like_a_trusted_proxys_word_is_removed() {
    let app = Recorder::start();
    let sidegate = trusting(&app, &["127.0.0.0/8"]).start();
    let lines = [
        "X-Forwarded-For: 203.0.113.9",
        "X_Forwarded_For: 198.51.100.1",
        "X.Forwarded.For: 198.51.100.2",
        "X-Forwarded-Prefix: /evil",
        "X-Forwarded-User: root",
        "X-Real-IP: 198.51.100.3",
        // It has been read before this takes it away.
        "Connection: close, x-forwarded-for, x-forwarded-proto, host",
        "X-Forwarded-Proto: http",
    ];
    assert_eq!(sidegate.get("/", &lines).status, 200);
    let request = app.only_request();
    assert_eq!(told(&request), [vec!["203.0.113.9, 127.0.0.1"], vec!["http"], vec!["localhost"], vec!["80"]]);
    for (name, value) in &request.headers {
        assert!(!value.contains("198.51.100") && !value.contains("evil") && !value.contains("root"), "{name}: {value}");
    }
}

#[test]
fn nobody_else_is_believed() {
    let app = Recorder::start();
    let sidegate = trusting(&app, &["10.0.0.0/8", "127.0.0.2", "::1", "unix"]).start();
    let lies = [
        "X-Forwarded-For: 203.0.113.9",
        "X-Forwarded-Proto: gopher",
        "X-Forwarded-Host: evil.test",
        "Forwarded: for=\"",
    ];
    assert_eq!(sidegate.get("/", &lies).status, 200);
    assert_eq!(told(&app.only_request()), [["127.0.0.1"], ["https"], ["localhost"], ["443"]]);
    let log = sidegate.access_log(1);
    assert!(log[0]["downstream_remote_address"].as_str().unwrap().starts_with("127.0.0.1:"), "{log:?}");
}

#[test]
fn what_a_trusted_proxy_says_and_nobody_understands_is_refused() {
    let app = Recorder::start();
    let sidegate = trusting(&app, &["127.0.0.1"]).start();
    let mut h2 = H2::connect(&sidegate);
    for (name, value) in [
        ("x-forwarded-for", "unknown"),
        ("x-forwarded-for", "203.0.113.9,"),
        ("x-forwarded-proto", "gopher"),
        ("x-forwarded-host", "a/b"),
        ("x-forwarded-port", "port"),
    ] {
        sidegate.get("/", &[&format!("{name}: {value}")]).assert_refused(400, "forwarded_invalid");
        h2.send("GET", "/", &[(name, value)], b"").assert_refused(400, "forwarded_invalid");
    }
    let sidegate = trusting(&app, &["127.0.0.1"]).set(json!({ "listen": { "forwarded": "forwarded" } })).start();
    for value in ["for=\"203.0.113.9", "for=unknown", "proto=https", "for=203.0.113.9;proto=gopher"] {
        let lines = [&*format!("Forwarded: {value}"), "X-Forwarded-For: 203.0.113.9"];
        sidegate.get("/", &lines).assert_refused(400, "forwarded_invalid");
    }
    assert!(app.requests().is_empty());
}

#[test]
fn a_proxy_may_say_it_in_forwarded_and_then_nothing_else_is_believed() {
    let app = Recorder::start();
    let inside = json!({ "client_ips": ["192.0.2.0/24"], "allow": "anyone" });
    let sidegate = Sidegate::before(&app)
        .jwt(&Issuer::new())
        .rule(inside)
        .rule(json!({ "client_ips": ["127.0.0.0/8", "2001:db8::/32"], "allow": "anyone" }))
        .rule(json!({ "allow": "authenticated" }))
        .set(json!({ "listen": { "trusted_proxies": ["127.0.0.1"], "forwarded": "forwarded" } }))
        .start();
    let own = [
        "X-Forwarded-For: 192.0.2.1",
        "X-Forwarded-Proto: gopher",
        "X-Forwarded-Host: evil.test",
        "X-Forwarded-Port: 1",
    ];
    let said = "Forwarded: for=192.0.2.1, for=\"[2001:db8::1]:4711\";proto=http;host=shop.example";
    assert_eq!(sidegate.get("/", &[&own[..], &[said]].concat()).status, 200);
    assert_eq!(told(&app.last_request()), [["2001:db8::1, 127.0.0.1"], ["http"], ["shop.example"], ["80"]]);
    assert_eq!(app.last_request().lookalikes("forwarded"), [""; 0]);
    // What the client has made up about itself opens no door.
    let stranger = [&own[..], &["Forwarded: for=192.0.2.1, for=203.0.113.9"]].concat();
    sidegate.get("/", &stranger).assert_refused(401, "credentials_missing");
    assert_eq!(sidegate.get("/", &own).status, 200);
    assert_eq!(told(&app.last_request()), [["127.0.0.1"], ["https"], ["localhost"], ["443"]]);
}

#[test]
fn rules_mean_the_client_and_not_the_proxy() {
    let app = Recorder::start();
    let inside = json!({ "client_ips": ["192.0.2.0/24", "127.0.0.0/8"], "allow": "anyone" });
    let builder = |proxies: &[&str]| {
        Sidegate::before(&app)
            .jwt(&Issuer::new())
            .rule(inside.clone())
            .rule(json!({ "allow": "authenticated" }))
            .set(json!({ "listen": { "trusted_proxies": proxies } }))
    };
    let sidegate = builder(&["127.0.0.1"]).start();
    for (chain, status) in [
        ("192.0.2.1", 200),
        ("203.0.113.9, 192.0.2.1", 200),
        ("203.0.113.9", 401),
        ("192.0.2.1, 203.0.113.9", 401),
        ("127.0.0.1, 203.0.113.9, 127.0.0.1", 401),
        ("unknown", 400),
    ] {
        assert_eq!(sidegate.get("/", &[&format!("X-Forwarded-For: {chain}")]).status, status, "{chain}");
    }
    // Without trust it is the peer that counts, whatever it says.
    let sidegate = builder(&[]).start();
    assert_eq!(sidegate.get("/", &["X-Forwarded-For: 203.0.113.9"]).status, 200);

    let balanced = builder(&["127.0.0.1"]).set(json!({ "listen": { "proxy_protocol": true } })).plaintext().start();
    for (announced, status) in [
        ("TCP4 192.0.2.1 192.0.2.2 1 2", 200),
        ("TCP4 203.0.113.9 192.0.2.2 1 2", 401),
        // It may be anybody whom the load balancer, which is inside, cannot name.
        ("UNKNOWN", 401),
    ] {
        let mut wire = balanced.wire();
        wire.send(format!("PROXY {announced}\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!(wire.answer().status, status, "{announced}");
    }
}

#[test]
fn the_log_names_the_client() {
    let app = Recorder::start();
    let sidegate = trusting(&app, &["127.0.0.1"]).start();
    sidegate.get("/", &["X-Forwarded-For: 198.51.100.1, 203.0.113.9"]);
    let log = sidegate.access_log(1);
    assert_eq!(log[0]["downstream_remote_address"], "203.0.113.9:0");
    assert_eq!(log[0]["x_forwarded_for"], "198.51.100.1, 203.0.113.9");
    let sidegate = trusting(&app, &["127.0.0.1"]).set(json!({ "log": { "access": "combined" } })).start();
    sidegate.get("/", &["X-Forwarded-For: 2001:db8::1"]);
    let lines = sidegate.access_lines(1);
    assert!(lines[0].starts_with("2001:db8::1 - - ["), "{}", lines[0]);
}

#[test]
fn werkzeug_counts_the_proxies_and_sidegate() {
    const PROGRAM: &str = "
import json, sys
from werkzeug.middleware.proxy_fix import ProxyFix
headers = json.load(sys.stdin)
environ = {'HTTP_' + name.upper().replace('-', '_'): value for name, value in headers}
environ.update(REMOTE_ADDR='127.0.0.1', SERVER_NAME='127.0.0.1', SERVER_PORT='5000')
environ['wsgi.url_scheme'] = 'http'
app = lambda environ, _: print(environ['REMOTE_ADDR'], environ['wsgi.url_scheme'], environ['HTTP_HOST'])
ProxyFix(app, x_for=2, x_proto=1, x_host=1, x_port=1)(environ, None)
";
    let app = Recorder::start();
    let sidegate = trusting(&app, &["127.0.0.1"]).start();
    sidegate.get(
        "/",
        &["X-Forwarded-For: 10.0.0.9, 203.0.113.9", "X-Forwarded-Host: shop.example", "X-Forwarded-Port: 444"],
    );
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/target/venv/bin/python");
    let mut python = Command::new(python);
    python.args(["-c", PROGRAM]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = python.spawn().expect("script/setup has made the virtual environment");
    serde_json::to_writer(child.stdin.take().unwrap(), &app.only_request().headers).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "203.0.113.9 https shop.example:444\n");
}

#[test]
fn trace_context_and_the_request_id_pass() {
    let app = Recorder::start();
    let sidegate = trusting(&app, &[]).start();
    let trace = [
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("tracestate", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        ("baggage", "userId=alice,serverNode=DF%2028;p=1"),
        ("x-request-id", "b1946ac9-2492"),
    ];
    let lines = trace.map(|(name, value)| format!("{name}: {value}"));
    sidegate.get("/", &[&lines[0], &lines[1], &lines[2], &lines[3], "X.Request.Id: other", "X_Request_Id: other"]);
    let over_h1 = app.last_request();
    H2::connect(&sidegate).send("GET", "/", &trace, b"");
    for request in [over_h1, app.last_request()] {
        for (name, value) in trace {
            assert_eq!(request.lookalikes(name), [value]);
        }
    }
}

#[test]
fn what_is_no_network_is_refused_and_trust_in_everyone_is_a_warning() {
    let app = Recorder::start();
    trusting(&app, &["localhost"])
        .refuse()
        .assert_failed(64, &["trusted_proxies[0]: `localhost` is not an IP address or network"]);
    trusting(&app, &["10.0.0.1/8"]).refuse().assert_failed(64, &["write `10.0.0.0/8` or `10.0.0.1`"]);
    let unheard = trusting(&app, &[]).set(json!({ "listen": { "forwarded": "forwarded" } }));
    unheard.refuse().assert_failed(64, &["listen.forwarded: this has no effect"]);
    let report = trusting(&app, &["0.0.0.0/0"]).run(&["check", "--config"]);
    assert!(report.succeeded().contains("warning: listen.trusted_proxies: whoever can connect is believed"));
    let report = trusting(&app, &["10.0.0.0/8"]).run(&["check", "--config"]);
    assert!(!report.succeeded().contains("listen.trusted_proxies:"));
}

fn told(request: &Received) -> [Vec<&str>; 4] {
    FORWARDING.map(|name| request.lookalikes(name))
}

/// Open to anyone, before `app`, and believing these.
fn trusting(app: &Recorder, proxies: &[&str]) -> Builder {
    Sidegate::before(app)
        .jwt(&Issuer::new())
        .rule(json!({ "allow": "anyone" }))
        .set(json!({ "listen": { "trusted_proxies": proxies } }))
}
