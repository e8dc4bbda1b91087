//! One request and its answer over one connection, byte by byte.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::poll_fn;

use http::{HeaderMap, HeaderName, Method};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use super::*;
use crate::upstream::{Upload, stream::Socket};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A connection, and the app's end of it.
fn connection() -> (Box<Connection>, UnixStream) {
    let (ours, app) = UnixStream::pair().unwrap();
    let gauges = Gauges { active: Gauge::default(), idle: Gauge::default() };
    (Connection::new(Stream::Plain(Socket::Unix(ours)), gauges, Duration::ZERO), app)
}

/// A request with these fields and this body, of which the client has said this length; and its trail.
fn request(fields: &[(&'static str, &str)], length: Option<u64>, body: &'static str) -> (Box<Message>, Arc<Trail>) {
    let trail = Arc::new(Trail::new(&HeaderMap::new()));
    let mut upload = Upload::none(trail.clone());
    upload.put_back(body.into());
    let mut request = Message::new(Method::POST, "/a?b", length, upload);
    for (name, value) in fields {
        request.field(&HeaderName::from_static(name), value.as_bytes());
    }
    (request, trail)
}

/// What the connection makes of an app that answers like this.
async fn answer(bytes: &[u8]) -> Result<(Parts, Box<Connection>, Vec<u8>), Fault> {
    let (connection, mut app) = connection();
    let (request, trail) = request(&[("host", "a"), ("cookie", "secret")], None, "");
    app.write_all(bytes).await.unwrap();
    app.shutdown().await.unwrap();
    let (head, mut connection) = connection.send(request, trail).await.map_err(|error| match error {
        SendError::Broken(fault) => fault,
        other @ (SendError::Unsent(_) | SendError::Refused(_) | SendError::Timeout) => panic!("{other:?}"),
    })?;
    let mut body = Vec::new();
    while let Some(frame) = poll_fn(|cx| connection.poll_frame(cx)).await {
        body.extend_from_slice(frame?.data_ref().map_or(&[], |data| data));
    }
    Ok((head, connection, body))
}

#[tokio::test]
async fn a_request_is_framed_by_its_length_or_in_chunks() {
    for (fields, length, body, expected) in [
        (&[("host", "a"), ("x", "1"), ("x", "2")][..], None, "", "host: a\r\nx: 1\r\nx: 2\r\n\r\n"),
        (&[], Some(0), "", "content-length: 0\r\n\r\n"),
        (&[("x", "1")], Some(5), "hello", "x: 1\r\ncontent-length: 5\r\n\r\nhello"),
        (&[], None, "hello", "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let (connection, mut app) = connection();
        let (request, trail) = request(fields, length, body);
        let sending = tokio::spawn(connection.send(request, trail));
        let mut bytes = vec![0; "POST /a?b HTTP/1.1\r\n".len() + expected.len()];
        app.read_exact(&mut bytes).await.unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), format!("POST /a?b HTTP/1.1\r\n{expected}"));
        app.write_all(OK).await.unwrap();
        let (_, connection) = sending.await.unwrap().unwrap();
        assert!(!connection.is_uploading());
        assert_eq!(app.try_read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "there is more");
    }
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_was_said_is_never_a_whole_one() {
    for body in ["four", "", "sixsix"] {
        let (connection, mut app) = connection();
        app.shutdown().await.unwrap();
        let (request, trail) = request(&[], Some(5), body);
        assert!(matches!(connection.send(request, trail).await, Err(SendError::Broken(Fault::Upload))), "{body}");
        let mut bytes = Vec::new();
        app.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes, b"", "{body}");
    }
}

#[tokio::test]
async fn what_an_app_cannot_have_seen_is_given_back_whole() {
    // Behind a large head the body waits for its turn.
    for more in ["", &"x".repeat(10_000)] {
        let (connection, app) = connection();
        drop(app);
        let sent = || request(&[("x", more)], Some(5), "hello");
        let ((mut same, _), (request, trail)) = (sent(), sent());
        let Err(SendError::Unsent(mut unsent)) = connection.send(request, trail).await else { panic!("it was sent") };
        assert_eq!(unsent.take_head(), same.take_head());
        assert_eq!(unsent.body.gather(10).await.unwrap(), Some(5));
    }
}

#[tokio::test]
async fn an_answer_has_nothing_of_the_request_and_leaves_a_connection_that_can_be_used_again() {
    let (head, mut connection, body) = answer(OK).await.unwrap();
    let fields: Vec<_> = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!((fields, body.as_slice()), (vec![("content-length", &b"2"[..])], &b"ok"[..]));
    assert!(connection.is_idle());
    // Here it has ended since.
    assert!(!connection.is_still_idle());
}

#[tokio::test]
async fn a_connection_is_not_used_again_after_more_than_was_asked_for() {
    let (head, tail) = ("HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    for framed in ["Content-Length: 2\r\n\r\nok", "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"] {
        for more in ["x", "\r\n", tail] {
            let (_, connection, body) = answer(format!("{head}{framed}{more}").as_bytes()).await.unwrap();
            assert_eq!(body, b"ok");
            assert!(!connection.is_idle(), "{framed:?} {more:?}");
        }
        let (_, connection, _) = answer(format!("{head}{framed}").as_bytes()).await.unwrap();
        assert!(connection.is_idle(), "{framed:?}");
        let (_, connection, _) = answer(format!("{head}Connection: close\r\n{framed}").as_bytes()).await.unwrap();
        assert!(!connection.is_idle(), "{framed:?}");
    }
}

#[tokio::test]
async fn an_answer_until_the_end_is_the_last() {
    let (_, connection, body) = answer(b"HTTP/1.1 200 OK\r\n\r\nall of this").await.unwrap();
    assert_eq!(body, b"all of this");
    assert!(!connection.is_idle());
}

#[tokio::test]
async fn an_answer_that_ends_before_its_end_is_broken() {
    for bytes in [
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
    ] {
        assert!(matches!(answer(bytes.as_bytes()).await, Err(Fault::Ended)), "{bytes:?}");
    }
    let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\nok\r\n";
    assert!(matches!(answer(chunks).await, Err(Fault::Chunks(_))));
}

#[tokio::test]
async fn what_comes_behind_a_switch_belongs_to_the_tunnel() {
    let (_, connection, body) = answer(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nearly").await.unwrap();
    assert!(body.is_empty() && !connection.is_idle());
    assert_eq!(connection.into_switched().unwrap().early, "early");
}
