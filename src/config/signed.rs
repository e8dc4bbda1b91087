//! The signed identity: what a short-lived token for the app says, and with which key.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    findings::{Findings, element},
    units,
};

/// A shorter one could be over before the app has read it.
const SHORTEST: Duration = Duration::from_secs(5);

/// A longer one is no short-lived one: who gets hold of it is the caller for so long.
const LONGEST: Duration = Duration::from_secs(3600);

/// The claims that we make ourselves.
const OURS: &[&str] = &["aud", "auth_issuer", "auth_method", "exp", "groups", "iat", "iss", "jti", "nbf", "sub"];

/// A short-lived token that is made for the app, so that it can check that a request came through us.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// The header that it is in.
    #[serde(default = "header")]
    pub header: String,
    /// Its `iss`.
    #[serde(default = "issuer")]
    pub issuer: String,
    /// Its `aud`: the app. What was made for another app is to be refused by this one.
    pub audience: String,
    /// From its `iat` to its `exp`, in whole seconds.
    #[serde(default = "lifetime", with = "units::duration")]
    pub lifetime: Duration,
    /// The private key: PEM, P-256. Absent = one that is made at the start and goes with the process.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// The claims of the caller's token that are in there too, where it has them.
    #[serde(default = "claims")]
    pub claims: Vec<String>,
}

fn header() -> String {
    "X-Sidegate-Identity".to_owned()
}

fn issuer() -> String {
    "sidegate".to_owned()
}

fn lifetime() -> Duration {
    Duration::from_secs(60)
}

fn claims() -> Vec<String> {
    vec!["email".to_owned()]
}

impl Signed {
    pub(super) fn check(&self, findings: &mut Findings<'_>) {
        for (name, value) in [("issuer", &self.issuer), ("audience", &self.audience)] {
            if value.is_empty() {
                findings.push(format!("identity.signed.{name}"), "it is empty", "give it a name that the app checks");
            }
        }
        if !(SHORTEST..=LONGEST).contains(&self.lifetime) || self.lifetime.subsec_nanos() != 0 {
            let what = "the lifetime is not a number of seconds from 5s to 1h";
            findings.push("identity.signed.lifetime", what, "60s is long enough for the app to read it");
        }
        for (i, name) in self.claims.iter().enumerate() {
            if name.is_empty() || OURS.contains(&name.as_str()) {
                let what = format!("`{name}` is a claim that sidegate makes itself");
                let what = if name.is_empty() { "a claim has a name".to_owned() } else { what };
                findings.push(element("identity.signed.claims", i), what, "take it out");
            }
        }
    }
}
