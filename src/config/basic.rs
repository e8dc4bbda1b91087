//! Passwords: whose, and how they are asked for.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::findings::Findings;

/// Passwords.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    /// htpasswd: bcrypt, APR1, `{SHA}`, `$5$`, `$6$`, argon2id, mixed.
    pub users_file: PathBuf,
    /// Lines of `group: user user`, as Apache's AuthGroupFile.
    pub groups_file: Option<PathBuf>,
    /// What the browser shows when it asks for the password.
    #[serde(default = "realm")]
    pub realm: String,
    /// Which requests make a browser ask for the password.
    #[serde(default)]
    pub prompt: Prompt,
}

/// Which refused requests make a browser open its window for a name and a password.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// All: every one is answered with a challenge for Basic.
    #[default]
    Always,
    /// Those for a page, and not those of its scripts, which would make the window appear out of nowhere.
    Navigation,
}

fn realm() -> String {
    "sidegate".to_owned()
}

impl Basic {
    pub(super) fn check(&self, findings: &mut Findings<'_>) {
        if self.realm.contains(|c: char| c.is_control() || !c.is_ascii() || matches!(c, '"' | '\\')) {
            let what =
                "the realm is sent in a quoted header: no quotes, backslashes and control characters, ASCII only";
            findings.push("auth.basic.realm", what, "");
        }
    }
}
