//! How claims become an identity: claim paths, and the headers that the app is given.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::{
    config,
    identity::{Identity, Method, ServiceAccount, Signer, Subject},
};

/// The longest header value made of claims. Apps refuse more than 8 KiB; a caller in a thousand groups should hear
/// from us why.
const MAX_HEADER_VALUE: usize = 8 * 1024;

/// A path into the claims: a key, a dotted path (`realm_access.roles`), or a JSON pointer (RFC 6901).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ClaimPath(String);

impl ClaimPath {
    pub(super) fn new(path: &str) -> Self {
        Self(path.to_owned())
    }

    /// The value there. A key that is the whole path comes first: names like `https://example.com/roles` hold dots.
    pub(super) fn find<'a>(&self, claims: &'a Value) -> Option<&'a Value> {
        if let Some(value) = claims.get(&self.0) {
            return Some(value);
        }
        if self.0.starts_with('/') {
            return claims.pointer(&self.0);
        }
        self.0.split('.').try_fold(claims, |value, key| value.get(key))
    }
}

/// What a header is made of.
#[derive(Debug)]
enum Told {
    /// The user, wherever the issuer keeps the name.
    User,
    /// The groups, wherever the issuer keeps them.
    Groups,
    /// All claims.
    Payload,
    /// The namespace of the service account, by its cluster's word and nobody else's.
    Namespace,
    /// The name of the service account within it.
    ServiceAccount,
    /// One claim.
    Claim(ClaimPath),
}

/// What of a caller's claims is kept, and in which form.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    headers: Vec<(HeaderName, Told)>,
    separator: String,
    wanted: Vec<ClaimPath>,
    signer: Option<Arc<Signer>>,
}

impl Mapping {
    pub(super) fn compile(config: &config::Identity) -> Result<Self, config::Problems> {
        let mut problems = config::Problems::default();
        let mut headers = Vec::new();
        for (name, path) in config.told() {
            let invalid = || config::Problem::new(format!("identity.headers.{name}"), "not a header name", "");
            if let Some(header) = problems.keep(HeaderName::try_from(name.as_str()).map_err(|_| invalid())) {
                headers.push((header, Told::parse(&path)));
            }
        }
        let signer = config.signed.as_ref().and_then(|signed| problems.keep(Signer::load(signed)));
        problems.or(Self { headers, separator: config.separator().to_owned(), wanted: Vec::new(), signer })
    }

    /// The public key that what we sign is checked with, if we sign anything.
    pub(super) fn jwks(&self) -> Option<Bytes> {
        self.signer.as_ref().map(|signer| signer.jwks())
    }

    /// The place in [`Identity::claims`] in which a rule will find the claim at `path`.
    pub(super) fn slot(&mut self, path: &str) -> usize {
        let path = ClaimPath::new(path);
        if let Some(slot) = self.wanted.iter().position(|wanted| *wanted == path) {
            return slot;
        }
        self.wanted.push(path);
        self.wanted.len() - 1
    }

    /// The identity that `claims` prove. `sub` and `groups` stand for the user and the groups, wherever the issuer
    /// keeps them; `account` is what a Kubernetes cluster says that the user is.
    ///
    /// Returns `None` when a claim cannot be told to the app in a header without changing its meaning.
    pub(super) fn identify(
        &self,
        method: Method,
        issuer: Arc<str>,
        user: &str,
        groups: Vec<String>,
        account: Option<ServiceAccount>,
        claims: &Value,
    ) -> Option<Identity> {
        let subject = Subject { user, method, issuer: &issuer, groups: &groups, claims };
        let mut headers = Vec::with_capacity(self.headers.len());
        for (name, told) in &self.headers {
            let text = match told {
                Told::User => Some(user.to_owned()),
                Told::Groups => join(groups.iter().map(String::as_str), &self.separator),
                Told::Payload => Some(payload(subject)),
                Told::Namespace => account.as_ref().map(|account| account.namespace.to_string()),
                Told::ServiceAccount => account.as_ref().map(|account| account.name.to_string()),
                Told::Claim(path) => path.find(claims).and_then(|value| self.text(value)),
            };
            let Some(text) = text.filter(|text| !text.is_empty()) else { continue };
            if text.len() > MAX_HEADER_VALUE || text.chars().any(char::is_control) {
                return None;
            }
            headers.push((name.clone(), HeaderValue::from_bytes(text.as_bytes()).ok()?));
        }
        let assertion = match &self.signer {
            Some(signer) => Some(signer.assertion(subject, MAX_HEADER_VALUE)?),
            None => None,
        };
        let claims = self.wanted.iter().map(|path| path.find(claims).cloned()).collect();
        Some(Identity { user: user.into(), method, issuer, account, groups, claims, headers, assertion, expires: None })
    }

    fn text(&self, value: &Value) -> Option<String> {
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
            Value::Array(entries) => join(entries.iter().filter_map(Value::as_str), &self.separator),
            Value::Null | Value::Object(_) => None,
        }
    }
}

impl Told {
    fn parse(path: &str) -> Self {
        match path {
            "sub" => Self::User,
            "groups" => Self::Groups,
            config::PAYLOAD => Self::Payload,
            config::NAMESPACE => Self::Namespace,
            config::SERVICE_ACCOUNT => Self::ServiceAccount,
            path => Self::Claim(ClaimPath::new(path)),
        }
    }
}

/// All claims as base64url of their JSON: as the rules saw them, of which there is one reading, and not as they were sent.
/// What we say of a caller who has none, as one with a password, has no `exp`, without which no token is accepted: so it
/// cannot be taken for a token's.
fn payload(subject: Subject<'_>) -> String {
    let Subject { user, method, issuer, groups, claims } = subject;
    let json = if claims.is_object() {
        claims.to_string()
    } else {
        json!({ "sub": user, "groups": groups, "auth_method": method.label(), "auth_issuer": issuer }).to_string()
    };
    URL_SAFE_NO_PAD.encode(json)
}

/// A list as one header value. An entry that holds the separator would read as two entries, of which the caller may have
/// neither: it is left out.
fn join<'a>(entries: impl Iterator<Item = &'a str>, separator: &str) -> Option<String> {
    let mut joined = String::new();
    for entry in entries.filter(|entry| !entry.is_empty() && !entry.contains(separator)) {
        if !joined.is_empty() {
            joined.push_str(separator);
        }
        joined.push_str(entry);
    }
    (!joined.is_empty()).then_some(joined)
}

/// The groups that a claim lists: a list of strings, or one string.
pub(super) fn groups(value: Option<&Value>) -> Option<Vec<String>> {
    match value {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::String(group)) => Some(vec![group.clone()]),
        Some(Value::Array(groups)) => groups.iter().map(|group| group.as_str().map(str::to_owned)).collect(),
        Some(Value::Bool(_) | Value::Number(_) | Value::Object(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::json;

    use super::*;

    fn headers(claims: &Value, groups: &[&str]) -> Option<Vec<(String, String)>> {
        let told = [("X-User", "sub"), ("X-Groups", "groups"), ("X-Roles", "realm_access.roles"), ("X-Tenant", "t")];
        let told = told.map(|(header, claim)| (header.to_owned(), claim.to_owned()));
        let config = config::Identity { headers: Some(told.into()), ..config::Identity::default() };
        let mapping = Mapping::compile(&config).unwrap();
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        let identity = mapping.identify(Method::Jwt, "corp".into(), "alice", groups, None, claims)?;
        let text = |value: &HeaderValue| String::from_utf8(value.as_bytes().to_vec()).unwrap();
        Some(identity.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect())
    }

    #[test]
    fn claims_become_headers() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(headers(&json!({}), &[]), Some(vec![pair("x-user", "alice")]));
        assert_eq!(
            headers(&json!({"realm_access": {"roles": ["a", "b"]}, "t": 7}), &["admin", "dev"]),
            Some(vec![
                pair("x-groups", "admin,dev"),
                pair("x-roles", "a,b"),
                pair("x-tenant", "7"),
                pair("x-user", "alice")
            ])
        );
        assert_eq!(headers(&json!({"t": {"not": "text"}}), &[]), Some(vec![pair("x-user", "alice")]));
    }

    #[test]
    fn a_group_that_holds_the_separator_never_reads_as_two() {
        let told = headers(&json!({}), &["staff", "x,admin"]).unwrap();
        assert_eq!(told[0], ("x-groups".to_owned(), "staff".to_owned()));
    }

    #[test]
    fn a_claim_that_would_break_a_header_is_refused() {
        for value in ["a\r\nX-Admin: 1", "a\0b", "a\u{7f}b", "a\tb", "a\u{85}b"] {
            assert_eq!(headers(&json!({ "t": value }), &[]), None, "{value:?}");
        }
        assert_eq!(headers(&json!({ "t": "x".repeat(MAX_HEADER_VALUE + 1) }), &[]), None);
    }

    #[test]
    fn a_path_finds_whole_keys_dotted_paths_and_pointers() {
        let claims = json!({"https://example.com/roles": 1, "a": {"b": {"c": 2}}, "x/y": [3]});
        for (path, expected) in [
            ("https://example.com/roles", Some(json!(1))),
            ("a.b.c", Some(json!(2))),
            ("/a/b/c", Some(json!(2))),
            ("/x~1y/0", Some(json!(3))),
            ("a.c", None),
            ("a.b.c.d", None),
        ] {
            assert_eq!(ClaimPath::new(path).find(&claims).cloned(), expected, "{path}");
        }
    }
}
