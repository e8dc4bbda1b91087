//! Answers of the app that are too much: for their client, for us, or for the rules of HTTP.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::json;
use socket2::SockRef;

use crate::support::{Builder, Issuer, Recorder, Sidegate, until};

#[test]
fn an_answer_whose_header_is_too_large_is_a_502_and_the_log_says_so() {
    let app = Recorder::scripted(|request, stream| {
        let field = "x".repeat(request.target()[1..].parse().unwrap());
        stream.write_all(format!("HTTP/1.1 200 OK\r\nX: {field}\r\nContent-Length: 0\r\n\r\n").as_bytes())?;
        Ok(true)
    });
    let sidegate = public(&app).start();
    assert_eq!(sidegate.curl("/60000").send().status, 200);
    sidegate.curl("/70000").send().assert_refused(502, "upstream_broken");
    until("the cause in the log", || sidegate.log().contains("larger than 64 KiB").then_some(()));
}

#[test]
fn an_answer_is_read_no_further_ahead_than_a_client_without_haste_needs() {
    const READERS: u32 = 20;
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    let app = Recorder::scripted(move |_, stream| {
        SockRef::from(&*stream).set_send_buffer_size(16 * 1024)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n")?;
        for _ in 0..16_384 {
            stream.write_all(&[b'x'; 4096])?;
            count.fetch_add(4096, Ordering::SeqCst);
        }
        Ok(true)
    });
    let sidegate = public(&app).start();
    let before = sidegate.memory();
    let wires: Vec<_> = (0..READERS)
        .map(|_| {
            let mut wire = sidegate.wire();
            wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
            wire
        })
        .collect();
    let (mut seen, mut still) = (0, 0);
    until("the app to be stopped", || {
        let now = taken.load(Ordering::SeqCst);
        still = if now > 0 && now == std::mem::replace(&mut seen, now) { still + 1 } else { 0 };
        (still == 200).then_some(())
    });
    let each = sidegate.growth(before) / u64::from(READERS);
    assert!(each < 375, "{each} kB for each");
    drop(wires);
}

fn public(app: &Recorder) -> Builder {
    Sidegate::before(app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" }))
}
