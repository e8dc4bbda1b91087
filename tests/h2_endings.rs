//! How a connection of HTTP/2 ends, and what becomes of the requests on it.

use serde_json::json;

use crate::support::{
    App, Builder, Issuer, Recorder, Sidegate,
    frames::{self, Frames, Outcome, flag},
    until,
};

#[test]
fn requests_that_have_not_begun_end_with_their_connection() {
    const CONNECTIONS: usize = 12;
    let app = Recorder::start();
    let sidegate = public(&app).start();
    // The library ends a connection for such a CONNECT, and what came with it has not begun then.
    let connect = frames::block(&[(":method", "CONNECT"), (":authority", "localhost:1"), ("content-length", "5")]);
    let mut sends: Vec<u8> = (0..99).flat_map(|i| frames::get(1 + 2 * i, "/")).collect();
    sends.extend(frames::headers(0, 199, connect));
    for _ in 0..CONNECTIONS {
        let mut client = Frames::open(sidegate.address(), &[]);
        client.send(&sends);
        while client.next().is_some() {}
    }
    sidegate.wait_for_metric("sidegate_connections", &[], 0.0);
    sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 0.0);
    let log = sidegate.access_log(99 * CONNECTIONS);
    assert!(log.iter().all(|entry| [json!(200), json!(499)].contains(&entry["response_code"])), "{log:?}");
    assert_eq!(sidegate.curl("/").args(["--http2"]).send_over("2").status, 200);
}

#[test]
fn an_upload_that_ends_with_its_connection_is_logged_as_incomplete() {
    let app = Recorder::start();
    let sidegate = public(&app).start();
    for fields in [&[("content-length", "8")][..], &[]] {
        let mut client = Frames::open(sidegate.address(), &[]);
        let head = frames::headers(0, 1, frames::request("POST", "/", fields));
        client.send([head, frames::data(0, 1, "half")].concat());
        sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 1.0);
        drop(client);
        sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 0.0);
    }
    for entry in sidegate.access_log(2) {
        assert_eq!(
            (&entry["response_code"], &entry["response_code_details"]),
            (&json!(499), &json!("request_incomplete"))
        );
    }
    // Told after the app was asked, where it was: it must not take half for the whole.
    until("the app to be left", || (app.open_connections() == 0).then_some(()));
}

#[test]
fn a_stream_that_is_reset_leaves_the_others_alone() {
    let app = Recorder::start();
    let sidegate = public(&app).start();
    let mut client = Frames::open(sidegate.address(), &[]);
    let upload = frames::headers(0, 1, frames::request("POST", "/reset", &[("content-length", "8")]));
    client.send([upload, frames::data(0, 1, "half"), frames::get(3, "/")].concat());
    assert_eq!(client.outcome(3, true), Outcome::Status(200));
    client.send(frames::reset(1, frames::code::CANCEL));
    sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 0.0);
    let whole = frames::headers(0, 5, frames::request("POST", "/", &[("content-length", "4")]));
    client.send([whole, frames::data(flag::END_STREAM, 5, "full")].concat());
    assert_eq!(client.outcome(5, true), Outcome::Status(200));
}

fn public(app: &impl App) -> Builder {
    Sidegate::before(app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" }))
}
