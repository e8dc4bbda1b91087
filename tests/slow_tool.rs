//! slowhttptest, which other people's servers are tested with: slow headers, slow bodies and slow readers through TLS.
//!
//! Minutes long, so that only `script/abuse` runs it.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{Issuer, Recorder, Sidegate, until};

/// Clients, of whom a hundred come each second.
const CLIENTS: &str = "1000";

/// What a client may take of the memory, in kB: mostly the part of an answer that the app has sent and it has not read.
const EACH: u64 = 400;

#[test]
#[ignore = "20 s: script/abuse runs it"]
fn abuse_slow_headers() {
    slowhttptest("header", &["-H", "-i", "2", "-x", "24"]);
}

#[test]
#[ignore = "20 s: script/abuse runs it"]
fn abuse_slow_bodies() {
    slowhttptest("body", &["-B", "-i", "2", "-x", "10", "-s", "8192"]);
}

#[test]
#[ignore = "20 s: script/abuse runs it"]
fn abuse_slow_readers() {
    slowhttptest("read", &["-X", "-n", "2", "-z", "32", "-w", "512", "-y", "1024", "-k", "3"]);
}

/// Runs it in this mode for 20 seconds, and asks for something once in a while meanwhile.
fn slowhttptest(mode: &str, args: &[&str]) {
    let answer = [b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", &[b'x'; 1_000_000][..]].concat();
    let app = Recorder::answering(answer);
    let settings = json!({
        "limits": { "handshake_timeout": "5s", "header_timeout": "5s", "client_idle_timeout": "5s" },
        "upstream": { "idle_timeout": "5s" },
    });
    let sidegate =
        Sidegate::before(&app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" })).set(settings).measured().start();
    assert_eq!(sidegate.get("/", &[]).status, 200);
    sidegate.wait_for_metric("sidegate_upstream_connections", &[], 0.0);
    let (memory, descriptors) = (sidegate.memory(), sidegate.descriptors());
    let report = sidegate.file("slowhttptest");
    let mut tool = Command::new("slowhttptest")
        .args(args)
        .args(["-c", CLIENTS, "-r", "100", "-l", "20", "-p", "10", "-g", "-o"])
        .arg(&report)
        .args(["-u", &sidegate.url("/")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("slowhttptest, a Debian package");
    let (mut probes, mut slowest, mut most) = (0, Duration::ZERO, 0.0_f64);
    let started = Instant::now();
    while tool.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < Duration::from_secs(60), "it does not end");
        let began = Instant::now();
        assert_eq!(sidegate.get("/", &[]).status, 200);
        slowest = slowest.max(began.elapsed());
        probes += 1;
        most = most.max(sidegate.metrics().sum("sidegate_connections", &[]));
        until("a moment", || (began.elapsed() > Duration::from_millis(200)).then_some(()));
    }
    let ended = Instant::now();
    for gauge in ["sidegate_connections", "sidegate_requests_in_flight", "sidegate_upstream_connections"] {
        sidegate.wait_for_metric(gauge, &[], 0.0);
    }
    until("all descriptors to be closed", || (sidegate.descriptors() <= descriptors).then_some(()));
    let csv = fs::read_to_string(report.with_extension("csv")).unwrap();
    // Seconds, closed, pending, connected, and whether its own probe was answered.
    let rows: Vec<Vec<&str>> = csv.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let unavailable = rows.iter().filter(|row| row.last() == Some(&"0")).count();
    eprintln!(
        "slowhttptest {mode}: at most {most} connections; {probes} requests meanwhile, all answered, the slowest in \
         {slowest:?}; the tool found it unavailable in {unavailable} of {} seconds; all released {:?} after its end; \
         resident memory {memory} kB before, {} kB at most, {} kB after; processor time {:?}; its last line: {}",
        rows.len(),
        ended.elapsed(),
        sidegate.peak_memory(),
        sidegate.memory(),
        sidegate.cpu_time(),
        csv.lines().last().unwrap_or_default(),
    );
    assert_eq!(unavailable, 0, "{csv}");
    assert!(most > 100.0, "the tool did nothing");
    assert!(sidegate.peak_memory() < memory + 1000 * EACH, "{} kB", sidegate.peak_memory());
}
