//! How much memory an entry of the cache takes.

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use super::{Kept, Tail};
use crate::identity::{Assertion, Identity};

/// What the allocator keeps beside each piece of memory, and rounds it up by.
const ALLOCATION: usize = 16;

/// The tail in the table and in the order, and the place of an entry in a table that may be half empty.
const PLACE: usize = 2 * size_of::<Tail>() + 2 * (size_of::<Tail>() + size_of::<Kept>());

/// The bytes that remembering `token` takes, with all that is known of its caller. An estimate, right within a few
/// percent: what counts is that nothing grows which is not counted.
pub(super) fn weight(token: &str, identity: &Identity) -> usize {
    // Taken apart so that whoever gives an identity a new part comes by here. The issuer's name is everybody's.
    let Identity { user, method: _, issuer: _, groups, claims, headers, expires: _, account, assertion } = identity;
    let account = account.as_ref().map_or(0, |account| text(&account.namespace) + text(&account.name));
    let assertion = assertion.as_ref().map_or(0, Assertion::size);
    let groups = groups.iter().map(|group| size_of::<String>() + text(group)).sum::<usize>();
    let claims = claims.iter().map(|claim| claim.as_ref().map_or(size_of::<Value>(), json)).sum::<usize>();
    let header = |value: &HeaderValue| size_of::<(HeaderName, HeaderValue)>() + ALLOCATION + value.len();
    let headers = headers.iter().map(|(_, value)| header(value)).sum::<usize>();
    PLACE
        + text(token)
        + size_of::<Identity>()
        + 4 * ALLOCATION
        + text(user)
        + account
        + groups
        + claims
        + headers
        + assertion
}

fn text(text: &str) -> usize {
    ALLOCATION + text.len()
}

/// A claim. How deep it is was limited when it was read.
fn json(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(string) => text(string),
            Value::Array(entries) => ALLOCATION + entries.iter().map(json).sum::<usize>(),
            // A map's node has room for eleven members.
            Value::Object(members) => {
                let member = |(name, value): (&String, &Value)| size_of::<String>() + text(name) + json(value);
                11 * (size_of::<String>() + size_of::<Value>()) + members.iter().map(member).sum::<usize>()
            }
        }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::{
        config,
        identity::{Method, Signer, Subject},
    };

    fn identity() -> Identity {
        Identity {
            user: "alice".into(),
            method: Method::Jwt,
            issuer: Arc::from("corp"),
            groups: Vec::new(),
            claims: Box::default(),
            account: None,
            headers: Vec::new(),
            assertion: None,
            expires: None,
        }
    }

    fn assertion(user: &str) -> Option<Assertion> {
        let config: config::Signed = serde_json::from_value(json!({ "audience": "app" })).ok()?;
        let subject = Subject { user, method: Method::Jwt, issuer: "corp", groups: &[], claims: &Value::Null };
        Signer::load(&config).ok()?.assertion(subject, usize::MAX)
    }

    #[test]
    fn whatever_grows_with_a_token_counts() {
        let plain = weight("token", &identity());
        let long = "x".repeat(1000);
        let header = HeaderValue::try_from(&long).into_iter();
        let headers = header.map(|value| (HeaderName::from_static("x-user"), value)).collect();
        for (what, token, identity) in [
            ("the token", long.as_str(), identity()),
            ("the user", "token", Identity { user: long.as_str().into(), ..identity() }),
            ("a group", "token", Identity { groups: vec![long.clone()], ..identity() }),
            ("groups", "token", Identity { groups: vec![String::new(); 30], ..identity() }),
            ("a claim", "token", Identity { claims: [Some(json!(long))].into(), ..identity() }),
            ("a list", "token", Identity { claims: [Some(json!([0, [long]]))].into(), ..identity() }),
            ("numbers", "token", Identity { claims: [Some(json!(vec![0; 32]))].into(), ..identity() }),
            ("a map", "token", Identity { claims: [Some(json!({ long.as_str(): 0 }))].into(), ..identity() }),
            ("a header", "token", Identity { headers, ..identity() }),
            ("what is signed", "token", Identity { assertion: assertion(&long), ..identity() }),
        ] {
            assert!(weight(token, &identity) >= plain + 990, "{what}");
        }
    }
}
