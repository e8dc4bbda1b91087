//! Service accounts of Kubernetes, as a rule names them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// One service account, or all of a namespace: `payments/checkout`, `payments/*`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccountPattern {
    namespace: Box<str>,
    /// Absent = every account of the namespace.
    name: Option<Box<str>>,
}

impl AccountPattern {
    /// Whether it stands for the account of this name in this namespace.
    pub fn matches(&self, namespace: &str, name: &str) -> bool {
        *self.namespace == *namespace && self.name.as_ref().is_none_or(|wanted| **wanted == *name)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}` is not like `payments/checkout` or `payments/*`");
        let (namespace, name) = text.split_once('/').ok_or_else(expected)?;
        if namespace == "*" {
            return Err(format!("`{text}`: who may make a namespace could make this account; name the namespace"));
        }
        let is_name = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b))
        };
        if !is_name(namespace) || (name != "*" && !is_name(name)) {
            return Err(expected());
        }
        Ok(Self { namespace: namespace.into(), name: (name != "*").then(|| name.into()) })
    }
}

impl fmt::Display for AccountPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name.as_deref().unwrap_or("*"))
    }
}

impl<'de> Deserialize<'de> for AccountPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl Serialize for AccountPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn an_account_or_a_whole_namespace_is_named() {
        for (pattern, namespace, name, expected) in [
            ("payments/checkout", "payments", "checkout", true),
            ("payments/checkout", "payments", "checkouts", false),
            ("payments/checkout", "payment", "checkout", false),
            ("payments/*", "payments", "anything", true),
            ("payments/*", "payments-dev", "anything", false),
        ] {
            assert_eq!(AccountPattern::parse(pattern).unwrap().matches(namespace, name), expected, "{pattern}");
        }
        for wrong in ["", "payments", "payments/", "/checkout", "*/checkout", "a/b/c", "a/b*", "A/b", "a b/c", "*"] {
            assert!(AccountPattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
