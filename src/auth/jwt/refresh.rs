//! Fetches an issuer's keys in the background: before they are needed, ahead of their end, and again when a token names one
//! that is not there.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use super::{
    keys::KeySet,
    ring::{KeyRing, now},
    store::Store,
};
use crate::{
    config::{Algorithm, Remote, Url},
    fetch::{Client, FetchError},
};

/// Between two attempts while the issuer does not answer: it doubles from the first to the last.
const RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// Where the metadata of an issuer is (OpenID Connect Discovery 1.0 section 4).
const METADATA: &str = "/.well-known/openid-configuration";

/// Where a JWKS is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// Where the metadata of this issuer says.
    Discovery(String),
    /// Here.
    Url(Url),
}

/// Keeps the keys of one issuer up to date.
#[derive(Debug)]
pub struct Refresher {
    ring: Arc<KeyRing>,
    client: Client,
    place: Place,
    algorithms: Vec<Algorithm>,
    terms: Remote,
    store: Option<Store>,
    /// Where the metadata said that the keys are.
    found: Option<Url>,
    /// The keys as they were fetched: those that come again are no news.
    current: Option<Value>,
    /// When the keys that we have end, unless others come.
    ends: Option<Instant>,
}

/// What became of a fetch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refreshed {
    /// There are other keys than before.
    Changed,
    /// They are as they were.
    Unchanged,
    /// There was nothing usable.
    Failed,
}

/// Why a fetch brought no keys.
#[derive(Debug, thiserror::Error)]
enum RefreshError {
    #[error("{0}: {1}")]
    Fetch(Url, FetchError),
    #[error("{0}: {1}")]
    Unusable(Url, String),
    #[error("the issuer {0}")]
    Issuer(String),
}

/// The members of an issuer's metadata that we read.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

impl Refresher {
    pub(super) fn new(
        ring: Arc<KeyRing>,
        client: Client,
        place: Place,
        algorithms: Vec<Algorithm>,
        terms: Remote,
    ) -> Self {
        let whose = match &place {
            Place::Discovery(issuer) => issuer.clone(),
            Place::Url(url) => format!("{} from {url}", ring.label()),
        };
        let store = terms.store.as_deref().map(|folder| Store::new(folder, whose));
        Self { ring, client, place, algorithms, terms, store, found: None, current: None, ends: None }
    }

    /// The issuer's name in logs and metrics.
    pub fn label(&self) -> &str {
        self.ring.label()
    }

    /// Fetches, and waits, for ever. `observe` is told of every fetch.
    pub async fn run(mut self, observe: impl Fn(Refreshed)) {
        self.restore();
        let mut failures = 0;
        let mut wanted = false;
        loop {
            self.ring.begin();
            let (wait, trouble) = match self.refresh(wanted).await {
                Ok((refreshed, max_age)) => {
                    failures = 0;
                    observe(refreshed);
                    let refresh = max_age.map_or(self.terms.refresh, |age| age.min(self.terms.refresh));
                    (refresh.max(self.terms.min_refetch), None)
                }
                Err(error) => {
                    failures += 1;
                    self.found = None;
                    observe(Refreshed::Failed);
                    let wait =
                        RETRY[0].saturating_mul(1 << (failures - 1).min(16)).min(RETRY[1]).min(self.terms.refresh);
                    let left = self.ends.map(|ends| ends.saturating_duration_since(Instant::now()));
                    tracing::warn!(issuer = self.label(), %error, retry = ?wait, keys_end_in = ?left, "cannot fetch keys");
                    (wait, Some(error.to_string()))
                }
            };
            self.ring.end(trouble);
            wanted = self.wait(jittered(wait)).await;
        }
    }

    /// Waits for this long, or until a key is wanted that is not there. Says whether that was it.
    async fn wait(&mut self, time: Duration) -> bool {
        let next = Instant::now() + time;
        loop {
            let ends = self.ends;
            tokio::select! {
                () = sleep_until(next) => return false,
                () = self.ring.wanted() => return true,
                () = sleep_until(ends.unwrap_or(next)), if ends.is_some() => {
                    tracing::error!(issuer = self.label(), max_stale = ?self.terms.max_stale, "the keys are too old to be used");
                    (self.ends, self.current) = (None, None);
                    self.ring.replace(KeySet::none());
                    self.ring.fetched_at(0);
                }
            }
        }
    }

    /// Uses the keys that were kept on disk, where there are some and they are not too old.
    fn restore(&mut self) {
        let Some(store) = &self.store else { return };
        let (jwks, fetched) = match store.load() {
            Ok(Some(kept)) => kept,
            Ok(None) => return,
            Err(problem) => return tracing::warn!(issuer = self.label(), %problem, "cannot use the keys kept on disk"),
        };
        let age = Duration::from_secs(now().saturating_sub(fetched));
        let Some(left) = self.terms.max_stale.checked_sub(age).filter(|left| !left.is_zero()) else {
            return tracing::warn!(issuer = self.label(), ?age, "the keys kept on disk are too old to be used");
        };
        match self.use_keys(&jwks) {
            Ok(_) => {
                self.ends = Some(Instant::now() + left);
                self.ring.fetched_at(fetched);
                tracing::info!(issuer = self.label(), ?age, "using the keys kept on disk until the issuer answers");
            }
            Err(what) => tracing::warn!(issuer = self.label(), what, "cannot use the keys kept on disk"),
        }
    }

    /// Fetches once. For a key that is `wanted` the metadata is not read again: where the keys are has been found before.
    async fn refresh(&mut self, wanted: bool) -> Result<(Refreshed, Option<Duration>), RefreshError> {
        let url = match (&self.place, &self.found) {
            (Place::Url(url), _) => url.clone(),
            (Place::Discovery(_), Some(found)) if wanted => found.clone(),
            (Place::Discovery(issuer), _) => self.discover(issuer).await?,
        };
        let fetched = self.client.get(&url).await.map_err(|error| RefreshError::Fetch(url.clone(), error))?;
        let refreshed =
            self.use_keys(&fetched.body).map_err(|what| RefreshError::Unusable(fetched.url.clone(), what))?;
        self.found = Some(url);
        self.ends = Some(Instant::now() + self.terms.max_stale);
        self.ring.fetched_at(now());
        if let Some(Err(error)) = self.store.as_ref().map(|store| store.save(&fetched.body)) {
            tracing::warn!(issuer = self.label(), %error, "cannot keep the keys on disk");
        }
        Ok((refreshed, fetched.max_age))
    }

    /// Where the issuer says that its keys are.
    async fn discover(&self, issuer: &str) -> Result<Url, RefreshError> {
        let url = Url::parse(&format!("{}{METADATA}", issuer.trim_end_matches('/'))).map_err(RefreshError::Issuer)?;
        let fetched = self.client.get(&url).await.map_err(|error| RefreshError::Fetch(url.clone(), error))?;
        let unusable = |what| RefreshError::Unusable(url.clone(), what);
        let metadata: Metadata = serde_json::from_slice(&fetched.body).map_err(|error| unusable(error.to_string()))?;
        // Section 4.3: to the letter. Else one issuer could speak for another.
        if metadata.issuer != issuer {
            return Err(unusable(format!("it is the metadata of `{}`, and not of `{issuer}`", metadata.issuer)));
        }
        url.follow(&metadata.jwks_uri).map_err(|why| unusable(format!("its jwks_uri: {why}")))
    }

    /// Takes a JWKS for the issuer's keys, unless it is what we have.
    fn use_keys(&mut self, jwks: &[u8]) -> Result<Refreshed, String> {
        let value: Value = serde_json::from_slice(jwks).map_err(|error| format!("not JSON: {error}"))?;
        if self.current.as_ref() == Some(&value) {
            return Ok(Refreshed::Unchanged);
        }
        let (keys, left_out) = KeySet::from_jwks(jwks, &self.algorithms)?;
        for what in &left_out {
            tracing::warn!(issuer = self.label(), what, "a key is not used");
        }
        tracing::info!(issuer = self.label(), keys = keys.count(), "new keys");
        self.ring.replace(keys);
        self.current = Some(value);
        Ok(Refreshed::Changed)
    }
}

/// A tenth more or less, so that a thousand pods that were started together do not ask together for ever.
fn jittered(time: Duration) -> Duration {
    let mut random = [0; 2];
    // Without random numbers all ask at once, which works too.
    let _ = aws_lc_rs::rand::fill(&mut random);
    time.mul_f64(0.9 + 0.2 * f64::from(u16::from_ne_bytes(random)) / f64::from(u16::MAX))
}
