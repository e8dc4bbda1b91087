//! What an API server said of tokens, for as long as it is good.
//!
//! Entries are found by an HMAC of the whole token under a random key, so that no two tokens share one and memory holds no
//! token. Refusals are kept apart from proofs: a flood of made-up tokens pushes out nobody who was proved.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::{error::Unspecified, hmac, rand::SystemRandom};

use crate::identity::Identity;

/// Entries of each kind. When there are more, the oldest goes.
const ENTRIES: usize = 4096;

/// How long an answer is good.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// A proof.
    pub(super) proved: Duration,
    /// A refusal.
    pub(super) refused: Duration,
    /// A proof, after that, while the API server does not answer.
    pub(super) stale: Duration,
}

/// Stands for a token.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub(super) struct Fingerprint([u8; 32]);

/// What is known of a token.
#[derive(Debug)]
pub(super) enum Known {
    /// Whose it is; nobody's, where the API server said so.
    Fresh(Option<Arc<Identity>>),
    /// Whose it was a while ago.
    Stale(Arc<Identity>),
    /// Nothing.
    Nothing,
}

pub(super) struct Cache {
    key: hmac::Key,
    terms: Terms,
    proved: Mutex<Entries<Arc<Identity>>>,
    refused: Mutex<Entries<()>>,
}

struct Entries<T> {
    values: HashMap<Fingerprint, (T, Instant)>,
    /// In the order in which they came; one that was replaced is in there twice.
    order: VecDeque<(Fingerprint, Instant)>,
}

impl Cache {
    /// An empty cache with a random key.
    pub(super) fn new(terms: Terms) -> Result<Self, Unspecified> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())?;
        Ok(Self { key, terms, proved: Mutex::default(), refused: Mutex::default() })
    }

    pub(super) fn fingerprint(&self, token: &[u8]) -> Fingerprint {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(hmac::sign(&self.key, token).as_ref());
        Fingerprint(fingerprint)
    }

    /// What is known at `now`, which is also `seconds` since 1970: no proof outlasts its token.
    pub(super) fn find(&self, token: &Fingerprint, now: Instant, seconds: u64) -> Known {
        let proved = lock(&self.proved).values.get(token).cloned();
        let lasts = |identity: &Arc<Identity>| identity.expires.is_none_or(|end| seconds < end);
        if let Some((identity, since)) = proved.filter(|(identity, _)| lasts(identity)) {
            let age = now.saturating_duration_since(since);
            if age < self.terms.proved {
                return Known::Fresh(Some(identity));
            }
            // What was refused since then is not as it was.
            if age < self.terms.proved + self.terms.stale && !self.is_refused(token, now) {
                return Known::Stale(identity);
            }
        }
        if self.is_refused(token, now) { Known::Fresh(None) } else { Known::Nothing }
    }

    /// Whether the token was somebody's, however long ago.
    pub(super) fn has_proved(&self, token: &Fingerprint) -> bool {
        lock(&self.proved).values.contains_key(token)
    }

    /// Keeps an answer that came at `since`. Everybody who waited for it brings it, some of them late: it takes one place,
    /// gets no younger, and is no match for one that came after it.
    pub(super) fn store(&self, token: Fingerprint, answer: Option<Arc<Identity>>, since: Instant) {
        let known = [lock(&self.proved).since(&token), lock(&self.refused).since(&token)];
        if known.into_iter().flatten().any(|known| known >= since) {
            return;
        }
        match answer {
            Some(identity) => {
                lock(&self.refused).values.remove(&token);
                lock(&self.proved).insert(token, identity, since);
            }
            None => {
                lock(&self.proved).values.remove(&token);
                lock(&self.refused).insert(token, (), since);
            }
        }
    }

    fn is_refused(&self, token: &Fingerprint, now: Instant) -> bool {
        let since = lock(&self.refused).since(token);
        since.is_some_and(|since| now.saturating_duration_since(since) < self.terms.refused)
    }
}

impl<T> Entries<T> {
    fn since(&self, token: &Fingerprint) -> Option<Instant> {
        self.values.get(token).map(|(_, since)| *since)
    }

    fn insert(&mut self, token: Fingerprint, value: T, now: Instant) {
        self.values.insert(token, (value, now));
        self.order.push_back((token, now));
        while self.order.len() > ENTRIES {
            let Some((oldest, since)) = self.order.pop_front() else { break };
            if self.values.get(&oldest).is_some_and(|(_, current)| *current == since) {
                self.values.remove(&oldest);
            }
        }
    }
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self { values: HashMap::new(), order: VecDeque::new() }
    }
}

/// Nothing panics while it holds a lock; if something did, the entries would still be whole.
fn lock<T>(entries: &Mutex<Entries<T>>) -> MutexGuard<'_, Entries<T>> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("terms", &self.terms).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::identity::Method;

    const SECOND: Duration = Duration::from_secs(1);
    const TERMS: Terms = Terms { proved: Duration::from_secs(60), refused: Duration::from_secs(10), stale: SECOND };

    fn identity(user: &str, expires: Option<u64>) -> Arc<Identity> {
        Arc::new(Identity {
            user: user.into(),
            method: Method::Jwt,
            issuer: "cluster".into(),
            account: None,
            groups: Vec::new(),
            claims: Box::default(),
            headers: Vec::new(),
            assertion: None,
            expires,
        })
    }

    fn found(cache: &Cache, token: &str, now: Instant, seconds: u64) -> String {
        match cache.find(&cache.fingerprint(token.as_bytes()), now, seconds) {
            Known::Fresh(Some(identity)) => identity.user.to_string(),
            Known::Fresh(None) => "refused".to_owned(),
            Known::Stale(identity) => format!("stale {}", identity.user),
            Known::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn an_answer_is_good_for_its_time_and_a_proof_then_only_in_need() {
        let (cache, start) = (Cache::new(TERMS).unwrap(), Instant::now());
        cache.store(cache.fingerprint(b"a"), Some(identity("alice", None)), start);
        cache.store(cache.fingerprint(b"b"), None, start);
        for (seconds, a, b) in
            [(0, "alice", "refused"), (9, "alice", "refused"), (10, "alice", "nothing"), (60, "stale alice", "nothing")]
        {
            let now = start + seconds * SECOND;
            assert_eq!((found(&cache, "a", now, 0), found(&cache, "b", now, 0)), (a.to_owned(), b.to_owned()));
        }
        assert_eq!(found(&cache, "a", start + 61 * SECOND, 0), "nothing");
    }

    #[test]
    fn no_proof_outlasts_its_token() {
        let (cache, start) = (Cache::new(TERMS).unwrap(), Instant::now());
        cache.store(cache.fingerprint(b"a"), Some(identity("alice", Some(1000))), start);
        assert_eq!(found(&cache, "a", start, 999), "alice");
        assert_eq!(found(&cache, "a", start, 1000), "nothing");
    }

    #[test]
    fn the_last_answer_counts() {
        let (cache, start) = (Cache::new(TERMS).unwrap(), Instant::now());
        let token = cache.fingerprint(b"a");
        cache.store(token, Some(identity("alice", None)), start);
        cache.store(token, None, start + SECOND);
        assert_eq!(found(&cache, "a", start + SECOND, 0), "refused");
        assert_eq!(found(&cache, "a", start + 12 * SECOND, 0), "nothing", "and not what was proved before");
        cache.store(token, Some(identity("alice", None)), start + 12 * SECOND);
        assert_eq!(found(&cache, "a", start + 12 * SECOND, 0), "alice");
    }

    #[test]
    fn an_answer_that_many_waited_for_is_one_and_a_late_one_changes_nothing() {
        let (cache, start) = (Cache::new(TERMS).unwrap(), Instant::now());
        let token = cache.fingerprint(b"a");
        for _ in 0..100 {
            cache.store(token, Some(identity("alice", None)), start);
        }
        assert_eq!(sizes(&cache.proved), (1, 1));
        cache.store(token, None, start + SECOND);
        cache.store(token, Some(identity("alice", None)), start);
        assert_eq!(found(&cache, "a", start + SECOND, 0), "refused");
    }

    fn sizes<T>(entries: &Mutex<Entries<T>>) -> (usize, usize) {
        let entries = lock(entries);
        (entries.values.len(), entries.order.len())
    }

    #[test]
    fn refusals_push_out_no_proof_and_both_are_bounded() {
        let (cache, start) = (Cache::new(TERMS).unwrap(), Instant::now());
        cache.store(cache.fingerprint(b"a"), Some(identity("alice", None)), start);
        for i in 0..2 * ENTRIES {
            cache.store(cache.fingerprint(i.to_string().as_bytes()), None, start);
        }
        assert_eq!(found(&cache, "a", start, 0), "alice");
        assert_eq!(sizes(&cache.refused), (ENTRIES, ENTRIES));
        for i in 0..ENTRIES {
            cache.store(cache.fingerprint(i.to_string().as_bytes()), Some(identity("bob", None)), start);
        }
        assert_eq!(found(&cache, "a", start, 0), "nothing");
        assert_eq!(sizes(&cache.proved), (ENTRIES, ENTRIES));
    }

    #[test]
    fn tokens_are_told_apart_to_the_last_byte() {
        let (cache, start) = (Cache::new(TERMS).unwrap(), Instant::now());
        cache.store(cache.fingerprint(b"token-1"), Some(identity("alice", None)), start);
        for other in ["token-2", "token-", "token-1 ", "Token-1", "token-11"] {
            assert_eq!(found(&cache, other, start, 0), "nothing", "{other}");
        }
    }
}
