//! HTTP/2 floods: much work for us, little for the client. Each is bounded, leaves other clients served and the memory as
//! it was, and ends by the connection being ended or by being served like any other.

use std::{cell::RefCell, io::Write, time::Duration};

use serde_json::json;

use crate::support::{
    Builder, Issuer, Recorder, Sidegate,
    frames::{
        Frames, Outcome, code, data, flag, frame, get, headers, integer, kind, literal, ping, request, reset, setting,
        settings, window_update,
    },
    until,
};

/// How much more memory a flood may take, in kB: what a connection may buffer in either direction, and some.
const ROOM: u64 = 24 << 10;

/// What may become of a flood that costs no more than it costs to send: the connection ends, or each part of it is dealt
/// with, and refused where it is a request.
const ENDED_OR_REFUSED: &[Outcome] = &[Outcome::Connection(code::ENHANCE_YOUR_CALM), Outcome::Nothing];

#[test]
fn streams_that_are_opened_and_reset() {
    let flood = Flood::begin(&[]);
    let round = |round: u32| ids(round, 100).flat_map(|stream| [get(stream, "/"), reset(stream, code::CANCEL)]);
    let outcome = flood.rounds(100, round);
    assert_eq!(outcome, Outcome::Connection(code::ENHANCE_YOUR_CALM));
    assert!(flood.asked() < 2_000, "the app was asked {} times", flood.asked());
    flood.is_over();
}

#[test]
fn streams_that_the_client_makes_us_reset() {
    // A window that grows too large is an error of the stream, and its request is under way already; a field of the
    // connection is one before that.
    let overflow = |stream| [get(stream, "/"), window_update(stream, (1 << 31) - 1)].concat();
    let malformed = |stream| headers(flag::END_STREAM, stream, request("GET", "/never", &[("connection", "close")]));
    type Provoke = fn(u32) -> Vec<u8>;
    for (what, provoke) in [("windows", overflow as Provoke), ("fields", malformed)] {
        let flood = Flood::begin(&[]);
        let outcome = flood.rounds(200, |round| ids(round, 50).map(provoke));
        assert_eq!(outcome, Outcome::Connection(code::ENHANCE_YOUR_CALM), "{what}");
        assert!(flood.asked() < 2_000, "{what}: the app was asked {} times", flood.asked());
        assert_eq!(flood.asked_for("/never"), 0);
        flood.is_over();
    }
}

#[test]
fn streams_beyond_their_number() {
    let flood = Flood::begin(&[]);
    flood.send((0..100).flat_map(|index| get(2 * index + 1, "/held")).collect());
    let outcome = flood.rounds(100, |round| ids(round + 2, 100).map(|stream| get(stream, "/")));
    assert_eq!(outcome, Outcome::Connection(code::ENHANCE_YOUR_CALM));
    assert!(flood.asked() <= 100 + PROBES, "the app was asked {} times", flood.asked());
    flood.is_over();
}

#[test]
fn header_blocks_without_end() {
    for size in [0, 1, 1 << 14] {
        let flood = Flood::begin(&[]);
        flood.send(frame(kind::HEADERS, 0, 1, request("GET", "/", &[])));
        // A field again and again, or its value byte by byte, or nothing at all.
        let field = literal(b"x-a", &vec![b'x'; size.max(7) - 7]);
        let fragment = frame(kind::CONTINUATION, 0, 1, &field[..size.min(field.len())]);
        // Nothing is answered within a header block, so nothing is waited for.
        let sent = flood.until_stuck(&fragment.repeat(16), 64 << 20);
        let outcome = flood.outcome(1, true);
        assert!(matches!(outcome, Outcome::Connection(_) | Outcome::Closed), "{size}: {outcome:?} after {sent}");
        flood.is_over();
    }
}

#[test]
fn header_blocks_that_unfold() {
    let flood = Flood::begin(&[]);
    // 4 kB in the table, and every further byte is one more of it: 16 kB on the wire are 64 MB.
    let mut entry = literal(b"x-a", &[b'x'; 4000]);
    entry[0] = 0x40;
    flood.send(headers(flag::END_STREAM, 1, [request("GET", "/", &[]), entry].concat()));
    let bomb = [request("GET", "/never", &[]), vec![0x80 | 62; 16_000]].concat();
    let outcome = flood.rounds(100, |round| ids(round + 1, 5).map(|stream| headers(1, stream, &bomb)));
    assert!(ENDED_OR_REFUSED.contains(&outcome), "{outcome:?}");
    flood.is_over();
    assert_eq!(flood.asked_for("/never"), 0);
}

#[test]
fn header_blocks_of_crumbs() {
    let flood = Flood::begin(&[]);
    // `cookie: ` of one byte each: 1,600 fields that become one line.
    let crumb = [integer(0x10, 4, 32), b"\x01a".to_vec()].concat();
    let bomb = [request("GET", "/never", &[]), crumb.repeat(4_000)].concat();
    let outcome = flood.rounds(100, |round| ids(round, 5).map(|stream| headers(1, stream, &bomb)));
    assert!(ENDED_OR_REFUSED.contains(&outcome), "{outcome:?}");
    flood.is_over();
    assert_eq!(flood.asked_for("/never"), 0);
}

#[test]
fn frames_that_say_nothing() {
    let field = |value: u32| settings(&[(setting::INITIAL_WINDOW_SIZE, value)]);
    type Frame = Box<dyn Fn(u32) -> Vec<u8>>;
    let floods: [(&str, Frame); 9] = [
        ("empty DATA", Box::new(|_| data(0, 1, ""))),
        ("DATA of padding", Box::new(|_| data(flag::PADDED, 1, [1, 0]))),
        ("DATA of a byte", Box::new(|_| data(0, 1, "x"))),
        ("SETTINGS", Box::new(move |round| field(1000 + round % 2))),
        ("SETTINGS with 270 values", Box::new(|_| settings(&[(setting::INITIAL_WINDOW_SIZE, 1000); 270]))),
        ("WINDOW_UPDATE", Box::new(|_| window_update(0, 1))),
        ("WINDOW_UPDATE of a stream", Box::new(|_| window_update(1, 1))),
        ("PRIORITY", Box::new(|round| frame(kind::PRIORITY, 0, 2 * round + 3, [0, 0, 0, 0, 9]))),
        ("frames of an unknown type", Box::new(|_| frame(0x16, 0, 0, ""))),
    ];
    for (what, one) in floods {
        let flood = Flood::begin(&[]);
        flood.send(headers(0, 1, request("POST", "/", &[])));
        let outcome = flood.rounds(40, |round| (0..200).map(move |_| round).map(&one));
        assert!(ENDED_OR_REFUSED.contains(&outcome), "{what}: {outcome:?}");
        flood.is_over();
    }
}

/// More bytes than the kernel's buffers hold.
const ENOUGH: u64 = 16 << 20;

#[test]
fn questions_whose_answers_nobody_reads() {
    for (what, question) in [("PING", ping(b"12345678")), ("SETTINGS", settings(&[]))] {
        let flood = Flood::begin(&[]);
        // A million of them, nearly: more than the kernel's buffers hold of their answers.
        let sent = flood.until_stuck(&question.repeat(1000), ENOUGH);
        assert!(sent < ENOUGH, "{what}: all was taken, and the answers are in memory");
        flood.is_over();
    }
}

#[test]
fn answers_that_nobody_has_room_for() {
    let flood = Flood::begin(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
    flood.send((0..100).flat_map(|index| get(2 * index + 1, "/big")).collect());
    until("the app to be asked", || (flood.asked_for("/big") == 100).then_some(()));
    flood.is_bounded();
    // Nobody takes anything: the requests end, and so does the connection.
    flood.sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 0.0);
    flood.sidegate.wait_for_metric("sidegate_upstream_connections", &[], 0.0);
    flood.is_over();
}

/// The requests of the other clients, at most.
const PROBES: usize = 50;

/// The numbers of `count` streams in this round.
fn ids(round: u32, count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(move |index| 2 * (round * count + index) + 1)
}

/// An attack on a sidegate of its own.
struct Flood {
    app: Recorder,
    sidegate: Sidegate,
    client: RefCell<Option<Frames>>,
    before: u64,
}

impl Flood {
    fn begin(values: &[(u16, u32)]) -> Self {
        let app = Recorder::scripted(|request, stream| {
            if request.target() == "/big" {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")?;
                (0..100).try_for_each(|_| stream.write_all(&[b'x'; 100_000]))?;
            } else if request.target() == "/held" {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nheld")?;
            } else {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
            }
            Ok(true)
        });
        let sidegate = public(&app).set(json!({ "limits": { "client_idle_timeout": "2s" } })).measured().start();
        // Once through all of it, so that what is allocated once is not taken for the flood's.
        assert_eq!(Frames::open(sidegate.address(), &[]).send(get(1, "/")).outcome(1, true), Outcome::Status(200));
        let before = sidegate.memory();
        let client = RefCell::new(Some(Frames::open(sidegate.address(), values)));
        Self { app, sidegate, client, before }
    }

    fn send(&self, bytes: Vec<u8>) {
        self.with(|client| client.try_send(bytes));
    }

    fn until_stuck(&self, bytes: &[u8], enough: u64) -> u64 {
        self.with(|client| client.send_until_stuck(bytes, enough))
    }

    fn outcome(&self, stream: u32, patient: bool) -> Outcome {
        self.with(|client| client.outcome(stream, patient))
    }

    /// Sends round after round, and reads what comes back, until the connection ends.
    fn rounds<I: Iterator<Item = Vec<u8>>>(&self, count: u32, round: impl Fn(u32) -> I) -> Outcome {
        for index in 0..count {
            self.send(round(index).flatten().collect());
            // No stream's outcome counts here, only the connection's.
            let outcome = self.outcome(u32::MAX >> 1, false);
            if outcome != Outcome::Nothing {
                return outcome;
            }
            if index % 20 == 0 {
                self.is_bounded();
            }
        }
        Outcome::Nothing
    }

    fn with<T>(&self, act: impl FnOnce(&mut Frames) -> T) -> T {
        act(self.client.borrow_mut().as_mut().unwrap())
    }

    /// How often the app was asked.
    fn asked(&self) -> usize {
        self.app.requests().len()
    }

    fn asked_for(&self, path: &str) -> usize {
        self.app.requests().iter().filter(|request| request.target() == path).count()
    }

    /// Somebody else is answered, and the memory has not grown.
    #[track_caller]
    fn is_bounded(&self) {
        assert_eq!(self.sidegate.get("/", &[]).status, 200);
        let grown = self.sidegate.peak_growth(self.before);
        assert!(grown < ROOM, "the memory grew by {grown} kB");
    }

    /// The client goes, and nothing is left of it.
    #[track_caller]
    fn is_over(&self) {
        self.is_bounded();
        let used = self.sidegate.cpu_time();
        assert!(used < Duration::from_secs(5), "{used:?} of processor time");
        drop(self.client.take());
        for gauge in ["sidegate_requests_in_flight", "sidegate_connections"] {
            self.sidegate.wait_for_metric(gauge, &[], 0.0);
        }
        self.sidegate.wait_for_metric("sidegate_upstream_connections", &[("state", "active")], 0.0);
        self.sidegate.assert_alive();
    }
}

fn public(app: &Recorder) -> Builder {
    Sidegate::before(app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" }))
}
