//! One issuer whose tokens are accepted, and what is asked of them.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize, de::IntoDeserializer};
use serde_json::Value;

use super::{
    Keys, TokenSource,
    findings::{Findings, member},
    identity::check_claim,
    units, wanted,
};

/// What is meant for clocks that differ must not make tokens last.
const MAX_LEEWAY: Duration = Duration::from_secs(300);

/// One issuer whose tokens are accepted.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// The label in logs and metrics. Defaults to the issuer's host, or `jwt`, which is for the only one.
    pub name: Option<String>,
    /// The `iss` that its tokens must carry.
    #[serde(default, deserialize_with = "units::given", skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// A token must name one of these in `aud`. Empty = `aud` is not looked at.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// The signature algorithms accepted, whatever the token says. Defaults to the asymmetric ones that fit, or
    /// for a `secret_file` to HS256, HS384 and HS512.
    pub algorithms: Option<Vec<Algorithm>>,
    /// Where its keys are. Absent = where the issuer's metadata says.
    #[serde(default)]
    pub keys: Keys,
    /// How far the issuer's clock may be off ours.
    #[serde(default = "leeway", with = "units::duration")]
    pub leeway: Duration,
    /// The type that the header of its tokens must name (RFC 8725 section 3.11), like `at+jwt`; case, and `application/`
    /// before it, do not count. Absent = it is not looked at.
    #[serde(default, deserialize_with = "units::given", skip_serializing_if = "Option::is_none")]
    pub typ: Option<String>,
    /// The longest time from `iat` to `exp`. 0 = any, and `iat` need not be there.
    #[serde(default, with = "units::duration")]
    pub max_lifetime: Duration,
    /// Claims that each token must have, by their paths: one that equals the value, or is a list or `scope` that holds it; of
    /// a list of values one is enough. `{ present: true }` stands for any value but null and empty text.
    #[serde(default)]
    pub required_claims: BTreeMap<String, Value>,
    /// Where its tokens may be, in the order in which they are looked for.
    #[serde(default = "TokenSource::defaults")]
    pub token_from: Vec<TokenSource>,
    /// The claim that names the user: a dotted path or a JSON pointer, like `groups_claim`.
    #[serde(default = "subject_claim")]
    pub subject_claim: String,
    /// The claim that lists the groups: a dotted path (`realm_access.roles`) or a JSON pointer.
    #[serde(default = "groups_claim")]
    pub groups_claim: String,
}

/// A JWS signature algorithm (RFC 7518, RFC 8037). There is no `none`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names are the registry's")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
    HS256,
    HS384,
    HS512,
}

impl FromStr for Algorithm {
    type Err = serde::de::value::Error;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::deserialize(name.into_deserializer())
    }
}

fn leeway() -> Duration {
    Duration::from_secs(30)
}

fn subject_claim() -> String {
    "sub".to_owned()
}

fn groups_claim() -> String {
    "groups".to_owned()
}

impl Algorithm {
    pub(super) const HMAC: [Self; 3] = [Self::HS256, Self::HS384, Self::HS512];
    pub(super) const ASYMMETRIC: [Self; 9] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];
}

impl Jwt {
    /// An issuer with these keys, of which nothing else is known.
    pub fn new(keys: Keys) -> Self {
        Self {
            name: None,
            issuer: None,
            audiences: Vec::new(),
            algorithms: None,
            keys,
            leeway: leeway(),
            typ: None,
            max_lifetime: Duration::ZERO,
            required_claims: BTreeMap::new(),
            token_from: TokenSource::defaults(),
            subject_claim: subject_claim(),
            groups_claim: groups_claim(),
        }
    }

    /// The label in logs and metrics.
    pub fn label(&self) -> String {
        let host = |issuer: &String| {
            let host = issuer.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
            host.unwrap_or_else(|| issuer.clone())
        };
        self.name.clone().or_else(|| self.issuer.as_ref().map(host)).unwrap_or_else(|| {
            let kind = if self.keys.are_of_a_cluster() { "kubernetes" } else { "jwt" };
            kind.to_owned()
        })
    }

    /// The signature algorithms accepted.
    pub fn accepted_algorithms(&self) -> Vec<Algorithm> {
        self.algorithms.clone().unwrap_or_else(|| self.keys.algorithms().to_vec())
    }

    pub(super) fn check(&self, key: &str, findings: &mut Findings<'_>) {
        if self.name.as_ref().is_some_and(|name| name.is_empty() || name.contains(char::is_control)) {
            findings.push(member(key, "name"), "the name is empty or contains a control character", "");
        }
        if self.issuer.as_deref() == Some("") {
            findings.push(member(key, "issuer"), "the issuer is empty", "write the `iss` of its tokens");
        }
        if self.audiences.iter().any(String::is_empty) {
            findings.push(member(key, "audiences"), "an audience is empty", "take it out");
        }
        for (name, path) in [("subject_claim", &self.subject_claim), ("groups_claim", &self.groups_claim)] {
            if let Err(what) = check_claim(path) {
                findings.push(member(key, name), what, "");
            }
        }
        if self.leeway > MAX_LEEWAY {
            let what = "tokens would be good for longer than 5m after their end";
            findings.push(member(key, "leeway"), what, "set it to 30s, and the clocks by NTP");
        }
        if self.typ.as_ref().is_some_and(|typ| !is_media_type(typ)) {
            findings.push(member(key, "typ"), "this is not a media type", "write it like `at+jwt`");
        }
        if !self.max_lifetime.is_zero() && self.max_lifetime < Duration::from_secs(1) {
            let what = "times in tokens are whole seconds, so that no token would be accepted";
            findings.push(member(key, "max_lifetime"), what, "set it to 1s or more");
        }
        for (path, value) in &self.required_claims {
            wanted::check(path, value, &member(key, "required_claims"), findings);
        }
        self.keys.check(self.issuer.as_deref(), &member(key, "keys"), findings);
        self.check_cluster(key, findings);
        TokenSource::check_all(&self.token_from, key, findings);
        self.check_algorithms(key, findings);
        self.check_judge(key, findings);
    }

    fn check_algorithms(&self, key: &str, findings: &mut Findings<'_>) {
        let accepted = self.accepted_algorithms();
        if accepted.is_empty() {
            let what = "the list is empty, so that no token is accepted";
            findings.push(member(key, "algorithms"), what, "take it out to accept all that fit the keys");
        }
        let fitting = self.keys.algorithms();
        if let Some(algorithm) = accepted.iter().find(|algorithm| !fitting.contains(algorithm)) {
            let what = match self.keys {
                Keys::SecretFile(_) => {
                    format!("{algorithm:?} needs a public key, and `secret_file` is a shared secret")
                }
                Keys::File(_)
                | Keys::PemFile(_)
                | Keys::Discovery(_)
                | Keys::Url(..)
                | Keys::Kubernetes(..)
                | Keys::TokenReview(..) => {
                    format!(
                        "{algorithm:?} needs a shared secret, and `keys` are public: everybody could sign with them"
                    )
                }
            };
            findings.push(member(key, "algorithms"), what, format!("choose among {fitting:?}"));
        }
    }

    /// Checks whom a cluster's tokens are meant for.
    fn check_cluster(&self, key: &str, findings: &mut Findings<'_>) {
        if self.keys.are_of_a_cluster() && self.audiences.is_empty() {
            let what = "a service account's token that is meant for another service would be accepted here";
            let remedy = "name the `audience` that the callers' tokens are projected with";
            findings.push(member(key, "audiences"), what, remedy);
        }
    }

    /// Checks that nothing is asked of a cluster's tokens that would not be looked at.
    fn check_judge(&self, key: &str, findings: &mut Findings<'_>) {
        let (reviewed, why) = match self.keys {
            Keys::TokenReview(..) => (true, "does not belong to `token_review`: the API server judges the token"),
            Keys::Kubernetes(..) => (false, "does not belong to `kubernetes`: the user is the service account"),
            Keys::File(_) | Keys::PemFile(_) | Keys::SecretFile(_) | Keys::Discovery(_) | Keys::Url(..) => return,
        };
        for (name, ignored) in [
            ("algorithms", reviewed && self.algorithms.is_some()),
            ("typ", reviewed && self.typ.is_some()),
            ("max_lifetime", reviewed && !self.max_lifetime.is_zero()),
            ("required_claims", reviewed && !self.required_claims.is_empty()),
            ("subject_claim", self.subject_claim != subject_claim()),
            ("groups_claim", self.groups_claim != groups_claim()),
        ] {
            if ignored {
                findings.push(member(key, name), format!("`{name}` {why}"), "take it out");
            }
        }
    }
}

/// Whether `name` is a media type, with or without its first part (RFC 6838 section 4.2).
fn is_media_type(name: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "!#$&-^_.+".contains(c))
    };
    match name.split_once('/') {
        Some((kind, subtype)) => is_part(kind) && is_part(subtype),
        None => is_part(name),
    }
}
