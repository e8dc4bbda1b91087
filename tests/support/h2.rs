//! An HTTP/2 client that sends header fields exactly as it is told, which curl does not.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http2::{SendRequest, handshake},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, runtime::Runtime, time::timeout};
use tokio_rustls::TlsConnector;

use super::{Answer, Sidegate, wait::PATIENCE, wire::tls_config};

/// One HTTP/2 connection over verified TLS.
pub(crate) struct H2 {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
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
        let mut request = Request::builder().method(method).uri(format!("https://{}{path}", self.authority));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        self.exchange(request.body(Full::new(Bytes::copy_from_slice(body))).unwrap())
    }

    /// Sends a request that was made elsewhere; `None` for a reset.
    pub(crate) fn exchange(&mut self, request: Request<Full<Bytes>>) -> Option<Answer> {
        let exchange = async { read(self.sender.send_request(request).await?).await };
        self.runtime.block_on(async { timeout(PATIENCE, exchange).await }).expect("an answer or a reset").ok()
    }
}

async fn read(response: Response<Incoming>) -> hyper::Result<Answer> {
    let headers = response.headers().iter();
    let headers = headers.map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect();
    let status = response.status().as_u16();
    Ok(Answer { status, headers, body: response.into_body().collect().await?.to_bytes().to_vec() })
}
