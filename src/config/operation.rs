//! What the operator sees and how we stop: probes, logs, shutdown.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{findings::Findings, listen::Listen, units};

/// Probes and metrics.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Where they are served, over plain HTTP. It must be reachable by kubelet and Prometheus.
    #[serde(deserialize_with = "units::address")]
    pub address: SocketAddr,
}

/// What is written to stdout and stderr.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The least severe message written to stderr.
    pub level: Level,
    /// The form of the access log on stdout.
    pub access: AccessLog,
}

/// A severity.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// The form of the access log.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLog {
    /// One JSON object a line, with the field names of Envoy and Istio.
    #[default]
    Json,
    /// nginx's `combined`.
    Combined,
    /// None.
    Off,
}

/// How we stop.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// After SIGTERM: not ready, but still accepting, until the endpoints have heard of it.
    #[serde(with = "units::duration")]
    pub delay: Duration,
    /// Then: no new connection; how long the requests under way may take.
    #[serde(with = "units::duration")]
    pub grace: Duration,
}

impl Default for Admin {
    fn default() -> Self {
        Self { address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9090)) }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { delay: Duration::from_secs(5), grace: Duration::from_secs(20) }
    }
}

impl Admin {
    pub(super) fn check(&self, listen: &Listen, findings: &mut Findings<'_>) {
        let Some(theirs) = listen.address.tcp() else { return };
        let ours = self.address;
        let overlap = ours.ip() == theirs.ip() || ours.ip().is_unspecified() || theirs.ip().is_unspecified();
        // Port 0 is whichever is free.
        if overlap && ours.port() == theirs.port() && ours.port() != 0 {
            findings.push(
                "admin.address",
                format!("{ours} and listen.address {theirs} are the same port"),
                "give one of them another port",
            );
        }
    }
}
