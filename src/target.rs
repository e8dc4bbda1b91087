//! The one canonical target of a request: computed once, matched by the rules and forwarded to the app.

use http::{
    Method, Request, Version,
    header::{self, HeaderMap, HeaderValue},
    uri::{Authority, PathAndQuery},
};

pub use self::upgrade::{WEBSOCKET, is_to_websocket};
use crate::reason::Reason;

mod upgrade;

/// A target that has one reading only. What is matched is what is forwarded.
#[derive(Clone, Debug)]
pub struct Target {
    /// Path and query as the client wrote them: what the app is sent.
    forwarded: PathAndQuery,
    /// The decoded path where it differs from the written one.
    decoded: Option<Box<str>>,
    /// The decoded path without `;parameters`, where it has any.
    bare: Option<Box<str>>,
    /// The host that the client asked for.
    host: HeaderValue,
    /// Whether it is to become a WebSocket.
    upgrade: bool,
}

impl Target {
    /// The target of `request`.
    ///
    /// # Errors
    /// `path_ambiguous`, `method_invalid` or `header_invalid` when proxy and app could read it in two ways.
    pub fn parse<B>(request: &Request<B>) -> Result<Self, Reason> {
        // RFC 9110 section 9.1 makes `post` another method than `POST`. Werkzeug makes them one, after our rules saw two.
        if request.method().as_str().bytes().any(|byte| byte.is_ascii_lowercase()) {
            return Err(Reason::MethodInvalid);
        }
        // CONNECT asks for a tunnel past the rules; `OPTIONS *` has no path that a rule could match.
        let forwarded = request.uri().path_and_query().ok_or(Reason::PathAmbiguous)?.clone();
        if request.method() == Method::CONNECT || !forwarded.path().starts_with('/') {
            return Err(Reason::PathAmbiguous);
        }
        let decoded = canonical(forwarded.path())?;
        let bare = without_parameters(decoded.as_deref().unwrap_or(forwarded.path()))?;
        let host = host(request)?;
        Ok(Self { forwarded, decoded, bare, host, upgrade: upgrade::is_requested(request) })
    }

    /// Whether the request asks to become a WebSocket. Only then may the app's answer be a tunnel, and a token be where
    /// browsers can put it for a WebSocket alone.
    pub fn is_upgrade(&self) -> bool {
        self.upgrade
    }

    /// The decoded path: what the rules match.
    pub fn path(&self) -> &str {
        self.decoded.as_deref().unwrap_or_else(|| self.forwarded.path())
    }

    /// The path as a servlet container reads it, without `;parameters`, where that is another one. An app of either
    /// kind may be behind us, so the rules must decide the same for both.
    pub fn second_reading(&self) -> Option<&str> {
        self.bare.as_deref()
    }

    /// Path and query for the app.
    pub fn forwarded(&self) -> &PathAndQuery {
        &self.forwarded
    }

    /// The host, with its port where the client wrote one.
    pub fn host(&self) -> &HeaderValue {
        &self.host
    }
}

/// Decodes `path` once. `None` when there is nothing to decode.
fn canonical(path: &str) -> Result<Option<Box<str>>, Reason> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'%' | b'\\');
    let decoded = if path.bytes().all(plain) { None } else { Some(decode(path.as_bytes())?) };
    has_plain_segments(decoded.as_deref().unwrap_or(path))?;
    Ok(decoded)
}

/// Refuses dot segments, and empty ones but for a slash at the end.
fn has_plain_segments(path: &str) -> Result<(), Reason> {
    let inner = path.strip_prefix('/').unwrap_or(path);
    let segments = inner.strip_suffix('/').unwrap_or(inner);
    if !inner.is_empty() && segments.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(Reason::PathAmbiguous);
    }
    Ok(())
}

/// Percent-decodes, refusing what could be structure: separators, controls, and what a second decoder would make one.
fn decode(bytes: &[u8]) -> Result<Box<str>, Reason> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let escaped = byte == b'%';
        let byte = if escaped { escape(rest).ok_or(Reason::PathAmbiguous)? } else { byte };
        rest = if escaped { &rest[2..] } else { rest };
        let raw = !escaped && !byte.is_ascii_graphic();
        if raw || byte.is_ascii_control() || byte == b'\\' || (escaped && byte == b'/') {
            return Err(Reason::PathAmbiguous);
        }
        decoded.push(byte);
    }
    for (i, _) in decoded.iter().enumerate().filter(|(_, byte)| **byte == b'%') {
        let twice = escape(&decoded[i + 1..]);
        if twice.is_some_and(|byte| byte.is_ascii_control() || br"/\.;%?#".contains(&byte)) {
            return Err(Reason::PathAmbiguous);
        }
    }
    String::from_utf8(decoded).map(String::into_boxed_str).map_err(|_| Reason::PathAmbiguous)
}

/// The byte that the two hex digits at the start of `text` stand for.
fn escape(text: &[u8]) -> Option<u8> {
    let digit = |i: usize| char::from(*text.get(i)?).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

/// The path as a reader sees it that drops parameters, for which `/a/..;x/b` is traversal.
fn without_parameters(path: &str) -> Result<Option<Box<str>>, Reason> {
    if !path.contains(';') {
        return Ok(None);
    }
    let segments: Vec<_> = path.split('/').map(|segment| segment.split(';').next().unwrap_or("")).collect();
    let bare = segments.join("/");
    has_plain_segments(&bare)?;
    Ok(Some(bare.into_boxed_str()))
}

/// The host: exactly one, and the same wherever it is said (RFC 9112 section 3.2, RFC 9113 section 8.3.1).
fn host<B>(request: &Request<B>) -> Result<HeaderValue, Reason> {
    let named = single(request.headers(), header::HOST)?;
    let authority = request.uri().authority();
    match (named, authority) {
        (Some(host), None) => {
            valid_host(host)?;
            Ok(host.clone())
        }
        (None, Some(authority)) if request.version() == Version::HTTP_2 => {
            let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Reason::HeaderInvalid)?;
            valid_host(&host)?;
            Ok(host)
        }
        (Some(host), Some(authority)) if host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) => {
            valid_host(host)?;
            Ok(host.clone())
        }
        // HTTP/1.0 knows no Host.
        (None, None) if request.version() == Version::HTTP_10 => Ok(HeaderValue::from_static("localhost")),
        _ => Err(Reason::HeaderInvalid),
    }
}

fn valid_host(host: &HeaderValue) -> Result<(), Reason> {
    // Nearly every host is a name or an IPv4 address, and then this says all that the parser would.
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let bytes = host.as_bytes();
    let name = bytes.iter().take_while(|byte| plain(byte)).count();
    let port = bytes[name..].strip_prefix(b":");
    if name > 0
        && (name == bytes.len() || port.is_some_and(|p| (1..6).contains(&p.len()) && p.iter().all(u8::is_ascii_digit)))
    {
        return Ok(());
    }
    let authority = Authority::try_from(host.as_bytes()).map_err(|_| Reason::HeaderInvalid)?;
    // `user@host` is a place to hide another host.
    if authority.host().is_empty() || authority.as_str().contains('@') {
        return Err(Reason::HeaderInvalid);
    }
    Ok(())
}

fn single(headers: &HeaderMap, name: header::HeaderName) -> Result<Option<&HeaderValue>, Reason> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(Reason::HeaderInvalid) } else { Ok(first) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn parse(target: &str) -> Result<Target, Reason> {
        Target::parse(&Request::get(target).header("host", "app.example").body(()).unwrap())
    }

    #[test]
    fn what_has_one_reading_is_matched_decoded_and_forwarded_as_written() {
        for (target, path) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/", "/a/"),
            ("/a?x=/../b&y=%2f", "/a"),
            ("/caf%C3%A9", "/café"),
            ("/a%20b", "/a b"),
            ("/100%25", "/100%"),
            ("/100%25zz", "/100%zz"),
            ("/a%2520b", "/a%20b"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/a%3bb", "/a;b"),
            ("/~user/a:b@c!$&'()*+,=-_", "/~user/a:b@c!$&'()*+,=-_"),
        ] {
            let parsed = parse(target).unwrap();
            assert_eq!(parsed.path(), path);
            assert_eq!(parsed.forwarded().as_str(), target);
        }
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        for target in [
            "//a",
            "/a//b",
            "/a//",
            "/./a",
            "/a/.",
            "/a/..",
            "/../a",
            "/a/../b",
            "/%2e/a",
            "/%2e%2e/a",
            "/.%2E/a",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a%00",
            "/a%0a",
            "/a%0d%0ab",
            "/a%7f",
            "/a%",
            "/a%2",
            "/a%zz",
            "/%252e%252e/a",
            "/a%252fb",
            "/a%25%32%66",
            "/%ff",
            "/%c0%af",
            "/%c3",
            "/a/..;/b",
            "/a/.;x/b",
            "/a;/../b",
            "/a/;x/b",
            "/;/a",
        ] {
            assert_eq!(parse(target).err(), Some(Reason::PathAmbiguous), "{target}");
        }
    }

    #[test]
    fn parameters_have_a_second_reading() {
        assert_eq!(parse("/admin;x=1/users;y").unwrap().second_reading(), Some("/admin/users"));
        assert_eq!(parse("/admin%3bx").unwrap().second_reading(), Some("/admin"));
        assert_eq!(parse("/admin").unwrap().second_reading(), None);
    }

    #[test]
    fn connect_and_the_asterisk_are_refused() {
        for (method, target) in [("CONNECT", "app.example:443"), ("OPTIONS", "*")] {
            let request = Request::builder().method(method).uri(target).header("host", "app.example").body(()).unwrap();
            assert_eq!(Target::parse(&request).err(), Some(Reason::PathAmbiguous), "{method} {target}");
        }
    }

    #[test]
    fn a_method_has_one_spelling() {
        for (method, expected) in [
            ("POST", None),
            ("PROPFIND", None),
            ("VERSION-CONTROL", None),
            ("post", Some(Reason::MethodInvalid)),
            ("Post", Some(Reason::MethodInvalid)),
            ("gET", Some(Reason::MethodInvalid)),
        ] {
            let request = Request::builder().method(method).uri("/").header("host", "app.example").body(()).unwrap();
            assert_eq!(Target::parse(&request).err(), expected, "{method}");
        }
    }

    #[test]
    fn there_is_one_host() {
        let host = |version: Version, target: &str, hosts: &[&str]| {
            let mut request = Request::get(target).version(version);
            for host in hosts {
                request = request.header("host", *host);
            }
            Target::parse(&request.body(()).unwrap()).map(|target| target.host().clone())
        };
        let (h1, h2) = (Version::HTTP_11, Version::HTTP_2);
        assert_eq!(host(h1, "/", &["app.example:8443"]).unwrap(), "app.example:8443");
        assert_eq!(host(h1, "/", &["[::1]:8443"]).unwrap(), "[::1]:8443");
        assert_eq!(host(h1, "http://app.example/", &["APP.example"]).unwrap(), "APP.example");
        assert_eq!(host(h2, "https://app.example/", &[]).unwrap(), "app.example");
        assert_eq!(host(h2, "https://app.example/", &["app.example"]).unwrap(), "app.example");
        for (version, target, hosts) in [
            (h1, "/", &[][..]),
            (h1, "/", &["a", "a"]),
            (h1, "/", &["a", "b"]),
            (h1, "/", &["a b"]),
            (h1, "/", &[""]),
            (h1, "/", &["user@a"]),
            (h1, "/", &["a/b"]),
            (h1, "http://a/", &["b"]),
            (h1, "http://a/", &[]),
            (h2, "https://a/", &["b"]),
        ] {
            assert_eq!(host(version, target, hosts), Err(Reason::HeaderInvalid), "{target} {hosts:?}");
        }
    }
}
