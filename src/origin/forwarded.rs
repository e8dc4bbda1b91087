//! The `Forwarded` header (RFC 7239), read strictly: what is not its grammar is not believed.

use std::net::IpAddr;

use http::{HeaderValue, header::GetAll};

use super::{
    Trust,
    claims::{Said, encrypted, host, node, walk},
};

/// What one proxy says about who asked it.
#[derive(Debug, Default, Eq, PartialEq)]
struct Element {
    node: Option<Vec<u8>>,
    proto: Option<Vec<u8>>,
    host: Option<Vec<u8>>,
}

/// What the header says. `None` when it is not understood; a proxy that hides whom it speaks for (`for=unknown`) or does
/// not name anybody is not, either.
pub(super) fn read(values: &GetAll<'_, HeaderValue>, trust: &Trust) -> Option<Said> {
    // A line that cannot be read has one element that nobody understands.
    let line = |value: &HeaderValue| elements(value.as_bytes()).unwrap_or_else(|| vec![Element::default()]);
    let named = |element: Element| -> Option<(IpAddr, Element)> { Some((node(element.node.as_deref()?)?, element)) };
    let nodes = values.iter().rev().flat_map(|value| line(value).into_iter().rev()).map(named);
    let mut way = walk(nodes, trust)?;
    // Whoever saw the client knows what it asked for.
    let first = way.last_mut().map(|(_, element)| std::mem::take(element)).unwrap_or_default();
    Some(Said {
        way: way.into_iter().map(|(address, _)| address).collect(),
        encrypted: understood(first.proto, encrypted)?,
        host: understood(first.host, host)?,
        port: None,
    })
}

/// What is said, when it is understood.
fn understood<T>(text: Option<Vec<u8>>, read: impl Fn(&[u8]) -> Option<T>) -> Option<Option<T>> {
    match text {
        None => Some(None),
        Some(text) => read(&text).map(Some),
    }
}

/// The elements of one line. `None` when it is not well-formed.
fn elements(line: &[u8]) -> Option<Vec<Element>> {
    let mut elements = vec![Element::default()];
    let mut rest = line;
    loop {
        let (name, after) = token(rest.trim_ascii_start())?;
        let (value, after) = value(after.strip_prefix(b"=")?)?;
        let element = elements.last_mut()?;
        let field = match name.to_ascii_lowercase().as_slice() {
            b"for" => Some(&mut element.node),
            b"proto" => Some(&mut element.proto),
            b"host" => Some(&mut element.host),
            _ => None,
        };
        // Nothing may be said twice.
        if field.is_some_and(|field| field.replace(value).is_some()) {
            return None;
        }
        match after.trim_ascii_start().split_first() {
            None => return Some(elements),
            Some((b';', after)) => rest = after,
            Some((b',', after)) => {
                elements.push(Element::default());
                rest = after;
            }
            Some(_) => return None,
        }
    }
}

/// A token at the start of `text`, and the rest.
fn token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    // By the grammar `for=192.0.2.1:4711` and `host=a:80` need quotes. They are often written without, and have no
    // second reading.
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:[]".contains(byte);
    let end = text.iter().position(|byte| !part(byte)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A token or a quoted string at the start of `text`, and the rest.
fn value(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(mut rest) = text.strip_prefix(b"\"") else {
        return token(text).map(|(token, rest)| (token.to_vec(), rest));
    };
    let mut value = Vec::new();
    loop {
        let (byte, after) = rest.split_first()?;
        let (byte, after) = match byte {
            b'"' => return Some((value, after)),
            b'\\' => after.split_first()?,
            byte => (byte, after),
        };
        value.push(*byte);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(node: &str, proto: Option<&str>, host: Option<&str>) -> Element {
        let bytes = |text: &str| text.as_bytes().to_vec();
        Element { node: Some(bytes(node)), proto: proto.map(bytes), host: host.map(bytes) }
    }

    #[test]
    fn what_is_well_formed_is_taken_apart() {
        for (line, expected) in [
            ("for=192.0.2.1", vec![element("192.0.2.1", None, None)]),
            ("For=\"[2001:db8::1]:80\";PROTO=https", vec![element("[2001:db8::1]:80", Some("https"), None)]),
            (
                "for=a;by=b;host=\"h:1\" , for=c; proto=http",
                vec![element("a", None, Some("h:1")), element("c", Some("http"), None)],
            ),
            (r#"for="a,b;c=\"d\\";x="""#, vec![element(r#"a,b;c="d\"#, None, None)]),
        ] {
            assert_eq!(elements(line.as_bytes()), Some(expected), "{line}");
        }
    }

    #[test]
    fn what_is_not_well_formed_is_not_guessed_at() {
        for line in [
            "",
            " ",
            ",",
            "for",
            "for=",
            "=a",
            "for=a;",
            "for=a,",
            ",for=a",
            "for=a for=b",
            "for=a;for=b",
            "for =a",
            "for= a",
            "for=\"a",
            "for=\"a\\",
            "for=\"a\"b",
            "for=(a)",
            "for=a\"b\"",
            "for=a;host=b;HOST=c",
        ] {
            assert_eq!(elements(line.as_bytes()), None, "{line:?}");
        }
    }
}
