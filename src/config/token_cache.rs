//! How many verified tokens are remembered.

use serde::{Deserialize, Serialize};

use super::{
    findings::{Findings, member},
    units,
};

/// More than any process can hold: a mistyped number.
const MAX_ENTRIES: usize = 10_000_000;
const MAX_BYTES: u64 = 64 << 30;

/// How many verified tokens are remembered. 0 of either = none.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenCache {
    /// How many.
    pub entries: usize,
    /// The memory that they may take, with what is known of their callers.
    #[serde(with = "units::size")]
    pub bytes: u64,
}

impl Default for TokenCache {
    fn default() -> Self {
        Self { entries: 16 * 1024, bytes: 32 << 20 }
    }
}

impl TokenCache {
    pub(super) fn check(&self, key: &str, findings: &mut Findings<'_>) {
        let remedy = "set a limit that the machine can keep";
        if self.entries > MAX_ENTRIES {
            let what = format!("{} are more than {MAX_ENTRIES}", self.entries);
            findings.push(member(key, "entries"), what, remedy);
        }
        if self.bytes > MAX_BYTES {
            findings.push(member(key, "bytes"), "more than 64GiB", remedy);
        }
    }
}
