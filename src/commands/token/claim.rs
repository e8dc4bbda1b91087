//! `--claim K=V`: where a claim goes, and what it is.

use std::str::FromStr;

use serde_json::{Map, Value};

/// A claim as it is typed.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::commands) struct Claim {
    path: Vec<String>,
    value: Value,
}

impl Claim {
    /// Puts the claim into its place among `claims`, and makes the objects on the way to it.
    ///
    /// # Errors
    /// There is something else than an object on the way.
    pub(in crate::commands) fn put(&self, claims: &mut Map<String, Value>) -> Result<(), String> {
        let Some((last, parents)) = self.path.split_last() else { return Ok(()) };
        let mut place = claims;
        for name in parents {
            let Value::Object(object) = place.entry(name).or_insert_with(|| Value::Object(Map::new())) else {
                return Err(format!("--claim {}: `{name}` is not an object", self.path.join(".")));
            };
            place = object;
        }
        place.insert(last.clone(), self.value.clone());
        Ok(())
    }
}

impl FromStr for Claim {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, value) = text.split_once('=').ok_or("write NAME=VALUE, like role=admin or roles='[\"a\",\"b\"]'")?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        let path: Vec<String> = match path.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(|name| name.replace("~1", "/").replace("~0", "~")).collect(),
            // A name that is a URL is one name: namespaced claims look like that.
            None if path.contains("://") => vec![path.to_owned()],
            None => path.split('.').map(str::to_owned).collect(),
        };
        if path.iter().any(String::is_empty) {
            return Err("a name is empty; write it like role, realm_access.roles or /realm_access/roles".to_owned());
        }
        Ok(Self { path, value })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::json;

    use super::*;

    fn claims(texts: &[&str]) -> Result<Value, String> {
        let mut claims = Map::new();
        for text in texts {
            text.parse::<Claim>()?.put(&mut claims)?;
        }
        Ok(Value::Object(claims))
    }

    #[test]
    fn a_value_is_json_when_it_is_json_and_else_text() {
        for (text, expected) in [
            ("a=true", json!(true)),
            ("a=7", json!(7)),
            (r#"a=["x","y"]"#, json!(["x", "y"])),
            (r#"a={"b":null}"#, json!({ "b": null })),
            (r#"a="true""#, json!("true")),
            ("a=admin", json!("admin")),
            ("a=", json!("")),
            ("a=b=c", json!("b=c")),
            ("a=[x]", json!("[x]")),
            ("a=007", json!("007")),
        ] {
            assert_eq!(claims(&[text]).unwrap()["a"], expected, "{text}");
        }
    }

    #[test]
    fn a_name_is_a_path() {
        assert_eq!(
            claims(&["r.roles=[1]", "r.x=2", "https://example.com/roles=z", "/a.b/c~1d=5"]),
            Ok(json!({ "r": { "roles": [1], "x": 2 }, "https://example.com/roles": "z", "a.b": { "c/d": 5 } }))
        );
    }

    #[test]
    fn what_cannot_be_put_anywhere_is_told() {
        for (texts, told) in [
            (&["role"][..], "NAME=VALUE"),
            (&["=x"], "empty"),
            (&["a..b=x"], "empty"),
            (&["a=1", "a.b=2"], "`a` is not an object"),
        ] {
            let error = claims(texts).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
