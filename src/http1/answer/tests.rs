//! One answer is one message, wherever it is cut and whatever comes behind it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;

/// What is made of the answer to a request of this method, which comes in pieces of this length: status, body, whether the
/// connection is used again, and what comes behind the head.
fn take(method: &Method, bytes: &[u8], piece: usize) -> Result<Option<(Answer, Vec<u8>)>, Invalid> {
    let (mut scan, mut read) = (Scan::default(), BytesMut::new());
    let mut pieces = bytes.chunks(piece);
    for piece in &mut pieces {
        read.extend_from_slice(piece);
        if let Some(answer) = scan.take(&mut read, method)? {
            return Ok(Some((answer, [&read[..], &pieces.collect::<Vec<_>>().concat()].concat())));
        }
    }
    Ok(None)
}

fn get(head: &str) -> Result<Option<Answer>, Invalid> {
    Ok(take(&Method::GET, head.as_bytes(), usize::MAX)?.map(|(answer, _)| answer))
}

fn framing(answer: &Answer) -> String {
    match answer.content {
        Content::Length(length) => length.to_string(),
        Content::Chunked(..) => "chunked".to_owned(),
        Content::UntilEnd => "until the end".to_owned(),
        Content::Broken => "nobody knows where".to_owned(),
    }
}

#[test]
fn an_answer_says_where_it_ends_and_whether_another_may_follow() {
    for (method, head, expected, persistent) in [
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "5", true),
        ("GET", "HTTP/1.1 200\r\ncontent-length:0\r\n\r\n", "0", true),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", "5", true),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", "5", true),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0005\r\n\r\n", "5", true),
        ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "chunked", true),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: x, Chunked \r\n\r\n",
            "chunked",
            true,
        ),
        // Both: the chunks count, and nothing after them is believed.
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "chunked", false),
        ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: x\r\n\r\n", "chunked", false),
        ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", "until the end", true),
        ("GET", "HTTP/1.1 200 OK\r\n\r\n", "until the end", true),
        // None has a body, whatever it says.
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n", "0", true),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "0", true),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "0", true),
        ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "0", true),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "0", true),
        ("GET", "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 5\r\n\r\n", "0", false),
        // Who says that it ends the connection, and who does not.
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: x, Close\r\n\r\n", "5", false),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n",
            "5",
            false,
        ),
        ("GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", "5", false),
        ("GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: Keep-Alive\r\n\r\n", "5", true),
        ("GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive, close\r\n\r\n", "5", false),
        // A bare LF.
        ("GET", "HTTP/1.1 200 OK\nContent-Length: 5\n\n", "5", true),
    ] {
        let method = method.parse().unwrap();
        for piece in 1..=head.len() {
            let (answer, behind) = take(&method, format!("{head}hello").as_bytes(), piece).unwrap().unwrap();
            assert_eq!((framing(&answer).as_str(), answer.persistent), (expected, persistent), "{head:?}");
            assert_eq!(behind, b"hello", "{head:?}");
        }
    }
}

#[test]
fn a_length_that_is_said_oddly_is_passed_on_plainly() {
    for said in [
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: 5,5\r\nContent-Length: 5",
        "Content-Length: 005",
    ] {
        let answer = get(&format!("HTTP/1.1 200 OK\r\n{said}\r\n\r\n")).unwrap().unwrap();
        assert_eq!(answer.head.headers.get_all(CONTENT_LENGTH).iter().collect::<Vec<_>>(), ["5"], "{said}");
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    for (lines, expected) in [
        ("Content-Length: 5\r\nContent-Length: 6", Invalid::Length),
        ("Content-Length: 5, 6", Invalid::Length),
        ("Content-Length: 5,", Invalid::Length),
        ("Content-Length:", Invalid::Length),
        ("Content-Length: -5", Invalid::Length),
        ("Content-Length: +5", Invalid::Length),
        ("Content-Length: 5 5", Invalid::Length),
        ("Content-Length: 0x5", Invalid::Length),
        ("Content-Length: 18446744073709551616", Invalid::Length),
        ("Content-Length : 5", Invalid::Field),
        (" Content-Length: 5", Invalid::Field),
        ("X: a\r\n Content-Length: 5", Invalid::Field),
        ("X: a\rContent-Length: 5", Invalid::Field),
        ("X: a\0", Invalid::Field),
        ("X", Invalid::Field),
        (": x", Invalid::Field),
        ("X\u{7f}: x", Invalid::Field),
    ] {
        assert_eq!(get(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n")).err(), Some(expected), "{lines:?}");
    }
    let old = get("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(old.err(), Some(Invalid::TransferEncoding));
}

#[test]
fn what_is_no_http_is_refused_at_its_first_byte() {
    for bytes in ["\0", "h", "\r", "HTTP/2", "HTTP/1.2 200 OK\r\n\r\n", "HTTP/1.1  200 OK\r\n\r\n"] {
        assert_eq!(get(bytes).err(), Some(Invalid::StatusLine), "{bytes:?}");
    }
    for status in ["20 OK", "2000 OK", "099 OK", "2x0 OK", "200OK", "", "200 a\rb", "200 \0"] {
        assert_eq!(get(&format!("HTTP/1.1 {status}\r\n\r\n")).err(), Some(Invalid::StatusLine), "{status:?}");
    }
}

#[test]
fn a_head_may_be_so_large_and_no_larger() {
    let of = |size: usize| {
        let (start, end) = ("HTTP/1.1 200 OK\r\nX: ", "\r\n\r\n");
        format!("{start}{}{end}", "x".repeat(size - start.len() - end.len()))
    };
    for piece in [1000, usize::MAX] {
        assert!(take(&Method::GET, of(MAX_BYTES).as_bytes(), piece).unwrap().is_some());
        assert_eq!(take(&Method::GET, of(MAX_BYTES + 1).as_bytes(), piece).err(), Some(Invalid::TooLarge));
        let endless = "HTTP/1.1 200 OK\r\n".to_owned() + &"x".repeat(MAX_BYTES);
        assert_eq!(take(&Method::GET, endless.as_bytes(), piece).err(), Some(Invalid::TooLarge));
    }
    let lines = |count| get(&format!("HTTP/1.1 204 -\r\n{}\r\n", "X: 1\r\n".repeat(count)));
    assert_eq!(lines(MAX_LINES).unwrap().unwrap().head.headers.get_all("x").iter().count(), MAX_LINES);
    assert_eq!(lines(MAX_LINES + 1).err(), Some(Invalid::TooManyLines));
}

proptest! {
    #[test]
    fn interim_answers_are_none_however_they_are_cut(piece in 1_usize..80, interim in 0_usize..4) {
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nContent-Length: 7\r\n\r\nHTTP/1.1 100\r\n\r\n".repeat(interim);
        let bytes = format!("{hints}HTTP/1.1 200 OK\r\nX-A: \t a b \r\nx-a:\r\nContent-Length: 5\r\n\r\nhello");
        let (answer, behind) = take(&Method::GET, bytes.as_bytes(), piece).unwrap().unwrap();
        prop_assert_eq!((framing(&answer), behind), ("5".to_owned(), b"hello".to_vec()));
        let lines: Vec<_> = answer.head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        prop_assert_eq!(lines, [("x-a", &b"a b"[..]), ("x-a", b""), ("content-length", b"5")]);
        // Cut off, it is none.
        let cut = bytes.len() - "hello".len() - 1;
        prop_assert!(take(&Method::GET, &bytes.as_bytes()[..cut], piece).unwrap().is_none());
    }
}
