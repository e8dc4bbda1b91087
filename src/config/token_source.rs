//! Where in a request an issuer's tokens may be.

use http::HeaderName;
use serde::{Deserialize, Serialize};

use super::{
    findings::{Findings, member},
    identity,
};

/// Where a token may be.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenSource {
    /// A header: behind `Bearer`, or, in any but `Authorization`, alone.
    Header(String),
    /// A cookie.
    Cookie(String),
    /// A parameter of the query; of a WebSocket's URL only.
    Query(String),
    /// An entry of a WebSocket's `Sec-WebSocket-Protocol`.
    WebsocketProtocol(bool),
}

impl TokenSource {
    /// Where tokens are if nothing else is said.
    pub fn defaults() -> Vec<Self> {
        vec![Self::Header("Authorization".to_owned())]
    }

    /// Checks the sources of the issuer at `key`.
    pub(super) fn check_all(sources: &[Self], key: &str, findings: &mut Findings<'_>) {
        let key = member(key, "token_from");
        if sources.is_empty() && findings.complete(&key) {
            findings.push(&key, "the list is empty, so that no token is found", "take it out to read `Authorization`");
        }
        for (i, source) in sources.iter().enumerate() {
            let at = findings.element(&key, i);
            if let Err((what, remedy)) = source.check() {
                findings.push(&at, what, remedy);
            } else if sources[..i].iter().any(|other| other.is_same(source)) {
                findings.push(&at, "this is there twice", "take one of them out");
            }
        }
    }

    fn check(&self) -> Result<(), (String, &'static str)> {
        match self {
            Self::Header(name) if name.eq_ignore_ascii_case("authorization") => Ok(()),
            Self::Header(name) if HeaderName::try_from(name).is_err() || name.contains('_') => {
                Err((format!("`{name}` is not the name of a header that gets here"), "write letters, digits and `-`"))
            }
            Self::Header(name) if identity::is_reserved(name) || is_logged(name) => {
                Err((format!("`{name}` has another meaning and cannot carry a token"), "use a header like X-Api-Token"))
            }
            Self::Cookie(name) if HeaderName::try_from(name).is_err() => {
                Err((format!("`{name}` is not the name of a cookie"), "write letters, digits, `-` and `_`"))
            }
            Self::Query(name) if name.is_empty() || !name.bytes().all(is_plain) => {
                let what = format!("`{name}` cannot be the name of a parameter without being escaped");
                Err((what, "write letters, digits, `-` and `_`"))
            }
            Self::WebsocketProtocol(false) => Err(("`false` is no source".to_owned(), "take it out")),
            Self::Header(_) | Self::Cookie(_) | Self::Query(_) | Self::WebsocketProtocol(true) => Ok(()),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Header(a), Self::Header(b)) => a.eq_ignore_ascii_case(b),
            _ => self == other,
        }
    }
}

/// Whether the access log tells what stands in this header.
fn is_logged(name: &str) -> bool {
    ["user-agent", "referer"].iter().any(|logged| name.eq_ignore_ascii_case(logged))
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}
