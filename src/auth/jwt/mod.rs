//! A bearer token becomes an identity, or a reason why not.

use std::{
    str::FromStr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

pub use self::cache::CacheGauges;
use self::{
    cache::{Cache, Entry},
    keys::KeySet,
    terms::Terms,
    token::Token,
};
use super::claims::Mapping;
use crate::{
    config::{self, Algorithm, Problem, Problems},
    identity::{Identity, Method},
    reason::Reason,
    sources::Sources,
};

mod cache;
mod json;
mod keys;
mod terms;
mod token;

/// Every issuer whose tokens are accepted.
#[derive(Debug)]
pub(super) struct Issuers {
    issuers: Vec<Issuer>,
    /// Where the tokens of all of them may be.
    pub(super) sources: Sources,
    cache: Cache,
}

/// A token that was verified.
#[derive(Debug)]
pub(super) struct Authentic {
    pub(super) identity: Arc<Identity>,
    /// The issuer, by its place.
    pub(super) issuer: usize,
    /// Whether it had been verified before.
    pub(super) remembered: bool,
}

#[derive(Debug)]
struct Issuer {
    label: Arc<str>,
    /// The `iss` that its tokens must carry; `None` takes those that no other issuer claims.
    name: Option<String>,
    algorithms: Vec<Algorithm>,
    keys: KeySet,
    terms: Terms,
    /// Where its tokens may be, by the places in [`Issuers::sources`].
    sources: Vec<usize>,
}

impl Issuers {
    /// Reads the keys of every issuer. The second value lists what works but deserves a look.
    pub(super) fn compile(config: &config::Auth) -> Result<(Self, Vec<Problem>), Problems> {
        let mut problems = Problems::default();
        let mut warnings = Vec::new();
        let mut issuers = Vec::new();
        let sources = Sources::new(&config.jwt);
        let cache = Cache::new(&config.token_cache);
        for (i, config) in config.jwt.iter().enumerate() {
            let Some((keys, left_out)) = problems.keep(KeySet::load(config, &format!("auth.jwt[{i}]"))) else {
                continue;
            };
            warnings.extend(left_out);
            issuers.push(Issuer {
                label: config.label().into(),
                name: config.issuer.clone(),
                algorithms: config.accepted_algorithms(),
                keys,
                terms: Terms::new(config),
                sources: sources.of(config),
            });
        }
        problems.or((Self { issuers, sources, cache }, warnings))
    }

    /// From now on shows in `gauges` how much is remembered.
    pub(super) fn show_cache_in(&mut self, gauges: CacheGauges) {
        self.cache.show_in(gauges);
    }

    /// Whom `token`, which was in this `source`, stands for at `now`.
    pub(super) fn authenticate(
        &self,
        token: &[u8],
        source: usize,
        now: SystemTime,
        mapping: &Mapping,
    ) -> Result<Authentic, Reason> {
        // A clock before 1970 makes every `nbf` lie in the future: it fails closed.
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let generation = |issuer: usize| self.issuers[issuer].keys.generation();
        if let Some(Entry { identity, issuer, .. }) = self.cache.find(token, now, generation) {
            self.issuers[issuer].accepts_from(source)?;
            return Ok(Authentic { identity, issuer, remembered: true });
        }
        let token = str::from_utf8(token).map_err(|_| Reason::JwtMalformed)?;
        let parsed = Token::parse(token)?;
        let place = self.issuer(parsed.issuer()?).ok_or(Reason::JwtIssuer)?;
        let issuer = &self.issuers[place];
        issuer.accepts_from(source)?;
        let entry = issuer.verify(&parsed, place, now, mapping)?;
        let identity = entry.identity.clone();
        self.cache.insert(token, entry, now);
        Ok(Authentic { identity, issuer: place, remembered: false })
    }

    /// The place of the issuer that has this name. It only chooses the keys: what was signed with others fails on them.
    fn issuer(&self, name: Option<&str>) -> Option<usize> {
        let named = self.issuers.iter().position(|issuer| issuer.name.is_some() && issuer.name.as_deref() == name);
        named.or_else(|| self.issuers.iter().position(|issuer| issuer.name.is_none()))
    }
}

impl Issuer {
    /// Refuses a token of this issuer where only those of another may be.
    fn accepts_from(&self, source: usize) -> Result<(), Reason> {
        if self.sources.contains(&source) { Ok(()) } else { Err(Reason::JwtIssuer) }
    }

    /// Checks the signature, then the claims: what an unsigned token says is nobody's business. What is proved is bound to
    /// the very keys that proved it. `place` is the issuer's own.
    fn verify(&self, token: &Token<'_>, place: usize, now: u64, mapping: &Mapping) -> Result<Entry, Reason> {
        let algorithm = Algorithm::from_str(&token.header.alg).map_err(|_| Reason::JwtAlgorithm)?;
        if !self.algorithms.contains(&algorithm) {
            return Err(Reason::JwtAlgorithm);
        }
        let keys = &self.keys;
        keys.verify(algorithm, token.header.kid.as_deref(), token.message, token.signature)?;

        let expires = self.terms.check(token, now)?;
        let subject = self.terms.subject(token)?;
        let mut identity = mapping
            .identify(Method::Jwt, self.label.clone(), subject.user, subject.groups, &token.claims)
            .ok_or(Reason::JwtClaim)?;
        identity.expires = Some(expires);
        Ok(Entry { identity: Arc::new(identity), issuer: place, generation: keys.generation(), expires })
    }
}
