//! Web pages: which of them may open a WebSocket with credentials that a browser adds by itself, and what their scripts
//! ask for. A browser lets every page open a WebSocket to everywhere, without asking first, and sends cookies and passwords
//! along.

use http::header::{ACCEPT, HeaderMap, HeaderValue, ORIGIN};

use crate::{
    config::Origin,
    fields::{self, Repeated},
};

/// Whether the page that asks is one of the host that it asks, or of one of the `trusted` origins. Who says neither an
/// origin nor where it stands is no browser.
pub(super) fn may_open(headers: &HeaderMap, host: &HeaderValue, trusted: &[Origin]) -> bool {
    match fields::only(headers, &ORIGIN) {
        Ok(None) => headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none"),
        Ok(Some(origin)) => {
            let origin = origin.as_bytes();
            let is_trusted = trusted.iter().any(|trusted| origin == trusted.as_str().as_bytes());
            is_trusted || is_of(origin, host.as_bytes())
        }
        Err(Repeated) => false,
    }
}

/// Whether an origin (RFC 6454) is of this host. Its port may be left out on either side where it is the usual one.
fn is_of(origin: &[u8], host: &[u8]) -> bool {
    let (authority, port) = match (origin.strip_prefix(b"https://"), origin.strip_prefix(b"http://")) {
        (Some(authority), _) => (authority, &b":443"[..]),
        (_, Some(authority)) => (authority, &b":80"[..]),
        (None, None) => return false,
    };
    let bare = |name: &'_ [u8]| name.strip_suffix(port).unwrap_or(name).to_ascii_lowercase();
    bare(authority) == bare(host)
}

/// Whether a script of a page, or something in the page, asks, and not a person who goes to it. Browsers say so in
/// `Sec-Fetch-Mode` (W3C Fetch Metadata); older ones' scripts often in `X-Requested-With`, or by preferring JSON to HTML. Who
/// says nothing of that is no browser, and opens no window.
pub(super) fn asks_in_the_background(headers: &HeaderMap) -> bool {
    if let Some(mode) = headers.get("sec-fetch-mode") {
        return mode != "navigate";
    }
    if headers.get("x-requested-with").is_some_and(|value| value == "XMLHttpRequest") {
        return true;
    }
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let place = |media_type| accept.split(',').position(|entry| entry.trim_start().starts_with(media_type));
    place("application/json").is_some_and(|json| place("text/html").is_none_or(|html| json < html))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn may(host: &str, lines: &[(&str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(http::HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        may_open(
            &headers,
            &HeaderValue::from_str(host).unwrap(),
            &["https://trusted.example".parse().unwrap(), "capacitor://localhost".parse().unwrap()],
        )
    }

    #[test]
    fn pages_of_the_same_host_and_of_trusted_origins_may() {
        for (host, origin) in [
            ("app.example", "https://app.example"),
            ("app.example", "http://app.example"),
            ("app.example:443", "https://app.example"),
            ("app.example", "https://app.example:443"),
            ("APP.example:8443", "https://app.EXAMPLE:8443"),
            ("[::1]:8443", "https://[::1]:8443"),
            ("app.example", "https://trusted.example"),
            ("app.example", "capacitor://localhost"),
        ] {
            assert!(may(host, &[("origin", origin)]), "{host} {origin}");
        }
    }

    #[test]
    fn other_pages_may_not() {
        for (host, origin) in [
            ("app.example", "https://evil.example"),
            ("app.example", "https://app.example.evil.example"),
            ("app.example", "https://evil.example/app.example"),
            ("app.example", "https://sub.app.example"),
            ("app.example", "https://app.example:8443"),
            ("app.example:8443", "https://app.example"),
            ("app.example:80", "https://app.example"),
            ("app.example", "https://trusted.example:8443"),
            ("app.example", "http://trusted.example"),
            ("app.example", "file://app.example"),
            ("app.example", "app.example"),
            ("app.example", "null"),
            ("app.example", ""),
        ] {
            assert!(!may(host, &[("origin", origin)]), "{host} {origin}");
        }
        let twice = [("origin", "https://app.example"), ("origin", "https://app.example")];
        assert!(!may("app.example", &twice));
    }

    #[test]
    fn without_an_origin_the_browser_may_still_say_where_the_page_stands() {
        assert!(may("app.example", &[]));
        assert!(may("app.example", &[("sec-fetch-site", "same-origin")]));
        for site in ["cross-site", "same-site"] {
            assert!(!may("app.example", &[("sec-fetch-site", site)]), "{site}");
        }
    }
}
