//! RFC 9113 sections 3.4, 4 and 6: the preface, and each type of frame: its size, stream, flags and padding.

use super::{Closed, Connection, HELD, NEVER, Nothing, Outcome, Status, Stream, case, run};
use crate::support::{
    Issuer, Recorder, Sidegate,
    frames::{
        Frames, PREFACE, code::*, data, flag, frame, get, headers, kind, ping, request, reset, setting, settings,
        window_update,
    },
};

const PROTOCOL: &[Outcome] = &[Connection(PROTOCOL_ERROR)];

/// A frame of the wrong size. The library says PROTOCOL_ERROR wherever it cannot decode a frame; what counts is that the
/// connection ends, and says that the client was wrong.
const SIZE: &[Outcome] = &[Connection(FRAME_SIZE_ERROR), Connection(PROTOCOL_ERROR)];

const OK: &[Outcome] = &[Status(200)];

/// The largest window there can be.
const MOST: u32 = (1 << 31) - 1;

/// A POST that is still open.
fn post() -> Vec<u8> {
    headers(0, 1, request("POST", "/", &[]))
}

/// One that must not come through, because something is wrong with what follows it.
fn bad_post() -> Vec<u8> {
    headers(0, 1, request("POST", NEVER, &[]))
}

/// A request that breaks off within its header block.
fn unfinished() -> Vec<u8> {
    frame(kind::HEADERS, flag::END_STREAM, 1, request("GET", NEVER, &[]))
}

fn continuation(flags: u8, stream: u32, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    frame(kind::CONTINUATION, flags, stream, bytes)
}

#[test]
fn a_connection_begins_with_the_preface_and_settings() {
    let app = Recorder::start();
    let sidegate = Sidegate::before(&app).jwt(&Issuer::new()).rule(serde_json::json!({ "allow": "anyone" })).start();
    let wrong: [(&str, Vec<u8>); 3] = [
        ("another preface", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec()),
        ("HTTP/1.1", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("no preface", [settings(&[]), get(1, "/")].concat()),
    ];
    for (what, bytes) in wrong {
        let mut client = Frames::silent(sidegate.address());
        client.try_send(bytes);
        let outcome = client.outcome(1, true);
        assert!(matches!(outcome, Connection(PROTOCOL_ERROR) | Closed), "{what}: {outcome:?}");
    }
    assert_eq!(app.requests().len(), 0);
    // Nobody has to wait for the other side's settings. The library takes a client without any for one with none to change.
    for settings in [settings(&[]), vec![]] {
        let mut client = Frames::silent(sidegate.address());
        client.send([PREFACE, &settings, &get(1, "/")].concat());
        assert_eq!(client.outcome(1, true), Status(200));
    }
}

#[test]
fn frames_of_any_kind() {
    let large = vec![0; 16_385];
    run(&[
        case("4.1", "an unknown type of frame is ignored", [frame(0x16, 0xff, 0, "what?"), get(1, "/")], OK),
        case("4.1", "and so it is on a stream", [post(), frame(0x16, 0, 1, "what?"), data(1, 1, "x")], OK),
        case(
            "4.1",
            "unknown flags are ignored",
            [headers(0xd0 & !0x20, 1, request("POST", "/", &[])), data(0xf1 & !8, 1, "x")],
            OK,
        ),
        case("4.1", "unknown flags of PING are ignored", [frame(kind::PING, 0xfe, 0, "12345678"), get(1, "/")], OK),
        case(
            "4.1",
            "the reserved bit is ignored",
            [headers(flag::END_STREAM, 1 | 1 << 31, request("GET", "/", &[]))],
            OK,
        ),
        case("4.2", "DATA may be as large as the settings say", [post(), data(1, 1, &large[1..])], OK),
        case(
            "4.2",
            "DATA larger than that",
            [bad_post(), data(1, 1, &large)],
            &[Connection(FRAME_SIZE_ERROR), Stream(FRAME_SIZE_ERROR)],
        ),
        case("4.2", "HEADERS larger than that", [headers(1, 1, &large)], SIZE),
        case("4.2", "SETTINGS larger than that", [frame(kind::SETTINGS, 0, 0, [&large[..], b"x"].concat())], SIZE),
        case("4.2", "an unknown frame larger than that", [frame(0x16, 0, 0, &large)], SIZE),
        case("4.3", "PING within a header block", [unfinished(), ping(b"12345678")], PROTOCOL),
        case("4.3", "DATA within a header block", [unfinished(), data(0, 1, "x")], PROTOCOL),
        case(
            "4.3",
            "PRIORITY within a header block",
            [unfinished(), frame(kind::PRIORITY, 0, 1, [0, 0, 0, 0, 1])],
            PROTOCOL,
        ),
        case("4.3", "SETTINGS within a header block", [unfinished(), settings(&[])], PROTOCOL),
        case("4.3", "WINDOW_UPDATE within a header block", [unfinished(), window_update(0, 1)], PROTOCOL),
        case("4.3", "RST_STREAM within a header block", [unfinished(), reset(1, CANCEL)], PROTOCOL),
        case("4.3", "HEADERS of another stream within a header block", [unfinished(), get(3, NEVER)], PROTOCOL),
        case(
            "5.5",
            "an unknown frame within a header block",
            [unfinished(), frame(0x16, 0, 1, "x"), continuation(4, 1, "")],
            PROTOCOL,
        ),
    ]);
}

#[test]
fn data_and_headers() {
    let block = request("GET", "/", &[]);
    let never = request("GET", NEVER, &[]);
    let padded = |pad: u8, content: &[u8]| [&[pad], content, &vec![0; pad.into()]].concat();
    let priority = [0, 0, 0, 0, 15];
    run(&[
        case("6.1", "DATA of no stream", [data(1, 0, "x")], PROTOCOL),
        case("6.1", "DATA with padding", [post(), data(flag::PADDED | 1, 1, padded(7, b"x"))], OK),
        case("6.1", "DATA of nothing but padding", [post(), data(flag::PADDED | 1, 1, padded(255, b""))], OK),
        case("6.1", "padding as long as the frame", [bad_post(), data(flag::PADDED | 1, 1, [3, 0, 0])], PROTOCOL),
        case("6.1", "padding longer than the frame", [bad_post(), data(flag::PADDED | 1, 1, [255, 0, 0])], PROTOCOL),
        case("6.1", "padding, and no length of it", [bad_post(), data(flag::PADDED | 1, 1, "")], SIZE),
        case("6.2", "HEADERS of no stream", [headers(1, 0, &never)], PROTOCOL),
        case("6.2", "HEADERS with padding", [headers(flag::PADDED | 1, 1, padded(9, &block))], OK),
        case("6.2", "HEADERS with a priority", [headers(flag::PRIORITY | 1, 1, [&priority[..], &block].concat())], OK),
        case(
            "6.2",
            "HEADERS with both",
            [headers(flag::PADDED | flag::PRIORITY | 1, 1, padded(9, &[&priority[..], &block].concat()))],
            OK,
        ),
        case(
            "6.2",
            "padding longer than the block",
            [headers(flag::PADDED | 1, 1, [&[255][..], &never].concat())],
            PROTOCOL,
        ),
        case("6.2", "padding of HEADERS, and no length of it", [headers(flag::PADDED | 1, 1, "")], SIZE),
        case("6.2", "a priority that is cut off", [headers(flag::PRIORITY | 1, 1, [0, 0, 0])], SIZE),
        // RFC 9113 has put priorities aside; what RFC 7540 forbade may still be refused.
        case(
            "5.3",
            "a stream that depends on itself",
            [headers(flag::PRIORITY | 1, 1, [&[0, 0, 0, 1, 15][..], &block].concat())],
            &[Status(200), Stream(PROTOCOL_ERROR), Connection(PROTOCOL_ERROR)],
        ),
        case("6.3", "PRIORITY of an idle stream", [frame(kind::PRIORITY, 0, 1, priority), get(1, "/")], OK),
        case("6.3", "PRIORITY of no stream", [frame(kind::PRIORITY, 0, 0, priority)], PROTOCOL),
        case(
            "6.3",
            "PRIORITY that is short",
            [headers(1, 1, request("GET", HELD, &[])), frame(kind::PRIORITY, 0, 1, [0; 4])],
            &[Stream(FRAME_SIZE_ERROR), Connection(PROTOCOL_ERROR)],
        ),
        case(
            "6.3",
            "PRIORITY that is long",
            [headers(1, 1, request("GET", HELD, &[])), frame(kind::PRIORITY, 0, 1, [0; 6])],
            &[Stream(FRAME_SIZE_ERROR), Connection(PROTOCOL_ERROR)],
        ),
        case(
            "6.10",
            "a block in three frames",
            [
                frame(kind::HEADERS, 1, 1, &block[..9]),
                continuation(0, 1, &block[9..20]),
                continuation(4, 1, &block[20..]),
            ],
            OK,
        ),
        case(
            "6.10",
            "a block that begins with an empty frame",
            [frame(kind::HEADERS, 1, 1, ""), continuation(4, 1, &block)],
            OK,
        ),
        case("6.10", "CONTINUATION of no stream", [unfinished(), continuation(4, 0, "")], PROTOCOL),
        case("6.10", "CONTINUATION of another stream", [unfinished(), continuation(4, 3, "")], PROTOCOL),
        case("6.10", "CONTINUATION of a complete block", [bad_post(), continuation(4, 1, "")], PROTOCOL),
        case("6.10", "CONTINUATION after DATA", [bad_post(), data(0, 1, "x"), continuation(4, 1, "")], PROTOCOL),
        case("6.10", "CONTINUATION of nothing", [continuation(4, 1, &never)], PROTOCOL),
    ]);
}

#[test]
fn the_other_frames() {
    let ack = |kind: u8, stream: u32, payload: &[u8]| frame(kind, flag::ACK, stream, payload);
    run(&[
        case("6.4", "RST_STREAM of no stream", [reset(0, CANCEL)], PROTOCOL),
        case("6.4", "RST_STREAM that is short", [bad_post(), frame(kind::RST_STREAM, 0, 1, [0; 3])], SIZE),
        case("6.4", "RST_STREAM that is long", [bad_post(), frame(kind::RST_STREAM, 0, 1, [0; 5])], SIZE),
        case("6.4", "RST_STREAM with an unknown code", [bad_post(), reset(1, 0xdead_beef)], &[Nothing]),
        case("6.5", "SETTINGS of a stream", [frame(kind::SETTINGS, 0, 1, "")], PROTOCOL),
        case("6.5", "SETTINGS that acknowledge and say something", [ack(kind::SETTINGS, 0, &[0; 6])], SIZE),
        case("6.5", "SETTINGS that are cut off", [frame(kind::SETTINGS, 0, 0, [0; 5])], SIZE),
        case("6.5.2", "push, neither on nor off", [settings(&[(setting::ENABLE_PUSH, 2)])], PROTOCOL),
        case(
            "6.5.2",
            "a window over 2^31-1",
            [settings(&[(setting::INITIAL_WINDOW_SIZE, 1 << 31)])],
            &[Connection(FLOW_CONTROL_ERROR), Connection(PROTOCOL_ERROR)],
        ),
        case("6.5.2", "frames under 2^14", [settings(&[(setting::MAX_FRAME_SIZE, 16_383)])], PROTOCOL),
        case("6.5.2", "frames over 2^24-1", [settings(&[(setting::MAX_FRAME_SIZE, 1 << 24)])], PROTOCOL),
        case("6.5.2", "an unknown setting", [settings(&[(0xf00f, 7)]), get(1, "/")], OK),
        case("6.5.2", "no table for headers", [settings(&[(setting::HEADER_TABLE_SIZE, 0)]), get(1, "/")], OK),
        case(
            "6.5.2",
            "a table for headers as large as it can be said",
            [settings(&[(setting::HEADER_TABLE_SIZE, u32::MAX)]), get(1, "/")],
            OK,
        ),
        case(
            "6.5.3",
            "the same setting twice: the last one counts",
            [settings(&[(setting::INITIAL_WINDOW_SIZE, 0), (setting::INITIAL_WINDOW_SIZE, 9)]), get(1, "/")],
            OK,
        ),
        case(
            "6.6",
            "PUSH_PROMISE by a client",
            [bad_post(), frame(kind::PUSH_PROMISE, 4, 1, [&[0, 0, 0, 2][..], &request("GET", NEVER, &[])].concat())],
            PROTOCOL,
        ),
        case("6.7", "PING of a stream", [frame(kind::PING, 0, 1, [0; 8])], PROTOCOL),
        case("6.7", "PING that is short", [frame(kind::PING, 0, 0, [0; 7])], SIZE),
        case("6.7", "PING that is long", [frame(kind::PING, 0, 0, [0; 9])], SIZE),
        case("6.7", "the answer to a PING that nobody sent", [ack(kind::PING, 0, &[7; 8])], &[Nothing]),
        case("6.8", "GOAWAY of a stream", [frame(kind::GOAWAY, 0, 1, [0; 8])], PROTOCOL),
        case("6.8", "GOAWAY that is short", [frame(kind::GOAWAY, 0, 0, [0; 7])], SIZE),
        case("6.9", "WINDOW_UPDATE by nothing", [window_update(0, 0)], PROTOCOL),
        case(
            "6.9",
            "WINDOW_UPDATE of a stream by nothing",
            [bad_post(), window_update(1, 0)],
            &[Stream(PROTOCOL_ERROR), Connection(PROTOCOL_ERROR)],
        ),
        case("6.9", "WINDOW_UPDATE that is short", [frame(kind::WINDOW_UPDATE, 0, 0, [0; 3])], SIZE),
        case("6.9", "WINDOW_UPDATE that is long", [frame(kind::WINDOW_UPDATE, 0, 0, [0, 0, 0, 1, 0])], SIZE),
        case("6.9", "the reserved bit of an increment is ignored", [window_update(0, 1 << 31 | 1), get(1, "/")], OK),
        case(
            "6.9.1",
            "a window over 2^31-1, by steps",
            [window_update(0, MOST), window_update(0, MOST)],
            &[Connection(FLOW_CONTROL_ERROR)],
        ),
        case(
            "6.9.1",
            "a stream's window over 2^31-1",
            [headers(0, 1, request("POST", NEVER, &[])), window_update(1, MOST), window_update(1, MOST)],
            &[Stream(FLOW_CONTROL_ERROR), Connection(FLOW_CONTROL_ERROR)],
        ),
    ]);
}
