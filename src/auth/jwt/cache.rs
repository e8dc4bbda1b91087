//! Tokens whose signature was verified, so that a warm request pays for a lookup and not for a signature.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::identity::Identity;

/// Tokens in each of the two generations.
const CAPACITY: usize = 32 * 1024;

/// Bytes of tokens in each of the two generations.
const CAPACITY_BYTES: usize = 16 * 1024 * 1024;

/// The last bytes of a token: the end of its signature, which nobody can choose for a token that gets in. Hashing these
/// instead of a thousand bytes is half the cost of a hit.
type Tail = [u8; 16];

/// Verified tokens and whom they stand for.
///
/// A hit compares the whole token, so two tokens never share an entry. Only tokens that were verified get in, and the
/// cache lives and dies with the keys that verified them: new keys, new cache. Two generations bound it without any
/// bookkeeping on a hit: when the young one is full it becomes the old one, and what is used again moves back.
#[derive(Debug)]
pub(super) struct Cache {
    generations: Mutex<Generations>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Tail, Entry>,
    old: HashMap<Tail, Entry>,
    young_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    token: Box<str>,
    identity: Arc<Identity>,
    /// The issuer, by its place.
    issuer: usize,
    expires: u64,
}

impl Cache {
    /// Whom `token` stands for and whose it is, when it was verified before and `now` (in seconds) is before its end.
    pub(super) fn find(&self, token: &[u8], now: u64) -> Option<(Arc<Identity>, usize)> {
        let tail: &Tail = token.last_chunk()?;
        // Held for a lookup only, and by one thread unless there are several workers.
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |entry: &Entry| entry.token.as_bytes() == token && now < entry.expires;
        if let Some(entry) = generations.young.get(tail) {
            return fits(entry).then(|| (entry.identity.clone(), entry.issuer));
        }
        let entry = generations.old.remove(tail).filter(fits)?;
        let known = (entry.identity.clone(), entry.issuer);
        generations.insert(*tail, entry, self.capacity);
        Some(known)
    }

    /// Remembers that `token` of this issuer was verified and is good until `expires` (in seconds).
    pub(super) fn insert(&self, token: &str, identity: Arc<Identity>, issuer: usize, expires: u64) {
        let Some(tail) = token.as_bytes().last_chunk() else { return };
        let entry = Entry { token: token.into(), identity, issuer, expires };
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.insert(*tail, entry, self.capacity);
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self { generations: Mutex::default(), capacity: CAPACITY }
    }
}

impl Generations {
    fn insert(&mut self, tail: Tail, entry: Entry, capacity: usize) {
        if self.young.len() >= capacity || self.young_bytes + entry.token.len() > CAPACITY_BYTES {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += entry.token.len();
        self.young.insert(tail, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Method;

    fn identity(user: &str) -> Arc<Identity> {
        Arc::new(Identity {
            user: user.into(),
            method: Method::Jwt,
            issuer: "corp".into(),
            account: None,
            groups: Vec::new(),
            claims: Box::default(),
            headers: Vec::new(),
            expires: None,
        })
    }

    fn user(cache: &Cache, token: &str, now: u64) -> Option<String> {
        cache.find(token.as_bytes(), now).map(|(identity, _)| identity.user.to_string())
    }

    #[test]
    fn an_entry_ends_with_its_token() {
        let cache = Cache::default();
        cache.insert("header.payload.0123456789abcdef", identity("alice"), 0, 10);
        assert_eq!(user(&cache, "header.payload.0123456789abcdef", 9).as_deref(), Some("alice"));
        assert_eq!(user(&cache, "header.payload.0123456789abcdef", 10), None);
    }

    #[test]
    fn tokens_that_end_alike_never_share_an_entry() {
        let cache = Cache::default();
        cache.insert("header.alice.0123456789abcdef", identity("alice"), 0, 10);
        assert_eq!(user(&cache, "header.mallo.0123456789abcdef", 1), None);
        cache.insert("header.bobby.0123456789abcdef", identity("bob"), 0, 10);
        assert_eq!(user(&cache, "header.bobby.0123456789abcdef", 1).as_deref(), Some("bob"));
        assert_eq!(user(&cache, "header.alice.0123456789abcdef", 1), None);
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_used() {
        let cache = Cache { capacity: 4, ..Cache::default() };
        let token = |n: usize| format!("header.payload.{n:016}");
        for n in 0..40 {
            cache.insert(&token(n), identity(&n.to_string()), 0, 10);
            assert_eq!(user(&cache, &token(0), 1).as_deref(), Some("0"), "used each time, so still there");
            let generations = cache.generations.lock().unwrap_or_else(PoisonError::into_inner);
            assert!(generations.young.len() + generations.old.len() <= 8);
        }
        assert_eq!(user(&cache, &token(1), 1), None);
    }
}
