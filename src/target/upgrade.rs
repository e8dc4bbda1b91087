//! Whether a request asks for another protocol, in the one form that is let through.

use http::{
    Method, Request, Version,
    header::{CONNECTION, CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING, UPGRADE},
};

use crate::fields;

/// The one protocol that may be switched to. After the switch we see bytes and no requests, so that it must be one that
/// carries no further requests: `h2c` would be a tunnel past the rules.
pub const WEBSOCKET: &str = "websocket";

/// Whether `request` asks to become a WebSocket (RFC 9110 section 7.8, RFC 6455 section 4.1): an HTTP/1.1 GET without a
/// body, `Connection` with `upgrade`, and `Upgrade` with that one protocol. Whatever is not of this form is a request
/// like any other, and the app does not learn that it asked.
pub(super) fn is_requested<B>(request: &Request<B>) -> bool {
    if request.method() != Method::GET || request.version() != Version::HTTP_11 {
        return false;
    }
    let headers = request.headers();
    is_to_websocket(headers) && fields::has(headers, &CONNECTION, "upgrade") && !has_body(headers)
}

/// Whether `Upgrade` names the WebSocket protocol once, and nothing else. Of an answer, too.
pub fn is_to_websocket(headers: &HeaderMap) -> bool {
    let named = fields::only(headers, &UPGRADE).ok().flatten();
    named.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()))
}

/// In HTTP/1.1 these headers say it, and nothing else does.
fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn asks(method: &str, version: Version, lines: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().method(method).version(version).uri("/");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        is_requested(&request.body(()).unwrap())
    }

    #[test]
    fn a_browsers_handshake_asks_for_it() {
        for connection in ["Upgrade", "upgrade", "keep-alive, Upgrade", "keep-alive,upgrade ,x"] {
            let lines = [("connection", connection), ("upgrade", "websocket")];
            assert!(asks("GET", Version::HTTP_11, &lines), "{connection}");
        }
        let lines = [("connection", "keep-alive"), ("connection", "upgrade"), ("upgrade", "WebSocket")];
        assert!(asks("GET", Version::HTTP_11, &lines));
        let lines = [("connection", "upgrade"), ("upgrade", "websocket"), ("content-length", "0")];
        assert!(asks("GET", Version::HTTP_11, &lines));
    }

    #[test]
    fn what_is_not_of_that_form_does_not() {
        let (upgrade, websocket) = (("connection", "upgrade"), ("upgrade", "websocket"));
        let h1 = Version::HTTP_11;
        for (method, version, lines) in [
            ("POST", h1, &[upgrade, websocket][..]),
            ("HEAD", h1, &[upgrade, websocket]),
            ("GET", Version::HTTP_10, &[upgrade, websocket]),
            ("GET", Version::HTTP_2, &[upgrade, websocket]),
            ("GET", h1, &[websocket]),
            ("GET", h1, &[upgrade]),
            ("GET", h1, &[("connection", "upgraded"), websocket]),
            ("GET", h1, &[("connection", "close"), websocket]),
            ("GET", h1, &[upgrade, websocket, websocket]),
            ("GET", h1, &[upgrade, websocket, ("upgrade", "h2c")]),
            ("GET", h1, &[upgrade, ("upgrade", "websocket, h2c")]),
            ("GET", h1, &[upgrade, ("upgrade", "h2c")]),
            ("GET", h1, &[upgrade, ("upgrade", "websocket/13")]),
            ("GET", h1, &[upgrade, ("upgrade", "")]),
            ("GET", h1, &[upgrade, websocket, ("content-length", "5")]),
            ("GET", h1, &[upgrade, websocket, ("transfer-encoding", "chunked")]),
        ] {
            assert!(!asks(method, version, lines), "{method} {version:?} {lines:?}");
        }
    }
}
