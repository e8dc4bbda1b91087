//! Says in an answer which headers of the request it depends on (RFC 9110 section 12.5.5).

use http::{
    HeaderMap, HeaderValue,
    header::{HeaderName, VARY},
};

/// Adds `name` to `Vary`, unless it is there, or `*` is.
pub fn vary(headers: &mut HeaderMap, name: &HeaderName) {
    let said = headers.get_all(VARY).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let covered =
        said.map(<[u8]>::trim_ascii).any(|said| said == b"*" || said.eq_ignore_ascii_case(name.as_str().as_bytes()));
    if !covered {
        headers.append(VARY, HeaderValue::from(name.clone()));
    }
}

#[cfg(test)]
mod tests {
    use http::header::ORIGIN;

    use super::*;

    #[test]
    fn a_name_is_added_once() {
        for (said, lines) in [
            (&[][..], &["origin"][..]),
            (&["Origin"], &["Origin"]),
            (&["Accept, ORIGIN"], &["Accept, ORIGIN"]),
            (&["*"], &["*"]),
            (&["Cookie", "X-Origin"], &["Cookie", "X-Origin", "origin"]),
        ] {
            let mut headers: HeaderMap = said.iter().map(|line| (VARY, HeaderValue::from_static(line))).collect();
            vary(&mut headers, &ORIGIN);
            assert_eq!(headers.get_all(VARY).iter().collect::<Vec<_>>(), lines);
        }
    }
}
