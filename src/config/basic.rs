//! Passwords: whose, and how they are asked for.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{findings::Findings, units};

/// More wrong passwords than this within a window are no limit: a mistyped number.
const MAX_FAILURES: u32 = 10_000;

/// Within less a person cannot type two passwords, and beyond nobody waits.
const WINDOWS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

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
    /// How many passwords may be wrong before no more are looked at for a while.
    #[serde(default)]
    pub failures: Failures,
}

/// How many passwords may be wrong within a window; further ones are answered 429 without being looked at.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Failures {
    /// From one client: an IPv4 address or a /64 of IPv6. 0 = no limit.
    pub per_client: u32,
    /// For one name, from all clients where it has not been right lately. 0 = no limit.
    pub per_user: u32,
    /// The window.
    #[serde(with = "units::duration")]
    pub window: Duration,
}

impl Default for Failures {
    fn default() -> Self {
        Self { per_client: 20, per_user: 10, window: Duration::from_secs(60) }
    }
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
        self.failures.check(findings);
    }
}

impl Failures {
    fn check(&self, findings: &mut Findings<'_>) {
        for (name, limit) in [("per_client", self.per_client), ("per_user", self.per_user)] {
            if limit > MAX_FAILURES {
                let what = format!("{limit} wrong passwords, where {MAX_FAILURES} at the most are counted");
                findings.push(format!("auth.basic.failures.{name}"), what, "write 0 for no limit");
            }
        }
        if !WINDOWS.contains(&self.window) {
            let what = "the window is not between a second and a day";
            findings.push(
                "auth.basic.failures.window",
                what,
                "write 60s; `per_client: 0` and `per_user: 0` turn limits off",
            );
        }
    }
}
