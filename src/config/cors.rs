//! What web pages of other origins may do.

use std::time::Duration;

use http::{HeaderName, Method};
use serde::{Deserialize, Serialize};

use super::{
    findings::{Findings, element},
    units,
};

/// What web pages of other origins may do (CORS, as the Fetch standard has it).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// Who answers the question that a browser asks first.
    pub preflight: Preflight,
    /// `scheme://host[:port]`, as browsers write it; `*` alone is every origin.
    pub origins: Vec<String>,
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
        self.origins.iter().any(|origin| origin == "*")
    }

    pub(super) fn check(&self, findings: &mut Findings<'_>) {
        if self.preflight != Preflight::Answer {
            for (key, list) in self.lists().into_iter().filter(|(_, list)| !list.is_empty()) {
                let what = format!("{} of these without effect: the app sets its own CORS headers", list.len());
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
        for (i, origin) in self.origins.iter().enumerate().filter(|(_, origin)| *origin != "*") {
            if let Err((what, remedy)) = check_origin(origin) {
                findings.push(findings.element("cors.origins", i), what, remedy);
            }
        }
        for (i, method) in self.methods.iter().enumerate() {
            if method.parse::<Method>().is_err() || method.bytes().any(|byte| byte.is_ascii_lowercase()) {
                let what = format!("`{method}` is not a method");
                findings.push(element("cors.methods", i), what, "write it in capitals, like `PATCH`");
            }
        }
        for (key, list) in [("cors.headers", &self.headers), ("cors.expose_headers", &self.expose_headers)] {
            for (i, name) in list.iter().enumerate().filter(|(_, name)| HeaderName::try_from(*name).is_err()) {
                let what = format!("`{name}` is not the name of a header");
                findings.push(element(key, i), what, "write letters, digits and `-`");
            }
            // For browsers `*` stands for no header called `Authorization`, and with credentials for a header called `*`.
            for (i, _) in list.iter().enumerate().filter(|(_, name)| *name == "*") {
                findings.push(element(key, i), "`*` does not mean every header everywhere", "name the headers");
            }
        }
    }

    fn lists(&self) -> [(&'static str, &[String]); 4] {
        [
            ("cors.origins", &self.origins),
            ("cors.methods", &self.methods),
            ("cors.headers", &self.headers),
            ("cors.expose_headers", &self.expose_headers),
        ]
    }
}

/// What is wrong with an origin. It is compared to the letter with what a browser sends, so it has to be written as browsers
/// write it (RFC 6454 section 6.2), or it would never match.
fn check_origin(origin: &str) -> Result<(), (String, String)> {
    let wrong = |what: &str, remedy: &str| Err((format!("`{origin}` {what}"), remedy.to_owned()));
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
        Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => (address, port.strip_prefix(':')),
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
            assert_eq!(check_origin(origin), Ok(()), "{origin}");
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
            let given = check_origin(origin).map_err(|(_, given)| given);
            assert!(given.as_ref().is_err_and(|given| given.contains(remedy)), "{origin}: {given:?}");
        }
    }
}
