//! The host that a request is for: exactly one, and the same wherever the request says it.

use std::{net::Ipv6Addr, str};

use http::{
    Request, Version,
    header::{self, HeaderValue},
};

use crate::{fields, reason::Reason};

/// The host that the client asked for (RFC 9112 section 3.2, RFC 9113 section 8.3.1).
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// As the client wrote it, with its port.
    written: HeaderValue,
    /// How much of it is the name, without port and without a dot at the end.
    name: usize,
}

impl Host {
    /// The host of `request`.
    ///
    /// # Errors
    /// `header_invalid` when there is none, when there are two, or when it is not one that everybody reads alike.
    pub(super) fn of<B>(request: &Request<B>) -> Result<Self, Reason> {
        let named = fields::only(request.headers(), &header::HOST).map_err(|_| Reason::HeaderInvalid)?;
        match (named, request.uri().authority()) {
            (Some(host), None) => Self::parse(host.clone()),
            (None, Some(authority)) if request.version() == Version::HTTP_2 => {
                Self::parse(HeaderValue::from_str(authority.as_str()).map_err(|_| Reason::HeaderInvalid)?)
            }
            (Some(host), Some(authority)) if host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) => {
                Self::parse(host.clone())
            }
            // HTTP/1.0 knows no Host. The app, to which we speak HTTP/1.1, is told this one, so the rules see it too.
            (None, None) if request.version() == Version::HTTP_10 => Self::parse(HeaderValue::from_static("localhost")),
            _ => Err(Reason::HeaderInvalid),
        }
    }

    /// As the client wrote it, with its port.
    pub(super) fn written(&self) -> &HeaderValue {
        &self.written
    }

    /// The name, in the case in which it was written, without port and without a dot at the end.
    pub(super) fn name(&self) -> &[u8] {
        &self.written.as_bytes()[..self.name]
    }

    /// A name, an IPv4 address, or an IPv6 address in brackets; then a port, perhaps. Stricter than RFC 3986, by which
    /// a host may hold `%41`, `,`, `;` or `=` as well: these mean something in the headers and URLs that are made of it.
    pub(super) fn parse(written: HeaderValue) -> Result<Self, Reason> {
        let bytes = written.as_bytes();
        let (name, host) = match bytes.first() {
            Some(b'[') => {
                let end = bytes.iter().position(|byte| *byte == b']').ok_or(Reason::HeaderInvalid)?;
                // Zones (RFC 6874) mean something on the client's machine only; they are no address to the parser.
                let address = str::from_utf8(&bytes[1..end]).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
                address.ok_or(Reason::HeaderInvalid)?;
                (end + 1, end + 1)
            }
            _ => {
                let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
                let host = bytes.iter().position(|byte| !plain(byte)).unwrap_or(bytes.len());
                let name = bytes[..host].strip_suffix(b".").map_or(host, <[u8]>::len);
                if bytes[..name].split(|byte| *byte == b'.').any(<[u8]>::is_empty) {
                    return Err(Reason::HeaderInvalid);
                }
                (name, host)
            }
        };
        if host < bytes.len() && !bytes[host..].strip_prefix(b":").is_some_and(is_port) {
            return Err(Reason::HeaderInvalid);
        }
        Ok(Self { written, name })
    }
}

/// 1 to 65535, written in one way.
fn is_port(digits: &[u8]) -> bool {
    let value = digits.iter().try_fold(0_u32, |value, byte| {
        (byte.is_ascii_digit() && value <= 6553).then(|| value * 10 + u32::from(byte - b'0'))
    });
    digits.first().is_some_and(|first| *first != b'0') && value.is_some_and(|value| value <= 65535)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn host(version: Version, target: &str, hosts: &[&str]) -> Result<Host, Reason> {
        let mut request = Request::get(target).version(version);
        for host in hosts {
            request = request.header("host", *host);
        }
        Host::of(&request.body(()).unwrap())
    }

    #[test]
    fn there_is_one_host() {
        let (h0, h1, h2) = (Version::HTTP_10, Version::HTTP_11, Version::HTTP_2);
        for (version, target, hosts, written, name) in [
            (h1, "/", &["app.example:8443"][..], "app.example:8443", "app.example"),
            (h1, "/", &["app.example."], "app.example.", "app.example"),
            (h1, "/", &["app.example.:80"], "app.example.:80", "app.example"),
            (h1, "/", &["App.Example"], "App.Example", "App.Example"),
            (h1, "/", &["my_app:1"], "my_app:1", "my_app"),
            (h1, "/", &["127.0.0.1:65535"], "127.0.0.1:65535", "127.0.0.1"),
            (h1, "/", &["[::1]:8443"], "[::1]:8443", "[::1]"),
            (h1, "/", &["[2001:db8::1]"], "[2001:db8::1]", "[2001:db8::1]"),
            (h1, "http://app.example/", &["APP.example"], "APP.example", "APP.example"),
            (h1, "http://app.example:80/", &["app.example:80"], "app.example:80", "app.example"),
            (h0, "/", &["app.example"], "app.example", "app.example"),
            (h0, "/", &[], "localhost", "localhost"),
            (h2, "https://app.example/", &[], "app.example", "app.example"),
            (h2, "https://app.example/", &["app.example"], "app.example", "app.example"),
            (h2, "/", &["app.example"], "app.example", "app.example"),
            (h2, "https://[::1]:8443/", &[], "[::1]:8443", "[::1]"),
        ] {
            let host = host(version, target, hosts).unwrap();
            assert_eq!(host.written(), written);
            assert_eq!(host.name(), name.as_bytes(), "{written}");
        }
        for (version, target, hosts) in [
            (h1, "/", &[][..]),
            (h1, "/", &["a", "a"]),
            (h1, "/", &["a", "b"]),
            (h0, "/", &["a", "a"]),
            (h0, "http://a/", &[]),
            (h1, "http://a/", &["b"]),
            (h1, "http://a/", &["a:80"]),
            (h1, "http://a/", &["a."]),
            (h1, "http://a/", &[]),
            (h1, "http://user@a/", &["a"]),
            (h1, "http://user@a/", &["user@a"]),
            (h2, "https://a/", &["b"]),
            (h2, "https://a/", &["a", "a"]),
            (h2, "https://user@a/", &[]),
            (h2, "/", &[]),
        ] {
            let host = host(version, target, hosts).map(|host| host.written);
            assert_eq!(host, Err(Reason::HeaderInvalid), "{version:?} {target} {hosts:?}");
        }
    }

    #[test]
    fn it_is_a_host_that_everybody_reads_alike() {
        for written in [
            "",
            ".",
            "..",
            ".a",
            "a..",
            "a..b",
            "a b",
            "a,b",
            "a;b",
            "a/b",
            "a\\b",
            "a?b",
            "a#b",
            "a%41",
            "a%2eb",
            "a=b",
            "user@a",
            "@a",
            ":80",
            "a:",
            "a:0",
            "a:080",
            "a:65536",
            "a:99999",
            "a:4294967376",
            "a:80:80",
            "a:+80",
            "a:x",
            "a: 80",
            "[::1",
            "::1",
            "[]",
            "[::1]x",
            "[::1]:",
            "[::1]:0",
            "[::1].",
            "[fe80::1%25eth0]",
            "[fe80::1%eth0]",
            "[v1.a]",
            "[127.0.0.1]",
            "[[::1]]",
            "a]",
            "*.a",
            "a\u{e9}",
        ] {
            let value = HeaderValue::from_bytes(written.as_bytes()).unwrap();
            assert_eq!(Host::parse(value).map(|host| host.written), Err(Reason::HeaderInvalid), "{written:?}");
        }
    }
}
