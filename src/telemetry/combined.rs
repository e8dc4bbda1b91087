//! nginx's `combined`, to the byte, but for queries: they may hold tokens, and are left out.

use std::io::Write as _;

use http::{Version, header::USER_AGENT};
use jiff::{Timestamp, tz::TimeZone};

use super::entry::{Finished, Said, header, protocol, referer};
use crate::exchange::Exchange;

/// What a request says of itself.
pub(super) fn begin(exchange: &Exchange) -> Said {
    let request = &exchange.request;
    // Writing to a vector does not fail.
    let first = |out: &mut Vec<u8>| {
        let _ = match exchange.origin.address() {
            Some(client) => write!(out, "{} - ", client.ip()),
            None => write!(out, "unix: - "),
        };
    };
    let second = |out: &mut Vec<u8>| {
        let time = Timestamp::now().to_zoned(TimeZone::UTC).strftime("%d/%b/%Y:%H:%M:%S %z");
        let protocol = if request.version() == Version::HTTP_2 { "HTTP/2.0" } else { protocol(request.version()) };
        let _ = write!(out, " [{time}] \"");
        escape(out, request.method().as_str().as_bytes());
        out.push(b' ');
        escape(out, request.uri().path().as_bytes());
        let _ = write!(out, " {protocol}\" ");
    };
    let third = |out: &mut Vec<u8>| {
        for field in [referer(request), header(request, &USER_AGENT)] {
            out.extend_from_slice(b" \"");
            escape(out, field.unwrap_or(b"-"));
            out.push(b'"');
        }
        out.push(b'\n');
    };
    Said::new([&first, &second, &third])
}

/// Writes the line.
pub(super) fn end(out: &mut Vec<u8>, said: &Said, request: &Finished<'_>) {
    let [first, second, third] = said.pieces();
    let identity = request.trail.verdict().and_then(|verdict| verdict.identity.as_deref());
    out.extend_from_slice(first);
    escape(out, identity.map_or("-", |identity| &*identity.user).as_bytes());
    out.extend_from_slice(second);
    let _ = write!(out, "{} {}", request.code, request.sent);
    out.extend_from_slice(third);
}

/// Writes text as nginx does: what could end the field or the line as `\xXX`.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        if matches!(byte, b'"' | b'\\') || !(0x20..0x7f).contains(byte) {
            let _ = write!(out, "\\x{byte:02X}");
        } else {
            out.push(*byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_end_a_field_is_escaped() {
        let mut out = Vec::new();
        escape(&mut out, b"a\"b\\c\nd\xc3\xa9\xff\x1b[31m");
        assert_eq!(out, br"a\x22b\x5Cc\x0Ad\xC3\xA9\xFF\x1B[31m");
    }
}
