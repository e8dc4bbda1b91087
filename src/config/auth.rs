//! Who may prove who they are: issuers of tokens, and passwords.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Serialize, de::IntoDeserializer};

use super::{
    Origin, Rule, TokenSource,
    findings::{Findings, member},
    identity::check_claim,
    units,
};

/// Who may prove who they are, and how.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Issuers whose tokens are accepted.
    pub jwt: Vec<Jwt>,
    /// Passwords.
    pub basic: Option<Basic>,
    /// Origins, besides that of the request itself, whose pages may open a WebSocket with a cookie or a password.
    pub trusted_origins: Vec<Origin>,
}

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

/// Where an issuer's keys are.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Keys {
    /// A JWKS (RFC 7517).
    File(PathBuf),
    /// One or more PEM public keys or certificates.
    PemFile(PathBuf),
    /// A shared secret for HS256, HS384, HS512. One trailing line break is not part of it.
    SecretFile(PathBuf),
}

/// Passwords.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    /// htpasswd: bcrypt, APR1, `{SHA}`, `$5$`, `$6$`, argon2id, mixed.
    pub users_file: PathBuf,
    /// Lines of `group: user user`, as Apache's AuthGroupFile.
    pub groups_file: Option<PathBuf>,
    /// What the browser shows when it asks for the password.
    #[serde(default = "realm")]
    pub realm: String,
}

fn leeway() -> Duration {
    Duration::from_secs(30)
}

fn groups_claim() -> String {
    "groups".to_owned()
}

fn realm() -> String {
    "sidegate".to_owned()
}

impl Algorithm {
    const HMAC: [Self; 3] = [Self::HS256, Self::HS384, Self::HS512];
    const ASYMMETRIC: [Self; 9] = [
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

impl Keys {
    /// The file that holds them.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::PemFile(path) | Self::SecretFile(path) => path,
        }
    }

    /// The algorithms that such keys can be for. A public key must never be taken for a shared secret: everybody
    /// could sign with it.
    const fn algorithms(&self) -> &'static [Algorithm] {
        match self {
            Self::File(_) | Self::PemFile(_) => &Algorithm::ASYMMETRIC,
            Self::SecretFile(_) => &Algorithm::HMAC,
        }
    }
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

    fn check(&self, key: &str, findings: &mut Findings<'_>) {
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

impl Auth {
    pub(super) fn check(&self, rules: &[Rule], findings: &mut Findings<'_>) {
        self.check_presence(rules, findings);
        let mut labels = BTreeMap::new();
        let mut issuers = BTreeMap::new();
        for (i, jwt) in self.jwt.iter().enumerate() {
            let key = findings.element("auth.jwt", i);
            jwt.check(&key, findings);
            if let Some(other) = issuers.insert(&jwt.issuer, key.clone()) {
                let (at, what, remedy) = match &jwt.issuer {
                    Some(issuer) => ("issuer", format!("{other} has the issuer `{issuer}` too"), "keep one of them"),
                    None => {
                        ("", format!("{other} has no `issuer` either, so that a token would fit both"), "set `issuer`")
                    }
                };
                findings.push(if at.is_empty() { key } else { member(&key, at) }, what, remedy);
            } else if let Some(other) = labels.insert(jwt.label(), key.clone()) {
                let what =
                    format!("{other} is called `{}` too; logs and metrics could not tell them apart", jwt.label());
                findings.push(key, what, "give each a `name`");
            }
        }
        if let Some(basic) = &self.basic {
            basic.check(findings);
        }
    }

    fn check_presence(&self, rules: &[Rule], findings: &mut Findings<'_>) {
        let nobody = self.jwt.is_empty() && self.basic.is_none();
        let no_rules = rules.is_empty() && findings.complete("rules");
        let open = "to let everybody in, say so: `rules: [{ allow: anyone }]`";
        if nobody && no_rules {
            findings.push(
                "auth",
                "there is neither authentication nor a rule",
                format!("set `auth` and `rules`; {open}"),
            );
        } else if nobody && rules.iter().any(Rule::needs_caller) {
            let what = "a rule asks who is calling, and there is nothing to prove it by";
            findings.push("auth", what, format!("set `auth.jwt` or `auth.basic`; {open}"));
        } else if no_rules {
            let what = "there is no rule, so that every request would be refused";
            findings.push("rules", what, "begin with `rules: [{ allow: authenticated }]`");
        }
    }
}

impl Basic {
    fn check(&self, findings: &mut Findings<'_>) {
        if self.realm.contains(|c: char| c.is_control() || !c.is_ascii() || matches!(c, '"' | '\\')) {
            let what =
                "the realm is sent in a quoted header: no quotes, backslashes and control characters, ASCII only";
            findings.push("auth.basic.realm", what, "");
        }
    }
}
