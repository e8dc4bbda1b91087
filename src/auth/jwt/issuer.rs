//! One issuer: what proves its tokens, and what they have to say.

use std::{str::FromStr, sync::Arc};

use super::{
    Background, Unproved,
    cache::Entry,
    keys::{KeyFile, KeySet},
    publisher::Place,
    refresh::Refresher,
    ring::KeyRing,
    terms::Terms,
    token::{MAX_LENGTH, Token},
};
use crate::{
    auth::{
        claims::Mapping,
        cluster,
        need::Learned,
        review::{Judged, Reviews},
    },
    config::{self, Algorithm, Keys, Problem, Remote, Server},
    fetch::Client,
    identity::{Identity, Method},
    reason::Reason,
};

/// Where an API server has its keys.
const JWKS_PATH: &str = "/openid/v1/jwks";

/// What tells that a token is good.
#[derive(Debug)]
pub(super) enum Proof {
    /// A signature.
    Keys(Arc<KeyRing>),
    /// The word of a cluster's API server.
    Review(Box<Reviews>),
}

/// An issuer whose tokens are accepted.
#[derive(Debug)]
pub(super) struct Issuer {
    label: Arc<str>,
    /// The `iss` that its tokens must carry; `None` takes those that no other issuer claims.
    pub(super) name: Option<String>,
    algorithms: Vec<Algorithm>,
    /// What proves them.
    pub(super) proof: Proof,
    terms: Terms,
    /// Where its tokens may be, by the places in `Issuers::sources`.
    sources: Vec<usize>,
}

impl Issuer {
    /// Reads the keys of an issuer, which `key` of the configuration names; what has to run beside goes into `background`.
    /// The second value lists what was left out of the keys.
    pub(super) fn compile(
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
    pub(super) fn accepts_from(&self, source: usize) -> Result<(), Reason> {
        if self.sources.contains(&source) { Ok(()) } else { Err(Reason::JwtIssuer) }
    }

    /// Which set of keys verifies its tokens now.
    pub(super) fn generation(&self) -> u64 {
        match &self.proof {
            Proof::Keys(ring) => ring.load().generation(),
            // No token of it is in the cache of those that were verified.
            Proof::Review(_) => u64::MAX,
        }
    }

    /// Has a token judged by the API server: who the caller is, and whether that was known before.
    pub(super) fn review(
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
    pub(super) fn check_signature(
        &self,
        token: &Token<'_>,
        ring: &KeyRing,
        keys: &KeySet,
        tried: bool,
    ) -> Result<(), Unproved> {
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
    pub(super) fn check_claims(
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
