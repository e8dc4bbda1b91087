//! A client's stream: it notes what arrives, and closes so that the last answer is not lost.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::{activity::Activity, gate::Gate};

/// How long a client that is still sending is listened to after our last byte. Closing a socket with unread bytes resets
/// the connection, and a reset overtakes the answer: a refused upload would never see its 401.
const LINGER: Duration = Duration::from_secs(2);

pin_project! {
    /// A client's stream.
    #[derive(Debug)]
    pub(super) struct Stream<T> {
        #[pin]
        inner: T,
        activity: Arc<Activity>,
        front: Front,
        switched: bool,
        // Set when our side is closed: until when the other side is listened to.
        linger: Option<Pin<Box<Sleep>>>,
    }
}

/// What stands before the client's next bytes.
#[derive(Debug)]
pub(super) enum Front {
    /// Nothing: HTTP/2 is read as it comes.
    Nothing,
    /// What was read before it was known to be HTTP/2.
    Said(Vec<u8>),
    /// What HTTP/1 has to pass.
    Gate(Gate),
}

impl<T> Stream<T> {
    pub(super) fn new(inner: T, activity: Arc<Activity>, front: Front) -> Self {
        Self { inner, activity, front, switched: false, linger: None }
    }

    /// What comes now is no longer HTTP: closing our side leaves the other side open, to be read by whoever reads it.
    pub(super) fn switch(&mut self) {
        self.switched = true;
    }
}

impl<T: AsyncRead> AsyncRead for Stream<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        match this.front {
            Front::Nothing => {}
            Front::Said(said) => {
                let count = said.len().min(buffer.remaining());
                buffer.put_slice(&said[..count]);
                said.drain(..count);
                if said.is_empty() {
                    *this.front = Front::Nothing;
                }
                return Poll::Ready(Ok(()));
            }
            Front::Gate(gate) => return gate.poll_read(this.inner, cx, buffer),
        }
        let before = buffer.filled().len();
        let polled = this.inner.poll_read(cx, buffer);
        if buffer.filled().len() > before {
            this.activity.read();
        }
        polled
    }
}

impl<T: AsyncRead + AsyncWrite> AsyncWrite for Stream<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_flush(cx)
    }

    /// Closes our side, then reads what the client still sends, until it closes its own.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut this = self.project();
        if *this.switched {
            return this.inner.poll_shutdown(cx);
        }
        this.activity.close();
        if this.linger.is_none() {
            ready!(this.inner.as_mut().poll_shutdown(cx))?;
        }
        let linger = this.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut unread = [0; 4096];
        loop {
            if linger.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buffer = ReadBuf::new(&mut unread);
            let read = ready!(this.inner.as_mut().poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::convert::Infallible;

    use bytes::Bytes;
    use http::{Response, StatusCode};
    use http_body_util::{BodyExt, Full};
    use hyper::{server::conn::http1, service::service_fn};
    use hyper_util::rt::TokioIo;
    use proptest::{collection::vec, prelude::*, sample::select};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::http1::head::Limits;

    /// What the library makes of `bytes` behind the gate: its answers, 200 to what it takes for a request, and 403 to what
    /// the gate has refused.
    async fn serve(bytes: Vec<u8>) -> String {
        let (mut client, server) = duplex(1 << 16);
        let activity = Arc::new(Activity::new());
        let gate = Gate::new(Limits { bytes: 4096, lines: 100 }, activity.clone());
        let service = service_fn({
            let activity = activity.clone();
            move |request: http::Request<hyper::body::Incoming>| {
                let (busy, refusal) = (activity.request(), activity.refusal());
                async move {
                    let whole = request.into_body().collect().await.is_ok();
                    let status = if refusal.is_some() || !whole { StatusCode::FORBIDDEN } else { StatusCode::OK };
                    busy.answer(status);
                    let mut response = Response::new(Full::new(Bytes::new()));
                    *response.status_mut() = status;
                    Ok::<_, Infallible>(response)
                }
            }
        });
        let stream = TokioIo::new(Stream::new(server, activity, Front::Gate(gate)));
        let connection = tokio::spawn(http1::Builder::new().max_buf_size(1 << 16).serve_connection(stream, service));
        client.write_all(&bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answers = String::new();
        client.read_to_string(&mut answers).await.unwrap();
        let _ = connection.await.unwrap();
        answers
    }

    const BODIES: &[&[u8]] = &[b"", b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"3\nabc\n0\n\n"];

    /// Heads of lines that are odd, wrong, or neither.
    fn head() -> impl Strategy<Value = Vec<u8>> {
        let methods: &[&[u8]] =
            &[b"GET", b"POST", b"HEAD", b"OPTIONS", b"CONNECT", b"get", b"!#$%&'*+-.^_`|~", b"G(T", b""];
        let targets: &[&[u8]] = &[
            b"/",
            b"/a?b",
            b"*",
            b"a",
            b"a:1",
            b"http://a/",
            b"http://a",
            b"http:///",
            b"//",
            b"/#",
            b"/{}|\\^`\"<>",
            b"?",
            b"%",
            b"/\xc3\xa9",
            b"/\xff",
            b"/?\"",
            b"/?{}|\\^`",
            b"/?<>",
            b"[::1]",
            b"a@b",
            b"http://a@b/",
            b"http://[::1/",
            b":",
            b"/a:b@c",
            b"a/b",
            b"",
        ];
        let versions: &[&[u8]] = &[b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b""];
        let lines: &[&[u8]] = &[
            b"Host: a",
            b"Content-Length: 0",
            b"Content-Length: 3",
            b"content-length:\t3 ",
            b"Content-Length: 3, 3",
            b"Content-Length: +3",
            b"Content-Length: 18446744073709551615",
            b"Content-Length: 999999999999999999",
            b"Content-Length:",
            b"Transfer-Encoding: chunked",
            b"transfer-encoding:CHUNKED",
            b"Transfer-Encoding: gzip, chunked",
            b"Transfer-Encoding : chunked",
            b"Connection: close",
            b"Connection: upgrade",
            b"Upgrade: x",
            b"Expect: 100-continue",
            b"X: \x00",
            b"X: a\tb",
            b"X: \xff",
            b"X: \r",
            b" X: y",
            b"X",
            b":",
            b"X\x7f: y",
            b"X: y\n",
            b"!#$%&'*+-.^_`|~: x",
        ];
        let ends: &[&[u8]] = &[b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"];
        let line = (select(lines), select(ends)).prop_map(|(line, end)| [line, end].concat());
        let line = prop_oneof![8 => select(lines).prop_map(|line| [line, b"\r\n"].concat()), 1 => line];
        (select(methods), select(targets), select(versions), vec(line, 0..3)).prop_map(
            |(method, target, version, lines)| {
                [method, b" ", target, b" ", version, b"\r\n", &lines.concat(), b"\r\n"].concat()
            },
        )
    }

    proptest! {
        #[test]
        fn the_library_refuses_nothing_by_itself(
            heads in vec((head(), select(BODIES)), 1..4)
        ) {
            let bytes: Vec<u8> = heads.iter().flat_map(|(head, body)| [head.as_slice(), *body].concat()).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let answers = runtime.block_on(serve(bytes));
            for line in answers.lines().filter(|line| line.starts_with("HTTP/")) {
                prop_assert!(line.ends_with(" 200 OK") || line.ends_with(" 403 Forbidden") || line.ends_with(" 100 Continue"), "{answers}");
            }
        }
    }

    #[tokio::test]
    async fn what_was_said_comes_first_and_whole_however_little_is_read_at_once() {
        let (mut client, server) = duplex(64);
        let mut stream = Stream::new(server, Arc::new(Activity::new()), Front::Said(b"PRI * HTTP".to_vec()));
        client.write_all(b"/2.0").await.unwrap();
        let (mut first, mut rest) = ([0; 3], [0; 11]);
        stream.read_exact(&mut first).await.unwrap();
        stream.read_exact(&mut rest).await.unwrap();
        assert_eq!([&first[..], &rest].concat(), b"PRI * HTTP/2.0");
    }

    #[tokio::test]
    async fn what_the_client_sends_is_not_read_away_when_our_side_closes_after_the_switch() {
        let (mut client, server) = duplex(64);
        let mut stream = Stream::new(server, Arc::new(Activity::new()), Front::Nothing);
        stream.switch();
        client.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut bytes = [0; 5];
        assert_eq!(client.read(&mut bytes).await.unwrap(), 0);
        drop(client);
        stream.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"hello");
    }
}
