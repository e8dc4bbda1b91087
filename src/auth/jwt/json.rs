//! JSON in which no object has a member twice: with one, two readers see two different tokens.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// The object that `bytes` are, when they are one and nothing else. How deep it may be is the library's limit (128).
pub(super) fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    let Unique(value) = serde_json::from_slice(bytes).ok()?;
    if let Value::Object(members) = value { Some(members) } else { None }
}

/// A value in which no object has a member twice, at any depth. The library's own [`Value`] keeps the last one.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate members")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that is none"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(Unique(entry)) = access.next_element()? {
            entries.push(entry);
        }
        Ok(Value::Array(entries))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, Unique(value))) = access.next_entry::<String, Unique>()? {
            if members.insert(name, value).is_some() {
                return Err(de::Error::custom("a duplicate member"));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_member_that_is_there_twice_is_refused_wherever_it_is() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"realm_access":{"roles":[],"roles":["admin"]}}"#,
            r#"{"a":[{"b":{"c":1,"c":1}}]}"#,
            r#"{"":1,"":2}"#,
        ] {
            assert_eq!(object(text.as_bytes()), None, "{text}");
        }
        let text = r#"{"a":{"a":1},"b":{"a":1},"A":[{"a":1},{"a":2}]}"#;
        assert_eq!(
            object(text.as_bytes()),
            json!({"a":{"a":1},"b":{"a":1},"A":[{"a":1},{"a":2}]}).as_object().cloned()
        );
    }

    #[test]
    fn what_is_no_object_or_not_all_of_it_is_refused() {
        for text in [
            "",
            "{",
            "[]",
            r#""a""#,
            "null",
            "1",
            "{} {}",
            "{}x",
            "{}\0",
            "\u{feff}{}",
            r#"{"a":1,}"#,
            "{'a':1}",
            "{a:1}",
            "{/**/}",
            r#"{"a":NaN}"#,
            r#"{"a":1e999}"#,
            r#"{"a":01}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\udc00\ud800"}"#,
            "{\"a\":\"\n\"}",
        ] {
            assert_eq!(object(text.as_bytes()), None, "{text}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), None);
        assert_eq!(object(b"{\"a\":\"\xc0\xaf\"}"), None, "an overlong form");
        assert!(object(b" {}\r\n\t").is_some(), "blanks around it are JSON's own");
    }

    #[test]
    fn a_document_without_end_in_depth_is_refused() {
        let nested = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(object(nested(100).as_bytes()).is_some());
        for depth in [128, 6_000] {
            assert_eq!(object(nested(depth).as_bytes()), None, "{depth}");
        }
    }

    proptest! {
        #[test]
        fn it_reads_what_the_library_reads(text in r#"[\{\}\[\]",:ab0-9.eE\\u+ -]{0,40}"#, inner in "[\\[\\]{}a0,:\" ]{0,12}") {
            for text in [text, format!("{{\"a\":{inner}}}")] {
                if let Some(members) = object(text.as_bytes()) {
                    prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), Value::Object(members));
                }
            }
        }
    }
}
