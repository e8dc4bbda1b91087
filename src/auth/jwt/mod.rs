//! A bearer token becomes an identity, or a reason why not.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

pub use self::{
    cache::CacheGauges,
    refresh::{Refreshed, Refresher},
    ring::{KeyRing, KeyState, Refetch},
};
use self::{
    cache::{Cache, Entry},
    issuer::{Issuer, Proof},
    token::Token,
};
use super::{
    claims::Mapping,
    need::Learned,
    review::{Asked, Reviewer},
};
use crate::{
    config::{self, Problem, Problems},
    identity::Identity,
    reason::Reason,
    sources::Sources,
};

mod cache;
mod issuer;
mod json;
mod keys;
mod publisher;
mod refresh;
mod ring;
mod store;
mod terms;
mod token;

/// Every issuer whose tokens are accepted.
#[derive(Debug)]
pub(super) struct Issuers {
    issuers: Vec<Issuer>,
    /// Where the tokens of all of them may be.
    pub(super) sources: Sources,
    cache: Cache,
    /// What is to be run beside, until it is started.
    background: Background,
}

/// What fetches keys and asks about tokens. It is to be run on another thread than requests.
#[derive(Debug, Default)]
pub struct Background {
    /// One for each issuer whose keys are fetched.
    pub refreshers: Vec<Refresher>,
    /// One for each cluster that judges tokens itself.
    pub reviewers: Vec<Reviewer>,
}

/// Why a token proves nothing.
#[derive(Debug)]
pub(super) enum Unproved {
    /// It is not good.
    Refused(Reason),
    /// It may have been signed with a key that is still to be fetched.
    Key(Refetch),
    /// The API server is being asked about it.
    Review(Asked),
}

impl From<Reason> for Unproved {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}

/// A token that was verified.
#[derive(Debug)]
pub(super) struct Authentic {
    pub(super) identity: Arc<Identity>,
    /// Whether it had been verified before.
    pub(super) remembered: bool,
}

impl Issuers {
    /// Reads the keys of every issuer. The second value lists what works but deserves a look.
    pub(super) fn compile(config: &config::Auth) -> Result<(Self, Vec<Problem>), Problems> {
        let mut problems = Problems::default();
        let mut warnings = Vec::new();
        let mut issuers = Vec::new();
        let sources = Sources::new(&config.jwt);
        let cache = Cache::new(&config.token_cache);
        let mut background = Background::default();
        for (i, config) in config.jwt.iter().enumerate() {
            let issuer = Issuer::compile(config, sources.of(config), &format!("auth.jwt[{i}].keys"), &mut background);
            let Some((issuer, left_out)) = problems.keep(issuer) else { continue };
            warnings.extend(left_out);
            // The name of a cluster's is found only now.
            let same = |other: &Issuer| issuer.name.is_some() && other.name == issuer.name;
            if let Some(other) = issuers.iter().position(same) {
                let what = format!("auth.jwt[{other}] has the issuer `{}` too", issuer.name.unwrap_or_default());
                problems.push(Problem::new(format!("auth.jwt[{i}].issuer"), what, "keep one of them"));
                continue;
            }
            issuers.push(issuer);
        }
        problems.or((Self { issuers, sources, cache, background }, warnings))
    }

    /// What is to be run beside.
    pub(super) fn take_background(&mut self) -> Background {
        std::mem::take(&mut self.background)
    }

    /// Whether there are tokens that an API server judges.
    pub(super) fn asks_a_cluster(&self) -> bool {
        self.issuers.iter().any(|issuer| matches!(issuer.proof, Proof::Review(_)))
    }

    /// The keys of every issuer that has some.
    pub(super) fn key_rings(&self) -> impl Iterator<Item = &Arc<KeyRing>> {
        self.issuers.iter().filter_map(|issuer| match &issuer.proof {
            Proof::Keys(ring) => Some(ring),
            Proof::Review(_) => None,
        })
    }

    /// From now on shows in `gauges` how much is remembered.
    pub(super) fn show_cache_in(&mut self, gauges: CacheGauges) {
        self.cache.show_in(gauges);
    }

    /// Whom `token`, which was in this `source`, stands for at `now`, with what was `learned` about it before. Only the
    /// issuers count, and are asked, that are `accepted` by their places.
    pub(super) fn authenticate(
        &self,
        token: &[u8],
        source: usize,
        accepted: impl Fn(usize) -> bool,
        now: SystemTime,
        mapping: &Mapping,
        learned: &Learned,
    ) -> Result<Authentic, Unproved> {
        // A clock before 1970 makes every `nbf` lie in the future: it fails closed.
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let check = |place: usize| {
            if accepted(place) { self.issuers[place].accepts_from(source) } else { Err(Reason::JwtIssuer) }
        };
        let generation = |issuer: usize| self.issuers[issuer].generation();
        if let Some(Entry { identity, issuer, .. }) = self.cache.find(token, now, generation) {
            check(issuer)?;
            return Ok(Authentic { identity, remembered: true });
        }
        let token = str::from_utf8(token).map_err(|_| Reason::JwtMalformed)?;
        let parsed = Token::parse(token);
        let place = match &parsed {
            Ok(parsed) => self.issuer(parsed.issuer()?).ok_or(Reason::JwtIssuer)?,
            Err(reason) => self.judge_of_any().filter(|place| accepted(*place)).ok_or(*reason)?,
        };
        check(place)?;
        let issuer = &self.issuers[place];
        let ring = match &issuer.proof {
            Proof::Keys(ring) => ring,
            Proof::Review(reviews) => {
                let judged = issuer.review(reviews, token, parsed.ok().as_ref(), now, mapping, learned)?;
                let (identity, remembered) = judged;
                return Ok(Authentic { identity, remembered });
            }
        };
        let (parsed, keys) = (parsed?, ring.load());
        issuer.check_signature(&parsed, ring, &keys, learned.key)?;
        let entry = issuer.check_claims(&parsed, place, keys.generation(), now, mapping)?;
        let identity = entry.identity.clone();
        self.cache.insert(token, entry, now);
        Ok(Authentic { identity, remembered: false })
    }

    /// The place of the issuer that may know tokens which say nothing of themselves.
    fn judge_of_any(&self) -> Option<usize> {
        self.issuers.iter().position(|issuer| issuer.name.is_none() && matches!(issuer.proof, Proof::Review(_)))
    }

    /// The place of the issuer that has this name. It only chooses the keys: what was signed with others fails on them.
    fn issuer(&self, name: Option<&str>) -> Option<usize> {
        let named = self.issuers.iter().position(|issuer| issuer.name.is_some() && issuer.name.as_deref() == name);
        named.or_else(|| self.issuers.iter().position(|issuer| issuer.name.is_none()))
    }
}
