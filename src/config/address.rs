//! Where the app listens, and what it speaks there.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::units;

const WANTED: &str = "an address like http://HOST:PORT, https://HOST:PORT, h2c://HOST:PORT or unix:/PATH";

/// The longest path of a socket that the kernel takes, in bytes.
const MAX_PATH: usize = 107;

/// Where the app listens: `http://HOST:PORT`, `https://HOST:PORT`, `h2c://HOST:PORT` or `unix:/PATH`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpstreamAddress {
    /// What it speaks.
    pub protocol: Protocol,
    /// Where that is.
    pub endpoint: Endpoint,
}

/// What the app speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/1.1 inside TLS.
    Https,
    /// HTTP/2 without TLS and without asking first (RFC 9113 section 3.3), as gRPC servers do.
    H2c,
}

/// Where something listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Endpoint {
    /// A port.
    Tcp {
        /// A name, an IPv4 address, or an IPv6 address without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A socket in the file system.
    Unix(PathBuf),
}

impl UpstreamAddress {
    /// The host, where there is one: a name, an IPv4 address, or an IPv6 address without brackets.
    pub fn host(&self) -> Option<&str> {
        match &self.endpoint {
            Endpoint::Tcp { host, .. } => Some(host),
            Endpoint::Unix(_) => None,
        }
    }

    /// The port, where there is one.
    pub fn port(&self) -> Option<u16> {
        match self.endpoint {
            Endpoint::Tcp { port, .. } => Some(port),
            Endpoint::Unix(_) => None,
        }
    }
}

impl Default for UpstreamAddress {
    /// `http://127.0.0.1:5000`: where `flask run` listens.
    fn default() -> Self {
        Self { protocol: Protocol::Http, endpoint: Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: 5000 } }
    }
}

impl FromStr for UpstreamAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path).map_err(|what| format!("`{text}` is not a socket's address: {what}"));
        }
        let expected = || format!("`{text}` is not {WANTED}");
        let (scheme, rest) = text.split_once("://").ok_or_else(expected)?;
        let (protocol, default_port) = match scheme {
            "http" => (Protocol::Http, Some(80)),
            "https" => (Protocol::Https, Some(443)),
            "h2c" => (Protocol::H2c, None),
            "grpc" => return Err(format!("`{text}` is not {WANTED}; gRPC without TLS is `h2c://{rest}`")),
            _ => return Err(expected()),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if !matches!(path, "" | "/") {
            return Err(format!(
                "`{text}` has a path, and the app gets the one that the client asks for; write `{scheme}://{authority}`"
            ));
        }
        if let Some((_, authority)) = authority.rsplit_once('@') {
            // What stands there may be a secret: it is not repeated.
            return Err(format!(
                "the address has a name or password, and none is sent to the app; write `{scheme}://{authority}`"
            ));
        }
        let parsed = authority.parse::<http::uri::Authority>().map_err(|_| expected())?;
        let host = Some(parsed.host()).filter(|host| !host.is_empty()).ok_or_else(expected)?;
        let port = match &authority[host.len()..] {
            "" => default_port.ok_or_else(|| format!("`{text}` has no port; write `{scheme}://{authority}:PORT`"))?,
            port => {
                let port = port.strip_prefix(':').ok_or_else(expected)?;
                port_number(port).ok_or_else(|| format!("`{text}` has no port from 1 to 65535 behind `:`"))?
            }
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { protocol, endpoint: Endpoint::Tcp { host, port } })
    }
}

fn port_number(text: &str) -> Option<u16> {
    // `parse` takes a sign, too.
    let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits?.parse().ok().filter(|port| *port > 0)
}

/// `/run/app.sock`; with `//` before it as Docker writes it.
fn unix(path: &str) -> Result<UpstreamAddress, &'static str> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if !path.starts_with('/') {
        return Err("its path must begin with `/`, like unix:/run/app/app.sock");
    }
    if path.len() > MAX_PATH || path.contains('\0') {
        return Err("its path must have at most 107 bytes, and no NUL");
    }
    Ok(UpstreamAddress { protocol: Protocol::Http, endpoint: Endpoint::Unix(Path::new(path).to_owned()) })
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            Protocol::Http => "http",
            Protocol::Https => "https",
            Protocol::H2c => "h2c",
        };
        match &self.endpoint {
            Endpoint::Tcp { host, port } if host.contains(':') => write!(f, "{scheme}://[{host}]:{port}"),
            Endpoint::Tcp { host, port } => write!(f, "{scheme}://{host}:{port}"),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for UpstreamAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        units::text(deserializer, WANTED)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for UpstreamAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn an_address_is_written_as_it_was_read() {
        for text in [
            "http://127.0.0.1:5000",
            "http://[::1]:5000",
            "https://app.internal:8443",
            "h2c://localhost:50051",
            "unix:/run/app/app.sock",
        ] {
            assert_eq!(text.parse::<UpstreamAddress>().unwrap().to_string(), text);
        }
        for (text, meant) in [
            ("http://app", "http://app:80"),
            ("https://app/", "https://app:443"),
            ("unix:///run/app.sock", "unix:/run/app.sock"),
        ] {
            assert_eq!(text.parse::<UpstreamAddress>().unwrap().to_string(), meant);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("unix:/{}", "x".repeat(MAX_PATH));
        for text in [
            "",
            "127.0.0.1:5000",
            "ftp://app:21",
            "http://app/../x",
            "http://",
            "http://a b:5000",
            "http://[::1",
            "http://[::1]5000",
            "http://app:5000:5001",
            "http://:5000",
            "unix:",
            "unix:app.sock",
            "unix://app/app.sock",
            "unix:@app",
            "unix:/a\0b",
            &long,
        ] {
            assert!(text.parse::<UpstreamAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_too_much_or_missing_is_said() {
        for (text, said) in [
            (
                "http://app:5000/path",
                "has a path, and the app gets the one that the client asks for; write `http://app:5000`",
            ),
            ("http://app:5000?a", "has a path"),
            ("http://app#a", "write `http://app`"),
            (
                "http://u:hunter2@app:5000",
                "has a name or password, and none is sent to the app; write `http://app:5000`",
            ),
            ("http://app:0", "`http://app:0` has no port from 1 to 65535"),
            ("http://127.0.0.1:99999", "has no port from 1 to 65535"),
            ("https://[::1]:65536", "has no port from 1 to 65535"),
            ("http://127.0.0.1:", "has no port from 1 to 65535"),
            ("http://app:+80", "has no port from 1 to 65535"),
            ("http://app:5OOO", "has no port from 1 to 65535"),
            ("h2c://app", "has no port; write `h2c://app:PORT`"),
            ("grpc://app:50051", "gRPC without TLS is `h2c://app:50051`"),
            ("ftp://app:21", "is not an address like http://HOST:PORT"),
        ] {
            let given = text.parse::<UpstreamAddress>().map_err(|given| (given.contains(said), given));
            assert!(matches!(&given, Err((true, given)) if !given.contains("hunter2")), "{text}: {given:?}");
        }
    }
}
