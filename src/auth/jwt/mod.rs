//! A bearer token becomes an identity, or a reason why not.

use std::{
    str::FromStr,
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
    keys::{KeyFile, KeySet},
    publisher::Place,
    terms::Terms,
    token::{MAX_LENGTH, Token},
};
use super::{
    claims::Mapping,
    cluster,
    need::Learned,
    review::{Asked, Judged, Reviewer, Reviews},
};
use crate::{
    config::{self, Algorithm, Keys, Problem, Problems, Remote, Server},
    fetch::Client,
    identity::{Identity, Method},
    reason::Reason,
    sources::Sources,
};

mod cache;
mod json;
mod keys;
mod publisher;
mod refresh;
mod ring;
mod store;
mod terms;
mod token;

/// Where an API server has its keys.
const JWKS_PATH: &str = "/openid/v1/jwks";

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

/// What tells that a token is good.
#[derive(Debug)]
enum Proof {
    /// A signature.
    Keys(Arc<KeyRing>),
    /// The word of a cluster's API server.
    Review(Box<Reviews>),
}

#[derive(Debug)]
struct Issuer {
    label: Arc<str>,
    /// The `iss` that its tokens must carry; `None` takes those that no other issuer claims.
    name: Option<String>,
    algorithms: Vec<Algorithm>,
    proof: Proof,
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

impl Issuer {
    /// Reads the keys of an issuer, which `key` of the configuration names; what has to run beside goes into `background`.
    /// The second value lists what was left out of the keys.
    fn compile(
        config: &config::Jwt,
        sources: Vec<usize>,
        key: &str,
        background: &mut Background,
    ) -> Result<(Self, Vec<Problem>), Problem> {
        let label: Arc<str> = config.label().into();
        let algorithms = config.accepted_algorithms();
        let mut name = config.issuer.clone();
        let mut left_out = Vec::new();
        let mut read = |file| {
            let (keys, unused) = KeySet::load(file, &algorithms, key)?;
            left_out = unused;
            Ok::<_, Problem>(Proof::Keys(Arc::new(KeyRing::fixed(label.clone(), keys))))
        };
        let mut fetch = |place, client, remote: &Remote| {
            let ring = Arc::new(KeyRing::fetched(label.clone(), remote.min_refetch, remote.unknown_key_wait));
            let refresher = Refresher::new(ring.clone(), client, place, algorithms.clone(), remote.clone());
            background.refreshers.push(refresher);
            Proof::Keys(ring)
        };
        let client = |place: &Place, Server { timeout, ca, bearer_token_file }: &Server| {
            Client::load(place.url(), ca.as_deref(), bearer_token_file.as_deref(), *timeout, key)
        };
        let proof = match &config.keys {
            Keys::File(path) => read(KeyFile::Jwks(path))?,
            Keys::PemFile(path) => read(KeyFile::Pem(path))?,
            Keys::SecretFile(path) => read(KeyFile::Secret(path))?,
            Keys::Discovery(remote) => {
                let place = Place::discovery(name.as_deref().unwrap_or_default());
                let place = place.map_err(|what| Problem::new(key, what, "set `issuer` to an https URL"))?;
                let client = client(&place, &remote.server)?;
                fetch(place, client, remote)
            }
            Keys::Url(url, remote) => {
                let place = Place::Url(url.clone());
                let client = client(&place, &remote.server)?;
                fetch(place, client, remote)
            }
            Keys::Kubernetes(url, remote) => {
                let (url, client) = cluster::resource(url.as_ref(), JWKS_PATH, &remote.server, key)?;
                if name.is_none() {
                    name = Some(cluster::issuer(&url, &remote.server, key)?);
                }
                fetch(Place::Url(url), client, remote)
            }
            Keys::TokenReview(url, review) => {
                let (reviews, reviewer) = Reviews::load(url.as_ref(), review, label.clone(), &config.audiences, key)?;
                background.reviewers.push(reviewer);
                Proof::Review(Box::new(reviews))
            }
        };
        let issuer = Self { label, name, algorithms, proof, terms: Terms::new(config), sources };
        Ok((issuer, left_out))
    }

    /// Refuses a token of this issuer where only those of another may be.
    fn accepts_from(&self, source: usize) -> Result<(), Reason> {
        if self.sources.contains(&source) { Ok(()) } else { Err(Reason::JwtIssuer) }
    }

    /// Which set of keys verifies its tokens now.
    fn generation(&self) -> u64 {
        match &self.proof {
            Proof::Keys(ring) => ring.load().generation(),
            // No token of it is in the cache of those that were verified.
            Proof::Review(_) => u64::MAX,
        }
    }

    /// Has a token judged by the API server: who the caller is, and whether that was known before.
    fn review(
        &self,
        reviews: &Reviews,
        token: &str,
        parsed: Option<&Token<'_>>,
        now: u64,
        mapping: &Mapping,
        learned: &Learned,
    ) -> Result<(Arc<Identity>, bool), Unproved> {
        if token.len() > MAX_LENGTH {
            return Err(Reason::JwtMalformed.into());
        }
        // What has ended by its own word is not worth a question.
        let expires = parsed.map(|parsed| self.terms.end(parsed)).transpose()?.flatten();
        if expires.is_some_and(|end| end <= now) {
            return Err(Reason::JwtExpired.into());
        }
        match reviews.judge(token, now, expires, learned.review.as_ref(), mapping) {
            Judged::Known { identity, remembered } => Ok((identity, remembered)),
            Judged::Refused(reason) => Err(reason.into()),
            Judged::Asked(asked) => Err(Unproved::Review(asked)),
        }
    }

    /// Checks the signature with the `keys` of the ring, which may lack the one that is needed, unless it was `tried` to get
    /// it. It comes before the claims: what an unsigned token says is nobody's business.
    fn check_signature(&self, token: &Token<'_>, ring: &KeyRing, keys: &KeySet, tried: bool) -> Result<(), Unproved> {
        let algorithm = Algorithm::from_str(&token.header.alg).map_err(|_| Reason::JwtAlgorithm)?;
        if !self.algorithms.contains(&algorithm) {
            return Err(Reason::JwtAlgorithm.into());
        }
        let id = token.header.kid.as_deref();
        let outcome = match keys.count() {
            0 => Err(Reason::KeysUnavailable),
            _ => keys.verify(algorithm, id, token.message, token.signature),
        };
        let Err(reason) = outcome else { return Ok(()) };
        // Not for what cannot be a signature at all, nor for a key that we have and that does not fit.
        if reason == Reason::JwtMalformed || !keys.may_lack(id) {
            return Err(reason.into());
        }
        if tried {
            ring.lacks(id);
            return Err(reason.into());
        }
        Err(ring.want(id).map_or(Unproved::Refused(reason), Unproved::Key))
    }

    /// Checks what a signed token says. What is proved is bound to the very keys that proved it, the set of this
    /// `generation`; `place` is the issuer's own.
    fn check_claims(
        &self,
        token: &Token<'_>,
        place: usize,
        generation: u64,
        now: u64,
        mapping: &Mapping,
    ) -> Result<Entry, Reason> {
        let expires = self.terms.check(token, now)?;
        let subject = self.terms.subject(token)?;
        let mut identity = mapping
            .identify(Method::Jwt, self.label.clone(), subject.user, subject.groups, subject.account, &token.claims)
            .ok_or(Reason::JwtClaim)?;
        identity.expires = Some(expires);
        Ok(Entry { identity: Arc::new(identity), issuer: place, generation, expires })
    }
}
