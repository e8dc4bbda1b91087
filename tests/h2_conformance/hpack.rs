//! RFC 7541: header blocks that cannot be read end the connection, because both sides' tables no longer agree.

use super::{Case, Connection, NEVER, Outcome, Status, case, run};
use crate::support::frames::{code::*, flag, get, headers, integer, literal, request};

/// The library says PROTOCOL_ERROR for COMPRESSION_ERROR; what counts is that the connection ends.
const UNREADABLE: &[Outcome] = &[Connection(COMPRESSION_ERROR), Connection(PROTOCOL_ERROR)];
const OK: &[Outcome] = &[Status(200)];

/// A request, and then these bytes in the same block.
fn and(section: &'static str, name: &'static str, bytes: impl AsRef<[u8]>) -> Case {
    let block = [&request("GET", NEVER, &[])[..], bytes.as_ref()].concat();
    case(section, name, [headers(flag::END_STREAM, 1, block)], UNREADABLE)
}

/// `Name: value` with incremental indexing: it goes into the table.
fn indexed(name: &str, value: &str) -> Vec<u8> {
    let mut field = literal(name.as_bytes(), value.as_bytes());
    field[0] = 0x40;
    field
}

#[test]
fn a_header_block_that_cannot_be_read_ends_the_connection() {
    run(&[
        and("6.1", "entry 0", [0x80]),
        and("2.3.3", "an entry beyond both tables", [0x80 | 62]),
        and("2.3.3", "an entry far beyond", integer(0x80, 7, 100_000)),
        and("2.3.3", "the name of an entry beyond", [integer(0x40, 6, 70), b"\x01x".to_vec()].concat()),
        and("2.3.3", "the same, never to be indexed", [integer(0x10, 4, 70), b"\x01x".to_vec()].concat()),
        and("5.1", "a number that is cut off", [0xff]),
        and("5.1", "a number that goes on for ever", [&[0xff][..], &[0x80; 20], &[0x01]].concat()),
        and("5.1", "a number beyond 64 bits", [&[0xff][..], &[0xff; 12], &[0x7f]].concat()),
        and("5.2", "a name that is cut off", b"\x00\x0aabc"),
        and("5.2", "a value that is cut off", b"\x00\x03abc\x05x"),
        and("5.2", "a field without a value", b"\x00\x03abc"),
        and("5.2", "a field that has only begun", [0x00]),
        and("5.2", "a name of four gigabytes", [&[0x00][..], &integer(0x00, 7, 1 << 32)].concat()),
        // Huffman's code: `a` is 00011, and the rest of a byte is ones.
        and("5.2", "padding of zeros", b"\x00\x81\x18\x00"),
        and("5.2", "padding of a whole byte", b"\x00\x82\x1f\xff\x00"),
        and("5.2", "the end of the string within it", b"\x00\x84\xff\xff\xff\xff\x00"),
        and("6.3", "a table size after the fields", [0x20]),
        case(
            "6.3",
            "a table that is too large",
            [headers(1, 1, [&integer(0x20, 5, 4097), &request("GET", NEVER, &[])[..]].concat())],
            UNREADABLE,
        ),
        case(
            "6.3",
            "a table of four gigabytes",
            [headers(1, 1, [&integer(0x20, 5, 1 << 32), &request("GET", NEVER, &[])[..]].concat())],
            UNREADABLE,
        ),
        case(
            "4.3",
            "an entry that a smaller table has dropped",
            [
                headers(1, 1, [request("GET", "/", &[]), indexed("x-a", "1")].concat()),
                headers(1, 3, [&[0x20][..], &request("GET", NEVER, &[]), &[0x80 | 62]].concat()),
            ],
            UNREADABLE,
        )
        .on(3),
        case(
            "4.4",
            "an entry that a large one has driven out",
            [
                headers(
                    1,
                    1,
                    [request("GET", "/", &[]), indexed("x-a", "1"), indexed("x-b", &"b".repeat(4090))].concat(),
                ),
                headers(1, 3, [&request("GET", NEVER, &[])[..], &[0x80 | 62]].concat()),
            ],
            UNREADABLE,
        )
        .on(3),
    ]);
}

#[test]
fn a_header_block_may_use_all_that_hpack_has() {
    let plain = request("GET", "/", &[]);
    let last = |prefix: &[u8]| headers(flag::END_STREAM, 3, [prefix, &request("GET", "/", &[])].concat());
    run(&[
        case("6.1", "entries of the static table", [headers(1, 1, b"\x82\x84\x87\x01\x09localhost")], OK),
        case("5.2", "Huffman's code", [headers(1, 1, b"\x82\x84\x87\x01\x86\xa0\xe4\x1d\x13\x9d\x09")], OK),
        case("6.2.3", "a field that is never indexed", [headers(1, 1, [&plain[..], b"\x10\x03x-a\x011"].concat())], OK),
        case(
            "2.3.2",
            "an entry of the dynamic table",
            [
                headers(1, 1, [&plain[..], &indexed("x-a", "1")].concat()),
                headers(1, 3, [&plain[..], &[0x80 | 62]].concat()),
            ],
            OK,
        )
        .on(3),
        case("4.2", "two table sizes before the fields", [last(&[&[0x20][..], &integer(0x20, 5, 4096)].concat())], OK)
            .on(3),
        case(
            "5.1",
            "a number with needless zeros",
            [headers(1, 1, [&plain[..], b"\x00\x03x-a\x7f\x80\x00", &[b'x'; 127]].concat())],
            OK,
        ),
        // The table is the connection's: what a refused request put there is there for the next one.
        case(
            "2.2",
            "an entry that a refused request made",
            [headers(1, 1, [request("GET", "/a/../b", &[]), indexed(":path", "/")].concat()), get(3, "/")],
            OK,
        )
        .on(3),
        case(
            "4.3",
            "a block of continuous frames shares one table",
            [
                headers(1, 1, [request("GET", "/%2e%2e/", &[]), indexed("x-a", "1")].concat()),
                headers(1, 3, [&plain[..], &[0x80 | 62]].concat()),
            ],
            OK,
        )
        .on(3),
    ]);
}
