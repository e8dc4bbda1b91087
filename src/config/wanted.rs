//! What may be asked of a claim, by the rules and of an issuer's tokens.

use serde_json::{Value, json};

use super::{
    findings::{Findings, member},
    identity::check_claim,
};

/// Checks that the claim at `path` may be asked for `value`, in the map of claims `key`.
pub(super) fn check(path: &str, value: &Value, key: &str, findings: &mut Findings<'_>) {
    let key = member(key, path);
    if let Err(what) = check_claim(path) {
        findings.push(&key, what, "");
    }
    if let Err((what, remedy)) = check_value(path, value) {
        findings.push(key, what, remedy);
    }
}

/// What is wrong with a value that is asked for, and what to do about it.
fn check_value(path: &str, value: &Value) -> Result<(), (&'static str, String)> {
    let wrong = |what, remedy: &str| Err((what, remedy.to_owned()));
    let presence = "for whatever value it has, write `{ present: true }`";
    match value {
        Value::Null => wrong("there is no value", presence),
        Value::String(text) if text.is_empty() => wrong("the value is empty", presence),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        Value::Array(values) if values.is_empty() => {
            wrong("the list is empty, so that nobody gets through", "name the values, of which one is enough")
        }
        Value::Array(values) if values.iter().any(|value| value.is_array() || value.is_object()) => {
            wrong("a value in the list is itself a list or a map", "write text, numbers, true or false")
        }
        Value::Array(values) => values.iter().try_for_each(|value| check_value(path, value)),
        Value::Object(_) if *value == json!({ "present": true }) => Ok(()),
        Value::Object(_) => {
            let remedy = format!("for a claim within a claim, write its path: `{}`", within(path, value));
            Err(("a map that is not `{ present: true }`", remedy))
        }
    }
}

/// The path to the first claim within the `value` at `path`.
fn within(path: &str, value: &Value) -> String {
    let mut names = Vec::new();
    let mut at = value;
    while let Some((name, value)) = at.as_object().and_then(|map| map.iter().next()) {
        names.push(name.as_str());
        at = value;
    }
    let is_name = path.contains("://");
    if !path.starts_with('/') && !is_name && !names.iter().any(|name| name.contains('.')) {
        names.insert(0, path);
        return names.join(".");
    }
    // A name with a dot in it needs the pointer.
    let mut pointer = match path.strip_prefix('/') {
        Some(_) => path.to_owned(),
        None if is_name => format!("/{}", escaped(path)),
        None => path.split('.').map(|name| format!("/{}", escaped(name))).collect(),
    };
    pointer.extend(names.into_iter().map(|name| format!("/{}", escaped(name))));
    pointer
}

/// A name as it is in a JSON pointer (RFC 6901 section 3).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
