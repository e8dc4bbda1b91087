//! The admin listener: probes, and metrics that Prometheus takes.

use std::{
    io::Write,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{App, Builder, Issuer, Nothing, Recorder, Sidegate, Users, Wire};

/// The metrics of the contract, as a scrape shows them.
const METRICS: [&str; 12] = [
    "sidegate_requests_total",
    "sidegate_request_duration_seconds_count",
    "sidegate_upstream_duration_seconds_count",
    "sidegate_requests_in_flight",
    "sidegate_connections",
    "sidegate_tls_handshakes_total",
    "sidegate_auth_decisions_total",
    "sidegate_token_cache_total",
    "sidegate_password_cache_total",
    "sidegate_certificate_not_after_seconds",
    "sidegate_upstream_connections",
    "sidegate_build_info",
];

#[test]
fn probes_answer_without_credentials_and_only_there() {
    let app = Recorder::start();
    let sidegate = protected(&app).start();
    for path in ["/livez", "/readyz", "/startupz", "/readyz?verbose"] {
        assert_eq!(sidegate.ask_admin(path).status, 200, "{path}");
        assert_eq!(sidegate.get(path, &[]).status, 401, "{path} on the listener of the clients");
    }
    assert_eq!(sidegate.ask_admin("/nothing").status, 404);
    let mut wire = Wire::tcp(sidegate.admin());
    let answer = wire.send("POST /livez HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\n\r\n").answer();
    assert_eq!(answer.status, 405);
    let head = Wire::tcp(sidegate.admin()).send("HEAD /livez HTTP/1.1\r\nHost: admin\r\n\r\n").answer_to("HEAD");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(app.requests().len(), 0);
}

#[test]
fn a_verbose_probe_names_what_is_missing() {
    let app = Nothing::reserve();
    let sidegate = protected(&app).start();
    let answer = sidegate.ask_admin("/readyz?verbose");
    assert_eq!(answer.status, 503);
    let text = answer.text();
    assert!(text.contains("listener") && text.contains("app"), "{text}");
}

#[test]
fn every_metric_of_the_contract_is_there() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let sidegate = Sidegate::before(&app).jwt(&issuer).users(&Users::one("alice", "correct-horse")).start();
    assert_eq!(sidegate.curl("/").basic("alice", "correct-horse").send().status, 200);
    assert_eq!(sidegate.curl("/").bearer(&issuer.token("bob")).send().status, 200);
    let metrics = sidegate.metrics();
    for name in METRICS {
        assert!(metrics.names().contains(&name), "{name} is missing among {:?}", metrics.names());
    }
    sidegate.wait_for_metric("sidegate_requests_total", &[("method", "GET"), ("code", "200")], 2.0);
    sidegate.wait_for_metric("sidegate_request_duration_seconds_count", &[], 2.0);
    let metrics = sidegate.metrics();
    assert!(metrics.sum("sidegate_tls_handshakes_total", &[("result", "ok")]) >= 2.0);
    assert!(metrics.sum("sidegate_certificate_not_after_seconds", &[]) > 1e9);
    assert!((metrics.sum("sidegate_build_info", &[("version", env!("CARGO_PKG_VERSION"))]) - 1.0).abs() < 1e-9);
}

#[test]
fn a_connection_has_a_task_that_ends_with_it() {
    let app = Recorder::start();
    let sidegate = protected(&app).start();
    sidegate.wait_for_metric("sidegate_tasks", &[], 0.0);
    let clients = [sidegate.wire(), sidegate.wire()];
    sidegate.wait_for_metric("sidegate_tasks", &[], 2.0);
    drop(clients);
    sidegate.wait_for_metric("sidegate_tasks", &[], 0.0);
}

#[test]
fn nothing_that_a_client_sends_makes_a_new_series_or_label() {
    let app = Recorder::start();
    let sidegate = protected(&app).start();
    let ask = |request: String| sidegate.wire().send(request).answer_or_end();
    for method in ["GET", "BREW"] {
        ask(format!("{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    }
    // They are counted when their answers have ended, which the client may see before.
    sidegate.wait_for_metric("sidegate_requests_total", &[], 2.0);
    let before = sidegate.metrics().len();
    for i in 0..20 {
        ask(format!("CANARY{i} /canary{i}?canary{i} HTTP/1.1\r\nHost: canary{i}.test\r\nX-Canary: {i}\r\n\r\n"));
    }
    sidegate.wait_for_metric("sidegate_requests_total", &[], 22.0);
    let metrics = sidegate.metrics();
    assert_eq!(metrics.len(), before);
    assert!(metrics.label_values().all(|value| !value.to_ascii_lowercase().contains("canary")));
}

#[test]
fn promtool_accepts_the_metrics() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let sidegate = Sidegate::before(&app).jwt(&issuer).users(&Users::one("alice", "correct-horse")).start();
    sidegate.curl("/").bearer(&issuer.token("alice")).send();
    sidegate.get("/", &[]);
    let scrape = sidegate.ask_admin("/metrics");

    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = promtool.spawn().expect("promtool: run script/setup");
    child.stdin.take().unwrap().write_all(&scrape.body).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{}", scrape.text());
}

#[test]
fn prometheus_asks_for_openmetrics_and_gets_it() {
    let app = Recorder::start();
    let sidegate = protected(&app).start();
    let accept = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let mut wire = Wire::tcp(sidegate.admin());
    let scrape = wire.send(format!("GET /metrics HTTP/1.1\r\nHost: admin\r\nAccept: {accept}\r\n\r\n")).answer();
    let content_type = scrape.header("Content-Type").unwrap();
    assert!(content_type.starts_with("application/openmetrics-text; version=1.0.0"), "{content_type}");
    assert!(scrape.text().ends_with("# EOF\n"));
    assert!(scrape.text().contains("sidegate_build_info{"));
}

#[test]
fn no_secret_is_shown() {
    let (app, issuer) = (Recorder::start(), Issuer::with(jsonwebtoken::Algorithm::HS256));
    let sidegate = Sidegate::before(&app).jwt(&issuer).users(&Users::one("alice", "correct-horse")).start();
    for path in ["/metrics", "/readyz?verbose", "/", "/config", "/debug"] {
        let text = sidegate.ask_admin(path).text();
        assert!(!text.contains(&issuer.secret) && !text.contains("{SHA}"), "{path}: {text}");
    }
}

#[test]
fn slow_clients_of_the_admin_listener_hold_up_no_probe() {
    let app = Nothing::reserve();
    let sidegate = protected(&app).start();
    let slow: Vec<_> = (0..100)
        .map(|i| {
            let mut wire = Wire::tcp(sidegate.admin());
            // Half a request, or many whose answers are not read.
            let whole = "GET /metrics HTTP/1.1\r\nHost: admin\r\n\r\n";
            let _ = wire.try_send(if i % 2 == 0 { "GET /livez HTTP/1.1\r\nHo".to_owned() } else { whole.repeat(200) });
            wire
        })
        .collect();
    let start = Instant::now();
    assert_eq!(sidegate.ask_admin("/livez").status, 200);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    for mut wire in slow.into_iter().step_by(2) {
        // Half a request gets no answer, but an end.
        wire.read_to_end();
    }
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
}

#[test]
fn a_connection_that_ends_badly_is_counted_as_what_it_was() {
    let app = Recorder::start();
    let sidegate = protected(&app).plaintext().start();
    let errors = "sidegate_connection_errors_total";
    for (reason, sent) in [
        ("incomplete", "GET / HT"),
        ("incomplete", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Le"),
        ("malformed", "\0\u{1}\u{2}\u{3}\r\n\r\n"),
        ("malformed", "GET / HTTP/1.1\r\nno colon\r\n\r\n"),
    ] {
        let before = sidegate.metrics();
        let mut wire = sidegate.wire();
        wire.send(sent).finish_sending();
        wire.read_to_end();
        sidegate.wait_for_metric(errors, &[("reason", reason)], before.sum(errors, &[("reason", reason)]) + 1.0);
        // As that, and as nothing else besides.
        sidegate.wait_for_metric(errors, &[], before.sum(errors, &[]) + 1.0);
    }
    assert_eq!(app.requests().len(), 0);
}

fn protected(app: &impl App) -> Builder {
    Sidegate::before(app).jwt(&Issuer::new()).rule(json!({ "allow": "authenticated" }))
}
