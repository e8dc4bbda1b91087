//! Which kinds of credentials a rule takes.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, SeqAccess, Visitor, value::SeqAccessDeserializer},
    ser::SerializeMap,
};

use super::{
    Auth, Jwt, TokenSource,
    findings::{Findings, closest},
};

/// Stands for the tokens of every issuer.
pub(super) const TOKENS: &str = "jwt";

/// Stands for passwords.
pub(super) const PASSWORDS: &str = "basic";

/// The kinds of credentials that a rule takes, by their names: `jwt` for the tokens of every issuer, the name of one
/// issuer for its tokens, `basic` for passwords.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Credentials {
    /// Any that is configured.
    #[default]
    Whichever,
    /// Any of these.
    Any(Vec<String>),
    /// Both of these, a token and a password; the token says who is calling.
    All(Vec<String>),
}

/// Kinds of which one has to be proved.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Kinds {
    /// The issuers whose tokens count, by their places in `auth.jwt`.
    pub issuers: Vec<usize>,
    /// Whether passwords count.
    pub passwords: bool,
}

impl Credentials {
    /// Whether nothing was said, so that every kind will do.
    pub fn is_whichever(&self) -> bool {
        *self == Self::Whichever
    }

    /// What has to be proved: one of each of these, tokens before passwords.
    pub fn demands(&self, auth: &Auth) -> Vec<Kinds> {
        match self {
            Self::Whichever => vec![Kinds::named(&[TOKENS, PASSWORDS], auth)],
            Self::Any(names) => vec![Kinds::named(names, auth)],
            Self::All(names) => {
                let Kinds { issuers, passwords } = Kinds::named(names, auth);
                vec![Kinds { issuers, passwords: false }, Kinds { issuers: Vec::new(), passwords }]
            }
        }
    }

    /// Checks what the rule at `key` says.
    pub(super) fn check(&self, auth: &Auth, key: &str, findings: &mut Findings<'_>) {
        let names = match self {
            Self::Whichever => return,
            Self::Any(names) | Self::All(names) => names,
        };
        if names.is_empty() {
            findings.push(key, "the list is empty, so that nobody gets through", "take it out to accept every kind");
        }
        let labels: Vec<_> = auth.jwt.iter().map(Jwt::label).collect();
        let mut known: Vec<&str> = labels.iter().map(String::as_str).collect();
        known.extend((!auth.jwt.is_empty()).then_some(TOKENS));
        known.extend(auth.basic.is_some().then_some(PASSWORDS));
        for name in names.iter().filter(|name| !known.contains(&name.as_str())) {
            let (what, remedy) = match name.as_str() {
                TOKENS => ("there is no issuer of tokens".to_owned(), "set `auth.jwt`".to_owned()),
                PASSWORDS => ("there are no passwords".to_owned(), "set `auth.basic`".to_owned()),
                name => {
                    let meant = closest(name, &known).map(|meant| format!("did you mean `{meant}`?"));
                    let all = || format!("write one of {}", known.join(", "));
                    (format!("`{name}` is neither `jwt` nor `basic` nor an issuer's name"), meant.unwrap_or_else(all))
                }
            };
            // The issuer may be the one that could not be read.
            if findings.complete("auth") {
                findings.push(key, what, remedy);
            }
        }
        if let Self::All(names) = self {
            check_pair(names, auth, key, findings);
        }
    }
}

/// Checks that a request can carry both.
fn check_pair(names: &[String], auth: &Auth, key: &str, findings: &mut Findings<'_>) {
    if names.len() != 2 || names[0] == names[1] || !names.iter().any(|name| name == PASSWORDS) {
        let what = "a request can prove a token and a password, and nothing else at once";
        findings.push(key, what, "write `{ all: [jwt, basic] }`, or an issuer's name instead of `jwt`");
        return;
    }
    let is_authorization = |source: &TokenSource| matches!(source, TokenSource::Header(name) if name.eq_ignore_ascii_case("authorization"));
    let Kinds { issuers, .. } = Kinds::named(names, auth);
    let only_there = |place: &usize| auth.jwt[*place].token_from.iter().all(is_authorization);
    if !issuers.is_empty() && issuers.iter().all(only_there) && findings.complete("auth") {
        let what = "the password and the token would both have to be in `Authorization`, which has room for one";
        findings.push(key, what, "let the issuer's `token_from` name another header or a cookie");
    }
}

impl Kinds {
    fn named(names: &[impl AsRef<str>], auth: &Auth) -> Self {
        let has = |name: &str| names.iter().any(|named| named.as_ref() == name);
        let issuers = auth.jwt.iter().enumerate().filter(|(_, jwt)| has(TOKENS) || has(&jwt.label()));
        Self { issuers: issuers.map(|(place, _)| place).collect(), passwords: has(PASSWORDS) && auth.basic.is_some() }
    }
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whichever => f.write_str("any"),
            Self::Any(names) => f.write_str(&names.join(" or ")),
            Self::All(names) => f.write_str(&names.join(" and ")),
        }
    }
}

impl Serialize for Credentials {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Whichever => serializer.serialize_unit(),
            Self::Any(names) => names.serialize(serializer),
            Self::All(names) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("all", names)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Credentials {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CredentialsVisitor)
    }
}

struct CredentialsVisitor;

impl<'de> Visitor<'de> for CredentialsVisitor {
    type Value = Credentials;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list like `[jwt, basic]`, or `{ all: [jwt, basic] }`")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Credentials, E> {
        Ok(Credentials::Any(vec![name.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, names: A) -> Result<Credentials, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(names)).map(Credentials::Any)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Credentials, A::Error> {
        const KEYS: &[&str] = &["any", "all"];
        let Some(key) = map.next_key::<String>()? else { return Err(A::Error::custom("neither `any` nor `all`")) };
        let credentials = match key.as_str() {
            "any" => Credentials::Any(map.next_value()?),
            "all" => Credentials::All(map.next_value()?),
            other => return Err(A::Error::unknown_field(other, KEYS)),
        };
        match map.next_key::<String>()? {
            None => Ok(credentials),
            Some(key) if KEYS.contains(&key.as_str()) => Err(A::Error::custom("either `any` or `all`, not both")),
            Some(key) => Err(A::Error::unknown_field(&key, KEYS)),
        }
    }
}
