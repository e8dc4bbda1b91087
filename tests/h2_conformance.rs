//! HTTP/2 as the RFCs have it: frames that are right, wrong, or in the wrong place, and what becomes of them.
//!
//! The cases are tables, one file per part of the protocol. Each says what is sent on a new connection and which
//! outcomes are right. A case whose request is malformed sends it to [`NEVER`], which the app must not be asked for; and
//! whatever is not the connection's end has to leave a connection on which the next request is answered.

use serde_json::json;

use crate::support::{
    Issuer, Recorder, Sidegate,
    frames::{
        Frames,
        Outcome::{self, Closed, Connection, Nothing, Status, Stream},
        code::{CANCEL, REFUSED_STREAM},
        get, reset,
    },
};

mod flow;
mod frames;
mod hpack;
mod messages;
mod states;

/// Where malformed requests go: no rule is against it, so only their form is.
const NEVER: &str = "/never";

/// The app answers this in part, and then says nothing more.
const HELD: &str = "/held";

/// The most streams that a client may have open.
const STREAMS: u32 = 4;

/// What is sent, and what may become of it.
struct Case {
    /// The section of RFC 9113, or of RFC 7541.
    section: &'static str,
    name: &'static str,
    /// Requests before it, on streams 1, 3, …, that have been answered when it begins.
    answered: u32,
    sends: Vec<u8>,
    /// Where the outcome shows.
    stream: u32,
    accepts: Vec<Outcome>,
}

fn case(
    section: &'static str,
    name: &'static str,
    sends: impl IntoIterator<Item = Vec<u8>>,
    accepts: &[Outcome],
) -> Case {
    let sends = sends.into_iter().flatten().collect();
    Case { section, name, answered: 0, sends, stream: 1, accepts: accepts.to_vec() }
}

impl Case {
    /// The outcome shows on this stream.
    fn on(self, stream: u32) -> Self {
        Self { stream, ..self }
    }

    /// First the streams 1, 3, … are opened and closed by so many requests.
    fn after(self, answered: u32) -> Self {
        Self { answered, ..self }
    }

    /// Sends it; says what was wrong.
    fn run(&self, sidegate: &Sidegate, app: &Recorder) -> Option<String> {
        let mut client = Frames::open(sidegate.address(), &[]);
        for stream in (0..self.answered).map(|index| 2 * index + 1) {
            assert_eq!(client.send(get(stream, "/")).outcome(stream, true), Status(200));
        }
        let before = asked(app);
        client.try_send(&self.sends);
        let outcome = client.outcome(self.stream, !self.accepts.contains(&Nothing));
        if !self.accepts.contains(&outcome) {
            return Some(format!("{outcome:?}, not one of {:?}", self.accepts));
        }
        if outcome == Stream(REFUSED_STREAM) {
            // There are too many: one of them has to go first.
            client.send(reset(1, CANCEL));
        }
        if !matches!(outcome, Connection(_) | Closed) && client.send(get(99, "/")).outcome(99, true) != Status(200) {
            return Some("the next request has no answer".to_owned());
        }
        (asked(app) > before).then(|| "the app was asked".to_owned())
    }
}

/// How often the app was asked for what is malformed.
fn asked(app: &Recorder) -> usize {
    app.requests().iter().filter(|request| request.target().starts_with(NEVER)).count()
}

/// Sends every case, and tells of all that went wrong.
fn run(cases: &[Case]) {
    let app = Recorder::scripted(|request, stream| {
        use std::io::Write;
        let body: &[u8] = if request.target() == HELD { b"o" } else { b"ok\n" };
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")?;
        stream.write_all(body)?;
        Ok(true)
    });
    let limits = json!({ "limits": { "http2_streams": STREAMS } });
    let sidegate = Sidegate::before(&app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" })).set(limits).start();
    let faults: Vec<_> = cases
        .iter()
        .filter_map(|case| Some(format!("{} {}: {}", case.section, case.name, case.run(&sidegate, &app)?)))
        .collect();
    assert!(faults.is_empty(), "{} of {} cases:\n{}", faults.len(), cases.len(), faults.join("\n"));
    assert_eq!(asked(&app), 0, "the app was asked for what is malformed");
    sidegate.assert_alive();
    sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 0.0);
}
