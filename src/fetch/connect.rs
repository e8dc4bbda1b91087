//! A connection to where something is to be fetched: directly, or through the proxy that the environment names.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header::PROXY_AUTHORIZATION};
use http_body_util::Empty;
use hyper_util::{client::proxy::matcher::Matcher, rt::TokioIo};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
};
use tokio_rustls::TlsConnector;

use crate::config::{Url, is_off_limits};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Its name leads nowhere, or nobody listens there.
    #[error("cannot connect to {0}: {1}")]
    Tcp(String, io::Error),
    /// Its name leads to where nothing is fetched from.
    #[error("{0} is at {1}, which is link-local, where clouds hand out credentials")]
    OffLimits(String, std::net::IpAddr),
    /// It could not prove who it is, or speaks no TLS.
    #[error("no TLS with {0}: {1}")]
    Tls(String, io::Error),
    /// The proxy does not let us through.
    #[error("the proxy {0} refuses: {1}")]
    Proxy(String, String),
}

/// What a connection can do.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection to `url`, with TLS where there is a `config` for it.
pub(super) async fn connect(
    url: &Url,
    config: Option<Arc<ClientConfig>>,
) -> Result<impl hyper::rt::Read + hyper::rt::Write + Send + Unpin + use<>, ConnectError> {
    // As curl and Go have it: what is on this machine is not asked for at a proxy.
    let proxy = if url.is_loopback() { None } else { Matcher::from_env().intercept(url.uri()) };
    // Boxed: there are four kinds, and one in minutes.
    let stream: Box<dyn Stream> = match proxy {
        None => Box::new(tcp(url.host(), url.port(), true).await?),
        Some(proxy) => Box::new(tunnel(url, proxy.uri(), proxy.basic_auth()).await?),
    };
    let Some(config) = config else { return Ok(TokioIo::new(stream)) };
    let failed = |error| ConnectError::Tls(url.authority().to_owned(), error);
    let name = ServerName::try_from(url.host().to_owned()).map_err(|error| failed(io::Error::other(error)))?;
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(failed)?;
    Ok(TokioIo::new(Box::new(stream) as Box<dyn Stream>))
}

/// A connection to the first of the host's addresses that takes one. If it is `guarded` to none that is off limits, whoever
/// made the name lead there.
async fn tcp(host: &str, port: u16, guarded: bool) -> Result<TcpStream, ConnectError> {
    let failed = |error| ConnectError::Tcp(format!("{host}:{port}"), error);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let addresses: Vec<SocketAddr> = lookup_host((host, port)).await.map_err(failed)?.collect();
    for address in addresses {
        if guarded && is_off_limits(address.ip()) {
            return Err(ConnectError::OffLimits(host.to_owned(), address.ip()));
        }
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

/// A way through an HTTP proxy to `url` (RFC 9110 section 9.3.6). The proxy looks the name up, and sees no more than it and
/// the encrypted bytes.
async fn tunnel(
    url: &Url,
    proxy: &Uri,
    credentials: Option<&HeaderValue>,
) -> Result<impl Stream + use<>, ConnectError> {
    let host = proxy.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = proxy.port_u16().unwrap_or(80);
    let refused = |why: String| ConnectError::Proxy(format!("{host}:{port}"), why);
    if proxy.scheme_str() != Some("http") {
        return Err(refused("it is not an http:// proxy, and no other kind is supported".to_owned()));
    }
    // The operator's own, wherever it is.
    let stream = tcp(host, port, false).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| refused(error.to_string()))?;
    tokio::spawn(connection.with_upgrades());
    let target = format!("{}:{}", url.uri().host().unwrap_or_default(), url.port());
    let mut request = Request::builder().method(Method::CONNECT).uri(&target).header("host", &target);
    if let Some(credentials) = credentials {
        let mut credentials = credentials.clone();
        credentials.set_sensitive(true);
        request = request.header(PROXY_AUTHORIZATION, credentials);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| refused(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(|error| refused(error.to_string()))?;
    if !response.status().is_success() {
        return Err(refused(format!("its answer is {}", response.status())));
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(|error| refused(error.to_string()))?;
    Ok(TokioIo::new(upgraded))
}
