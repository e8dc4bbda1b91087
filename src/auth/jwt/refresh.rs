//! Keeps an issuer's keys up to date in the background: fetches them before they are needed, ahead of their end, and again
//! when a token names one that is not there.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use super::{
    keys::KeySet,
    publisher::{Place, Publish, PublishError, Published, Publisher},
    ring::{KeyRing, now},
    store::Store,
};
use crate::{
    config::{Algorithm, Remote},
    fetch::Client,
};

/// Between two attempts while the issuer does not answer: it doubles from the first to the last.
const RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// So much of what an issuer sends is shown, in characters.
const MAX_SHOWN: usize = 300;

/// Keeps the keys of one issuer up to date.
#[derive(Debug)]
pub struct Refresher(Rounds<Publisher>);

/// One fetch after the other.
#[derive(Debug)]
struct Rounds<P> {
    ring: Arc<KeyRing>,
    publisher: P,
    algorithms: Vec<Algorithm>,
    terms: Remote,
    store: Option<Store>,
    /// The keys as they were fetched: those that come again are no news.
    current: Option<Vec<String>>,
    /// When the keys that we have end, unless others come.
    ends: Option<Instant>,
    /// Whether those that we had have ended.
    ended: bool,
    /// Why the last fetch failed, if it did.
    trouble: Option<String>,
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

impl Refresher {
    pub(super) fn new(
        ring: Arc<KeyRing>,
        client: Client,
        place: Place,
        algorithms: Vec<Algorithm>,
        terms: Remote,
    ) -> Self {
        let whose = match &place {
            Place::Discovery { issuer, .. } => issuer.clone(),
            Place::Url(url) => format!("{} from {url}", ring.label()),
        };
        let store = terms.store.as_deref().map(|folder| Store::new(folder, whose));
        let publisher = Publisher::new(client, place);
        Self(Rounds {
            ring,
            publisher,
            algorithms,
            terms,
            store,
            current: None,
            ends: None,
            ended: false,
            trouble: None,
        })
    }

    /// The issuer's name in logs and metrics.
    pub fn label(&self) -> &str {
        self.0.ring.label()
    }

    /// Fetches, and waits, for ever. `observe` is told of every fetch.
    pub async fn run(self, observe: impl Fn(Refreshed)) {
        self.0.run(observe).await;
    }
}

impl<P: Publish> Rounds<P> {
    async fn run(mut self, observe: impl Fn(Refreshed)) {
        self.restore();
        let mut failures = 0;
        let mut wanted = false;
        let mut next = Instant::now();
        loop {
            self.ring.begin();
            self.trouble = match self.refresh(wanted).await {
                Ok((refreshed, max_age)) => {
                    failures = 0;
                    observe(refreshed);
                    // A fetch that was asked for does not put off the regular one, which reads the metadata anew: whoever
                    // makes up key ids must not be able to keep it from coming.
                    if !wanted {
                        let refresh = max_age.map_or(self.terms.refresh, |age| age.min(self.terms.refresh));
                        next = Instant::now() + jittered(refresh).max(self.terms.min_refetch);
                    }
                    None
                }
                Err(error) => {
                    failures += 1;
                    observe(Refreshed::Failed);
                    let retry = backoff(failures).min(self.terms.refresh);
                    next = Instant::now() + jittered(retry);
                    let error = shown(&error.to_string());
                    let left = self.ends.map(|ends| ends.saturating_duration_since(Instant::now()));
                    let issuer = self.ring.label();
                    tracing::warn!(issuer, error, ?retry, keys_end_in = ?left, "cannot fetch keys");
                    Some(error)
                }
            };
            self.ring.end(self.told());
            wanted = self.wait(next).await;
        }
    }

    /// Waits for the `next` fetch, or until a key is wanted that is not there. Says whether that was it.
    async fn wait(&mut self, next: Instant) -> bool {
        loop {
            let ends = self.ends;
            tokio::select! {
                // First of all: else keys that have ended could stay for another fetch.
                biased;
                () = sleep_until(ends.unwrap_or(next)), if ends.is_some() => self.expire(),
                () = self.ring.wanted() => return true,
                () = sleep_until(next) => return false,
            }
        }
    }

    /// Takes the keys away, which are too old.
    fn expire(&mut self) {
        let max_stale = self.terms.max_stale;
        tracing::error!(issuer = self.ring.label(), ?max_stale, "the keys are too old to be used");
        (self.ends, self.current, self.ended) = (None, None, true);
        self.ring.replace(KeySet::none());
        self.ring.fetched_at(0);
        self.ring.tell(self.told());
    }

    /// Why there are no keys, for a probe.
    fn told(&self) -> Option<String> {
        let ended = self.ended.then(|| format!("too old: not fetched for {:?}", self.terms.max_stale));
        let why: Vec<_> = ended.into_iter().chain(self.trouble.clone()).collect();
        (!why.is_empty()).then(|| why.join("; "))
    }

    /// Uses the keys that were kept on disk, where there are some and they are not too old.
    fn restore(&mut self) {
        let Some(store) = &self.store else { return };
        let (jwks, fetched) = match store.load() {
            Ok(Some(kept)) => kept,
            Ok(None) => return,
            Err(problem) => {
                let problem = shown(&problem.to_string());
                return tracing::warn!(issuer = self.ring.label(), problem, "cannot use the keys kept on disk");
            }
        };
        let age = Duration::from_secs(now().saturating_sub(fetched));
        let Some(left) = self.terms.max_stale.checked_sub(age).filter(|left| !left.is_zero()) else {
            return tracing::warn!(issuer = self.ring.label(), ?age, "the keys kept on disk are too old to be used");
        };
        match self.use_keys(&jwks) {
            Ok(_) => {
                self.ends = Some(Instant::now() + left);
                self.ring.fetched_at(fetched);
                tracing::info!(
                    issuer = self.ring.label(),
                    ?age,
                    "using the keys kept on disk until the issuer answers"
                );
            }
            Err(what) => {
                let problem = shown(&what);
                tracing::warn!(issuer = self.ring.label(), problem, "cannot use the keys kept on disk");
            }
        }
    }

    /// Fetches once, perhaps because a key is `wanted`.
    async fn refresh(&mut self, wanted: bool) -> Result<(Refreshed, Option<Duration>), PublishError> {
        let Published { jwks, max_age, url } = self.publisher.fetch(wanted).await?;
        let refreshed = self.use_keys(&jwks).map_err(|what| PublishError::Unusable(url, what))?;
        self.ends = Some(Instant::now() + self.terms.max_stale);
        self.ended = false;
        let now = now();
        self.ring.fetched_at(now);
        if let Some(store) = &self.store
            && let Err(error) = store.save(&jwks, now)
        {
            let file = store.path().display();
            tracing::warn!(issuer = self.ring.label(), %file, %error, "cannot keep the keys on disk");
        }
        Ok((refreshed, max_age))
    }

    /// Takes a JWKS for the issuer's keys, unless they are what we have.
    fn use_keys(&mut self, jwks: &[u8]) -> Result<Refreshed, String> {
        let written = Some(written(jwks)?);
        if self.current == written {
            return Ok(Refreshed::Unchanged);
        }
        let (keys, left_out) = KeySet::from_jwks(jwks, &self.algorithms)?;
        let issuer = self.ring.label();
        for what in &left_out {
            tracing::warn!(issuer, what = shown(what), "a key is not used");
        }
        tracing::info!(issuer, keys = keys.count(), "new keys");
        self.ring.replace(keys);
        self.current = written;
        Ok(Refreshed::Changed)
    }
}

/// The keys of a JWKS as they are written, whatever their order is: some issuers have another one in each answer.
fn written(jwks: &[u8]) -> Result<Vec<String>, String> {
    let json: Value = serde_json::from_slice(jwks).map_err(|error| format!("not JSON: {error}"))?;
    let keys = json.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut keys: Vec<_> = keys.iter().map(Value::to_string).collect();
    keys.sort_unstable();
    Ok(keys)
}

/// How long to wait after so many failures in a row.
fn backoff(failures: u32) -> Duration {
    RETRY[0].saturating_mul(1 << failures.saturating_sub(1).min(16)).min(RETRY[1])
}

/// A tenth more or less, so that a thousand pods that were started together do not ask together for ever.
fn jittered(time: Duration) -> Duration {
    let mut random = [0; 2];
    // Without random numbers all ask at once, which works too.
    let _ = aws_lc_rs::rand::fill(&mut random);
    time.mul_f64(0.9 + 0.2 * f64::from(u16::from_ne_bytes(random)) / f64::from(u16::MAX))
}

/// What came from an issuer, for a log and a probe: not all of it, and on one line.
fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests;
