//! Passwords that were right a moment ago, so that a browser's hundred requests cost one bcrypt and not a hundred.
//!
//! What other proxies' caches got wrong decides the shape of this one:
//! - An entry is found by what the client sent and nothing else, by an HMAC under a random key that no other process
//!   has, over name and password with their lengths: no other pair has the same input, and an entry tells nothing.
//! - Only right passwords are stored, so that wrong ones cannot push them out.
//! - A cache belongs to one [`Users`](super::Users) value. A file that is loaded again brings an empty one: a user
//!   who was removed is gone at once, and a check that began before cannot store its result in the new one.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::{error::Unspecified, hmac, rand::SystemRandom};

use super::{credentials::Credentials, users::User};

/// How long a right password is remembered. Using it does not make it longer.
const REMEMBERED: Duration = Duration::from_secs(300);

/// How many are remembered. When there are more, the oldest goes.
const ENTRIES: usize = 1024;

/// Passwords that were right a moment ago.
pub(super) struct Cache {
    key: hmac::Key,
    entries: Mutex<Entries>,
}

/// Stands for a name with a password.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub(super) struct Fingerprint([u8; 32]);

#[derive(Default)]
struct Entries {
    users: HashMap<Fingerprint, (Arc<User>, Instant)>,
    /// Every entry lives equally long, so the order in which they came is the order in which they end.
    order: VecDeque<Fingerprint>,
}

impl Cache {
    /// An empty cache with a random key.
    pub(super) fn new() -> Result<Self, Unspecified> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())?;
        Ok(Self { key, entries: Mutex::default() })
    }

    pub(super) fn fingerprint(&self, credentials: &Credentials) -> Fingerprint {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [credentials.name().as_bytes(), credentials.password().as_bytes()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.sign().as_ref());
        Fingerprint(fingerprint)
    }

    /// The user who had this name and password a moment before `now`.
    pub(super) fn find(&self, fingerprint: &Fingerprint, now: Instant) -> Option<Arc<User>> {
        self.entries().users.get(fingerprint).filter(|(_, end)| now < *end).map(|(user, _)| user.clone())
    }

    /// Remembers a name with its right password, from `now` on.
    pub(super) fn store(&self, fingerprint: Fingerprint, user: Arc<User>, now: Instant) {
        let mut entries = self.entries();
        while entries.order.len() >= ENTRIES || entries.first_has_ended(now) {
            let Some(oldest) = entries.order.pop_front() else { break };
            entries.users.remove(&oldest);
        }
        if entries.users.contains_key(&fingerprint) {
            return;
        }
        entries.users.insert(fingerprint, (user, now + REMEMBERED));
        entries.order.push_back(fingerprint);
    }

    /// Nothing panics while it holds the lock; if something did, the entries would still be whole.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn first_has_ended(&self, now: Instant) -> bool {
        self.order.front().and_then(|first| self.users.get(first)).is_some_and(|(_, end)| *end <= now)
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("entries", &self.entries().order.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn fingerprint(cache: &Cache, name: &str, password: &str) -> Fingerprint {
        cache.fingerprint(&Credentials::new(name, password).unwrap())
    }

    fn user(name: &str) -> Arc<User> {
        Arc::new(User { name: name.into(), groups: Box::default() })
    }

    fn found(cache: &Cache, fingerprint: &Fingerprint, now: Instant) -> Option<String> {
        cache.find(fingerprint, now).map(|user| user.name.to_string())
    }

    #[test]
    fn a_password_is_found_until_its_time_is_over() {
        let (cache, start) = (Cache::new().unwrap(), Instant::now());
        let alice = fingerprint(&cache, "alice", "a");
        assert_eq!(found(&cache, &alice, start), None);
        cache.store(alice, user("alice"), start);
        assert_eq!(found(&cache, &alice, start), Some("alice".to_owned()));
        assert_eq!(found(&cache, &alice, start + REMEMBERED - Duration::from_nanos(1)), Some("alice".to_owned()));
        assert_eq!(found(&cache, &alice, start + REMEMBERED), None);
    }

    #[test]
    fn storing_again_does_not_make_it_last_longer_until_it_has_ended() {
        let (cache, start) = (Cache::new().unwrap(), Instant::now());
        let alice = fingerprint(&cache, "alice", "a");
        cache.store(alice, user("alice"), start);
        cache.store(alice, user("alice"), start + REMEMBERED / 2);
        assert_eq!(found(&cache, &alice, start + REMEMBERED), None);
        cache.store(alice, user("alice"), start + REMEMBERED);
        assert_eq!(found(&cache, &alice, start + REMEMBERED), Some("alice".to_owned()));
        assert_eq!(cache.entries().order.len(), 1);
    }

    #[test]
    fn a_boundary_between_name_and_password_that_is_shifted_is_another_pair() {
        let cache = Cache::new().unwrap();
        assert_eq!(confused(|name, password| fingerprint(&cache, name, password)), []);
        // Without the lengths it is found, and with something between the two.
        assert_ne!(confused(|name, password| format!("{name}{password}")), []);
        assert_ne!(confused(|name, password| format!("{name}:{password}")), []);
        assert_ne!(confused(|name, password| format!("{name}\0{password}")), []);
    }

    type Pair = (&'static str, &'static str);

    /// Pairs of a name and a password that `fingerprint` takes for one another.
    fn confused<T: PartialEq>(fingerprint: impl Fn(&str, &str) -> T) -> Vec<(Pair, Pair)> {
        let pairs = [
            ("ab", "c"),
            ("a", "bc"),
            ("", "abc"),
            ("abc", ""),
            ("ab", "c\u{0}"),
            ("AB", "c"),
            ("a:b", "c"),
            ("a", "b:c"),
            ("a\u{0}b", "c"),
            ("a", "b\u{0}c"),
        ];
        let all = pairs.iter().flat_map(|one| pairs.iter().map(move |other| (*one, *other)));
        let distinct = all.filter(|(one, other)| one != other);
        distinct.filter(|(one, other)| fingerprint(one.0, one.1) == fingerprint(other.0, other.1)).collect()
    }

    #[test]
    fn no_two_caches_have_the_same_key() {
        let (one, other) = (Cache::new().unwrap(), Cache::new().unwrap());
        assert!(fingerprint(&one, "alice", "a") != fingerprint(&other, "alice", "a"));
    }

    #[test]
    fn it_is_bounded_and_the_oldest_goes_first() {
        let (cache, start) = (Cache::new().unwrap(), Instant::now());
        let prints: Vec<_> = (0..=ENTRIES).map(|i| fingerprint(&cache, "alice", &i.to_string())).collect();
        for print in &prints {
            cache.store(*print, user("alice"), start);
        }
        assert_eq!(cache.entries().users.len(), ENTRIES);
        assert_eq!(cache.entries().order.len(), ENTRIES);
        assert_eq!(found(&cache, &prints[0], start), None);
        assert_eq!(found(&cache, &prints[1], start), Some("alice".to_owned()));
        assert_eq!(found(&cache, &prints[ENTRIES], start), Some("alice".to_owned()));

        cache.store(prints[0], user("alice"), start + REMEMBERED);
        assert_eq!(cache.entries().users.len(), 1, "what has ended is dropped");
    }
}
