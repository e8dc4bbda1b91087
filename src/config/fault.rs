//! Why a value could not be read, said so that an operator understands it.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::findings::{Finding, closest, quoted};

/// Why a value could not be read.
#[derive(Debug)]
pub(super) struct Fault {
    /// The key and what is wrong with it.
    pub(super) finding: Finding,
    /// The known name that was probably meant by an unknown key.
    pub(super) meant: Option<&'static str>,
    /// Whether a list was expected.
    pub(super) wants_list: bool,
    /// The required key that is missing.
    pub(super) missing: Option<String>,
    /// Whether the key is known already: what lies deepest knows best.
    located: bool,
}

impl Fault {
    fn new(what: String, remedy: String) -> Self {
        Self { finding: Finding::new("", what, remedy), meant: None, wants_list: false, located: false, missing: None }
    }

    pub(super) fn missing(name: &str) -> Self {
        Self { missing: Some(name.to_owned()), ..Self::new(format!("`{name}` is missing"), String::new()) }
    }

    /// The fault, at `key` unless it is known to lie deeper.
    pub(super) fn at(mut self, key: &str) -> Self {
        if !self.located {
            key.clone_into(&mut self.finding.key);
            self.located = true;
        }
        self
    }
}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self::new(what.to_string(), String::new())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest cannot be written in a file")]
    fn invalid_type(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        let wanted = wanted.to_string();
        let wanted = match wanted.as_str() {
            "a sequence" => "a list",
            "a boolean" => "true or false",
            "path string" => "the path of a file",
            "a nonzero usize" => "a whole number from 1 on",
            "unit" => "a name without a value",
            "newtype variant" => "a key and its value",
            "usize" | "u64" | "u32" => "a whole number from 0 on",
            wanted if wanted.starts_with("struct ") => "a map of keys",
            wanted => wanted,
        };
        let found = match found {
            Unexpected::Str(text) => format!("`{text}`"),
            Unexpected::Bool(value) => format!("`{value}`"),
            Unexpected::Unsigned(number) => format!("`{number}`"),
            Unexpected::Signed(number) => format!("`{number}`"),
            Unexpected::Float(number) => format!("`{number}`"),
            Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
            Unexpected::Seq => "a list".to_owned(),
            Unexpected::Map => "a map of keys".to_owned(),
            Unexpected::UnitVariant => "a bare name".to_owned(),
            other => other.to_string(),
        };
        let remedy = if found == "nothing" { "give the key a value or take it out" } else { "" };
        let fault = Self::new(format!("this must be {wanted}, not {found}"), remedy.to_owned());
        Self { wants_list: wanted == "a list", ..fault }
    }

    fn invalid_value(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::invalid_type(found, wanted)
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        let kindred: Vec<_> = known.iter().copied().filter(|known| same_kind(variant, known)).collect();
        let remedy = closest(variant, &kindred).map_or_else(String::new, |meant| format!("did you mean `{meant}`?"));
        Self::new(format!("`{variant}` is none of {}", quoted(known)), remedy)
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        let meant = closest(field, known);
        let fault = Self::new(format!("there is no key `{field}` here"), format!("there are {}", quoted(known)));
        Self { meant, ..fault }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::missing(field)
    }
}

/// Whether both may be meant by one word: not where they are signature algorithms of two kinds. Who writes ES512 has a public
/// key, and is not to be led to HS512, with which everybody could sign who has it.
fn same_kind(word: &str, known: &str) -> bool {
    const KINDS: [&str; 5] = ["RS", "PS", "ES", "HS", "ED"];
    let kind = |name: &str| KINDS.iter().find(|kind| name.to_ascii_uppercase().starts_with(*kind));
    kind(word).zip(kind(known)).is_none_or(|(one, other)| one == other)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.finding.what)
    }
}

impl std::error::Error for Fault {}
