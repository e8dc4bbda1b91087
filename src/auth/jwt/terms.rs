//! What an issuer's tokens have to say, beside being signed by it.

use serde_json::Value;

use super::token::{Token, media_type};
use crate::{
    auth::{
        claims::{self, ClaimPath},
        wanted::Wanted,
    },
    config,
    identity::ServiceAccount,
    reason::Reason,
};

/// What an issuer's tokens have to say, and where they say who is calling.
#[derive(Debug)]
pub(super) struct Terms {
    /// The type that the header must name, in the form of [`media_type`].
    typ: Option<String>,
    audiences: Vec<String>,
    /// In seconds.
    leeway: u64,
    /// In seconds.
    max_lifetime: Option<u64>,
    required: Vec<(ClaimPath, Wanted)>,
    subject: ClaimPath,
    groups: ClaimPath,
    /// Whether the tokens are those of a Kubernetes cluster's service accounts.
    cluster: bool,
}

/// Who is calling, by a token's claims.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Subject<'t> {
    pub(super) user: &'t str,
    pub(super) groups: Vec<String>,
    pub(super) account: Option<ServiceAccount>,
}

impl Terms {
    pub(super) fn new(config: &config::Jwt) -> Self {
        let required =
            config.required_claims.iter().map(|(path, value)| (ClaimPath::new(path), Wanted::new(path, value)));
        Self {
            typ: config.typ.as_deref().map(media_type),
            audiences: config.audiences.clone(),
            leeway: config.leeway.as_secs(),
            max_lifetime: (!config.max_lifetime.is_zero()).then_some(config.max_lifetime.as_secs()),
            required: required.collect(),
            subject: ClaimPath::new(&config.subject_claim),
            groups: ClaimPath::new(&config.groups_claim),
            cluster: config.keys.are_of_a_cluster(),
        }
    }

    /// Until when, in seconds and with the leeway, `token` is good, if it is at `now`.
    pub(super) fn check(&self, token: &Token<'_>, now: u64) -> Result<u64, Reason> {
        if self.typ.is_some() && token.header.typ.as_deref().map(media_type) != self.typ {
            return Err(Reason::JwtType);
        }
        let end = token.time("exp")?.ok_or(Reason::JwtExpired)?;
        let expires = end.saturating_add(self.leeway);
        if expires <= now {
            return Err(Reason::JwtExpired);
        }
        let (issued, begin) = (token.time("iat")?, token.time("nbf")?);
        // `iat` too: who may date a token into the future makes it last for as long as they like.
        if [issued, begin].into_iter().flatten().any(|time| time > now.saturating_add(self.leeway)) {
            return Err(Reason::JwtNotYetValid);
        }
        if begin.is_some_and(|begin| begin > end) {
            return Err(Reason::JwtClaim);
        }
        if let Some(most) = self.max_lifetime {
            let lifetime = end.checked_sub(issued.ok_or(Reason::JwtClaim)?).ok_or(Reason::JwtClaim)?;
            if lifetime > most {
                return Err(Reason::JwtLifetime);
            }
        }
        if !self.audiences.is_empty() && !token.is_for(&self.audiences) {
            return Err(Reason::JwtAudience);
        }
        if !self.required.iter().all(|(path, wanted)| wanted.is_met_by(path.find(&token.claims))) {
            return Err(Reason::JwtClaim);
        }
        Ok(expires)
    }

    /// When `token` ends by its own word, in seconds and with the leeway, where it says so.
    pub(super) fn end(&self, token: &Token<'_>) -> Result<Option<u64>, Reason> {
        Ok(token.time("exp")?.map(|end| end.saturating_add(self.leeway)))
    }

    /// Who is calling. A user without a name, or with one that is no text, is nobody.
    pub(super) fn subject<'t>(&self, token: &'t Token<'_>) -> Result<Subject<'t>, Reason> {
        let user = self.subject.find(&token.claims).and_then(Value::as_str).filter(|user| !user.is_empty());
        let user = user.ok_or(Reason::JwtClaim)?;
        if self.cluster {
            let account = account(user, &token.claims).ok_or(Reason::JwtClaim)?;
            return Ok(Subject { user, groups: account.groups(), account: Some(account) });
        }
        let groups = claims::groups(self.groups.find(&token.claims)).ok_or(Reason::JwtClaim)?;
        Ok(Subject { user, groups, account: None })
    }
}

/// The service account that a cluster's token is of. What is said of it in two places must be the same.
fn account(user: &str, claims: &Value) -> Option<ServiceAccount> {
    let account = ServiceAccount::from_user(user)?;
    let said = |pointer: &str, name: &str| claims.pointer(pointer).is_none_or(|said| said.as_str() == Some(name));
    let same = said("/kubernetes.io/namespace", &account.namespace)
        && said("/kubernetes.io/serviceaccount/name", &account.name);
    same.then_some(account)
}

#[cfg(test)]
mod tests;
