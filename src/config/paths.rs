//! What becomes of paths that apps read in different ways.

use serde::{Deserialize, Serialize};

use super::units;

/// What becomes of paths that apps read in different ways. A rule may say it for its own paths.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Paths {
    /// Empty segments (`//`) and dot segments (`/./`, `/../`, `/%2e%2e/`).
    pub ambiguous: Handling,
    /// `%2f`, and the backslash, which is a slash to some: `%5c` and `\`.
    pub encoded_slash: Handling,
}

/// What becomes of such a path.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Handling {
    /// 400.
    #[default]
    Reject,
    /// It is rewritten to the one form that everybody reads alike, and matched and forwarded so.
    Normalize,
    /// It is forwarded as it was written, if every reading of it leads to the same rule; else 400.
    Pass,
}

/// What one rule says of it. What it leaves out is as it is for all.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RulePaths {
    /// Over [`Paths::ambiguous`].
    #[serde(deserialize_with = "units::given", skip_serializing_if = "Option::is_none")]
    pub ambiguous: Option<Handling>,
    /// Over [`Paths::encoded_slash`].
    #[serde(deserialize_with = "units::given", skip_serializing_if = "Option::is_none")]
    pub encoded_slash: Option<Handling>,
}

impl Paths {
    /// These, but for what `rule` says.
    pub fn overridden_by(self, rule: RulePaths) -> Self {
        Self {
            ambiguous: rule.ambiguous.unwrap_or(self.ambiguous),
            encoded_slash: rule.encoded_slash.unwrap_or(self.encoded_slash),
        }
    }

    /// Whether any of it is to be passed.
    pub fn pass_any(&self) -> bool {
        self.ambiguous == Handling::Pass || self.encoded_slash == Handling::Pass
    }
}
