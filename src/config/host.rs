//! Which hosts a rule is about: a name, an address, or every name below a domain.

use std::{fmt, net::Ipv6Addr, str, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A host, or `*.example.com`: every name below `example.com`, at any depth, and not itself (as in the Gateway API).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostPattern(Kind);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Kind {
    /// A name or an IPv4 address, in lower case.
    Name(String),
    /// The domain with the dot before it, in lower case.
    Below(String),
    Address(Ipv6Addr),
}

impl HostPattern {
    /// Whether it stands for `name`: a host without its port and without a dot at the end, in any case.
    pub fn matches(&self, name: &[u8]) -> bool {
        match &self.0 {
            Kind::Name(ours) => name.eq_ignore_ascii_case(ours.as_bytes()),
            Kind::Below(domain) => name
                .split_at_checked(name.len().wrapping_sub(domain.len()))
                .is_some_and(|(below, end)| !below.is_empty() && end.eq_ignore_ascii_case(domain.as_bytes())),
            // An address has many spellings.
            Kind::Address(ours) => address(name) == Some(*ours),
        }
    }

    /// Whether every host that `other` stands for is one of ours too.
    pub fn covers(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::Below(_), Kind::Name(name)) => self.matches(name.as_bytes()),
            (Kind::Below(wide), Kind::Below(narrow)) => narrow.ends_with(wide),
            (ours, theirs) => ours == theirs,
        }
    }
}

impl FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = |why: &str| Err(format!("`{text}` {why}"));
        if let Some(address) = address(text.as_bytes()) {
            return Ok(Self(Kind::Address(address)));
        }
        if text == "*" {
            return refuse("is every host; leave the key out to mean that");
        }
        if text.contains("://") || text.contains('/') {
            return refuse("is a URL; write the host alone");
        }
        if text.parse::<Ipv6Addr>().is_ok() {
            return Err(format!("`{text}` is not how a host is written; write `[{text}]`"));
        }
        if text.contains(':') {
            return refuse("has a port, and ports are not looked at; write the host alone");
        }
        if text.ends_with('.') {
            return refuse("ends with a dot, which is not looked at; leave it out");
        }
        if !text.is_ascii() {
            return refuse("is not ASCII; write it as clients send it, `xn--…`");
        }
        let (below, name) = text.strip_prefix("*.").map_or((false, text), |domain| (true, domain));
        if name.contains('*') {
            return refuse("has a `*` in the middle; it can only be the whole first label, as in `*.example.com`");
        }
        let label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        if !name.split('.').all(label) {
            return refuse("is no host; write `app.example.com`, `*.example.com`, `192.0.2.7` or `[2001:db8::7]`");
        }
        let name = name.to_ascii_lowercase();
        Ok(Self(if below { Kind::Below(format!(".{name}")) } else { Kind::Name(name) }))
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Name(name) => f.write_str(name),
            Kind::Below(domain) => write!(f, "*{domain}"),
            Kind::Address(address) => write!(f, "[{address}]"),
        }
    }
}

impl<'de> Deserialize<'de> for HostPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for HostPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The IPv6 address in brackets.
fn address(host: &[u8]) -> Option<Ipv6Addr> {
    str::from_utf8(host.strip_prefix(b"[")?.strip_suffix(b"]")?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn pattern(text: &str) -> HostPattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_pattern_stands_for_its_hosts_and_no_other() {
        for (text, yes, no) in [
            (
                "app.example",
                &["app.example", "APP.Example"][..],
                &["xapp.example", "x.app.example", "app.example.x", ""][..],
            ),
            ("APP.example", &["app.example"], &["app.exampl"]),
            (
                "*.example.com",
                &["a.example.com", "A.B.Example.Com"],
                &["example.com", ".example.com", "aexample.com", "a.example.com.x", "com", ""],
            ),
            ("my_app", &["my_app"], &["my-app"]),
            ("192.0.2.7", &["192.0.2.7"], &["192.0.2.70"]),
            ("[::1]", &["[::1]", "[0:0::1]", "[0:0:0:0:0:0:0:1]"], &["::1", "[::2]", "[::1", "[::1%25lo]", "[]"]),
            ("[2001:DB8::A]", &["[2001:db8::a]", "[2001:db8:0::000A]"], &["[2001:db8::b]"]),
        ] {
            for host in yes {
                assert!(pattern(text).matches(host.as_bytes()), "{text} should match {host}");
            }
            for host in no {
                assert!(!pattern(text).matches(host.as_bytes()), "{text} should not match {host}");
            }
            assert_eq!(pattern(&pattern(text).to_string()), pattern(text));
        }
    }

    #[test]
    fn what_is_no_host_is_refused_with_advice() {
        for (text, advice) in [
            ("", "is no host"),
            ("*", "leave the key out"),
            ("https://app.example", "is a URL"),
            ("app.example/x", "is a URL"),
            ("app.example:8443", "ports are not looked at"),
            ("[::1]:8443", "ports are not looked at"),
            ("::1", "write `[::1]`"),
            ("[fe80::1%25eth0]", "ports are not looked at"),
            ("app.example.", "leave it out"),
            ("café.example", "xn--"),
            ("a.*.example", "whole first label"),
            ("*a.example", "whole first label"),
            ("**.example", "whole first label"),
            ("*.", "leave it out"),
            ("a..b", "is no host"),
            (".example", "is no host"),
            ("*..example", "is no host"),
            ("a b", "is no host"),
            ("user@app", "is no host"),
            ("a%41", "is no host"),
        ] {
            let error = text.parse::<HostPattern>().unwrap_err();
            assert!(error.contains(advice), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_pattern_covers_those_within_it() {
        for (wide, narrow, covers) in [
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "*.b.example.com", true),
            ("*.example.com", "*.example.com", true),
            ("*.b.example.com", "*.example.com", false),
            ("*.example.com", "example.com", false),
            ("a.example.com", "*.example.com", false),
            ("*.example.com", "*.xexample.com", false),
            ("a", "A", true),
            ("[::1]", "[0::1]", true),
            ("[::1]", "[::2]", false),
        ] {
            let (wide, narrow) = (pattern(wide), pattern(narrow));
            assert_eq!(wide.covers(&narrow), covers, "{wide} over {narrow}");
        }
    }
}
