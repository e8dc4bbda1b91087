//! What is asked of a claim, by a rule or by the terms of an issuer: one language for both.

use serde_json::Value;

/// The claims whose text is a list of words (RFC 8693 section 4.2, and `scp` as Microsoft has it). Any other text is one
/// value, in which a blank says nothing.
const LISTS_OF_WORDS: [&str; 2] = ["scope", "scp"];

/// What is asked of a claim.
#[derive(Debug)]
pub(super) enum Wanted {
    /// That it says something.
    Present,
    /// That it is this value, or holds it, or one of these.
    Value {
        value: Value,
        /// Whether its text is a list of words.
        words: bool,
    },
}

impl Wanted {
    /// What `value` in the configuration asks of the claim at `path`.
    pub(super) fn new(path: &str, value: &Value) -> Self {
        // The check of the configuration has left one kind of map: `{ present: true }`.
        if value.is_object() {
            return Self::Present;
        }
        let name = path.rsplit(if path.starts_with('/') { '/' } else { '.' }).next().unwrap_or(path);
        Self::Value { value: value.clone(), words: LISTS_OF_WORDS.contains(&name) }
    }

    pub(super) fn is_met_by(&self, claim: Option<&Value>) -> bool {
        let Some(claim) = claim else { return false };
        match self {
            Self::Present => !matches!(claim, Value::Null) && claim.as_str() != Some(""),
            Self::Value { value: Value::Array(choices), words } => {
                choices.iter().any(|choice| holds(claim, choice, *words))
            }
            Self::Value { value, words } => holds(claim, value, *words),
        }
    }
}

/// Whether `claim` is `wanted`, or holds it: as an entry of a list, or as one of its `words`.
fn holds(claim: &Value, wanted: &Value, words: bool) -> bool {
    match (claim, wanted) {
        (Value::Array(entries), _) => entries.contains(wanted),
        (Value::String(text), Value::String(word)) => text == word || (words && text.split(' ').any(|w| w == word)),
        _ => claim == wanted,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_holds_what_is_wanted() {
        for (path, claim, wanted, expected) in [
            ("scope", json!("orders:read orders:write"), json!("orders:write"), true),
            ("scope", json!("orders:write-all"), json!("orders:write"), false),
            ("scope", json!("a  b"), json!("b"), true),
            ("scp", json!("a b"), json!(["x", "b"]), true),
            ("a.scope", json!("a b"), json!("b"), true),
            ("/a/scp", json!("a b"), json!("b"), true),
            ("department", json!("not finance"), json!("finance"), false),
            ("department", json!("not finance"), json!("not finance"), true),
            ("scopes", json!("a b"), json!("b"), false),
            ("scope.a", json!("a b"), json!("b"), false),
            ("/a~1scope", json!("a b"), json!("b"), false),
            ("https://example.com/scope", json!("a b"), json!("b"), false),
            ("c", json!(["a", "b"]), json!("b"), true),
            ("scope", json!(["a b"]), json!("b"), false),
            ("c", json!("a"), json!(["x", "a"]), true),
            ("c", json!(true), json!(true), true),
            ("c", json!("true"), json!(true), false),
            ("c", json!(7), json!(7), true),
            ("c", json!({"a": 1}), json!("a"), false),
            ("c", json!([["a"]]), json!("a"), false),
            ("c", json!(null), json!({"present": true}), false),
            ("c", json!(""), json!({"present": true}), false),
            ("c", json!(false), json!({"present": true}), true),
        ] {
            assert_eq!(Wanted::new(path, &wanted).is_met_by(Some(&claim)), expected, "{path}: {claim} {wanted}");
            assert!(!Wanted::new(path, &wanted).is_met_by(None), "{path}: {wanted}");
        }
    }
}
