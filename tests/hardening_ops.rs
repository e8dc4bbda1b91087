//! What goes wrong around the requests, and must not touch them: logs that nobody reads, probes that are held up.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Builder, Nothing, Recorder, Sidegate, Wire, until};

#[test]
fn logs_that_nobody_reads_hold_up_neither_a_request_nor_the_end() {
    let app = Nothing::reserve();
    // An app that is down is waited for until then, each time.
    let mut sidegate = public(Sidegate::before(&app)).set(json!({ "upstream": { "connect_timeout": "1ms" } })).start();
    let outputs = sidegate.outputs();
    let unread = outputs.each_ref().map(|lines| lines.lock().unwrap());
    // Each writes a line to either output; 64 KiB fit into a pipe.
    for _ in 0..2000 {
        assert_eq!(sidegate.get("/", &[]).status, 502);
    }
    assert_eq!(sidegate.ask_admin("/livez").status, 200);
    sidegate.terminate();
    let start = Instant::now();
    assert!(sidegate.exit().success());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop(unread);
}

#[test]
fn the_last_lines_are_written_before_the_end() {
    let app = Nothing::reserve();
    let mut sidegate = public(Sidegate::before(&app)).start();
    assert_eq!(sidegate.get("/last", &[]).status, 502);
    sidegate.terminate();
    assert!(sidegate.exit().success());
    assert!(sidegate.access_lines(1)[0].contains("/last"));
    until("the last diagnostics", || sidegate.log().contains("shutting down").then_some(()));
}

#[test]
fn slow_clients_of_the_admin_listener_hold_up_no_probe() {
    let app = Nothing::reserve();
    let sidegate = public(Sidegate::before(&app)).start();
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
fn no_password_of_an_authority_is_in_the_access_log() {
    let app = Recorder::start();
    let sidegate = public(Sidegate::before(&app)).start();
    for (target, host) in
        [("/", "alice:canary@a.test"), ("http://alice:canary@a.test/", "a.test"), ("/", "x@alice:canary@a.test")]
    {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        sidegate.wire().send(head).answer();
    }
    for line in sidegate.access_log(3) {
        assert_eq!(line["authority"], "a.test", "{line}");
        assert!(!line.to_string().contains("canary"), "{line}");
    }
}

fn public(builder: Builder) -> Builder {
    builder.plaintext().rule(json!({ "allow": "anyone" }))
}
