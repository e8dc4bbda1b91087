//! What a client may use of us.

use std::{num::NonZeroUsize, time::Duration};

use serde::{Deserialize, Serialize};

use super::{findings::Findings, units};

/// A request line and a token do not fit into less, in bytes.
const MIN_HEADER_BYTES: u64 = 1 << 10;

/// What a client may use of us.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections at once; further ones wait in the kernel's queue.
    pub max_connections: NonZeroUsize,
    /// Requests at once; further ones are answered 503.
    pub max_in_flight: NonZeroUsize,
    /// The request line and all header lines of a request together.
    #[serde(with = "units::size")]
    pub max_header_bytes: u64,
    /// Header lines of a request.
    pub max_headers: NonZeroUsize,
    /// A request's body. 0 = no limit.
    #[serde(with = "units::size")]
    pub max_body_bytes: u64,
    /// Until the TLS handshake is done.
    #[serde(with = "units::duration")]
    pub handshake_timeout: Duration,
    /// From a request's first byte until the end of its header.
    #[serde(with = "units::duration")]
    pub header_timeout: Duration,
    /// How long a connection without a request is kept, and how long a client may take nothing of its answer.
    #[serde(with = "units::duration")]
    pub client_idle_timeout: Duration,
    /// Requests at once on one HTTP/2 connection.
    pub http2_streams: u32,
    /// How long nothing may go either way through a WebSocket. 0 = no limit.
    #[serde(with = "units::duration")]
    pub upgrade_idle_timeout: Duration,
    /// How long a WebSocket may last. 0 = no limit.
    #[serde(with = "units::duration")]
    pub upgrade_lifetime: Duration,
    /// Whether a WebSocket may outlast the token that opened it.
    pub upgrade_past_expiry: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: NonZeroUsize::new(4096).unwrap_or(NonZeroUsize::MIN),
            max_in_flight: NonZeroUsize::new(1024).unwrap_or(NonZeroUsize::MIN),
            max_header_bytes: 32 * 1024,
            max_headers: NonZeroUsize::new(100).unwrap_or(NonZeroUsize::MIN),
            max_body_bytes: 0,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            client_idle_timeout: Duration::from_secs(75),
            http2_streams: 100,
            upgrade_idle_timeout: Duration::from_secs(300),
            upgrade_lifetime: Duration::ZERO,
            upgrade_past_expiry: false,
        }
    }
}

/// More than any process can hold: a mistyped number.
const MAX_COUNT: usize = 1_000_000;

/// More than any app takes. The library's map has room for 24,576 names, and what we add must fit in as well.
const MAX_HEADERS: usize = 20_000;

impl Limits {
    pub(super) fn check(&self, findings: &mut Findings<'_>) {
        let timeouts = [
            ("limits.handshake_timeout", self.handshake_timeout, "no TLS handshake", "10s"),
            ("limits.header_timeout", self.header_timeout, "no request", "10s"),
            ("limits.client_idle_timeout", self.client_idle_timeout, "no connection", "75s"),
        ];
        for (key, timeout, what, usual) in timeouts {
            if timeout.is_zero() {
                findings.push(key, format!("with no time at all, {what} succeeds"), format!("set it to {usual}"));
            }
        }
        if self.max_header_bytes < MIN_HEADER_BYTES {
            findings.push("limits.max_header_bytes", "no browser's header is that small", "set it to 1KiB or more");
        }
        let counts = [
            ("limits.max_connections", self.max_connections.get(), MAX_COUNT),
            ("limits.max_in_flight", self.max_in_flight.get(), MAX_COUNT),
            ("limits.max_headers", self.max_headers.get(), MAX_HEADERS),
        ];
        for (key, count, most) in counts {
            if count > most {
                findings.push(key, format!("{count} are more than {most}"), "set a limit that the machine can keep");
            }
        }
        if self.http2_streams == 0 {
            findings.push(
                "limits.http2_streams",
                "without streams there is no request",
                "to do without HTTP/2 set `listen.http2: false`",
            );
        }
    }
}
