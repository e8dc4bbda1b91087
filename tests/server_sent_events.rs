//! Server-sent events are with the client when the app has written them, and not when there are enough of them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::support::{Flask, Sidegate, Worker};

/// Between two events, as `tests/apps/flask_app.py` has it.
const PAUSE: Duration = Duration::from_millis(50);

#[test]
fn an_event_is_there_before_the_next_is_written() {
    let app = Flask::start(Worker::Threads);
    // Compression is what would gather them.
    let sidegate = Sidegate::before(&app)
        .rule(json!({ "allow": "anyone" }))
        .set(json!({ "compression": { "enabled": true } }))
        .start();
    let mut wire = sidegate.wire();
    wire.send(
        "GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nAccept-Encoding: gzip, br\r\n\r\n",
    );
    let mut delays = Vec::new();
    while delays.len() < 20 {
        let line = wire.line();
        // The app's clock is ours.
        if let Some(written) = line.strip_prefix("data: ") {
            let written = UNIX_EPOCH + Duration::from_nanos(written.parse().unwrap());
            delays.push(SystemTime::now().duration_since(written).unwrap_or_default());
        }
    }
    delays.sort();
    eprintln!("server-sent events: {:?} at the median, {:?} at the most", delays[10], delays[19]);
    // The median, because a test machine may be busy with something else for longer than a pause.
    assert!(delays[10] < PAUSE, "{delays:?}");
}
