//! What takes more than one look: acknowledgements, flow control in both directions, padding, and a client's GOAWAY.

use std::{io::Write, time::Duration};

use crate::support::{
    App, Issuer, Recorder, Sidegate,
    frames::{
        Frame, Frames, Outcome, code, data, flag, frame, get, headers, kind, ping, request, reset, setting, settings,
        window_update,
    },
    until,
};

/// Reads on until a frame of this kind comes.
#[track_caller]
fn next(client: &mut Frames, kind: u8) -> Frame {
    until("the frame", || Some(client.next().expect("a connection")).filter(|frame| frame.kind == kind))
}

#[test]
fn settings_and_pings_are_answered() {
    let sidegate = public(&Recorder::start());
    let mut client = Frames::open(sidegate.address(), &[]);
    let ack = |kind: u8, payload: &[u8]| Frame { kind, flags: flag::ACK, stream: 0, payload: payload.to_vec() };
    assert_eq!(next(&mut client, kind::SETTINGS), ack(kind::SETTINGS, b""));
    client.send([ping(b"one-more"), settings(&[(setting::INITIAL_WINDOW_SIZE, 70_000)])].concat());
    assert_eq!(next(&mut client, kind::PING), ack(kind::PING, b"one-more"));
    assert_eq!(next(&mut client, kind::SETTINGS), ack(kind::SETTINGS, b""));
}

#[test]
fn no_more_is_sent_than_the_client_has_room_for() {
    let app = Recorder::answering("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789");
    let sidegate = public(&app);
    let mut client = Frames::open(sidegate.address(), &[(setting::INITIAL_WINDOW_SIZE, 3)]);
    client.send(get(1, "/"));
    assert_eq!(next(&mut client, kind::DATA).payload, b"012");
    client.send(window_update(1, 1));
    assert_eq!(next(&mut client, kind::DATA).payload, b"3");
    // The setting is about open streams too (section 6.9.2): from 3 to 5 are two more.
    client.send(settings(&[(setting::INITIAL_WINDOW_SIZE, 5)]));
    assert_eq!(next(&mut client, kind::DATA).payload, b"45");
    // Smaller again: four have to be made good before the next byte has room.
    client.send([settings(&[(setting::INITIAL_WINDOW_SIZE, 1)]), window_update(1, 4)].concat());
    assert_eq!(client.outcome(1, false), Outcome::Nothing);
    client.send(window_update(1, 1));
    assert_eq!(next(&mut client, kind::DATA).payload, b"6");
    client.send(window_update(1, 100));
    assert_eq!(next(&mut client, kind::DATA).payload, b"789");
}

#[test]
fn the_connection_has_one_window_for_all_its_streams() {
    let app = Recorder::answering([b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n", &[b'x'; 50_000][..]].concat());
    let sidegate = public(&app);
    let mut client = Frames::open(sidegate.address(), &[(setting::INITIAL_WINDOW_SIZE, 1 << 20)]);
    client.send([get(1, "/"), get(3, "/")].concat());
    let mut received = 0;
    until("the window to be full", || {
        received += next(&mut client, kind::DATA).payload.len();
        (received >= 65_535).then_some(())
    });
    assert_eq!((received, client.outcome(5, false)), (65_535, Outcome::Nothing));
    client.send(window_update(0, 100_000));
    until("the rest", || {
        received += next(&mut client, kind::DATA).payload.len();
        (received == 100_000).then_some(())
    });
}

#[test]
fn a_client_that_sends_more_than_there_is_room_for_is_ended() {
    // It takes the connection and reads nothing, so that the room is never made again.
    let deaf = Deaf(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let sidegate = public(&deaf);
    let mut client = Frames::open(sidegate.address(), &[]);
    client.send(headers(0, 1, request("POST", "/", &[])));
    let chunk: Vec<u8> = (0..16).flat_map(|_| data(0, 1, [b'x'; 16_384])).collect();
    // 64 MiB at most; what comes after the error is read, or not, and thrown away.
    let _ = (0..256).take_while(|_| client.try_send(&chunk)).count();
    assert!(sidegate.peak_memory() < 64 << 10, "{} kB", sidegate.peak_memory());
    let outcome = client.outcome(1, true);
    let ends = [code::FLOW_CONTROL_ERROR, code::STREAM_CLOSED, code::PROTOCOL_ERROR, code::ENHANCE_YOUR_CALM];
    // Whoever still sends when the connection is closed may find it reset before the GOAWAY was read.
    let expected = |of: fn(u32) -> Outcome| ends.iter().any(|code| of(*code) == outcome);
    assert!(expected(Outcome::Connection) || expected(Outcome::Stream) || outcome == Outcome::Closed, "{outcome:?}");
    sidegate.assert_alive();
}

#[test]
fn room_for_padding_is_made_again() {
    let app = Recorder::start();
    let sidegate = public(&app);
    let mut client = Frames::open(sidegate.address(), &[]);
    client.send(headers(0, 1, request("POST", "/", &[])));
    // A byte of content and 255 of padding in each: some 2 MiB altogether, of which 1 MiB has room at first.
    let padded = [&[255, b'x'][..], &[0; 255]].concat();
    for _ in 0..64 {
        client.send((0..128).flat_map(|_| data(flag::PADDED, 1, &padded)).collect::<Vec<_>>());
        assert_eq!(client.outcome(1, false), Outcome::Nothing);
    }
    client.send(data(flag::END_STREAM, 1, ""));
    assert_eq!(client.outcome(1, true), Outcome::Status(200));
    assert_eq!(app.only_request().body, [b'x'; 64 * 128]);
}

#[test]
fn a_client_that_says_goodbye_gets_its_answers_first() {
    let app = Recorder::scripted(|_, stream| {
        #[expect(clippy::disallowed_methods, reason = "an app that takes its time")]
        std::thread::sleep(Duration::from_millis(300));
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        Ok(true)
    });
    let sidegate = public(&app);
    let mut client = Frames::open(sidegate.address(), &[]);
    client.send([get(1, "/"), frame(kind::GOAWAY, 0, 0, [0; 8])].concat());
    assert_eq!(client.outcome(1, true), Outcome::Status(200));
    until("the end", || client.next().is_none().then_some(()));
}

#[test]
fn an_upload_that_the_client_takes_back_is_no_whole_request() {
    let app = Recorder::start();
    let sidegate = public(&app);
    let mut client = Frames::open(sidegate.address(), &[]);
    client.send([headers(0, 1, request("POST", "/", &[])), data(0, 1, "half"), reset(1, code::CANCEL)].concat());
    assert_eq!(client.send(get(3, "/after")).outcome(3, true), Outcome::Status(200));
    sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 0.0);
    assert_eq!(app.only_request().target(), "/after");
}

/// It listens and no more: the kernel takes the connection.
struct Deaf(std::net::TcpListener);

impl App for Deaf {
    fn address(&self) -> std::net::SocketAddr {
        self.0.local_addr().unwrap()
    }
}

fn public(app: &impl App) -> Sidegate {
    Sidegate::before(app).jwt(&Issuer::new()).rule(serde_json::json!({ "allow": "anyone" })).start()
}
