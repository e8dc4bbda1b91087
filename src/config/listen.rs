//! The listener that clients reach, whom it believes, and what it serves TLS with.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Network, findings::Findings, units};

/// The listener that clients reach.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// Where to listen.
    pub address: ListenAddress,
    /// What to serve over TLS with. Without it `plaintext` must be true.
    pub tls: Option<Tls>,
    /// Says that serving without TLS is meant: it ends elsewhere, or this is a laptop.
    pub plaintext: bool,
    /// Whether HTTP/2 is spoken beside HTTP/1.1: offered by ALPN, and without TLS understood by prior knowledge.
    pub http2: bool,
    /// Whether each connection begins with a PROXY protocol header, version 1 or 2, from one of `trusted_proxies`.
    pub proxy_protocol: bool,
    /// Who is believed about where a request comes from.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// In which headers they say it.
    pub forwarded: Forwarded,
}

/// Where to listen: an IP address and a port, or `unix:/path`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ListenAddress {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A Unix socket, by its absolute path.
    Unix(PathBuf),
}

/// A proxy whose word is taken: by its network, or whoever connects over a Unix socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TrustedProxy {
    /// Those with an address in this network.
    Network(Network),
    /// Peers on a Unix socket, which have no address.
    Unix,
}

/// The headers in which trusted proxies say where a request comes from. A proxy that writes one family lets a client's own
/// word in the other one through; so there is one that is believed, and the other is dropped.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forwarded {
    /// `X-Forwarded-For`, `-Proto`, `-Host` and `-Port`.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
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
        Self {
            address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8443)).into(),
            tls: None,
            plaintext: false,
            http2: true,
            proxy_protocol: false,
            trusted_proxies: Vec::new(),
            forwarded: Forwarded::default(),
        }
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
        if self.forwarded != Forwarded::default() && self.trusted_proxies.is_empty() {
            let what = "this has no effect: nobody is believed about where a request comes from";
            findings.push("listen.forwarded", what, "name the proxy in `listen.trusted_proxies`, or take the key out");
        }
        let (unix, remedy) = match self.address {
            ListenAddress::Tcp(_) => (
                false,
                "name the load balancer's networks in `listen.trusted_proxies`, or 0.0.0.0/0 and ::/0 for anyone's",
            ),
            ListenAddress::Unix(_) => (true, "add `unix` to `listen.trusted_proxies`"),
        };
        if self.proxy_protocol && !self.trusted_proxies.iter().any(|proxy| (*proxy == TrustedProxy::Unix) == unix) {
            let what = "there is nobody whose PROXY header is believed, so that every connection would be closed";
            findings.push("listen.proxy_protocol", what, remedy);
        }
    }
}

impl ListenAddress {
    /// The IP address and port, unless it is a Unix socket.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// The path, if it is a Unix socket.
    pub fn unix(&self) -> Option<&Path> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(path) => Some(path),
        }
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

/// What the kernel has room for, with the zero at the end (unix(7)).
const LONGEST_PATH: usize = 107;

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix("unix:") else {
            return text.parse().map(Self::Tcp).map_err(|_| format!("`{text}` is not {WANTED_ADDRESS}"));
        };
        if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
            return Err(format!(
                "`{text}` does not name a file by its absolute path, like unix:/run/sidegate/http.sock"
            ));
        }
        // As a URL it would have two slashes more.
        let path = format!("/{}", path.trim_start_matches('/'));
        if path.len() > LONGEST_PATH {
            return Err(format!(
                "the path of a Unix socket has {LONGEST_PATH} bytes at most, and this one {}",
                path.len()
            ));
        }
        Ok(Self::Unix(path.into()))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

const WANTED_ADDRESS: &str = "an IP address with a port, like 0.0.0.0:8443 or [::]:8443, or unix:/path";

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        units::text(deserializer, WANTED_ADDRESS)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for ListenAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TrustedProxy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = units::text(deserializer, "an IP address or network, or `unix`")?;
        if text == "unix" {
            return Ok(Self::Unix);
        }
        text.parse().map(Self::Network).map_err(de::Error::custom)
    }
}

impl Serialize for TrustedProxy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Network(network) => network.serialize(serializer),
            Self::Unix => serializer.serialize_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_port_or_a_path() {
        for (text, shown) in [
            ("0.0.0.0:8443", "0.0.0.0:8443"),
            ("[::]:8443", "[::]:8443"),
            ("unix:/run/http.sock", "unix:/run/http.sock"),
            ("unix:///run/http.sock", "unix:/run/http.sock"),
        ] {
            assert_eq!(text.parse::<ListenAddress>().map(|address| address.to_string()), Ok(shown.to_owned()));
        }
        let long = format!("unix:/{}", "a".repeat(LONGEST_PATH));
        for text in ["", "8443", "localhost:8443", "unix:", "unix:run/http.sock", "unix:/run/", "unix:/", &long] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text:?}");
        }
        assert!(long[..long.len() - 1].parse::<ListenAddress>().is_ok());
    }
}
