//! A token in a cookie (RFC 6265).

use http::header::{COOKIE, HeaderMap, HeaderValue};

use super::only;
use crate::reason::Reason;

/// The value of the cookie `name`.
pub(super) fn find<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a [u8]>, Reason> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    only(pairs.filter(|pair| is(pair, name)).map(value))
}

/// Takes the cookie `name` out, and leaves the bytes of the others as they are.
pub(super) fn remove(headers: &mut HeaderMap, name: &str) {
    let has = |line: &HeaderValue| line.as_bytes().split(|byte| *byte == b';').any(|pair| is(pair, name));
    if !headers.get_all(COOKIE).iter().any(has) {
        return;
    }
    let lines: Vec<_> = headers.get_all(COOKIE).iter().map(|line| without(line.as_bytes(), name)).collect();
    headers.remove(COOKIE);
    for line in lines.into_iter().filter(|line| !line.is_empty()) {
        if let Ok(line) = HeaderValue::from_bytes(&line) {
            headers.append(COOKIE, line);
        }
    }
}

fn without(line: &[u8], name: &str) -> Vec<u8> {
    let others: Vec<_> = line.split(|byte| *byte == b';').filter(|pair| !is(pair, name)).collect();
    others.join(&b';').trim_ascii_start().to_vec()
}

fn is(pair: &[u8], name: &str) -> bool {
    pair.split(|byte| *byte == b'=').next().is_some_and(|written| written.trim_ascii() == name.as_bytes())
}

/// What is behind `=`, without the quotes that may be around it.
fn value(pair: &[u8]) -> &[u8] {
    let start = pair.iter().position(|byte| *byte == b'=').map_or(pair.len(), |equals| equals + 1);
    let value = pair[start..].trim_ascii();
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn cookies(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (COOKIE, HeaderValue::from_str(line).unwrap())).collect()
    }

    fn left(lines: &[&str]) -> Vec<String> {
        let mut headers = cookies(lines);
        remove(&mut headers, "token");
        headers.get_all(COOKIE).iter().map(|line| line.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        for (lines, found) in [
            (&["token=a.b.c"][..], Some("a.b.c")),
            (&["x=1; token=a.b.c; y=2"], Some("a.b.c")),
            (&["x=1;token=\"a.b.c\""], Some("a.b.c")),
            (&["x=1", "token=a"], Some("a")),
            (&["token = a "], Some("a")),
            (&["token"], Some("")),
            (&["Token=a", "mytoken=b", "tokens=c", "x=token=d"], None),
            (&[], None),
        ] {
            let headers = cookies(lines);
            assert_eq!(find(&headers, "token").unwrap(), found.map(str::as_bytes), "{lines:?}");
        }
    }

    #[test]
    fn two_cookies_of_that_name_are_ambiguous() {
        for lines in [&["token=a; token=a"][..], &["token=a", "token=b"], &["token=a; token"]] {
            assert_eq!(find(&cookies(lines), "token"), Err(Reason::CredentialsAmbiguous), "{lines:?}");
        }
    }

    #[test]
    fn the_other_cookies_stay_as_they_are() {
        assert_eq!(left(&["x=1; token=a; y=\"2\"; z"]), ["x=1; y=\"2\"; z"]);
        assert_eq!(left(&["token=a; x=1"]), ["x=1"]);
        assert_eq!(left(&["x=1;token=a"]), ["x=1"]);
        assert_eq!(left(&["x=1", "token=a", "token =b;y=2"]), ["x=1", "y=2"]);
        assert_eq!(left(&["x=1;  y=2 ;", "tokens=1"]), ["x=1;  y=2 ;", "tokens=1"]);
        assert!(left(&["token=a"]).is_empty());
    }
}
