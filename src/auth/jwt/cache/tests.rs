//! What the cache finds, what it forgets, and that it stays within its bounds.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::identity::Method;

const ROOMY: config::TokenCache = config::TokenCache { entries: 100, bytes: 1 << 20 };

fn identity(user: &str) -> Arc<Identity> {
    Arc::new(Identity {
        user: user.into(),
        method: Method::Jwt,
        issuer: "corp".into(),
        groups: Vec::new(),
        claims: Box::default(),
        account: None,
        headers: Vec::new(),
        assertion: None,
        expires: None,
    })
}

fn entry(user: &str, expires: u64) -> Entry {
    Entry { identity: identity(user), issuer: 0, generation: 0, expires }
}

fn user(cache: &Cache, token: &str, now: u64) -> Option<String> {
    cache.find(token.as_bytes(), now, |_| 0).map(|entry| entry.identity.user.to_string())
}

#[test]
fn an_entry_ends_with_its_token() {
    let cache = Cache::new(&ROOMY);
    cache.insert("header.payload.0123456789abcdef", entry("alice", 10), 1);
    assert_eq!(user(&cache, "header.payload.0123456789abcdef", 9).as_deref(), Some("alice"));
    assert_eq!(user(&cache, "header.payload.0123456789abcdef", 10), None);
    assert_eq!(user(&cache, "header.payload.0123456789abcdef", 11), None);
}

#[test]
fn what_has_ended_does_not_wait_for_the_limit() {
    let cache = Cache::new(&ROOMY);
    // One in a second, each good for ten: no more than those ten are worth keeping.
    for now in 0..60 {
        cache.insert(&format!("header.payload.{now:016}"), entry("alice", now + 10), now);
        let held = cache.lock().order.len();
        assert!(held <= 11, "{held} at {now}");
    }
    let entries = cache.lock();
    assert_eq!(entries.bytes, entries.kept.values().map(|kept| kept.bytes).sum::<usize>());
}

#[test]
fn an_entry_ends_with_the_keys_that_verified_it() {
    let cache = Cache::new(&ROOMY);
    let token = "header.payload.0123456789abcdef";
    let verified_by = |generation| Entry { issuer: 3, generation, ..entry("alice", 10) };
    cache.insert(token, verified_by(7), 1);
    let found = |current: [u64; 4]| cache.find(token.as_bytes(), 1, |issuer| current[issuer]).is_some();
    assert!(found([0, 0, 0, 7]));
    assert!(!found([7, 7, 7, 8]), "its own issuer's keys count");
    assert!(!found([0, 0, 0, 6]), "keys that were current before have not verified it");
    // A check that began before the keys changed stores what nobody will find.
    cache.insert(token, verified_by(8), 1);
    cache.insert(token, verified_by(7), 1);
    assert!(!found([0, 0, 0, 8]));
    cache.insert(token, verified_by(8), 1);
    assert!(found([0, 0, 0, 8]));
}

#[test]
fn tokens_that_end_alike_never_share_an_entry() {
    let cache = Cache::new(&ROOMY);
    cache.insert("header.alice.0123456789abcdef", entry("alice", 10), 1);
    for other in ["header.mallo.0123456789abcdef", "0123456789abcdef", "xheader.alice.0123456789abcdef", "", "cdef"] {
        assert_eq!(user(&cache, other, 1), None, "{other}");
    }
    assert_eq!(user(&cache, "header.alice.0123456789abcdef", 1).as_deref(), Some("alice"), "asking changes nothing");
    cache.insert("header.bobby.0123456789abcdef", entry("bob", 10), 1);
    assert_eq!(user(&cache, "header.bobby.0123456789abcdef", 1).as_deref(), Some("bob"));
    assert_eq!(user(&cache, "header.alice.0123456789abcdef", 1), None);
    let entries = cache.lock();
    assert_eq!((entries.kept.len(), entries.order.len()), (1, 1));
}

#[test]
fn what_is_used_stays_and_the_rest_makes_room() {
    let cache = Cache::new(&config::TokenCache { entries: 4, ..ROOMY });
    let token = |n: usize| format!("header.payload.{n:016}");
    for n in 0..40 {
        cache.insert(&token(n), entry(&n.to_string(), 10), 1);
        assert_eq!(user(&cache, &token(0), 1).as_deref(), Some("0"), "used each time, so still there");
    }
    assert_eq!(user(&cache, &token(39), 1).as_deref(), Some("39"));
    assert_eq!(user(&cache, &token(1), 1), None);
    assert_eq!((cache.gauges.entries.get(), cache.lock().order.len()), (4, 4));
}

#[test]
fn what_has_ended_gets_no_second_chance() {
    let cache = Cache::new(&config::TokenCache { entries: 2, ..ROOMY });
    cache.insert("a.b.0000000000000001", entry("ends", 5), 1);
    cache.insert("a.b.0000000000000002", entry("stays", 50), 1);
    assert_eq!(user(&cache, "a.b.0000000000000001", 4).as_deref(), Some("ends"));
    cache.insert("a.b.0000000000000003", entry("new", 50), 5);
    assert_eq!(user(&cache, "a.b.0000000000000002", 6).as_deref(), Some("stays"));
}

#[test]
fn a_cache_in_which_everything_is_used_still_makes_room() {
    let count = 4 * SECOND_CHANCES;
    let cache = Cache::new(&config::TokenCache { entries: count, ..ROOMY });
    let token = |n: usize| format!("header.payload.{n:016}");
    for n in 0..count {
        cache.insert(&token(n), entry("u", 10), 1);
        assert!(user(&cache, &token(n), 1).is_some());
    }
    cache.insert(&token(count), entry("u", 10), 1);
    assert!(user(&cache, &token(count), 1).is_some(), "the newest is there");
    assert_eq!(cache.lock().order.len(), count);
}

#[test]
fn none_is_remembered_where_there_is_no_room() {
    for limit in [config::TokenCache { entries: 0, ..ROOMY }, config::TokenCache { bytes: 0, ..ROOMY }] {
        let cache = Cache::new(&limit);
        cache.insert("header.payload.0123456789abcdef", entry("alice", 10), 1);
        assert_eq!(user(&cache, "header.payload.0123456789abcdef", 1), None);
        assert_eq!(cache.gauges.bytes.get(), 0);
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// This token is verified, by this generation of the keys, and is good for this long.
    Insert {
        token: usize,
        size: usize,
        lasts: u64,
    },
    Find {
        token: usize,
    },
    /// The issuer's keys change.
    Rotate,
    /// Time passes.
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..24usize, 0..900usize, 1..20u64).prop_map(|(token, size, lasts)| Step::Insert { token, size, lasts }),
        6 => (0..24usize).prop_map(|token| Step::Find { token }),
        1 => Just(Step::Rotate),
        1 => (1..6u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// The model knows everything that was ever verified. The cache may forget, and may never know better.
    #[test]
    fn it_tells_only_what_was_verified_and_stays_within_its_bounds(
        steps in proptest::collection::vec(step(), 0..200),
        entries in 0..12usize,
        bytes in 0..8_000u64,
    ) {
        let cache = Cache::new(&config::TokenCache { entries, bytes });
        let mut model = HashMap::new();
        let (mut now, mut generation) = (100, 0);
        // Every fourth token ends like another one.
        let text = |token: usize, size: usize| format!("{token}.{}.{:016}", "x".repeat(size), token % 18);
        for (n, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert { token, size, lasts } => {
                    let (token, name) = (text(token, size), n.to_string());
                    let takes_a_place = token.as_bytes().last_chunk().is_some_and(|tail| cache.lock().kept.contains_key(tail));
                    cache.insert(&token, Entry { generation, ..entry(&name, now + lasts) }, now);
                    let fits = entries > 0 && weight(&token, &identity(&name)) as u64 <= bytes;
                    model.insert(token.clone(), (name.clone(), generation, now + lasts));
                    let found = cache.find(token.as_bytes(), now, |_| generation);
                    let found = found.map(|entry| entry.identity.user.to_string());
                    // One that is larger than what had its place may have to leave again.
                    prop_assert!(found == fits.then_some(name) || (found.is_none() && takes_a_place));
                }
                Step::Find { token } => {
                    for (known, (name, by, expires)) in &model {
                        if known.starts_with(&format!("{token}.")) {
                            let found = cache.find(known.as_bytes(), now, |_| generation);
                            if let Some(found) = found {
                                prop_assert_eq!(&*found.identity.user, name.as_str());
                                prop_assert!(*by == generation && now < *expires && found.expires == *expires);
                            }
                        }
                    }
                }
                Step::Rotate => generation += 1,
                Step::Wait(seconds) => now += seconds,
            }
            let inside = cache.lock();
            prop_assert!(inside.order.len() <= entries && inside.bytes as u64 <= bytes);
            prop_assert_eq!(inside.order.len(), inside.kept.len());
            prop_assert_eq!(inside.bytes, inside.kept.values().map(|kept| kept.bytes).sum::<usize>());
            prop_assert!(inside.order.iter().all(|tail| inside.kept.contains_key(tail)));
            prop_assert_eq!(cache.gauges.bytes.get(), i64::try_from(inside.bytes).unwrap_or(-1));
        }
    }
}
