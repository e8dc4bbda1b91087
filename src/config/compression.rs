//! Which answers are compressed, and how.

use serde::{Deserialize, Serialize};

use super::{
    findings::{Findings, element},
    units,
};

/// What is text in one form or another.
const TYPES: &[&str] = &[
    "application/atom+xml",
    "application/geo+json",
    "application/javascript",
    "application/json",
    "application/ld+json",
    "application/manifest+json",
    "application/problem+json",
    "application/rss+xml",
    "application/wasm",
    "application/xhtml+xml",
    "application/xml",
    "application/yaml",
    "image/svg+xml",
    "text/css",
    "text/csv",
    "text/html",
    "text/javascript",
    "text/markdown",
    "text/plain",
    "text/xml",
];

/// Which answers are compressed, and how.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compression {
    /// Off, unless it is asked for: what a secret and a stranger's words are compressed together into tells of the secret by
    /// its length (BREACH).
    pub enabled: bool,
    /// The one that we like best comes first; the client's wishes count for more.
    pub algorithms: Vec<Coding>,
    /// A body of which the app says that it is shorter stays as it is. One without a length is compressed.
    #[serde(with = "units::size")]
    pub min_bytes: u64,
    /// The media types, without parameters.
    pub types: Vec<String>,
}

/// A content coding (RFC 9110 section 8.4.1).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Br,
    /// RFC 1952.
    Gzip,
}

impl Default for Compression {
    fn default() -> Self {
        Self {
            enabled: false,
            algorithms: vec![Coding::Zstd, Coding::Br, Coding::Gzip],
            min_bytes: 1 << 10,
            types: TYPES.iter().map(|name| (*name).to_owned()).collect(),
        }
    }
}

impl Compression {
    pub(super) fn check(&self, findings: &mut Findings<'_>) {
        if self.algorithms.is_empty() {
            let remedy = "name one, or set `compression.enabled: false`";
            findings.push("compression.algorithms", "there is nothing to compress with", remedy);
        }
        for (i, coding) in self.algorithms.iter().enumerate() {
            if self.algorithms[..i].contains(coding) {
                findings.push(element("compression.algorithms", i), "this is there twice", "keep the first");
            }
        }
        if self.types.is_empty() {
            let remedy = "name one, or set `compression.enabled: false`";
            findings.push("compression.types", "there is nothing to compress", remedy);
        }
        for (i, name) in self.types.iter().enumerate() {
            if let Err((what, remedy)) = check_type(name) {
                findings.push(findings.element("compression.types", i), format!("`{name}` {what}"), remedy);
            }
        }
    }
}

fn check_type(name: &str) -> Result<(), (&'static str, &'static str)> {
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    let Some((kind, subtype)) = name.split_once('/').filter(|(kind, subtype)| token(kind) && token(subtype)) else {
        return Err(("is not a media type", "write it like `text/html`, without parameters and without `*`"));
    };
    let (kind, subtype) = (kind.to_ascii_lowercase(), subtype.to_ascii_lowercase());
    let streamed = kind == "text" && subtype == "event-stream";
    let grpc = kind == "application" && subtype.starts_with("grpc");
    if streamed || grpc || kind == "multipart" {
        return Err(("is never compressed: its parts have to arrive one by one", "take it out"));
    }
    if matches!(kind.as_str(), "audio" | "video") || kind == "image" && subtype != "svg+xml" {
        return Err(("is never compressed: it is already", "take it out"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_are_compressed_already_or_arrive_in_parts_are_refused() {
        for name in TYPES.iter().chain(&["Text/HTML", "application/vnd.api+json", "font/ttf"]) {
            assert_eq!(check_type(name), Ok(()), "{name}");
        }
        for name in [
            "",
            "text",
            "text/",
            "/html",
            "text/*",
            "*/*",
            "text/html; charset=utf-8",
            "text/event-stream",
            "image/png",
            "application/grpc",
            "application/grpc-web+proto",
            "multipart/x-mixed-replace",
            "video/mp4",
            "a/b/c",
        ] {
            assert!(check_type(name).is_err(), "{name}");
        }
    }
}
