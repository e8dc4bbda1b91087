//! A Kubernetes service account, as its tokens name it.

use std::fmt;

/// What the `sub` of its tokens, and its user name, begin with.
const PREFIX: &str = "system:serviceaccount:";

/// A service account of a Kubernetes cluster. There is one only where the cluster proved it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServiceAccount {
    /// The namespace that it is in.
    pub namespace: Box<str>,
    /// Its name within the namespace.
    pub name: Box<str>,
}

impl ServiceAccount {
    /// Reads a user name as Kubernetes has it: `system:serviceaccount:NAMESPACE:NAME`. Both are checked against the names that
    /// Kubernetes allows, so that no other text can be taken apart in two ways.
    pub fn from_user(user: &str) -> Option<Self> {
        let (namespace, name) = user.strip_prefix(PREFIX)?.split_once(':')?;
        (is_label(namespace) && is_subdomain(name)).then(|| Self { namespace: namespace.into(), name: name.into() })
    }

    /// The groups that Kubernetes has it in.
    pub fn groups(&self) -> Vec<String> {
        let namespaced = format!("system:serviceaccounts:{}", self.namespace);
        vec!["system:serviceaccounts".to_owned(), namespaced, "system:authenticated".to_owned()]
    }
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Whether this is a label as DNS has it (RFC 1123): the name of a namespace.
fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// Whether these are labels with dots between (RFC 1123): the name of a service account.
fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_is_split_into_namespace_and_name() {
        let account = ServiceAccount::from_user("system:serviceaccount:payments:check-out.v2");
        let expected = ServiceAccount { namespace: "payments".into(), name: "check-out.v2".into() };
        assert_eq!(account.as_ref(), Some(&expected));
        assert_eq!(expected.to_string(), "payments/check-out.v2");
        assert_eq!(expected.groups()[1], "system:serviceaccounts:payments");
    }

    #[test]
    fn what_kubernetes_would_not_call_an_account_is_none() {
        let (long, longer) = ("a".repeat(64), ["a"; 128].join("."));
        for user in [
            "",
            "alice",
            "system:serviceaccount:",
            "system:serviceaccount:a",
            "system:serviceaccount::b",
            "system:serviceaccount:a:",
            "system:serviceaccount:a:b:c",
            "system:serviceaccount:a/b:c",
            "system:serviceaccount:a:b/c",
            "system:serviceaccount:A:b",
            "system:serviceaccount:a.b:c",
            "system:serviceaccount:-a:b",
            "system:serviceaccount:a-:b",
            "system:serviceaccount:a:b..c",
            "system:serviceaccount:a: b",
            "system:serviceaccount:\u{e4}:b",
            "System:serviceaccount:a:b",
            "xsystem:serviceaccount:a:b",
            "system:serviceaccount:*:b",
            &format!("system:serviceaccount:{long}:b"),
            &format!("system:serviceaccount:a:{longer}"),
        ] {
            assert_eq!(ServiceAccount::from_user(user), None, "{user}");
        }
    }
}
