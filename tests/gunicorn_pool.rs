//! The connections to an app under gunicorn: its keep-alive of two seconds is no client's problem, no order is placed twice,
//! and a worker that serves one connection at a time never gets one that says nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    net::SocketAddr,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{App, Flask, Issuer, Recorder, Sidegate, Wire, Worker, until};

#[test]
fn requests_at_the_rhythm_of_the_keep_alive_are_all_answered_and_once() {
    at_the_rhythm_of_the_keep_alive(60, 4, 40, 4);
}

#[test]
#[ignore = "12,000 requests in a minute: script/abuse runs it"]
fn abuse_12_000_requests_at_the_rhythm_of_the_keep_alive() {
    at_the_rhythm_of_the_keep_alive(1000, 10, 200, 10);
}

#[test]
fn a_sync_worker_is_not_blocked_by_bursts() {
    bursts(4);
}

#[test]
#[ignore = "longer than gunicorn's timeout: script/abuse runs it"]
fn abuse_a_sync_worker_is_not_blocked_by_many_bursts() {
    bursts(40);
}

#[test]
fn every_connection_to_the_app_carries_a_request() {
    let one_at_a_time = Mutex::new(());
    let app = Recorder::scripted(move |_, stream| {
        let _turn = one_at_a_time.lock().unwrap();
        pause(Duration::from_millis(5));
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")?;
        Ok(false)
    });
    let sidegate = public(&app);
    let statuses = clients(&sidegate, 50, 5, |client, round| burst(client, round, "GET"));
    assert_eq!(statuses, BTreeMap::from([(200, 250)]));
    assert_eq!(app.connections(), app.requests().len(), "some connections said nothing");
    until("all to be closed", || (app.open_connections() == 0).then_some(()));
}

/// So many clients, each with its own connection, ask every two seconds: just when gunicorn closes what was idle.
fn at_the_rhythm_of_the_keep_alive(readers: u32, reads: u32, writers: u32, writes: u32) {
    let app = Flask::start(Worker::Threads);
    assert!(app.seen().is_empty(), "and it has started");
    let sidegate = public(&app);
    let wait = |client, round| match round {
        // At first spread over two seconds, as the clients of a day are.
        0 => Duration::from_micros(random(client, round) % 2_000_000),
        _ => Duration::from_micros(1_900_000 + random(client, round) % 200_000),
    };
    let got = clients(&sidegate, readers, reads, |client, round| {
        (wait(client, round), format!("GET /read/{client}/{round} HTTP/1.1\r\n"))
    });
    let posted = clients(&sidegate, writers, writes, |client, round| {
        (wait(client, round), format!("POST /order/{client}/{round} HTTP/1.1\r\nContent-Length: 5\r\n"))
    });
    let ended = Instant::now();
    eprintln!("{got:?} for GET, {posted:?} for POST");
    let connections = || connections_to(app.address());
    let at_the_end = connections();
    until("the idle connections to be closed", || (connections() == 0).then_some(()));
    eprintln!("{at_the_end} connections to the app at the end of the load, 0 after {:?}", ended.elapsed());
    sidegate.wait_for_metric("sidegate_upstream_connections", &[], 0.0);
    assert_eq!(got, BTreeMap::from([(200, readers * reads)]));
    assert_eq!(posted, BTreeMap::from([(200, writers * writes)]));
    let seen = app.seen();
    let orders: Vec<_> = seen.iter().filter(|line| line.starts_with("POST ")).collect();
    let different: BTreeSet<_> = orders.iter().collect();
    assert_eq!((orders.len(), different.len()), ((writers * writes) as usize, (writers * writes) as usize));
    assert!(!app.log().contains("WORKER TIMEOUT"), "{}", app.log());
}

/// Fifty clients at once, again and again, and an app that serves one connection at a time.
fn bursts(rounds: u32) {
    // A connection that says nothing would block the worker, and gunicorn would end it after three seconds.
    let app = Flask::start_with(Worker::Sync, &["--timeout=3"]);
    let sidegate = public(&app);
    let started = Instant::now();
    let statuses = clients(&sidegate, 50, rounds, |client, round| {
        burst(client, round, if client.is_multiple_of(5) { "POST" } else { "GET" })
    });
    eprintln!("{statuses:?} in {:?}", started.elapsed());
    assert_eq!(statuses, BTreeMap::from([(200, 50 * rounds)]));
    until("no connection to the app", || (connections_to(app.address()) == 0).then_some(()));
    assert_eq!(app.seen().len(), 50 * rounds as usize);
    assert!(!app.log().contains("WORKER TIMEOUT"), "{}", app.log());
}

/// A request in every second, and all clients in the same moment, nearly.
fn burst(client: u32, round: u32, method: &str) -> (Duration, String) {
    let rest = if round == 0 { 0 } else { 900 };
    let length = if method == "POST" { "Content-Length: 5\r\n" } else { "" };
    let wait = Duration::from_millis(rest + random(client, round) % 20);
    (wait, format!("{method} /burst/{client}/{round} HTTP/1.1\r\n{length}"))
}

/// So many clients at once, each of whom sends so many requests over one connection: after this wait these first lines.
/// How often there was which status; 0 is none at all.
fn clients(
    sidegate: &Sidegate,
    clients: u32,
    rounds: u32,
    request: impl Fn(u32, u32) -> (Duration, String) + Sync,
) -> BTreeMap<u16, u32> {
    let statuses = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for client in 0..clients {
            let (request, statuses) = (&request, &statuses);
            scope.spawn(move || {
                let mut wire: Option<Wire> = None;
                for round in 0..rounds {
                    let (wait, lines) = request(client, round);
                    pause(wait);
                    let body = if lines.starts_with("POST") { "order" } else { "" };
                    let wire = wire.get_or_insert_with(|| sidegate.wire());
                    let sent = wire.try_send(format!("{lines}Host: localhost\r\n\r\n{body}"));
                    let answer = sent.ok().and_then(|()| wire.answer_or_end());
                    *statuses.lock().unwrap().entry(answer.map_or(0, |answer| answer.status)).or_insert(0) += 1;
                }
            });
        }
    });
    statuses.into_inner().unwrap()
}

/// How many connections to this address the kernel knows that are open on the near side.
fn connections_to(address: SocketAddr) -> usize {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let remote = format!(":{:04X}", address.port());
    let is_open = |line: &&str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        // ESTABLISHED, or closed by the app and not yet by us.
        fields[2].ends_with(&remote) && matches!(fields[3], "01" | "08")
    };
    table.lines().skip(1).filter(is_open).count()
}

/// A number that looks like chance and is the same in every run.
fn random(client: u32, round: u32) -> u64 {
    let mut state = (u64::from(client) << 32 | u64::from(round)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    for shift in [30, 27, 31] {
        state = (state ^ state >> shift).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    state >> 16
}

#[expect(clippy::disallowed_methods, reason = "clients that wait between their requests")]
fn pause(duration: Duration) {
    thread::sleep(duration);
}

/// With the settings as they are by default: connections are kept for a second.
fn public(app: &impl App) -> Sidegate {
    Sidegate::before(app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" })).measured().start()
}
