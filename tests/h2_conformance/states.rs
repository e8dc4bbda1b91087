//! RFC 9113 section 5: what may be sent in which state of a stream, the numbers of streams, and how many there are.

use super::{Connection, HELD, NEVER, Nothing, Outcome, STREAMS, Status, Stream, case, run};
use crate::support::frames::{code::*, data, flag, frame, get, headers, kind, request, reset, window_update};

const PROTOCOL: &[Outcome] = &[Connection(PROTOCOL_ERROR)];
const OK: &[Outcome] = &[Status(200)];

/// What may become of a frame on a stream that is closed. A frame that was under way when the stream was reset is
/// ignored.
const CLOSED: &[Outcome] = &[Stream(STREAM_CLOSED), Connection(STREAM_CLOSED), Connection(PROTOCOL_ERROR)];

/// A request whose answer does not end.
fn held(stream: u32) -> Vec<u8> {
    headers(flag::END_STREAM, stream, request("GET", HELD, &[]))
}

fn priority(stream: u32) -> Vec<u8> {
    frame(kind::PRIORITY, 0, stream, [0, 0, 0, 0, 1])
}

fn never(flags: u8, stream: u32) -> Vec<u8> {
    headers(flags, stream, request("POST", NEVER, &[]))
}

#[test]
fn a_frame_fits_the_state_of_its_stream() {
    let continuation = |stream| frame(kind::CONTINUATION, flag::END_HEADERS, stream, request("GET", NEVER, &[]));
    run(&[
        case("5.1", "DATA on an idle stream", [data(1, 1, "x")], PROTOCOL),
        case("5.1", "RST_STREAM on an idle stream", [reset(1, CANCEL)], PROTOCOL),
        case("5.1", "WINDOW_UPDATE on an idle stream", [window_update(1, 1)], PROTOCOL),
        case("5.1", "CONTINUATION on an idle stream", [continuation(1)], PROTOCOL),
        case("5.1", "PRIORITY on an idle stream", [priority(7), get(1, "/")], OK),
        case("5.1", "DATA after the end of the request", [held(1), data(1, 1, "x")], CLOSED),
        case("5.1", "HEADERS after the end of the request", [held(1), never(1, 1)], CLOSED),
        case("5.1", "CONTINUATION after the end of the request", [held(1), continuation(1)], PROTOCOL),
        case("5.1", "WINDOW_UPDATE after the end of the request", [held(1), window_update(1, 1)], &[Nothing]),
        case("5.1", "PRIORITY after the end of the request", [held(1), priority(1)], &[Nothing]),
        case("5.1", "RST_STREAM after the end of the request", [held(1), reset(1, CANCEL)], &[Nothing]),
        // The receiver of RST_STREAM sends no more on the stream; here the sender does.
        case("5.1", "DATA after RST_STREAM", [never(0, 1), reset(1, CANCEL), data(1, 1, "x")], CLOSED),
        case("5.1", "HEADERS after RST_STREAM", [never(0, 1), reset(1, CANCEL), never(1, 1)], CLOSED),
        case("5.1", "CONTINUATION after RST_STREAM", [never(0, 1), reset(1, CANCEL), continuation(1)], PROTOCOL),
        case("5.1", "WINDOW_UPDATE after RST_STREAM", [never(0, 1), reset(1, CANCEL), window_update(1, 1)], &[Nothing]),
        case("5.1", "PRIORITY after RST_STREAM", [never(0, 1), reset(1, CANCEL), priority(1)], &[Nothing]),
        case("5.1", "RST_STREAM after RST_STREAM", [never(0, 1), reset(1, CANCEL), reset(1, CANCEL)], &[Nothing]),
        case("5.1", "DATA on a closed stream", [data(1, 1, "x")], CLOSED).after(1),
        case("5.1", "HEADERS on a closed stream", [never(1, 1)], CLOSED).after(1),
        case("5.1", "CONTINUATION on a closed stream", [continuation(1)], PROTOCOL).after(1),
        case("5.1", "WINDOW_UPDATE on a closed stream", [window_update(1, 1)], &[Nothing]).after(1),
        case("5.1", "PRIORITY on a closed stream", [priority(1)], &[Nothing]).after(1),
        case("5.1", "RST_STREAM on a closed stream", [reset(1, CANCEL)], &[Nothing]).after(1),
    ]);
}

#[test]
fn streams_are_numbered_upwards_and_are_not_too_many() {
    let crowd = |last: Vec<u8>| (0..STREAMS).map(|index| held(2 * index + 1)).chain([last]);
    let beyond = 2 * STREAMS + 1;
    let refused = [Stream(REFUSED_STREAM), Stream(PROTOCOL_ERROR)];
    let first = |end: Vec<u8>| crowd(vec![]).chain([end, get(beyond, "/")]);
    run(&[
        case("5.1.1", "a stream with an even number", [never(1, 2)], PROTOCOL).on(2),
        case("5.1.1", "a number below the last one", [held(5), never(1, 3)], PROTOCOL).on(3),
        case("5.1.1", "a stream is opened twice", [never(1, 3)], CLOSED).on(3).after(2),
        case("5.1.1", "numbers may be left out", [get(77, "/")], OK).on(77),
        case("5.1.1", "what was left out is closed", [held(5), data(1, 3, "x")], CLOSED).on(3),
        case("5.1.2", "one stream too many", crowd(get(beyond, NEVER)), &refused).on(beyond),
        case("5.1.2", "as many as there may be", first(reset(1, CANCEL)), OK).on(beyond),
    ]);
}
