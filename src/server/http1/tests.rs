//! What clients send, what the app sees of it, and what is answered.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Mutex},
    time::Duration,
};

use http_body::Frame;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use proptest::{collection::vec, prelude::*, sample::select};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::timeout,
};

use super::*;

const LIMITS: Limits = Limits { bytes: 512, lines: 6 };

type Seen = Arc<Mutex<Vec<String>>>;

/// Writes down what it is asked, and does what the target says.
struct App(Seen);

type Boxed<T> = Pin<Box<dyn Future<Output = T>>>;

impl Answers for App {
    type Body = BoxBody<Bytes, Infallible>;
    type Future = Boxed<Result<Response<Self::Body>, Infallible>>;

    fn answer(&mut self, request: Request<Incoming>, refusal: Option<Reason>) -> Self::Future {
        let seen = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let fields: Vec<_> =
                parts.headers.iter().map(|(name, value)| format!("{name}={:?}", value.as_bytes())).collect();
            let path = parts.uri.path().to_owned();
            let size = body.size_hint().exact();
            let body = if path == "/unread" {
                drop(body);
                String::new()
            } else {
                match body.collect().await {
                    Ok(body) => format!("{:?}", body.to_bytes()),
                    Err(error) => error.to_string(),
                }
            };
            let line =
                format!("{} {} {:?} {size:?} {body} {}", parts.method, parts.uri, parts.version, fields.join(" "));
            seen.lock().unwrap().push(format!("{line} {refusal:?}"));
            let body = match path.as_str() {
                "/pieces" => Pieces(VecDeque::from(["one", "", "three"])).boxed(),
                _ => Full::new(Bytes::from_static(b"whole")).boxed(),
            };
            let mut response = Response::new(body);
            if let Some(reason) = refusal {
                *response.status_mut() = reason.status();
            }
            Ok(response)
        })
    }

    fn ended(&mut self, _: bool) {}
}

/// A body without a length.
struct Pieces(VecDeque<&'static str>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes())))))
    }
}

/// A connection, the client's end of it, and what the app sees.
fn connection(buffer: usize) -> (Connection<DuplexStream, App>, DuplexStream, Seen) {
    let (client, server) = duplex(buffer);
    let seen = Seen::default();
    (Connection::new(server, LIMITS, App(seen.clone())), client, seen)
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(future)
}

/// What the app sees when a client sends these pieces and closes its side, the answers, and how it ended.
fn talk(pieces: &[&[u8]]) -> (Vec<String>, String, Result<(), Failure>) {
    let (mut connection, client, seen) = connection(64);
    let (mut reader, mut writer) = tokio::io::split(client);
    block_on(async move {
        let sending = async {
            for piece in pieces {
                // The connection may end before it has read all.
                if writer.write_all(piece).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
            // Whoever closes its side while it is answered is gone; so the answers come first.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let _ = writer.shutdown().await;
        };
        let serving = async {
            let ended = poll_fn(|cx| connection.poll(cx)).await;
            drop(connection);
            ended
        };
        let mut answers = Vec::new();
        let ((), ended, read) = tokio::join!(sending, serving, reader.read_to_end(&mut answers));
        read.unwrap();
        let seen = seen.lock().unwrap().clone();
        (seen, String::from_utf8(answers).unwrap(), ended)
    })
}

fn status_lines(answers: &str) -> Vec<&str> {
    answers.split("\r\n").filter_map(|line| Some(&line[line.find("HTTP/1.")?..])).collect()
}

const GET: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn requests_are_told_apart_and_answered_in_order() {
    let post = "POST /b HTTP/1.1\r\nContent-Length: 30\r\n\r\nGET /no HTTP/1.1\r\nHost: y\r\n\r\n\n";
    let chunked = "PUT /pieces HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n1\r\ne\r\n0\r\n\r\n";
    let (seen, answers, ended) = talk(&[[GET, post, chunked, "\r\n", GET].concat().as_bytes()]);
    let targets: Vec<_> = seen.iter().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(targets, ["GET /a", "POST /b", "PUT /pieces", "GET /a"]);
    assert!(seen[1].contains("GET /no") && seen[2].contains("abcde"), "{seen:?}");
    assert_eq!(status_lines(&answers), ["HTTP/1.1 200 OK"; 4]);
    assert!(
        answers.contains("transfer-encoding: chunked\r\n") && answers.contains("3\r\none\r\n5\r\nthree\r\n0\r\n\r\n")
    );
    assert_eq!(ended, Ok(()));
}

#[test]
fn what_is_no_request_is_refused_and_nothing_after_it_is_read() {
    for (bad, reason) in [
        ("GET /#a HTTP/1.1\r\n\r\n", "PathAmbiguous"),
        ("GET / HTTP/1.1\nHost: x\n\n", "FramingInvalid"),
        ("POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "FramingInvalid"),
        ("POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "FramingInvalid"),
        ("GET / HTTP/1.1\r\nX: \u{1}\r\n\r\n", "HeaderInvalid"),
        ("GET / HTTP/1.1\r\nX: 1\r\nX: 1\r\nX: 1\r\nX: 1\r\nX: 1\r\nX: 1\r\nX: 1\r\n\r\n", "HeaderTooLarge"),
    ] {
        let (seen, answers, _) = talk(&[[GET, bad, GET].concat().as_bytes()]);
        assert!(seen.len() == 2 && seen[1].ends_with(&format!("Some({reason})")), "{bad:?}: {seen:?}");
        assert_eq!(status_lines(&answers).len(), 2, "{bad:?}: {answers}");
        assert!(answers.contains("connection: close\r\n"));
    }
    let (seen, ..) = talk(&[b"GET / HTTP/1.1\r\nHos"]);
    assert!(seen[0].ends_with("Some(RequestIncomplete)"), "{seen:?}");
}

#[test]
fn a_body_that_is_not_well_formed_ends_the_connection() {
    let head = "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in ["5\r\nhelloXX\r\n0\r\n\r\n", "x\r\n", "0\r\n X: 1\r\n\r\n", "5\nhello\n0\n\n"] {
        for path in ["/a", "/unread"] {
            let (seen, answers, _) = talk(&[[&head.replace("/a", path), body, GET].concat().as_bytes()]);
            assert!(seen.len() == 1 && status_lines(&answers).len() == 1, "{body:?}: {seen:?} {answers}");
            assert!(path == "/unread" || seen[0].contains("not valid"), "{seen:?}");
        }
    }
    let (seen, ..) = talk(&[b"POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc"]);
    assert!(seen[0].contains("the connection ended"), "{seen:?}");
}

#[test]
fn a_body_that_nobody_reads_is_skipped_when_it_is_here_and_ends_the_connection_when_it_is_not() {
    let unread = "POST /unread HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
    let (seen, answers, _) = talk(&[[unread, GET].concat().as_bytes()]);
    assert_eq!((seen.len(), answers.contains("connection: close")), (2, false));
    let more = unread.replace("Length: 5", "Length: 9999");
    let (seen, answers, _) = talk(&[more.as_bytes()]);
    assert_eq!((seen.len(), answers.contains("connection: close")), (1, true));
    let waits = unread.replace("Content-Length: 5\r\n\r\nhello", "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    let (_, answers, _) = talk(&[waits.as_bytes()]);
    assert!(!answers.contains("100 Continue") && answers.contains("connection: close"), "{answers}");
    let (_, answers, _) = talk(&[waits.replace("/unread", "/a").as_bytes(), b"hello", GET.as_bytes()]);
    assert_eq!(status_lines(&answers), ["HTTP/1.1 100 Continue", "HTTP/1.1 200 OK", "HTTP/1.1 200 OK"]);
}

#[test]
fn a_connection_is_kept_as_its_client_wants() {
    for (head, kept, says) in [
        ("GET /a HTTP/1.1\r\nConnection: close\r\n\r\n", false, Some("close")),
        ("GET /a HTTP/1.1\r\nConnection: x, Close\r\n\r\n", false, Some("close")),
        ("GET /a HTTP/1.1\r\nConnection: closed\r\n\r\n", true, None),
        ("GET /a HTTP/1.0\r\n\r\n", false, None),
        ("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true, Some("keep-alive")),
        ("GET /a HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false, None),
    ] {
        let (seen, answers, _) = talk(&[[head, GET].concat().as_bytes()]);
        assert_eq!(seen.len() == 2, kept, "{head:?}");
        let first = answers.split("\r\n\r\n").next().unwrap();
        let said = first.split("\r\n").find_map(|line| line.strip_prefix("connection: "));
        assert_eq!(said, says, "{head:?}: {answers}");
        assert!(first.starts_with(&head["GET /a ".len()..][..8]), "{answers}");
    }
    // Without a length, and without chunks: nothing but the end of the connection tells.
    let (seen, answers, _) = talk(&[b"GET /pieces HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", GET.as_bytes()]);
    assert_eq!((seen.len(), answers.ends_with("\r\n\r\nonethree")), (1, true), "{answers}");
}

#[test]
fn an_empty_line_after_a_body_is_no_request() {
    let (seen, answers, ended) = talk(&[b"POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello\r\n"]);
    assert_eq!((seen.len(), status_lines(&answers).len(), ended), (1, 1, Ok(())), "{seen:?}");
}

#[test]
fn an_idle_connection_holds_no_memory_for_what_may_come() {
    let (mut connection, mut client, _) = connection(4096);
    block_on(async {
        client.write_all(GET.as_bytes()).await.unwrap();
        let idle = timeout(Duration::from_secs(1), poll_fn(|cx| connection.poll(cx))).await;
        assert!(idle.is_err() && connection.read.capacity() == 0, "{}", connection.read.capacity());
    });
}

/// Heads of lines that are odd, wrong, or neither.
fn head() -> impl Strategy<Value = Vec<u8>> {
    let lines: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\n",
        b"POST /unread HTTP/1.1\r\n",
        b"HEAD /a?b HTTP/1.1\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"GET http://[::1/ HTTP/1.1\r\n",
        b"GET /\xc3\xa9?{}|^` HTTP/1.0\r\n",
        b"GET / HTTP/1.1\n",
        b"Host: a\r\n",
        b"Content-Length: 0\r\n",
        b"Content-Length: 5\r\n",
        b"content-length:\t5 \r\n",
        b"Content-Length: +5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Connection: close\r\n",
        b"Expect: 100-continue\r\n",
        b"X: a\tb\xff\r\n",
        b"X: \r\r\n",
        b" X: y\r\n",
        b"\r\n",
        b"\r\n",
        b"\r\n",
        b"\n",
        b"5\r\n",
        b"hello",
        b"0\r\n\r\n",
    ];
    vec(select(lines), 0..14).prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn however_it_arrives_the_app_sees_the_same(bytes in head(), cuts in vec(any::<usize>(), 0..20)) {
        let mut ends: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([0, bytes.len()]).collect();
        ends.sort_unstable();
        let pieces: Vec<_> = ends.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect();
        let (whole, _, _) = talk(&[&bytes]);
        let (cut, answers, _) = talk(&pieces);
        // A body that nobody reads ends the connection when it is not here yet.
        let unread = whole.iter().position(|line| line.contains("/unread")).map_or(whole.len(), |at| at + 1);
        prop_assert_eq!(&cut[..unread.min(cut.len())], &whole[..unread]);
        let last = status_lines(&answers).iter().filter(|line| !line.contains("100 Continue")).count();
        prop_assert_eq!(last, cut.len());
    }
}
