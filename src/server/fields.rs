//! What RFC 9113 section 8 calls malformed and the HTTP/2 library lets pass, and the limits that it does not keep.

use http::{
    Request,
    header::{CONTENT_LENGTH, COOKIE},
    uri::Scheme,
};

use super::head::{Limits, length};
use crate::reason::Reason;

/// Looks at the fields of a request of HTTP/2.
///
/// # Errors
/// `header_too_large`, `header_invalid` or `framing_invalid`.
pub(super) fn check<B>(request: &Request<B>, limits: Limits) -> Result<(), Reason> {
    let headers = request.headers();
    let mut bytes = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let (mut lines, mut lengths, mut cookies) = (0, 0, 0);
    for (name, value) in headers {
        // As HTTP/1 would write it.
        bytes += name.as_str().len() + value.len() + 4;
        if name == COOKIE {
            cookies = 1;
        } else {
            lines += 1;
        }
        // The library takes a name with a quote in it, which is no token (RFC 9110 section 5.6.2).
        if name.as_str().contains('"') || matches!(value.as_bytes(), [b' ' | b'\t', ..] | [.., b' ' | b'\t']) {
            return Err(Reason::HeaderInvalid);
        }
        if name == CONTENT_LENGTH {
            lengths += 1;
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
        None => Ok(()),
        Some(scheme) if *scheme == Scheme::HTTPS || *scheme == Scheme::HTTP => Ok(()),
        Some(_) => Err(Reason::HeaderInvalid),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn check(uri: &str, fields: &[(&str, &str)]) -> Option<Reason> {
        let request = fields.iter().fold(Request::get(uri), |request, (name, value)| request.header(*name, *value));
        super::check(&request.body(()).unwrap(), Limits { bytes: 200, lines: 3 }).err()
    }

    #[test]
    fn malformed_fields_are_found() {
        let uri = "https://a.example/";
        assert_eq!(check(uri, &[("a", "b c"), ("content-length", "10"), ("empty", "")]), None);
        assert_eq!(check(uri, &[("a", " b")]), Some(Reason::HeaderInvalid));
        assert_eq!(check(uri, &[("a", "b\t")]), Some(Reason::HeaderInvalid));
        assert_eq!(check(uri, &[("content-length", "1"), ("content-length", "1")]), Some(Reason::FramingInvalid));
        assert_eq!(check(uri, &[("content-length", "01")]), Some(Reason::FramingInvalid));
        assert_eq!(check("ftp://a.example/", &[]), Some(Reason::HeaderInvalid));
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
