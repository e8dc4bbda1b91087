//! The listener that clients reach, and what it serves TLS with.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use super::{findings::Findings, units};

/// The listener that clients reach.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// Where to listen.
    #[serde(deserialize_with = "units::address")]
    pub address: SocketAddr,
    /// What to serve over TLS with. Without it `plaintext` must be true.
    pub tls: Option<Tls>,
    /// Says that serving without TLS is meant: it ends elsewhere, or this is a laptop.
    pub plaintext: bool,
    /// Whether HTTP/2 is offered (by ALPN) beside HTTP/1.1.
    pub http2: bool,
}

/// A certificate chain and its key, both PEM.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain, leaf first.
    pub certificate: PathBuf,
    /// The leaf's private key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
    /// The oldest protocol version spoken.
    #[serde(default)]
    pub min_version: TlsVersion,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum TlsVersion {
    /// RFC 5246, with AEAD ciphers and ephemeral keys only.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    V1_3,
}

impl Default for Listen {
    fn default() -> Self {
        Self { address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8443)), tls: None, plaintext: false, http2: true }
    }
}

impl Listen {
    pub(super) fn check(&self, findings: &mut Findings<'_>) {
        match (&self.tls, self.plaintext) {
            (None, false) => findings.push(
                "listen",
                "there is no certificate to serve TLS with",
                "set `listen.tls`; or, when TLS ends elsewhere, say so by `listen.plaintext: true`",
            ),
            (Some(_), true) => findings.push(
                "listen.plaintext",
                "`tls` and `plaintext` exclude each other",
                "take `listen.plaintext` out to serve TLS",
            ),
            (None, true) | (Some(_), false) => {}
        }
    }
}
