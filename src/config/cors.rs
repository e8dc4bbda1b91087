//! What web pages of other origins may do.

use std::time::Duration;

use http::{HeaderName, Method};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Origin, findings::Findings, units};

/// What web pages of other origins may do (CORS, as the Fetch standard has it).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// Who answers the question that a browser asks first.
    pub preflight: Preflight,
    /// Whose pages are answered.
    pub origins: Vec<Origins>,
    /// Empty = whichever the page asks for: the rules decide about the request itself.
    pub methods: Vec<String>,
    /// The request's headers. Empty = whichever the page asks for.
    pub headers: Vec<String>,
    /// The answer's headers that the page may read, beside those that it always may.
    pub expose_headers: Vec<String>,
    /// Whether the browser may send cookies and passwords of its own accord.
    pub credentials: bool,
    /// How long a browser may remember the answer. 0 = not at all.
    #[serde(with = "units::duration")]
    pub max_age: Duration,
}

/// Whose pages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origins {
    /// Those of every origin, written `*`.
    Any,
    /// Those of this one.
    One(Origin),
}

/// Who answers a preflight. Browsers send it without credentials.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Preflight {
    /// It is a request like any other.
    #[default]
    Auth,
    /// The app, without being told of any caller.
    Pass,
    /// We; and we say in every other answer who may read it.
    Answer,
}

impl Default for Cors {
    fn default() -> Self {
        Self {
            preflight: Preflight::default(),
            origins: Vec::new(),
            methods: Vec::new(),
            headers: Vec::new(),
            expose_headers: Vec::new(),
            credentials: false,
            // Chromium keeps none for longer.
            max_age: Duration::from_secs(2 * 3600),
        }
    }
}

impl Cors {
    /// Whether every origin is listed.
    pub fn any_origin(&self) -> bool {
        self.origins.contains(&Origins::Any)
    }

    pub(super) fn check(&self, findings: &mut Findings<'_>) {
        if self.preflight != Preflight::Answer {
            for (key, entries) in self.entries().into_iter().filter(|(_, entries)| *entries > 0) {
                let what = format!("{entries} of these without effect: the app sets its own CORS headers");
                findings.push(key, what, "set `cors.preflight: answer`, or take the key out");
            }
            if self.credentials {
                let what = "this has no effect: the app sets its own CORS headers";
                findings.push("cors.credentials", what, "set `cors.preflight: answer`, or take the key out");
            }
            return;
        }
        if self.origins.is_empty() {
            let what = "there is no origin whose pages we could answer";
            findings.push("cors.origins", what, "list them, like `https://app.example.com`");
        }
        if self.any_origin() && self.credentials {
            let what = "`*` with `credentials` would let every web page act as the user whose browser shows it";
            findings.push("cors.origins", what, "list the origins that you trust, or set `cors.credentials: false`");
        }
        if self.any_origin() && self.origins.len() > 1 {
            findings.push("cors.origins", "`*` is every origin already", "keep `*`, or the others");
        }
        for (i, method) in self.methods.iter().enumerate() {
            if method.parse::<Method>().is_err() || method.bytes().any(|byte| byte.is_ascii_lowercase()) {
                let what = format!("`{method}` is not a method");
                findings.push(findings.element("cors.methods", i), what, "write it in capitals, like `PATCH`");
            }
        }
        for (key, list) in [("cors.headers", &self.headers), ("cors.expose_headers", &self.expose_headers)] {
            for (i, name) in list.iter().enumerate().filter(|(_, name)| HeaderName::try_from(*name).is_err()) {
                let what = format!("`{name}` is not the name of a header");
                findings.push(findings.element(key, i), what, "write letters, digits and `-`");
            }
            // For browsers `*` stands for no header called `Authorization`, and with credentials for a header called `*`.
            for (i, _) in list.iter().enumerate().filter(|(_, name)| *name == "*") {
                findings.push(
                    findings.element(key, i),
                    "`*` does not mean every header everywhere",
                    "name the headers",
                );
            }
        }
    }

    /// How many entries each list has.
    fn entries(&self) -> [(&'static str, usize); 4] {
        [
            ("cors.origins", self.origins.len()),
            ("cors.methods", self.methods.len()),
            ("cors.headers", self.headers.len()),
            ("cors.expose_headers", self.expose_headers.len()),
        ]
    }
}

impl<'de> Deserialize<'de> for Origins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = units::text(deserializer, "an origin like https://app.example.com, or `*`")?;
        if text == "*" {
            return Ok(Self::Any);
        }
        text.parse().map(Self::One).map_err(de::Error::custom)
    }
}

impl Serialize for Origins {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => serializer.serialize_str("*"),
            Self::One(origin) => origin.serialize(serializer),
        }
    }
}
