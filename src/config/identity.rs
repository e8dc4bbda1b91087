//! How the app is told who is calling.

use std::collections::BTreeMap;

use http::HeaderName;
use serde::{Deserialize, Serialize};

use super::findings::{Findings, member};

/// Headers that tell the app about the connection, not about the caller.
const OURS: &[&str] = &[
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
];

/// Headers that frame the message, steer the connection or carry credentials. `Proxy` becomes HTTP_PROXY in CGI
/// (CVE-2016-5385).
const HTTP: &[&str] = &[
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "origin",
    "proxy",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// How the app is told who is calling.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// Header → claim path. `sub` and `groups` stand for the user and the groups of Basic too.
    pub headers: BTreeMap<String, String>,
    /// Between the entries of a list.
    pub group_separator: String,
    /// Whether the app sees the password or the token.
    pub forward_credentials: bool,
}

impl Default for Identity {
    fn default() -> Self {
        let headers = [("X-Forwarded-User", "sub"), ("X-Forwarded-Email", "email"), ("X-Forwarded-Groups", "groups")];
        Self {
            headers: headers.map(|(header, claim)| (header.to_owned(), claim.to_owned())).into(),
            group_separator: ",".to_owned(),
            forward_credentials: false,
        }
    }
}

impl Identity {
    pub(super) fn check(&self, findings: &mut Findings<'_>) {
        let mut seen = BTreeMap::new();
        for (header, claim) in &self.headers {
            let key = member("identity.headers", header);
            if let Err((what, remedy)) = check_header(header) {
                findings.push(&key, what, remedy);
            } else if let Some(other) = seen.insert(alias(header), header) {
                let what = format!("`{header}` and `{other}` are the same header to an app");
                findings.push(&key, what, "keep one of them");
            }
            if let Err(what) = check_claim(claim) {
                findings.push(&key, what, "");
            }
        }
        if self.group_separator.contains(|c: char| c.is_control() || !c.is_ascii()) {
            let what = "a header cannot carry this separator: it is a control character or not ASCII";
            findings.push("identity.group_separator", what, "use a comma, a space or `|`");
        }
        if self.group_separator.is_empty() {
            findings.push(
                "identity.group_separator",
                "without a separator `a` and `b` would be the group `ab`",
                "use a comma",
            );
        }
    }
}

/// What is wrong with a path to a claim: a name, names with dots between, or a JSON pointer (RFC 6901).
pub(super) fn check_claim(path: &str) -> Result<(), String> {
    let names = match path.strip_prefix('/') {
        Some(pointer) => pointer.split('/').collect::<Vec<_>>(),
        // A name that is a URL is one name: namespaced claims look like that.
        None if path.contains("://") => return Ok(()),
        None => path.split('.').collect(),
    };
    if names.contains(&"") {
        return Err(format!(
            "`{path}` is no path to a claim; write it like `realm_access.roles` or `/realm_access/roles`"
        ));
    }
    if path.starts_with('/') && names.iter().any(|name| name.replace("~0", "").replace("~1", "").contains('~')) {
        return Err(format!("`{path}` is no JSON pointer; in a name write `~0` for `~` and `~1` for `/`"));
    }
    Ok(())
}

fn check_header(header: &str) -> Result<(), (String, &'static str)> {
    if header.contains('_') {
        return Err((
            format!(
                "`{header}` contains an underscore; WSGI and CGI take `_` and `-` for the same, so a client could send the other"
            ),
            "write it with `-`",
        ));
    }
    if HeaderName::try_from(header).is_err() {
        return Err((format!("`{header}` is not the name of a header"), "write letters, digits and `-`"));
    }
    if is_ours(header) {
        return Err((format!("`{header}` is set by sidegate itself"), "choose another name, like X-Forwarded-User"));
    }
    if is_of_http(header) {
        return Err((
            format!("`{header}` belongs to HTTP itself and cannot carry an identity"),
            "choose another name, like X-Forwarded-User",
        ));
    }
    Ok(())
}

/// Whether a header has a meaning of its own, so that nothing can be told in it.
pub(super) fn is_reserved(header: &str) -> bool {
    is_ours(header) || is_of_http(header)
}

fn is_ours(header: &str) -> bool {
    OURS.contains(&header.to_ascii_lowercase().as_str())
}

fn is_of_http(header: &str) -> bool {
    let name = header.to_ascii_lowercase();
    HTTP.contains(&name.as_str()) || name.starts_with("proxy-") || name.starts_with("sec-")
}

/// `header` as those see it who take every separator, and every case, for the same.
fn alias(header: &str) -> String {
    header.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}
