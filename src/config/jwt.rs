//! One issuer whose tokens are accepted, and what is asked of them.

use std::{str::FromStr, time::Duration};

use serde::{Deserialize, Serialize, de::IntoDeserializer};

use super::{
    Keys, TokenSource,
    findings::{Findings, member},
    identity::check_claim,
    units,
};

/// One issuer whose tokens are accepted.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// The label in logs and metrics. Defaults to the issuer's host, or `jwt`.
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
    /// Where its keys are.
    pub keys: Keys,
    /// How far the issuer's clock may be off ours.
    #[serde(default = "leeway", with = "units::duration")]
    pub leeway: Duration,
    /// Where its tokens may be, in the order in which they are looked for.
    #[serde(default = "TokenSource::defaults")]
    pub token_from: Vec<TokenSource>,
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
    /// The label in logs and metrics.
    pub fn label(&self) -> String {
        let host = |issuer: &String| {
            let host = issuer.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
            host.unwrap_or_else(|| issuer.clone())
        };
        self.name.clone().or_else(|| self.issuer.as_ref().map(host)).unwrap_or_else(|| "jwt".to_owned())
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
        if let Err(what) = check_claim(&self.groups_claim) {
            findings.push(member(key, "groups_claim"), what, "");
        }
        TokenSource::check_all(&self.token_from, key, findings);
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
                Keys::File(_) | Keys::PemFile(_) => {
                    format!(
                        "{algorithm:?} needs a shared secret, and `keys` are public: everybody could sign with them"
                    )
                }
            };
            findings.push(member(key, "algorithms"), what, format!("choose among {fitting:?}"));
        }
    }
}
