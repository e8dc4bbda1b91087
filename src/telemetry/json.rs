//! The access log's JSON: an object on a line for each request (RFC 8259), with the names of Envoy and Istio, where they
//! have one.
//!
//! The form is written down here and not derived: a general serializer takes a third of what all the rest of the request
//! costs. What has to be escaped is left to it.

use std::{
    cell::RefCell,
    io::Write as _,
    net::{SocketAddr, SocketAddrV4},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::header::{HeaderName, USER_AGENT};
use jiff::Timestamp;

use super::entry::{Finished, Said, authority, header, protocol};
use crate::{exchange::Exchange, reason::Reason};

/// Appends `"name":value,`.
macro_rules! member {
    ($out:expr, $name:literal, $value:expr) => {{
        $out.extend_from_slice(concat!('"', $name, "\":").as_bytes());
        Value::write(&$value, $out);
        $out.push(b',');
    }};
}

/// What `request` says of itself.
pub(super) fn begin(exchange: &Exchange) -> Said {
    let request = &exchange.request;
    let first = |out: &mut Vec<u8>| {
        out.push(b'{');
        member!(out, "start_time", SystemTime::now());
        member!(out, "method", request.method().as_str());
        member!(out, "path", request.uri().path());
        member!(out, "protocol", protocol(request.version()));
    };
    let second = |out: &mut Vec<u8>| {
        member!(out, "x_forwarded_for", header(request, &HeaderName::from_static("x-forwarded-for")));
        member!(out, "user_agent", header(request, &USER_AGENT));
        member!(out, "request_id", exchange.trail.request_id.as_bytes());
        member!(out, "authority", authority(request));
        member!(out, "downstream_remote_address", exchange.origin.address());
    };
    Said::new([&first, &second, &|_| {}])
}

/// Writes the line.
pub(super) fn end(out: &mut Vec<u8>, said: &Said, request: &Finished<'_>) {
    let [first, second, _] = said.pieces();
    let (trail, verdict) = (request.trail, request.trail.verdict());
    let identity = verdict.and_then(|verdict| verdict.identity.as_deref());
    out.extend_from_slice(first);
    member!(out, "response_code", u64::from(request.code));
    member!(out, "response_code_details", trail.failure().map(Reason::code));
    member!(out, "bytes_received", trail.received());
    member!(out, "bytes_sent", request.sent);
    member!(out, "duration", request.duration);
    member!(out, "upstream_service_time", trail.upstream_time());
    out.extend_from_slice(second);
    member!(out, "auth_method", verdict.map(|verdict| verdict.method.label()));
    member!(out, "auth_user", identity.map(|identity| &*identity.user));
    member!(out, "auth_issuer", identity.map(|identity| &*identity.issuer));
    member!(out, "auth_reason", verdict.map(|verdict| verdict.refusal.map_or("ok", Reason::code)));
    member!(out, "rule", request.rule);
    // After the last member there is no comma.
    out.pop();
    out.extend_from_slice(b"}\n");
}

/// What a member can be.
trait Value {
    fn write(&self, out: &mut Vec<u8>);
}

impl<V: Value> Value for Option<V> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.write(out),
            None => out.extend_from_slice(b"null"),
        }
    }
}

impl Value for u64 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(itoa::Buffer::new().format(*self).as_bytes());
    }
}

/// In whole milliseconds.
impl Value for Duration {
    fn write(&self, out: &mut Vec<u8>) {
        u64::try_from(self.as_millis()).unwrap_or(u64::MAX).write(out);
    }
}

impl Value for &str {
    fn write(&self, out: &mut Vec<u8>) {
        self.as_bytes().write(out);
    }
}

/// As text; what is no UTF-8 is replaced by U+FFFD.
impl Value for &[u8] {
    fn write(&self, out: &mut Vec<u8>) {
        let odd = |byte: u8| !matches!(byte, b' '..=b'~') | (byte == b'"') | (byte == b'\\');
        // Not `any`: looking at all of it, many at once, takes less time than to stop at the first.
        if self.iter().fold(false, |seen, byte| seen | odd(*byte)) {
            // Writing to a vector does not fail, and every text has a JSON form.
            let _ = serde_json::to_writer(out, &String::from_utf8_lossy(self));
        } else {
            out.push(b'"');
            out.extend_from_slice(self);
            out.push(b'"');
        }
    }
}

impl Value for SocketAddr {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        match self {
            Self::V4(address) => ipv4(out, address),
            // Writing to a vector does not fail.
            Self::V6(address) => drop(write!(out, "{address}")),
        }
        out.push(b'"');
    }
}

fn ipv4(out: &mut Vec<u8>, address: &SocketAddrV4) {
    for (octet, end) in address.ip().octets().into_iter().zip(*b"...:") {
        u64::from(octet).write(out);
        out.push(end);
    }
    u64::from(address.port()).write(out);
}

/// RFC 3339 in UTC, to the microsecond.
impl Value for SystemTime {
    fn write(&self, out: &mut Vec<u8>) {
        thread_local! {
            /// The second that was written last, and its text as far as the fraction.
            static SECOND: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
        }
        let time = self.duration_since(UNIX_EPOCH).unwrap_or_default();
        SECOND.with_borrow_mut(|(second, text)| {
            if *second != time.as_secs() {
                *second = time.as_secs();
                let whole = i64::try_from(*second).ok().and_then(|second| Timestamp::from_second(second).ok());
                *text = format!("\"{:.0}", whole.unwrap_or_default());
                text.truncate("\"1970-01-01T00:00:00".len());
            }
            out.extend_from_slice(text.as_bytes());
        });
        // The seventh digit keeps the zeros before the others, and becomes the point.
        let start = out.len();
        u64::from(1_000_000 + time.subsec_micros()).write(out);
        out[start] = b'.';
        out.extend_from_slice(b"Z\"");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn written(value: impl Value) -> serde_json::Value {
        let mut out = Vec::new();
        value.write(&mut out);
        serde_json::from_slice(&out).unwrap()
    }

    proptest! {
        #[test]
        fn every_text_comes_back_and_no_line_is_broken(bytes: Vec<u8>, text: String) {
            prop_assert_eq!(written(&*bytes), &*String::from_utf8_lossy(&bytes));
            prop_assert_eq!(written(&*text), text.as_str());
            let mut out = Vec::new();
            Value::write(&&*bytes, &mut out);
            prop_assert!(out.iter().all(|byte| *byte >= b' '), "{:?}", out);
        }

        #[test]
        fn every_address_is_as_the_library_has_it(address: SocketAddr) {
            prop_assert_eq!(written(address), address.to_string());
        }

        #[test]
        fn every_time_comes_back_to_the_microsecond(second in 0..253_402_207_200_u64, micros in 0..1_000_000_u32) {
            let time = UNIX_EPOCH + Duration::new(second, 1000 * micros + 999);
            let text = written(time);
            let text = text.as_str().unwrap();
            let micros = i64::try_from(second).unwrap() * 1_000_000 + i64::from(micros);
            prop_assert_eq!(text.parse::<Timestamp>().unwrap().as_microsecond(), micros, "{}", text);
            prop_assert_eq!(text.len(), "1970-01-01T00:00:00.000000Z".len());
        }
    }

    #[test]
    fn what_is_not_there_is_null_and_a_time_is_in_milliseconds() {
        assert_eq!(written(None::<u64>), serde_json::Value::Null);
        assert_eq!(written(Some(Duration::from_micros(12_999))), 12);
        assert_eq!(written(Duration::MAX), u64::MAX);
    }

    #[test]
    fn a_clock_that_is_out_of_all_bounds_breaks_nothing() {
        for time in [UNIX_EPOCH - Duration::from_secs(1), UNIX_EPOCH + Duration::from_secs(1 << 40)] {
            assert!(written(time).as_str().unwrap().starts_with("1970-01-01T00:00:00."));
        }
    }
}
