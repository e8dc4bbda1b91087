//! What RFC 9113 section 8 calls malformed and the HTTP/2 library lets pass, and the limits that it does not keep.

use http::{
    HeaderMap, HeaderValue, Request,
    header::{CONTENT_LENGTH, COOKIE},
    uri::Scheme,
};

use crate::http1::head::{Limits, length, trim};
use crate::reason::Reason;

/// Looks at the fields of a request of HTTP/2, and takes the blanks off the ends of their values: browsers and apps on
/// phones send some, and nothing that looks at a value shall see what HTTP/1 would have taken off.
///
/// # Errors
/// `header_too_large`, `header_invalid` or `framing_invalid`.
pub(super) fn read<B>(request: &mut Request<B>, limits: Limits) -> Result<(), Reason> {
    let headers = request.headers();
    let mut bytes = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let (mut lines, mut lengths, mut cookies, mut blanks) = (0, 0, 0, false);
    for (name, value) in headers {
        // As HTTP/1 would write it.
        bytes += name.as_str().len() + value.len() + 4;
        if name == COOKIE {
            cookies = 1;
        } else {
            lines += 1;
        }
        // The library takes a name with a quote in it, which is no token (RFC 9110 section 5.6.2).
        if name.as_str().contains('"') {
            return Err(Reason::HeaderInvalid);
        }
        blanks |= matches!(value.as_bytes(), [b' ' | b'\t', ..] | [.., b' ' | b'\t']);
        if name == CONTENT_LENGTH {
            lengths += 1;
            // What says where a body ends is not mended.
            if lengths > 1 || length(value.as_bytes()).is_none() {
                return Err(Reason::FramingInvalid);
            }
        }
    }
    // The parts of a cookie become one line again.
    if lines + cookies > limits.lines || bytes > limits.bytes {
        return Err(Reason::HeaderTooLarge);
    }
    match request.uri().scheme() {
        None => {}
        Some(scheme) if *scheme == Scheme::HTTPS || *scheme == Scheme::HTTP => {}
        Some(_) => return Err(Reason::HeaderInvalid),
    }
    if blanks {
        trim_all(request.headers_mut());
    }
    Ok(())
}

fn trim_all(headers: &mut HeaderMap) {
    for value in headers.values_mut() {
        let trimmed = trim(value.as_bytes());
        if trimmed.len() < value.len()
            && let Ok(mut trimmed) = HeaderValue::from_bytes(trimmed)
        {
            trimmed.set_sensitive(value.is_sensitive());
            *value = trimmed;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn check(uri: &str, fields: &[(&str, &str)]) -> Option<Reason> {
        let request = fields.iter().fold(Request::get(uri), |request, (name, value)| request.header(*name, *value));
        read(&mut request.body(()).unwrap(), Limits { bytes: 200, lines: 3 }).err()
    }

    #[test]
    fn malformed_fields_are_found() {
        let uri = "https://a.example/";
        assert_eq!(check(uri, &[("a", "b c"), ("content-length", "10"), ("empty", "")]), None);
        assert_eq!(check(uri, &[("content-length", "1"), ("content-length", "1")]), Some(Reason::FramingInvalid));
        for length in ["01", " 1", "1 ", "1\t", ""] {
            assert_eq!(check(uri, &[("content-length", length)]), Some(Reason::FramingInvalid), "{length:?}");
        }
        assert_eq!(check("ftp://a.example/", &[]), Some(Reason::HeaderInvalid));
    }

    #[test]
    fn values_lose_the_blanks_at_their_ends() {
        let fields = [("a", " b c\t "), ("a", "d"), ("b", " \t"), ("c", "e "), ("d", "f")];
        let request = fields.iter().fold(Request::get("https://a.example/"), |request, (n, v)| request.header(*n, *v));
        let mut request = request.body(()).unwrap();
        request.headers_mut().get_mut("c").unwrap().set_sensitive(true);
        read(&mut request, Limits { bytes: 200, lines: 9 }).unwrap();
        let left: Vec<_> = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(left, [("a", &b"b c"[..]), ("a", b"d"), ("b", b""), ("c", b"e"), ("d", b"f")]);
        assert!(request.headers()["c"].is_sensitive() && !request.headers()["a"].is_sensitive());
    }

    #[test]
    fn the_limits_of_http_1_are_kept() {
        let uri = "https://a.example/";
        let cookies = [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")];
        assert_eq!(check(uri, &[&cookies[..], &[("a", "1"), ("b", "2")]].concat()), None);
        let four = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")];
        assert_eq!(check(uri, &four), Some(Reason::HeaderTooLarge));
        assert_eq!(check(uri, &[("a", &"x".repeat(200))]), Some(Reason::HeaderTooLarge));
        assert_eq!(check(&format!("https://a.example/{}", "x".repeat(200)), &[]), Some(Reason::HeaderTooLarge));
    }
}
