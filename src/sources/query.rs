//! A token in the query of a WebSocket's URL, where browsers let a page put one.

use super::only;
use crate::reason::Reason;

/// The value of the parameter `name`, as it is written: a token has nothing that would have to be escaped.
pub(super) fn find<'a>(query: Option<&'a str>, name: &str) -> Result<Option<&'a [u8]>, Reason> {
    let parameters = query.into_iter().flat_map(|query| query.split('&')).filter(|parameter| is(parameter, name));
    only(parameters.map(|parameter| parameter.split_once('=').map_or("", |(_, value)| value).as_bytes()))
}

/// A target without the parameter `name`; the others stay as they are.
pub(super) fn without(target: &str, name: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    if !query.split('&').any(|parameter| is(parameter, name)) {
        return target.to_owned();
    }
    let others: Vec<_> = query.split('&').filter(|parameter| !is(parameter, name)).collect();
    if others.is_empty() { path.to_owned() } else { format!("{path}?{}", others.join("&")) }
}

/// Whether a parameter has this name, to an app that decodes it.
fn is(parameter: &str, name: &str) -> bool {
    let written = parameter.split('=').next().unwrap_or_default().as_bytes();
    if written == name.as_bytes() {
        return true;
    }
    let mut decoded = Vec::with_capacity(written.len());
    let mut rest = written;
    while let Some((&byte, tail)) = rest.split_first() {
        let digit = |i: usize| char::from(*tail.get(i)?).to_digit(16);
        let escaped = (byte == b'%').then(|| Some(digit(0)? << 4 | digit(1)?)).flatten();
        match escaped.and_then(|byte| u8::try_from(byte).ok()) {
            Some(byte) => {
                decoded.push(byte);
                rest = &tail[2..];
            }
            None => {
                decoded.push(byte);
                rest = tail;
            }
        }
    }
    decoded == name.as_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_parameter_is_found_by_its_name() {
        for (query, found) in [
            (None, None),
            (Some(""), None),
            (Some("token=a.b.c"), Some("a.b.c")),
            (Some("x=1&token=a.b.c&y"), Some("a.b.c")),
            (Some("t%6Fken=a"), Some("a")),
            (Some("token"), Some("")),
            (Some("token=a=b"), Some("a=b")),
            (Some("Token=a&tokens=b&x=token&to%ken=c&%=d"), None),
        ] {
            assert_eq!(find(query, "token").unwrap(), found.map(str::as_bytes), "{query:?}");
        }
        for query in ["token=a&token=a", "token=a&x&%74oken=b"] {
            assert_eq!(find(Some(query), "token"), Err(Reason::CredentialsAmbiguous), "{query}");
        }
    }

    #[test]
    fn the_other_parameters_stay_as_they_are() {
        for (target, left) in [
            ("/ws", "/ws"),
            ("/ws?token=a", "/ws"),
            ("/ws?token=a&x=%20+1&&y", "/ws?x=%20+1&&y"),
            ("/ws?x=1&%74oken=a&y=2", "/ws?x=1&y=2"),
            ("/ws?x=1&tokens=a?token=b", "/ws?x=1&tokens=a?token=b"),
            ("/ws?", "/ws?"),
        ] {
            assert_eq!(without(target, "token"), left, "{target}");
        }
    }
}
