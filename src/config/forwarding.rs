//! What the app sees of the credentials that a request came with.

use std::path::PathBuf;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor},
    ser::SerializeMap,
};

use super::{Identity, findings::Findings};

/// What the app sees of the password or the token.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum ForwardCredentials {
    /// `false`: nothing.
    #[default]
    No,
    /// `true`: what the client sent, where it was sent.
    Yes,
    /// `signed`: the signed identity, as a bearer token in `Authorization`.
    Signed,
    /// `{ file: … }`: this value of `Authorization`, whoever calls.
    File(PathBuf),
}

impl ForwardCredentials {
    pub(super) fn check(&self, key: &str, identity: &Identity, findings: &mut Findings<'_>) {
        if *self == Self::Signed && identity.signed.is_none() && findings.complete("identity.signed") {
            let what = "there is no signed identity to forward";
            findings.push(key, what, "set `identity.signed: { audience: NAME }`");
        }
    }
}

impl Serialize for ForwardCredentials {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::No => serializer.serialize_bool(false),
            Self::Yes => serializer.serialize_bool(true),
            Self::Signed => serializer.serialize_str("signed"),
            Self::File(path) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("file", path)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for ForwardCredentials {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ForwardCredentialsVisitor)
    }
}

/// By hand, because an untagged enum says of whatever is wrong only that no variant matched.
struct ForwardCredentialsVisitor;

impl<'de> Visitor<'de> for ForwardCredentialsVisitor {
    type Value = ForwardCredentials;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("true, false, `signed`, or a map with `file`")
    }

    fn visit_bool<E: Error>(self, yes: bool) -> Result<ForwardCredentials, E> {
        Ok(if yes { ForwardCredentials::Yes } else { ForwardCredentials::No })
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<ForwardCredentials, E> {
        match word {
            "signed" => Ok(ForwardCredentials::Signed),
            other => Err(E::custom(format!("`{other}` is none of `true`, `false`, `signed`, `{{ file: PATH }}`"))),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ForwardCredentials, A::Error> {
        const KEYS: &[&str] = &["file"];
        let mut file = None;
        while let Some(key) = map.next_key::<String>()? {
            if key != KEYS[0] {
                return Err(A::Error::unknown_field(&key, KEYS));
            }
            file = Some(map.next_value()?);
        }
        file.map(ForwardCredentials::File).ok_or_else(|| A::Error::missing_field(KEYS[0]))
    }
}
