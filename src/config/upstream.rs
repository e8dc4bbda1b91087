//! The app behind us.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Endpoint, Protocol, UpstreamAddress, findings::Findings, listen::Listen, units};

/// More than this for one request is not a small body, in bytes.
const MAX_BUFFER: u64 = 16 << 20;

/// The app behind us. In the file a bare address stands for `{ address: … }`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Upstream {
    /// Where the app listens.
    pub address: UpstreamAddress,
    /// Until a connection to the app stands. Refused connects are retried within it: no byte was sent.
    #[serde(with = "units::duration")]
    pub connect_timeout: Duration,
    /// Until the app's response header. 0 = off.
    #[serde(with = "units::duration")]
    pub response_timeout: Duration,
    /// Between two chunks of a body, either way. 0 = off.
    #[serde(with = "units::duration")]
    pub idle_timeout: Duration,
    /// How long an idle connection to the app is kept. Below gunicorn's 2 s, so that the app never closes a
    /// connection at the moment that we use it. 0 = every request has a connection of its own.
    #[serde(with = "units::duration")]
    pub keep_alive: Duration,
    /// A request's body without a length that is no larger than this, in bytes, is read before the app is asked, and sent
    /// with a `Content-Length`: many apps cannot read another. 0 = none is. Not for `h2c`.
    #[serde(with = "units::size")]
    pub buffer_request: u64,
    /// Whom to believe that this is the app, where it speaks TLS.
    pub tls: Option<UpstreamTls>,
}

/// What is needed to speak TLS with the app. All files are PEM.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTls {
    /// The authorities that may vouch for the app's certificate.
    pub ca: PathBuf,
    /// The certificate chain that we show, leaf first, where the app asks for one.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// The private key of that certificate.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// The name that the app's certificate must have. Default: the host of the address.
    #[serde(default)]
    pub server_name: Option<String>,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            address: UpstreamAddress::default(),
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(300),
            keep_alive: Duration::from_secs(1),
            buffer_request: 256 * 1024,
            tls: None,
        }
    }
}

impl Upstream {
    pub(super) fn check(&self, listen: &Listen, findings: &mut Findings<'_>) {
        if self.connect_timeout.is_zero() {
            findings.push("upstream.connect_timeout", "with no time to connect, no request succeeds", "set it to 1s");
        }
        if self.buffer_request > MAX_BUFFER {
            findings.push(
                "upstream.buffer_request",
                "every request in flight may hold so much memory",
                "set it to 16MiB at most; larger bodies are streamed",
            );
        }
        self.check_tls(findings);
        let same_socket = |path: &Path| matches!(&self.address.endpoint, Endpoint::Unix(socket) if socket == path);
        let is_ours = listen.address.tcp().is_some_and(|listener| self.reaches(listener));
        if is_ours || listen.address.unix().is_some_and(same_socket) {
            findings.push(
                "upstream.address",
                format!("{} is our own listener: every request would come back to us", self.address),
                "name the port that the app listens on",
            );
        }
    }

    fn check_tls(&self, findings: &mut Findings<'_>) {
        match (&self.tls, self.address.protocol) {
            (None, Protocol::Https) => findings.push(
                "upstream",
                "without an authority to believe, the app's certificate proves nothing",
                "set `upstream.tls: { ca: FILE }`; a distribution's bundle of public ones will do",
            ),
            (Some(_), Protocol::Http | Protocol::H2c) => findings.push(
                "upstream.tls",
                format!("{} is not spoken over TLS", self.address),
                "write https:// before the address, or take `tls` out",
            ),
            (Some(tls), Protocol::Https) if tls.certificate.is_some() != tls.key.is_some() => findings.push(
                "upstream.tls",
                "`certificate` and `key` belong together",
                "set both, or neither when the app asks for no certificate",
            ),
            (Some(_), Protocol::Https) | (None, Protocol::Http | Protocol::H2c) => {}
        }
    }

    /// Whether the address is that of the listener at `listener`, as far as it can be told without asking anyone.
    pub fn reaches(&self, listener: SocketAddr) -> bool {
        let Some(host) = self.address.host() else { return false };
        let here = host.eq_ignore_ascii_case("localhost");
        let ip = host.parse::<IpAddr>().ok();
        let here = here || ip.is_some_and(|ip| ip.is_loopback() || ip.is_unspecified());
        let listens_here = listener.ip().is_loopback() || listener.ip().is_unspecified();
        self.address.port() == Some(listener.port()) && (ip == Some(listener.ip()) || here && listens_here)
    }
}
