//! The app speaks HTTP/2 without TLS: what it is told, trailers both ways, and answers that break off.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version, header::HeaderName};
use http_body_util::BodyExt;
use hyper::{
    body::{Body, Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::time::{Sleep, sleep};

use crate::support::{App, H2, Issuer, Recorder, Sidegate, until};

#[test]
fn the_app_is_told_the_same_over_http_2() {
    let app = H2App::answering(|| Reply::new(["ok"]));
    let sidegate = public(&app);
    let over_h1 = sidegate.curl("/a?b=c").args(["--http1.1"]).header("Host: app.example").body("hello").send();
    let over_h2 = H2::connect(&sidegate).send("POST", "/a?b=c", &[("te", "trailers")], b"hello");
    assert_eq!((over_h1.text(), over_h2.text()), ("ok".to_owned(), "ok".to_owned()));
    let seen = app.seen();
    let uris: Vec<_> = seen.iter().map(|seen| seen.head.uri().to_string()).collect();
    assert_eq!(uris, ["http://app.example/a?b=c".to_owned(), format!("http://{}/a?b=c", authority(&sidegate))]);
    for seen in &seen {
        let header = |name: &str| seen.head.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!((seen.head.version(), seen.head.method().as_str()), (Version::HTTP_2, "POST"));
        assert_eq!((header("host"), header("connection"), header("transfer-encoding")), (None, None, None));
        assert_eq!((header("content-length"), header("x-forwarded-proto")), (Some("5".into()), Some("https".into())));
        assert_eq!(seen.body, b"hello");
    }
    let te = |i: usize| seen[i].head.headers().get("te").cloned();
    assert_eq!((te(0), te(1)), (None, Some(HeaderValue::from_static("trailers"))));
    assert_eq!(seen.iter().map(|seen| seen.connection).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn a_clients_trailers_say_no_more_than_its_headers_may() {
    let app = H2App::answering(|| Reply::new(["ok"]));
    let sidegate = public(&app);
    let said = [
        ("x-sum", "42"),
        ("x-forwarded-user", "root"),
        ("x-remote-user", "root"),
        ("x_forwarded_user", "root"),
        ("authorization", "Bearer x"),
        ("cookie", "session=root"),
        ("content-type", "text/html"),
        ("host", "other"),
        ("x-http-method-override", "DELETE"),
        ("x-forwarded-for", "127.0.0.1"),
    ];
    let body = Frame::data(Bytes::from_static(b"hello"));
    let answer = H2::connect(&sidegate).send_frames("POST", "/", &[], [body, trailers(&said)]).0;
    assert_eq!(answer.status, 200);
    let lines: String = said.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let chunked = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n";
    assert_eq!(sidegate.wire().send(format!("{chunked}{lines}\r\n")).answer().status, 200);
    for seen in app.seen() {
        let passed: Vec<_> = seen.trailers.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        assert_eq!((passed, seen.body.as_slice()), (vec![("x-sum", "42")], &b"hello"[..]));
    }
}

#[test]
fn no_trailer_of_a_client_reaches_an_app_that_speaks_http_1() {
    let app = Recorder::start();
    for buffer in ["0", "64KiB"] {
        let sidegate = Sidegate::before(&app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" }));
        let sidegate = sidegate.set(json!({ "upstream": { "buffer_request": buffer } })).start();
        let body = Frame::data(Bytes::from_static(b"hello"));
        let mut h2 = H2::connect(&sidegate);
        // A second request on the same connection would begin with what the first left over.
        for _ in 0..2 {
            let fields = [("trailer", "x-sum"), ("te", "trailers")];
            let frames = [Frame::data(body.data_ref().unwrap().clone()), trailers(&[("x-sum", "42")])];
            assert_eq!(h2.send_frames("POST", "/", &fields, frames).0.status, 200);
        }
    }
    for seen in app.requests() {
        assert_eq!((seen.body.as_slice(), seen.header("trailer"), seen.header("x-sum")), (&b"hello"[..], None, None));
        assert_eq!(seen.line, "POST / HTTP/1.1");
    }
}

#[test]
fn the_apps_trailers_reach_the_client_without_those_that_frame_the_message() {
    let app = H2App::answering(|| {
        let mut reply = Reply::new(["abc"]);
        reply.headers.insert("trailer", HeaderValue::from_static("x-sum"));
        let said = [("x-sum", "42"), ("content-length", "9"), ("set-cookie", "a=b"), ("www-authenticate", "Basic")];
        reply.frames.push(trailers(&said));
        reply
    });
    let sidegate = public(&app);
    let (answer, passed) = H2::connect(&sidegate).send_frames("GET", "/", &[], []);
    assert_eq!((answer.text().as_str(), passed.len(), &passed["x-sum"]), ("abc", 1, &HeaderValue::from_static("42")));
    let mut wire = sidegate.wire();
    wire.send("GET / HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n");
    let bytes = String::from_utf8(wire.read_to_end()).unwrap().to_ascii_lowercase();
    assert!(bytes.contains("\r\ntransfer-encoding: chunked\r\n"), "{bytes}");
    assert!(bytes.ends_with("3\r\nabc\r\n0\r\nx-sum: 42\r\n\r\n"), "{bytes}");
}

#[test]
fn an_answer_that_breaks_off_is_not_passed_on_as_a_whole_one() {
    let app = H2App::answering(|| Reply {
        breaks: Some(Box::pin(sleep(Duration::from_millis(200)))),
        ..Reply::new(["only this"])
    });
    let sidegate = public(&app);
    let code = sidegate.curl("/").args(["--http1.1"]).fail();
    assert!(matches!(code, 18 | 52 | 56), "curl exited with {code}");
    let code = sidegate.curl("/").args(["--http2"]).fail();
    assert!(matches!(code, 18 | 92), "curl exited with {code}");
    let log = sidegate.access_log(2);
    assert!(log.iter().all(|line| line["response_code_details"] == "upstream_broken"), "{log:?}");
}

#[test]
fn an_app_that_does_not_speak_http_2_is_a_502() {
    let app = Recorder::start();
    let sidegate = Sidegate::before(&app).set(json!({ "upstream": { "address": format!("h2c://{}", app.address()) } }));
    let sidegate = sidegate.jwt(&Issuer::new()).rule(json!({ "allow": "anyone" })).start();
    for _ in 0..2 {
        sidegate.curl("/").body("an order").send().assert_refused(502, "upstream_broken");
    }
    until("the cause in the log", || sidegate.log().contains("http2 error").then_some(()));
    sidegate.assert_alive();
}

#[test]
fn a_limit_that_an_upload_breaks_is_told_and_ends_it_at_the_app() {
    let app = H2App::answering(|| Reply::new(["ok"]));
    let sidegate = Sidegate::before(&app).set(json!({ "limits": { "max_body_bytes": 1000 } }));
    let sidegate = sidegate.set(json!({ "upstream": { "address": format!("h2c://{}", app.address()) } }));
    let sidegate = sidegate.jwt(&Issuer::new()).rule(json!({ "allow": "anyone" })).start();
    let chunk = || Frame::data(Bytes::from_static(&[b'x'; 600]));
    H2::connect(&sidegate).send_frames("POST", "/", &[], [chunk(), chunk()]).0.assert_refused(413, "body_too_large");
    assert_eq!(app.seen().len(), 0, "the app took it for a whole one");
    assert_eq!(H2::connect(&sidegate).send_frames("POST", "/", &[], [chunk()]).0.status, 200);
}

#[test]
fn an_upload_that_never_ends_is_over_for_the_app_when_the_client_has_its_answer() {
    let app = H2App::answering(|| Reply::new(["ok"]));
    let sidegate = Sidegate::before(&app).set(json!({ "upstream": { "response_timeout": "300ms" } }));
    let sidegate = sidegate.set(json!({ "upstream": { "address": format!("h2c://{}", app.address()) } }));
    let sidegate = sidegate.jwt(&Issuer::new()).rule(json!({ "allow": "anyone" })).start();
    let mut h2 = H2::connect(&sidegate);
    h2.send_endless("POST", "/", Frame::data(Bytes::from_static(b"x"))).assert_refused(504, "upstream_timeout");
    until("the app to be told", || (app.broken() == 1).then_some(()));
    let mut wire = sidegate.wire();
    wire.send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
    wire.answer().assert_refused(504, "upstream_timeout");
    until("the app to be told", || (app.broken() == 2).then_some(()));
    assert_eq!(app.seen().len(), 0);
}

fn trailers(fields: &[(&str, &str)]) -> Frame<Bytes> {
    let field = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    };
    Frame::trailers(fields.iter().map(field).collect::<HeaderMap>())
}

fn authority(sidegate: &Sidegate) -> String {
    format!("localhost:{}", sidegate.address().port())
}

fn public(app: &H2App) -> Sidegate {
    let upstream = json!({ "upstream": { "address": format!("h2c://{}", app.address()) } });
    Sidegate::before(app).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" })).set(upstream).start()
}

/// An app that takes HTTP/2 only, and writes down what it was sent.
struct H2App {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    broken: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Seen {
    head: Request<()>,
    body: Vec<u8>,
    trailers: HeaderMap,
    /// The how-manieth connection it came on, from 1.
    connection: usize,
}

/// An answer.
struct Reply {
    headers: HeaderMap,
    frames: Vec<Frame<Bytes>>,
    /// Breaks off at its end, when what came before has been sent.
    breaks: Option<Pin<Box<Sleep>>>,
}

impl Reply {
    fn new<const N: usize>(chunks: [&'static str; N]) -> Self {
        let frames = chunks.map(|chunk| Frame::data(Bytes::from_static(chunk.as_bytes()))).into();
        Self { headers: HeaderMap::new(), frames, breaks: None }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if !self.frames.is_empty() {
            return Poll::Ready(Some(Ok(self.frames.remove(0))));
        }
        let Some(pause) = &mut self.breaks else { return Poll::Ready(None) };
        pause.as_mut().poll(cx).map(|()| Some(Err(io::Error::other("broken off"))))
    }
}

impl H2App {
    fn answering(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let broken = Arc::new(AtomicUsize::new(0));
        let (shared, reply) = ((seen.clone(), broken.clone()), Arc::new(reply));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let mut connection = 0;
                while let Ok((stream, _)) = listener.accept().await {
                    connection += 1;
                    let (shared, reply) = (shared.clone(), reply.clone());
                    let service = service_fn(move |request| serve(request, connection, shared.clone(), reply.clone()));
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
                }
            });
        });
        Self { address, seen, broken }
    }

    /// The requests that arrived whole.
    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many requests broke off.
    fn broken(&self) -> usize {
        self.broken.load(Ordering::SeqCst)
    }
}

impl App for H2App {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(
    request: Request<Incoming>,
    connection: usize,
    (seen, broken): (Arc<Mutex<Vec<Seen>>>, Arc<AtomicUsize>),
    reply: Arc<impl Fn() -> Reply>,
) -> Result<Response<Reply>, Infallible> {
    let (parts, body) = request.into_parts();
    if let Ok(body) = body.collect().await {
        let trailers = body.trailers().cloned().unwrap_or_default();
        let (head, body) = (Request::from_parts(parts, ()), body.to_bytes().to_vec());
        seen.lock().unwrap().push(Seen { head, body, trailers, connection });
    } else {
        broken.fetch_add(1, Ordering::SeqCst);
    }
    let mut reply = reply();
    let headers = std::mem::take(&mut reply.headers);
    let mut response = Response::new(reply);
    *response.headers_mut() = headers;
    Ok(response)
}
