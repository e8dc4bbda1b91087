//! The app behind us.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{UpstreamAddress, findings::Findings, listen::Listen, units};

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
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            address: UpstreamAddress::default(),
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(300),
            keep_alive: Duration::from_secs(1),
        }
    }
}

impl Upstream {
    pub(super) fn check(&self, listen: &Listen, findings: &mut Findings<'_>) {
        if self.connect_timeout.is_zero() {
            findings.push("upstream.connect_timeout", "with no time to connect, no request succeeds", "set it to 1s");
        }
        if listen.address.tcp().is_some_and(|listener| self.reaches(listener)) {
            findings.push(
                "upstream.address",
                format!("{} is our own listener: every request would come back to us", self.address),
                "name the port that the app listens on",
            );
        }
    }

    /// Whether the address is that of the listener at `listener`, as far as it can be told without asking anyone.
    pub fn reaches(&self, listener: SocketAddr) -> bool {
        let host = self.address.host();
        let here = host.eq_ignore_ascii_case("localhost");
        let ip = host.parse::<IpAddr>().ok();
        let here = here || ip.is_some_and(|ip| ip.is_loopback() || ip.is_unspecified());
        let listens_here = listener.ip().is_loopback() || listener.ip().is_unspecified();
        self.address.port() == listener.port() && (ip == Some(listener.ip()) || here && listens_here)
    }
}
