//! How header fields are read: lists, which may be spread over several lines (RFC 9110 section 5.6.1), and fields that may
//! be there once.

use http::{
    HeaderMap, HeaderValue,
    header::{HeaderName, VARY},
};

/// The items of the list `name`, in their order, without the spaces around them. Empty ones are among them; commas in
/// quoted strings are not expected.
pub fn items<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl DoubleEndedIterator<Item = &'h [u8]> + use<'h> {
    let lines = headers.get_all(name).into_iter();
    lines.flat_map(|value| value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii))
}

/// Whether the list `name` has this word, in any case.
pub fn has(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    items(headers, name).any(|item| item.eq_ignore_ascii_case(word.as_bytes()))
}

/// A field is there more than once: two readers could choose differently.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Repeated;

/// The field `name`, where it is there.
///
/// # Errors
/// It is there more than once.
pub fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h HeaderValue>, Repeated> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(Repeated) } else { Ok(first) }
}

/// Adds `name` to the `Vary` of an answer that depends on that field of the request, unless it is there, or `*` is (RFC 9110
/// section 12.5.5).
pub fn vary(headers: &mut HeaderMap, name: &HeaderName) {
    if !has(headers, &VARY, name.as_str()) && !has(headers, &VARY, "*") {
        headers.append(VARY, HeaderValue::from(name.clone()));
    }
}

#[cfg(test)]
mod tests {
    use http::header::{CONNECTION, ORIGIN};

    use super::*;

    fn fields(name: &HeaderName, lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (name.clone(), HeaderValue::from_static(line))).collect()
    }

    #[test]
    fn a_list_may_be_spread_over_lines() {
        let headers = fields(&CONNECTION, &["close, X-A ", "", "\tupgrade"]);
        assert_eq!(items(&headers, &CONNECTION).collect::<Vec<_>>(), [&b"close"[..], b"X-A", b"", b"upgrade"]);
        assert_eq!(items(&headers, &CONNECTION).next_back(), Some(&b"upgrade"[..]));
        assert!(has(&headers, &CONNECTION, "x-a") && !has(&headers, &CONNECTION, "x"));
    }

    #[test]
    fn what_may_be_there_once_is_there_once() {
        assert_eq!(only(&fields(&ORIGIN, &[]), &ORIGIN), Ok(None));
        assert_eq!(only(&fields(&ORIGIN, &["a"]), &ORIGIN), Ok(Some(&HeaderValue::from_static("a"))));
        assert_eq!(only(&fields(&ORIGIN, &["a", "a"]), &ORIGIN), Err(Repeated));
    }

    #[test]
    fn a_name_is_added_once() {
        for (said, lines) in [
            (&[][..], &["origin"][..]),
            (&["Origin"], &["Origin"]),
            (&["Accept, ORIGIN"], &["Accept, ORIGIN"]),
            (&["*"], &["*"]),
            (&["Cookie", "X-Origin"], &["Cookie", "X-Origin", "origin"]),
        ] {
            let mut headers = fields(&VARY, said);
            vary(&mut headers, &ORIGIN);
            assert_eq!(headers.get_all(VARY).iter().collect::<Vec<_>>(), lines);
        }
    }
}
