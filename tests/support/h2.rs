//! An HTTP/2 client that sends header fields exactly as it is told, which curl does not.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    body::{Body, Frame, Incoming},
    client::conn::http2::{SendRequest, handshake},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, runtime::Runtime, time::timeout};
use tokio_rustls::TlsConnector;

use super::{Answer, Sidegate, canary, wait::PATIENCE, wire::tls_config};

/// One HTTP/2 connection over verified TLS.
pub(crate) struct H2 {
    runtime: Runtime,
    sender: SendRequest<BoxBody<Bytes, Infallible>>,
    authority: String,
}

impl H2 {
    pub(crate) fn connect(sidegate: &Sidegate) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let address = sidegate.address();
        let sender = runtime.block_on(async {
            let connector = TlsConnector::from(std::sync::Arc::new(tls_config(&["h2"])));
            let tcp = TcpStream::connect(address).await.unwrap();
            tcp.set_nodelay(true).unwrap();
            let tls = connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap();
            assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(tls)).await.unwrap();
            tokio::spawn(connection);
            sender
        });
        Self { runtime, sender, authority: format!("localhost:{}", address.port()) }
    }

    /// Sends one request with these fields, in this order.
    #[track_caller]
    pub(crate) fn send(&mut self, method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Answer {
        self.try_send(method, path, fields, body).expect("an answer, not a reset")
    }

    /// The same, where the server may reset the stream or the connection: `None`.
    pub(crate) fn try_send(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Answer> {
        let body = Full::new(Bytes::copy_from_slice(body)).boxed();
        Some(self.ask(method, path, fields, body)?.0)
    }

    /// Sends a body of these frames without saying how long it is; gives the trailers of the answer, too.
    #[track_caller]
    pub(crate) fn send_frames(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        frames: impl IntoIterator<Item = Frame<Bytes>>,
    ) -> (Answer, HeaderMap) {
        let body = Frames { left: frames.into_iter().collect(), endless: false }.boxed();
        self.ask(method, path, fields, body).expect("an answer, not a reset")
    }

    /// Sends a body of this frame, and never ends it.
    #[track_caller]
    pub(crate) fn send_endless(&mut self, method: &str, path: &str, frame: Frame<Bytes>) -> Answer {
        let body = Frames { left: [frame].into(), endless: true }.boxed();
        self.ask(method, path, &[], body).expect("an answer, not a reset").0
    }

    fn ask(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: BoxBody<Bytes, Infallible>,
    ) -> Option<(Answer, HeaderMap)> {
        fields.iter().for_each(|(name, value)| canary::field(name, value));
        let mut request = Request::builder().method(method).uri(format!("https://{}{path}", self.authority));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        self.trailed(request.body(body).unwrap())
    }

    /// Sends a request that was made elsewhere; `None` for a reset.
    pub(crate) fn exchange(&mut self, request: Request<Full<Bytes>>) -> Option<Answer> {
        self.trailed(request.map(BodyExt::boxed)).map(|(answer, _)| answer)
    }

    fn trailed(&mut self, request: Request<BoxBody<Bytes, Infallible>>) -> Option<(Answer, HeaderMap)> {
        let exchange = async { read(self.sender.send_request(request).await?).await };
        self.runtime.block_on(async { timeout(PATIENCE, exchange).await }).expect("an answer or a reset").ok()
    }
}

/// A body that keeps its length to itself.
struct Frames {
    left: VecDeque<Frame<Bytes>>,
    endless: bool,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.left.pop_front() {
            None if self.endless => Poll::Pending,
            frame => Poll::Ready(frame.map(Ok)),
        }
    }
}

async fn read(response: Response<Incoming>) -> hyper::Result<(Answer, HeaderMap)> {
    let headers = response.headers().iter();
    let headers = headers.map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    Ok((Answer { status, headers, body: body.to_bytes().to_vec() }, trailers))
}
