//! Who may prove who they are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Basic, Jwt, Keys, Origin, Problems, Rule, TokenCache, check_folder,
    credentials::{PASSWORDS, TOKENS},
    findings::{Findings, member},
};

/// Who may prove who they are, and how.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Issuers whose tokens are accepted.
    pub jwt: Vec<Jwt>,
    /// How many of their tokens are remembered once they were verified.
    pub token_cache: TokenCache,
    /// Passwords.
    pub basic: Option<Basic>,
    /// Origins, besides that of the request itself, whose pages may open a WebSocket with a cookie or a password.
    pub trusted_origins: Vec<Origin>,
}

impl Auth {
    pub(super) fn check(&self, rules: &[Rule], findings: &mut Findings<'_>) {
        self.check_presence(rules, findings);
        let mut labels = BTreeMap::new();
        let mut issuers = BTreeMap::new();
        for (i, jwt) in self.jwt.iter().enumerate() {
            let key = findings.element("auth.jwt", i);
            jwt.check(&key, findings);
            if jwt.label() == PASSWORDS {
                let what = "`basic` stands for passwords in the `credentials` of a rule";
                findings.push(member(&key, "name"), what, "give the issuer another name");
            }
            // Of the only one it is true.
            if jwt.label() == TOKENS && self.jwt.len() > 1 {
                let what = "an issuer is called `jwt`, which stands for the tokens of every issuer";
                let remedy = "give it another `name`; without one it is called by its `issuer`, or `jwt`";
                findings.push(member(&key, "name"), what, remedy);
            }
            // A cluster's issuer is found by its own token, and is another than all that are named.
            let is_found = jwt.issuer.is_none() && matches!(jwt.keys, Keys::Kubernetes(..));
            if !is_found && let Some(other) = issuers.insert(&jwt.issuer, key.clone()) {
                let (at, what, remedy) = match &jwt.issuer {
                    Some(issuer) => ("issuer", format!("{other} has the issuer `{issuer}` too"), "keep one of them"),
                    None => {
                        ("", format!("{other} has no `issuer` either, so that a token would fit both"), "set `issuer`")
                    }
                };
                findings.push(if at.is_empty() { key } else { member(&key, at) }, what, remedy);
            } else if let Some(other) = labels.insert(jwt.label(), key.clone()) {
                let what =
                    format!("{other} is called `{}` too; logs and metrics could not tell them apart", jwt.label());
                findings.push(key, what, "give each a `name`");
            }
        }
        self.token_cache.check("auth.token_cache", findings);
        if let Some(basic) = &self.basic {
            basic.check(findings);
        }
    }

    /// Checks that what is to be kept on disk can be.
    ///
    /// # Errors
    /// A folder is not there, or is not ours to write.
    pub fn check_stores(&self) -> Result<(), Problems> {
        let mut problems = Problems::default();
        for (i, jwt) in self.jwt.iter().enumerate() {
            if let Some(store) = jwt.keys.store() {
                problems.keep(check_folder(store, &format!("auth.jwt[{i}].keys.store")));
            }
        }
        problems.or(())
    }

    fn check_presence(&self, rules: &[Rule], findings: &mut Findings<'_>) {
        let nobody = self.jwt.is_empty() && self.basic.is_none();
        let no_rules = rules.is_empty() && findings.complete("rules");
        let open = "to let everybody in, say so: `rules: [{ allow: anyone }]`";
        if nobody && no_rules {
            findings.push(
                "auth",
                "there is neither authentication nor a rule",
                format!("set `auth` and `rules`; {open}"),
            );
        } else if nobody && rules.iter().any(Rule::needs_caller) {
            let what = "a rule asks who is calling, and there is nothing to prove it by";
            findings.push("auth", what, format!("set `auth.jwt` or `auth.basic`; {open}"));
        } else if no_rules {
            let what = "there is no rule, so that every request would be refused";
            findings.push("rules", what, "begin with `rules: [{ allow: authenticated }]`");
        }
    }
}
