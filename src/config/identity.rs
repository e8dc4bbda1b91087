//! How the app is told who is calling.

use std::collections::BTreeMap;

use http::HeaderName;
use serde::{Deserialize, Serialize};

use super::{
    ForwardCredentials, Signed,
    findings::{Findings, closest, member},
    units,
};

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

/// Stands for all claims together, as base64url of their JSON.
pub const PAYLOAD: &str = "$payload";

/// Stands for the namespace of a Kubernetes service account.
pub const NAMESPACE: &str = "$namespace";

/// Stands for its name within that.
pub const SERVICE_ACCOUNT: &str = "$service_account";

/// How the app is told who is calling.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// The headers that a product or a proxy is known for.
    pub preset: Preset,
    /// Header → claim path, instead of those of the preset. `sub` and `groups` stand for the user and the groups of Basic
    /// too, `$payload` for all claims, `$namespace` and `$service_account` for what a Kubernetes cluster says of its own.
    #[serde(deserialize_with = "units::given")]
    pub headers: Option<BTreeMap<String, String>>,
    /// The same, besides those of the preset.
    pub add_headers: BTreeMap<String, String>,
    /// Between the entries of a list. Absent = that of the preset.
    #[serde(deserialize_with = "units::given")]
    pub group_separator: Option<String>,
    /// What tells the app by a signature that the request came through us.
    pub signed: Option<Signed>,
    /// What the app sees of the password or the token.
    pub forward_credentials: ForwardCredentials,
}

/// Headers by what sends them elsewhere.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// `X-Forwarded-User` and others, as oauth2-proxy sends them to its upstream.
    #[default]
    Forwarded,
    /// `X-Auth-Request-User` and others, as oauth2-proxy answers nginx.
    AuthRequest,
    /// `Remote-User` and others, as Authelia.
    RemoteUser,
    /// `X-Remote-User` and `X-Remote-Groups`, as kube-rbac-proxy.
    Kube,
    /// `x-jwt-payload`, as Envoy's documentation and Istio's.
    Envoy,
}

impl Preset {
    /// Header → claim path.
    fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Forwarded => &[
                ("X-Forwarded-User", "sub"),
                ("X-Forwarded-Email", "email"),
                ("X-Forwarded-Groups", "groups"),
                ("X-Forwarded-Preferred-Username", "preferred_username"),
            ],
            Self::AuthRequest => &[
                ("X-Auth-Request-User", "sub"),
                ("X-Auth-Request-Email", "email"),
                ("X-Auth-Request-Groups", "groups"),
                ("X-Auth-Request-Preferred-Username", "preferred_username"),
            ],
            Self::RemoteUser => &[
                ("Remote-User", "sub"),
                ("Remote-Email", "email"),
                ("Remote-Groups", "groups"),
                ("Remote-Name", "name"),
            ],
            Self::Kube => &[("X-Remote-User", "sub"), ("X-Remote-Groups", "groups")],
            Self::Envoy => &[("X-Jwt-Payload", PAYLOAD)],
        }
    }

    fn separator(self) -> &'static str {
        match self {
            Self::Forwarded | Self::AuthRequest | Self::RemoteUser | Self::Envoy => ",",
            Self::Kube => "|",
        }
    }
}

impl Identity {
    /// Header → claim path: the preset's or those instead, and those besides.
    pub fn told(&self) -> BTreeMap<String, String> {
        let mut told = self.chosen();
        told.extend(self.add_headers.clone());
        told
    }

    /// Between the entries of a list.
    pub fn separator(&self) -> &str {
        self.group_separator.as_deref().unwrap_or(self.preset.separator())
    }

    /// `self` with all that the preset says written out.
    pub(super) fn written_out(self) -> Self {
        Self { headers: Some(self.chosen()), group_separator: Some(self.separator().to_owned()), ..self }
    }

    fn chosen(&self) -> BTreeMap<String, String> {
        let preset = || self.preset.headers().iter().map(|(header, claim)| ((*header).to_owned(), (*claim).to_owned()));
        self.headers.clone().unwrap_or_else(|| preset().collect())
    }

    pub(super) fn check(&self, findings: &mut Findings<'_>) {
        let mut seen = BTreeMap::new();
        for (section, headers) in [("identity.headers", &self.chosen()), ("identity.add_headers", &self.add_headers)] {
            for (header, claim) in headers {
                let key = member(section, header);
                check_told(&key, header, &mut seen, findings);
                if let Err((what, remedy)) = check_told_claim(claim) {
                    findings.push(&key, what, remedy);
                }
            }
        }
        if let Some(signed) = &self.signed {
            check_told("identity.signed.header", &signed.header, &mut seen, findings);
            signed.check(findings);
        }
        self.forward_credentials.check("identity.forward_credentials", self, findings);
        if self.separator().contains(|c: char| c.is_control() || !c.is_ascii()) {
            let what = "a header cannot carry this separator: it is a control character or not ASCII";
            findings.push("identity.group_separator", what, "use a comma, a space or `|`");
        }
        if self.separator().is_empty() {
            findings.push(
                "identity.group_separator",
                "without a separator `a` and `b` would be the group `ab`",
                "use a comma",
            );
        }
    }
}

/// Checks a header that the app is to be told something in, beside those that were `seen`.
fn check_told(key: &str, header: &str, seen: &mut BTreeMap<String, String>, findings: &mut Findings<'_>) {
    if let Err((what, remedy)) = check_header(header) {
        findings.push(key, what, remedy);
    } else if let Some(other) = seen.insert(alias(header), header.to_owned()) {
        let what = format!("`{header}` and `{other}` are the same header to an app");
        findings.push(key, what, "keep one of them");
    }
}

/// What is wrong with what a header is to be made of.
fn check_told_claim(claim: &str) -> Result<(), (String, String)> {
    const WORDS: &[&str] = &[PAYLOAD, NAMESPACE, SERVICE_ACCOUNT];
    if claim.starts_with('$') && !WORDS.contains(&claim) {
        let remedy = closest(claim, WORDS).unwrap_or(PAYLOAD);
        return Err((format!("`{claim}` stands for nothing"), format!("did you mean `{remedy}`?")));
    }
    check_claim(claim).map_err(|what| (what, String::new()))
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
