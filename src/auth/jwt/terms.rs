//! What an issuer's tokens have to say, beside being signed by it.

use serde_json::Value;

use super::token::{Token, media_type};
use crate::{
    auth::{
        claims::{self, ClaimPath},
        rules,
    },
    config,
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
    required: Vec<(ClaimPath, Required)>,
    subject: ClaimPath,
    groups: ClaimPath,
}

/// What is asked of a claim.
#[derive(Debug)]
enum Required {
    /// That it says something.
    Present,
    /// That it is this value, or holds it, or one of these.
    Value(Value),
}

/// Who is calling, by a token's claims.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Subject<'t> {
    pub(super) user: &'t str,
    pub(super) groups: Vec<String>,
}

impl Terms {
    pub(super) fn new(config: &config::Jwt) -> Self {
        let required = config.required_claims.iter().map(|(path, value)| {
            // The check of the configuration has left one kind of map: `{ present: true }`.
            let required = if value.is_object() { Required::Present } else { Required::Value(value.clone()) };
            (ClaimPath::new(path), required)
        });
        Self {
            typ: config.typ.as_deref().map(media_type),
            audiences: config.audiences.clone(),
            leeway: config.leeway.as_secs(),
            max_lifetime: (!config.max_lifetime.is_zero()).then_some(config.max_lifetime.as_secs()),
            required: required.collect(),
            subject: ClaimPath::new(&config.subject_claim),
            groups: ClaimPath::new(&config.groups_claim),
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
        if !self.required.iter().all(|(path, required)| required.is_met_by(path.find(&token.claims))) {
            return Err(Reason::JwtClaim);
        }
        Ok(expires)
    }

    /// Who is calling. A user without a name, or with one that is no text, is nobody.
    pub(super) fn subject<'t>(&self, token: &'t Token<'_>) -> Result<Subject<'t>, Reason> {
        let user = self.subject.find(&token.claims).and_then(Value::as_str).filter(|user| !user.is_empty());
        let groups = claims::groups(self.groups.find(&token.claims));
        Ok(Subject { user: user.ok_or(Reason::JwtClaim)?, groups: groups.ok_or(Reason::JwtClaim)? })
    }
}

impl Required {
    fn is_met_by(&self, claim: Option<&Value>) -> bool {
        let Some(claim) = claim else { return false };
        match self {
            Self::Present => !matches!(claim, Value::Null) && claim.as_str() != Some(""),
            Self::Value(wanted) => rules::holds(claim, wanted),
        }
    }
}

#[cfg(test)]
mod tests;
