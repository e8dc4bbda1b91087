//! What a check costs, measured: an unknown user takes as long as a wrong password, and would not without the dummy
//! hashes: that is measured too, or the measurement would prove nothing.
//!
//! It is the processor's time for this thread that counts, taken in turns, so that whatever else the machine does
//! meanwhile slows all of them down alike; and the mean without the outer fifths, for what slows down only one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::Path, time::Duration};

use rustix::time::{ClockId, clock_gettime};

use super::{Credentials, PasswordCheck, Users, create, kind::Kind, vectors};

const SAMPLES: usize = 500;

/// A file of every kind, with the costs that are the lowest of each, so that the samples take seconds and not minutes.
fn mixed_users() -> (Users, Vec<String>) {
    let hash = |cost| create::hash_password("secret", "bcrypt".parse().unwrap(), Some(cost)).unwrap();
    let kind = |start: &str| vectors::HASHES.iter().find(|(hash, _)| hash.starts_with(start)).unwrap().0.to_owned();
    let hashes = [
        hash(4),
        hash(5),
        kind("$argon2id$v=19$m=256,"),
        kind("$apr1$"),
        kind("$5$rounds=1234$"),
        vectors::SHA1.to_owned(),
    ];
    let names: Vec<_> = (0..hashes.len()).map(|i| format!("user{i}")).collect();
    let lines: String = names.iter().zip(hashes).map(|(name, hash)| format!("{name}:{hash}\n")).collect();
    (Users::parse(Path::new("users"), lines.as_bytes(), None).unwrap(), names)
}

/// How long this thread computes to check a wrong password of `name`, after `alter` has altered the check.
fn time(users: &Users, name: &str, alter: fn(&mut PasswordCheck)) -> Duration {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let mut check = users.check(Credentials::new(name, "wrong").unwrap());
    alter(&mut check);
    let start = now();
    assert_eq!(check.run(), None);
    now() - start
}

fn trimmed_mean(mut samples: Vec<Duration>) -> f64 {
    samples.sort_unstable();
    let middle = &samples[samples.len() / 5..samples.len() * 4 / 5];
    middle.iter().sum::<Duration>().as_secs_f64() / middle.len() as f64
}

/// The users whose wrong passwords do not take as long as an unknown user, each with the ratio of the two.
fn told_apart_by_time(alter: fn(&mut PasswordCheck)) -> Vec<(String, f64)> {
    let (users, names) = mixed_users();
    let mut subjects: Vec<_> = names.into_iter().map(|name| (name, Vec::new())).collect();
    // Of the same length as the others.
    subjects.push(("user?".to_owned(), Vec::new()));
    for _ in 0..SAMPLES {
        for (name, samples) in &mut subjects {
            samples.push(time(&users, name, alter));
        }
    }
    let mut means = subjects.into_iter().map(|(name, samples)| (name, trimmed_mean(samples)));
    let (_, unknown) = means.next_back().unwrap();
    means.map(|(name, known)| (name, unknown / known)).filter(|(_, ratio)| !(0.95..1.05).contains(ratio)).collect()
}

#[test]
fn an_unknown_user_takes_as_long_as_a_wrong_password_of_any_kind() {
    assert_eq!(told_apart_by_time(|_| {}), []);
}

#[test]
fn without_all_of_the_dummy_hashes_an_unknown_user_is_told_apart() {
    let without = told_apart_by_time(|check| check.rest.clear());
    assert_eq!(without.len(), 6, "every user: {without:?}");
    // A single one, as others run it, of the kind that costs most.
    let one = told_apart_by_time(|check| match check.entry {
        Some(_) => check.rest.clear(),
        None => check.rest.retain(|kind| *kind == Kind::Bcrypt { cost: 5 }),
    });
    assert!(one.len() >= 5, "every user but those of that kind: {one:?}");
}
