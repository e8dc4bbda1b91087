//! Values with a unit, and the address of the app: how they are written in the file.

use std::{fmt, net::SocketAddr, str::FromStr};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

/// Where the app listens: `http://HOST:PORT`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpstreamAddress {
    host: String,
    port: u16,
}

impl UpstreamAddress {
    /// The host: a name, an IPv4 address, or an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Default for UpstreamAddress {
    /// `http://127.0.0.1:5000`: where `flask run` listens.
    fn default() -> Self {
        Self { host: "127.0.0.1".to_owned(), port: 5000 }
    }
}

impl FromStr for UpstreamAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}` is not an address of the form http://HOST:PORT");
        let uri = text.parse::<http::Uri>().map_err(|_| expected())?;
        if uri.scheme_str() != Some("http")
            || !matches!(uri.path_and_query().map(http::uri::PathAndQuery::as_str), None | Some("/" | ""))
        {
            return Err(expected());
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) || uri.port_u16() == Some(0) {
            return Err(expected());
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(expected)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port: uri.port_u16().unwrap_or(80) })
    }
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "http://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "http://{}:{}", self.host, self.port)
        }
    }
}

impl<'de> Deserialize<'de> for UpstreamAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "an address of the form http://HOST:PORT")?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for UpstreamAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A [`std::time::Duration`] written as `500ms`, `30s`, `5m`, `1h`, or 0.
pub(crate) mod duration {
    use std::time::Duration;

    use serde::{Deserializer, Serializer, de};

    const WANTED: &str = "a duration like 500ms, 30s, 5m or 1h";
    /// What is longer was mistyped, and might not fit into the clock any more.
    const MAX: Duration = Duration::from_secs(366 * 24 * 3600);

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = super::text(deserializer, WANTED)?;
        let expected = || de::Error::custom(format!("`{text}` is not {WANTED}"));
        let (number, unit) = super::split(&text).ok_or_else(expected)?;
        let milliseconds = match unit {
            "" if number == 0 => 0,
            "ms" => number,
            "s" => number.checked_mul(1_000).ok_or_else(expected)?,
            "m" => number.checked_mul(60_000).ok_or_else(expected)?,
            "h" => number.checked_mul(3_600_000).ok_or_else(expected)?,
            _ => return Err(expected()),
        };
        let duration = Duration::from_millis(milliseconds);
        if duration > MAX {
            return Err(de::Error::custom(format!("`{text}` is longer than a year")));
        }
        Ok(duration)
    }

    pub(crate) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        let milliseconds = value.as_millis();
        match milliseconds {
            0 => serializer.serialize_str("0s"),
            n if n % 1_000 == 0 => serializer.collect_str(&format_args!("{}s", n / 1_000)),
            n => serializer.collect_str(&format_args!("{n}ms")),
        }
    }
}

/// A number of bytes written as `512B`, `64KiB`, `10MiB`, `1GiB`, or a bare number.
pub(crate) mod size {
    use serde::{Deserializer, Serializer, de};

    const WANTED: &str = "a size like 512B, 64KiB, 10MiB or 1GiB";

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = super::text(deserializer, WANTED)?;
        let expected = || de::Error::custom(format!("`{text}` is not {WANTED}"));
        let (number, unit) = super::split(&text).ok_or_else(expected)?;
        let factor = match unit {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(expected()),
        };
        number.checked_mul(factor).ok_or_else(expected)
    }

    pub(crate) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        for (factor, unit) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
            if *value > 0 && value.is_multiple_of(factor) {
                return serializer.collect_str(&format_args!("{}{unit}", value / factor));
            }
        }
        serializer.serialize_u64(*value)
    }
}

/// An address to listen on: an IP address and a port.
pub(crate) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    const WANTED: &str = "an IP address with a port, like 0.0.0.0:8443 or [::]:8443";
    let text = text(deserializer, WANTED)?;
    text.parse().map_err(|_| de::Error::custom(format!("`{text}` is not {WANTED}")))
}

/// A value for a key whose absence opens something: it cannot be left empty by a template that was given nothing.
pub(crate) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// What is written as text, or as a bare number.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D, wanted: &'static str) -> Result<String, D::Error> {
    struct Text(&'static str);

    impl Visitor<'_> for Text {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<String, E> {
            Ok(number.to_string())
        }
    }

    deserializer.deserialize_str(Text(wanted))
}

/// Splits `64KiB` into its number and its unit.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}
