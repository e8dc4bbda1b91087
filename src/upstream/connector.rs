//! Opens connections to the app: where it listens, and what proves that it is the app.

use std::{io, sync::Arc, time::Duration};

use rustls::{
    ClientConfig,
    crypto::aws_lc_rs,
    pki_types::ServerName,
    version::{TLS12, TLS13},
};
use tokio::{
    net::{TcpStream, UnixStream, lookup_host},
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

use super::stream::{Socket, Stream};
use crate::{
    config::{self, Endpoint, Problem, Problems, Protocol, UpstreamTls},
    tls,
};

/// Between two attempts to connect while the app refuses.
const RETRY: Duration = Duration::from_millis(50);

/// How long an attempt over TCP may take at first, and at most. A full queue of an app drops what asks to connect, and the
/// kernel asks again only after a second: a new attempt asks at once. Longer later, for an app that is far away.
const PATIENCE: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(500)];

/// The way to open a connection to the app, with all files read. A copy is cheap.
#[derive(Clone, Debug)]
pub struct Connector {
    endpoint: Endpoint,
    tls: Option<Tls>,
}

#[derive(Clone)]
struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

/// Why no connection to the app could be had.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It refused, or its address is wrong.
    #[error("cannot connect: {0}")]
    Refused(#[from] io::Error),
    /// `connect_timeout` passed.
    #[error("cannot connect within the connect timeout")]
    Timeout,
    /// It could not prove that it is the app, or did not believe us, or does not speak TLS.
    #[error("cannot speak TLS: {0}")]
    Tls(io::Error),
    /// It does not speak HTTP/2.
    #[error("cannot speak HTTP/2: {0}")]
    Http2(#[from] hyper::Error),
}

impl Connector {
    /// The way to the app that `config` names.
    ///
    /// # Errors
    /// A file that cannot be read or holds something else, or a name that no certificate can have.
    pub fn load(config: &config::Upstream) -> Result<Self, Problems> {
        let endpoint = config.address.endpoint.clone();
        let tls = match (&config.tls, config.address.protocol) {
            (Some(tls), Protocol::Https) => Some(Tls::load(tls, config.address.host().unwrap_or_default())?),
            (_, Protocol::Http | Protocol::Https | Protocol::H2c) => None,
        };
        Ok(Self { endpoint, tls })
    }

    /// A connection. An attempt that is refused or gets no answer is repeated for as long as there is time: an app that
    /// restarts is back in a moment, and no byte was sent.
    pub(super) async fn connect(&self, limit: Duration) -> Result<Stream, ConnectError> {
        let mut late = ConnectError::Timeout;
        let attempts = async {
            let [mut patience, longest] = PATIENCE;
            let socket = loop {
                match self.socket(patience).await {
                    Err(error) if may_pass(&error) => late = ConnectError::Refused(error),
                    result => break result?,
                }
                sleep(RETRY).await;
                patience = longest;
            };
            late = ConnectError::Tls(io::Error::other("no answer to our part of the handshake"));
            self.secured(socket).await
        };
        let result = timeout(limit, attempts).await;
        result.unwrap_or(Err(late))
    }

    /// Whether the app can be reached now: one attempt, and nothing is sent but what TLS needs.
    pub async fn reaches(&self) -> bool {
        match self.socket(PATIENCE[1]).await {
            Ok(socket) => self.secured(socket).await.is_ok(),
            Err(_) => false,
        }
    }

    async fn socket(&self, patience: Duration) -> io::Result<Socket> {
        match &self.endpoint {
            Endpoint::Tcp { host, port } => {
                let stream = tcp(host, *port, patience).await?;
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(stream))
            }
            Endpoint::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix),
        }
    }

    async fn secured(&self, socket: Socket) -> Result<Stream, ConnectError> {
        let Some(Tls { connector, name }) = &self.tls else { return Ok(Stream::Plain(socket)) };
        let stream = connector.connect(name.clone(), socket).await.map_err(ConnectError::Tls)?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

/// A connection to the first of the host's addresses that takes one, with so much patience for each. A slow name server is
/// no matter of patience.
async fn tcp(host: &str, port: u16, patience: Duration) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host((host, port)).await? {
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::Error::new(io::ErrorKind::TimedOut, "no answer"),
        }
    }
    Err(failed)
}

/// Whether an app that is starting fails like this: nobody listens yet, its socket is not there yet, or the queue of its
/// socket is full.
fn may_pass(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound, TimedOut, WouldBlock};
    matches!(error.kind(), ConnectionRefused | NotFound | TimedOut | WouldBlock)
}

impl Tls {
    fn load(config: &UpstreamTls, host: &str) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let roots = problems.keep(tls::authorities(&config.ca, "upstream.tls.ca"));
        let name = config.server_name.as_deref().unwrap_or(host);
        let name = problems.keep(ServerName::try_from(name.to_owned()).map_err(|_| {
            let what = format!("`{name}` is not a name that a certificate can have");
            Problem::new("upstream.tls.server_name", what, "set it to a DNS name or an IP address of the certificate")
        }));
        // They come together: `config` has seen to it.
        let ours = config.certificate.as_ref().zip(config.key.as_ref()).map(|(certificate, key)| {
            let chain = problems.keep(tls::certificates(certificate, "upstream.tls.certificate"));
            let key = problems.keep(tls::private_key(key, "upstream.tls.key"));
            chain.map(|(chain, _)| chain).zip(key)
        });
        let (Some(roots), Some(name), None | Some(Some(_))) = (roots, name, &ours) else { return Err(problems) };
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| Problem::new("upstream.tls", error.to_string(), ""))?
            .with_root_certificates(roots);
        let mut client = match ours.flatten() {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| {
                let what = format!("the certificate and the key cannot be used: {error}");
                Problem::new("upstream.tls.certificate", what, "give the two files of one pair, the leaf first")
            })?,
        };
        client.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { connector: TlsConnector::from(Arc::new(client)), name })
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}
