//! The origin of a web page, as browsers send it.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::units;

/// The origin of a web page: `scheme://host[:port]`, to the letter as a browser says it in `Origin` (RFC 6454 section 6.2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin(String);

impl Origin {
    /// What a browser sends.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        check(text).map(|()| Self(text.to_owned()))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        units::text(deserializer, "an origin like https://app.example.com")?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What is wrong with an origin. It is compared to the letter with what a browser sends, so it has to be written as browsers
/// write it (RFC 6454 section 6.2), or it would never match.
fn check(origin: &str) -> Result<(), String> {
    let wrong = |what: &str, remedy: &str| Err(format!("`{origin}` {what}; {remedy}"));
    if origin.eq_ignore_ascii_case("null") {
        return wrong(
            "is the origin of every sandboxed frame and local file, whoever made it",
            "serve the page from an origin of its own, and list that",
        );
    }
    let Some((scheme, host)) = origin.split_once("://") else {
        return wrong("is not an origin", "write it like `https://app.example.com` or `http://localhost:3000`");
    };
    let mut letters = scheme.chars();
    let scheme_is_valid = letters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    if !scheme_is_valid || host.is_empty() {
        return wrong("is not an origin", "write it like `https://app.example.com` or `http://localhost:3000`");
    }
    if let Some(at) = host.find(['/', '?', '#']) {
        let kept = &origin[..scheme.len() + 3 + at];
        return wrong("has more than scheme, host and port", &format!("write `{kept}`"));
    }
    if origin.contains('*') {
        return wrong("has a `*`, and origins are compared to the letter", "list each origin");
    }
    if origin.chars().any(|c| c.is_ascii_uppercase()) {
        return wrong("is never sent so", &format!("write `{}`", origin.to_ascii_lowercase()));
    }
    if !host.is_ascii() {
        return wrong("is never sent so", "write the host in its ASCII form, `xn--…`");
    }
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() => (address, port.strip_prefix(':')),
        Some(_) => return wrong("has no valid host", "write an address like `http://[::1]:3000`"),
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    let tail_is_port = !host.starts_with('[') || host.ends_with(']') || port.is_some();
    if name.is_empty() || !name.chars().all(allowed) || !tail_is_port {
        return wrong("has no valid host", "write it like `https://app.example.com`");
    }
    if let Some(port) = port {
        if port.is_empty() || port.starts_with('0') || port.parse::<u16>().is_err() {
            return wrong("has no valid port", "write it like `http://localhost:3000`");
        }
        if matches!((scheme, port), ("https", "443") | ("http", "80")) {
            return wrong("is never sent so", &format!("leave `:{port}` out, as browsers do"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_taken_as_browsers_write_it_and_no_other_way() {
        for origin in [
            "https://app.example.com",
            "http://localhost:3000",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
            "https://[2001:db8::1]",
            "https://xn--ber-goa.example",
            "chrome-extension://abcdefghijklmnop",
            "capacitor://localhost",
        ] {
            assert_eq!(origin.parse::<Origin>().map(|origin| origin.to_string()), Ok(origin.to_owned()));
        }
        for (origin, remedy) in [
            ("null", "an origin of its own"),
            ("app.example.com", "like `https://"),
            ("https://", "like `https://"),
            ("://host", "like `https://"),
            ("https://app.example.com/", "write `https://app.example.com`"),
            ("https://app.example.com/x", "write `https://app.example.com`"),
            ("https://App.example.com", "write `https://app.example.com`"),
            ("https://*.example.com", "list each"),
            ("https://über.example", "xn--"),
            ("https://app.example.com:443", "leave `:443` out"),
            ("http://app.example.com:80", "leave `:80` out"),
            ("http://app.example.com:", "3000"),
            ("http://app.example.com:99999", "3000"),
            ("http://app.example.com:080", "3000"),
            ("https://user@app.example.com", "like `https://"),
            ("https://a b", "like `https://"),
            ("https://[::1", "like `https://"),
            ("https://[x]", "[::1]"),
            ("https://[::1]x", "like `https://"),
            ("https://a,https", "like `https://"),
        ] {
            let given = origin.parse::<Origin>();
            assert!(given.as_ref().is_err_and(|given| given.contains(remedy)), "{origin}: {given:?}");
        }
    }
}
