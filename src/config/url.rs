//! A URL from which something is fetched: `https`, or `http` on this machine.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use http::{
    Uri,
    uri::{Authority, Scheme},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An absolute URL without a user or a password in it. Its query may hold a secret, and is shown nowhere.
#[derive(Clone, Eq, PartialEq)]
pub struct Url {
    uri: Uri,
    authority: Authority,
    https: bool,
}

impl Url {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("`{}` {what}", shown(text)));
        let Ok(uri) = text.parse::<Uri>() else { return wrong("is no URL") };
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return wrong("is no URL; write it like https://login.example.com/keys");
        };
        let https = *scheme == Scheme::HTTPS;
        let authority = authority.clone();
        if authority.as_str().contains('@') {
            // Not repeated: it is a password.
            return Err("the URL has a user or a password in it".to_owned());
        }
        if text.contains('#') {
            return wrong("has a fragment, which is not sent to a server");
        }
        let url = Self { uri, authority, https };
        if url.host().is_empty() {
            return wrong("names no host");
        }
        if !https && (url.uri.scheme() != Some(&Scheme::HTTP) || !url.is_loopback()) {
            return wrong("is not https; http is for this machine only: whoever is on the way could choose the answer");
        }
        match url.address() {
            Some(address) if is_off_limits(address) => {
                wrong("is link-local, where clouds hand out credentials, and no issuer")
            }
            _ => Ok(url),
        }
    }

    /// The URL that `location` means, seen from this one: of a redirect, or of a document that was found here. It is fetched
    /// in the same way, and not on this machine unless this one is.
    ///
    /// # Errors
    /// Why it is not to be fetched.
    pub fn follow(&self, location: &str) -> Result<Self, String> {
        let relative = location.starts_with('/') && !location.starts_with("//");
        let absolute = format!("{}://{}{location}", self.uri.scheme_str().unwrap_or_default(), self.authority);
        let next = Self::parse(if relative { &absolute } else { location })?;
        if next.https != self.https {
            return Err(format!("{next} has another scheme than {self}"));
        }
        if next.is_loopback() && !self.is_loopback() {
            return Err(format!("{next} is on this machine, and {self} is not"));
        }
        Ok(next)
    }

    /// Whether it is asked over TLS.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// The host, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        let host = self.authority.host();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.https { 443 } else { 80 })
    }

    /// The host with its port as the `Host` header has it.
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// The path with the query.
    pub fn path_and_query(&self) -> &str {
        self.uri.path_and_query().map_or("/", |path| path.as_str())
    }

    /// The whole.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Whether it is on this machine.
    pub fn is_loopback(&self) -> bool {
        self.host() == "localhost" || self.address().is_some_and(|address| address.to_canonical().is_loopback())
    }

    /// Whether both are of one origin (RFC 6454): what may be told to one may be told to the other.
    pub fn has_origin_of(&self, other: &Self) -> bool {
        self.https == other.https && self.port() == other.port() && self.host().eq_ignore_ascii_case(other.host())
    }

    fn address(&self) -> Option<IpAddr> {
        self.host().parse().ok()
    }
}

/// What is no URL that we fetch from, without what may be secret in it: a password, and the query.
fn shown(text: &str) -> String {
    let place = text.find(['?', '#']).map_or(text, |end| &text[..end]);
    match place.rfind('@') {
        Some(at) => format!("***{}", &place[at..]),
        None => place.to_owned(),
    }
}

/// Whether nothing is fetched from this address, whoever says so: link-local ones (RFC 3927, RFC 4291), which are those of the
/// machine's own network and of the metadata of clouds, and where such metadata is besides.
pub fn is_off_limits(address: IpAddr) -> bool {
    const METADATA: [IpAddr; 2] =
        [IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254))];
    let address = address.to_canonical();
    METADATA.contains(&address)
        || match address {
            IpAddr::V4(v4) => v4.is_link_local() || v4.is_unspecified() || v4.is_broadcast() || v4.is_multicast(),
            IpAddr::V6(v6) => {
                // The other ways to write an IPv4 address in an IPv6 one: compatible, 6to4 and NAT64 (RFC 4291, 3056, 6052).
                let [a, b, c, d, e, f, g, h] = v6.segments();
                let embedded = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
                v6.is_unicast_link_local()
                    || v6.is_unspecified()
                    || v6.is_multicast()
                    || ([a, b, c, d, e, f] == [0; 6] && g != 0 && is_off_limits(embedded(g, h)))
                    || (a == 0x2002 && is_off_limits(embedded(b, c)))
                    || ([a, b, c, d, e, f] == [0x64, 0xff9b, 0, 0, 0, 0] && is_off_limits(embedded(g, h)))
            }
        }
}

impl fmt::Display for Url {
    /// Without its query, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.uri.scheme_str().unwrap_or_default(), self.authority, self.uri.path())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}{}", if self.uri.query().is_some() { "?***" } else { "" })
    }
}

impl<'de> Deserialize<'de> for Url {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl Serialize for Url {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // For who reads what is in effect. Nothing is fetched because of what was shown.
        serializer.collect_str(&format_args!("{self:?}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn https_everywhere_and_http_on_this_machine_can_be_fetched() {
        for (text, host, port, path) in [
            ("https://login.example.com", "login.example.com", 443, "/"),
            ("https://login.example.com:8443/a/b?c=d", "login.example.com", 8443, "/a/b?c=d"),
            ("https://[2001:db8::1]:6443/keys", "2001:db8::1", 6443, "/keys"),
            ("https://10.96.0.1/openid/v1/jwks", "10.96.0.1", 443, "/openid/v1/jwks"),
            ("http://127.0.0.1:9000/jwks", "127.0.0.1", 9000, "/jwks"),
            ("http://[::1]/jwks", "::1", 80, "/jwks"),
            ("http://localhost/jwks", "localhost", 80, "/jwks"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.host(), url.port(), url.path_and_query()), (host, port, path), "{text}");
        }
    }

    #[test]
    fn what_must_not_be_fetched_is_refused() {
        for text in [
            "",
            "/keys",
            "login.example.com",
            "ftp://login.example.com/",
            "file:///etc/passwd",
            "http://login.example.com/",
            "http://localhost.example.com/",
            "http://127.0.0.1.example.com/",
            "http://10.0.0.1/",
            "https://user:password@login.example.com/",
            "https://login.example.com/#keys",
            "https://169.254.169.254/latest/meta-data",
            "http://169.254.169.254/latest/meta-data",
            "https://[fe80::1]/",
            "https://[::ffff:169.254.169.254]/",
            "https://[::169.254.169.254]/",
            "https://[64:ff9b::a9fe:a9fe]/",
            "https://[2002:a9fe:a9fe::]/",
            "https://[fd00:ec2::254]/",
            "https://100.100.100.200/",
            "https://0.0.0.0/",
            "https://[::]/",
            "https://224.0.0.1/",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_followed_stays_in_its_scheme_and_off_this_machine() {
        let public = Url::parse("https://login.example.com/a/b").unwrap();
        let local = Url::parse("http://127.0.0.1:9000/a").unwrap();
        assert_eq!(public.follow("/c?d").unwrap().to_string(), "https://login.example.com/c");
        assert_eq!(public.follow("https://keys.example.net/c").unwrap().to_string(), "https://keys.example.net/c");
        assert_eq!(local.follow("http://localhost:9001/c").unwrap().to_string(), "http://localhost:9001/c");
        for location in [
            "http://127.0.0.1/",
            "https://127.0.0.1/",
            "https://localhost/",
            "https://[::1]/",
            "https://169.254.1.1/",
            "//x/y",
            "c",
            "",
        ] {
            assert!(public.follow(location).is_err(), "{location}");
        }
        assert!(local.follow("https://login.example.com/").is_err());
    }

    #[test]
    fn a_query_and_a_password_are_shown_nowhere() {
        let url = Url::parse("https://login.example.com/keys?code=wonderland").unwrap();
        assert_eq!(url.path_and_query(), "/keys?code=wonderland");
        assert_eq!(url.to_string(), "https://login.example.com/keys");
        assert_eq!(format!("{url:?}"), "https://login.example.com/keys?***");
        assert_eq!(serde_json::to_string(&url).unwrap(), "\"https://login.example.com/keys?***\"");
        for text in [
            "http://login.example.com/keys?wonderland",
            "https://login.example.com/keys?wonderland#keys",
            "https://login.example.com/keys#wonderland",
            "https://169.254.169.254/?wonderland",
            "login.example.com?wonderland",
            "https://login.example.com/ ?wonderland",
            "https://alice:wonderland@login.example.com/",
            "https://alice:wonderland@login.example.com/ ",
            "//alice:wonderland@login.example.com/",
            "http://localhost/?wonderland",
        ] {
            let why = url.follow(text).unwrap_err();
            assert!(!why.contains("wonderland"), "{text}: {why}");
            assert!(Url::parse(text).err().is_none_or(|why| !why.contains("wonderland")), "{text}");
        }
        let why = url.follow("https://127.0.0.1/keys?wonderland").unwrap_err();
        assert_eq!(why, "https://127.0.0.1/keys is on this machine, and https://login.example.com/keys is not");
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let url = |text| Url::parse(text).unwrap();
        assert!(url("https://a.example/x").has_origin_of(&url("https://A.example:443/y")));
        for other in ["https://b.example/", "https://a.example:8443/", "https://a.example.com/"] {
            assert!(!url("https://a.example/").has_origin_of(&url(other)), "{other}");
        }
    }
}
