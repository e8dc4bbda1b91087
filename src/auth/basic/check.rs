//! One password to be checked: the hashing that it takes as data, and carrying it out.

use std::{hint::black_box, sync::Arc, time::Instant};

use super::{
    cache::{Cache, Fingerprint},
    credentials::Credentials,
    hash::Hash,
    kind::Kind,
    users::{Entry, User},
};

/// A password to be checked. It owns all that it needs, so that it can move to another thread.
#[derive(Debug)]
#[must_use = "a password that is not checked lets nobody in"]
pub struct PasswordCheck {
    pub(super) entry: Option<Arc<Entry>>,
    pub(super) credentials: Credentials,
    /// What is hashed after a wrong password, to no effect but the time that it takes.
    pub(super) rest: Vec<Kind>,
    /// None where hashing is cheaper than remembering.
    pub(super) remember: Option<Remember>,
}

/// Where a right password is remembered, and as what.
#[derive(Clone)]
pub(super) struct Remember {
    pub(super) cache: Arc<Cache>,
    pub(super) fingerprint: Fingerprint,
}

impl PasswordCheck {
    /// Whether hashing takes longer than a hop to another thread. It says the same of every user of a file, known or
    /// not.
    pub fn is_slow(&self) -> bool {
        self.remember.is_some()
    }

    /// Whom the caller claims to be.
    pub(super) fn name(&self) -> &str {
        self.credentials.name()
    }

    /// Hashes. Returns the user whose password it is.
    pub fn run(&self) -> Option<Arc<User>> {
        self.run_with(Hash::matches)
    }

    fn run_with(&self, mut matches: impl FnMut(&Hash, &[u8]) -> bool) -> Option<Arc<User>> {
        let password = self.credentials.password().as_bytes();
        if let Some(entry) = self.entry.as_ref().filter(|entry| matches(&entry.hash, password)) {
            if let Some(Remember { cache, fingerprint }) = &self.remember {
                cache.store(*fingerprint, entry.user.clone(), Instant::now());
            }
            return Some(entry.user.clone());
        }
        for kind in &self.rest {
            // Without the black box the compiler may see that nobody wants the result, and leave out the work.
            black_box(matches(&kind.decoy(), password));
        }
        None
    }
}

impl Remember {
    /// The user, where a check that has ended meanwhile had the same password.
    pub(super) fn find(&self) -> Option<Arc<User>> {
        self.cache.find(&self.fingerprint, Instant::now())
    }
}

impl std::fmt::Debug for Remember {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Remember")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::path::Path;

    use super::*;
    use crate::auth::basic::{Credentials, Users, vectors};

    fn users(lines: &[(&str, &str)]) -> Users {
        let content: String = lines.iter().map(|(name, hash)| format!("{name}:{hash}\n")).collect();
        Users::parse(Path::new("users"), content.as_bytes(), None).unwrap()
    }

    fn check(users: &Users, name: &str, password: &str) -> PasswordCheck {
        users.check(Credentials::new(name, password).unwrap())
    }

    /// Whom a check lets in, and the kinds of hashes that it ran.
    fn run(check: &PasswordCheck) -> (Option<String>, Vec<Kind>) {
        let mut ran = Vec::new();
        let user = check.run_with(|hash, password| {
            ran.push(hash.kind());
            hash.matches(password)
        });
        (user.map(|user| user.name.to_string()), ran)
    }

    #[test]
    fn the_password_of_every_kind_lets_its_user_in_and_no_other_does() {
        for (hash, password) in vectors::HASHES {
            let users = users(&[("alice", hash)]);
            assert_eq!(run(&check(&users, "alice", password)).0, Some("alice".to_owned()), "{hash}");
            let users = self::users(&[("alice", hash)]); // without what the first has remembered
            for wrong in ["", "wrong", &format!("{password} "), &password[1..], &password.to_uppercase()] {
                assert_eq!(run(&check(&users, "alice", wrong)).0, None, "{hash} {wrong}");
            }
            assert_eq!(run(&check(&users, "bob", password)).0, None, "{hash}");
            assert_eq!(run(&check(&users, "Alice", password)).0, None, "{hash}");
            assert_eq!(run(&check(&users, "", password)).0, None, "{hash}");
        }
    }

    #[test]
    fn an_unknown_user_costs_what_a_wrong_password_costs() {
        let names: Vec<String> = (0..vectors::HASHES.len()).map(|i| format!("user{i}")).collect();
        let lines: Vec<_> =
            names.iter().map(String::as_str).zip(vectors::HASHES.iter().map(|(hash, _)| *hash)).collect();
        let users = users(&lines);
        let totals = |name: &str| {
            let (user, ran) = run(&check(&users, name, "wrong"));
            assert_eq!(user, None);
            let mut totals = std::collections::BTreeMap::<Kind, (usize, u32)>::new();
            for kind in ran {
                let (count, rounds) = totals.entry(kind.with_rounds(0)).or_default();
                *count += 1;
                *rounds += kind.rounds();
            }
            totals
        };
        let unknown = totals("nobody");
        assert!(unknown.len() > 6, "the vectors have every kind: {unknown:?}");
        for name in &names {
            assert_eq!(totals(name), unknown, "{name}");
        }
    }

    #[test]
    fn a_right_password_costs_one_hash_and_is_then_remembered() {
        let users = users(&[("alice", vectors::BCRYPT), ("bob", vectors::SHA1)]);
        let (first, second) = (check(&users, "alice", "correct horse"), check(&users, "alice", "correct horse"));
        assert_eq!(run(&first), (Some("alice".to_owned()), vec![Kind::Bcrypt { cost: 4 }]));
        let found = second.remember.unwrap().find();
        assert_eq!(&*found.unwrap().name, "alice", "planned before the first had run");
    }

    #[test]
    fn wrong_passwords_are_never_remembered() {
        assert_eq!(remembered_though_wrong(PasswordCheck::run), []);
        // If failures were stored as well, it is found.
        let with_failures = |check: &PasswordCheck| {
            let (user, entry) = (check.run(), check.entry.as_ref());
            if let (None, Some(entry), Some(Remember { cache, fingerprint })) = (&user, entry, &check.remember) {
                cache.store(*fingerprint, entry.user.clone(), Instant::now());
            }
            user
        };
        assert_eq!(remembered_though_wrong(with_failures), [("alice", "wrong")]);

        let users = users(&[("alice", vectors::BCRYPT)]);
        let right = || Credentials::new("alice", "correct horse").unwrap();
        assert!(users.remembered(&right()).is_none());
        assert!(users.check(right()).run().is_some());
        assert_eq!(&*users.remembered(&right()).unwrap().name, "alice");
        for (name, password) in [("alice", "wrong"), ("bob", "correct horse"), ("alicec", "orrect horse")] {
            assert!(users.remembered(&Credentials::new(name, password).unwrap()).is_none());
        }
    }

    /// The wrong credentials that are let in once they were checked by `run`.
    fn remembered_though_wrong(run: impl Fn(&PasswordCheck) -> Option<Arc<User>>) -> Vec<(&'static str, &'static str)> {
        let users = users(&[("alice", vectors::BCRYPT)]);
        let wrong = [("alice", "wrong"), ("bob", "correct horse"), ("alic", "ecorrect horse")];
        let let_in = |(name, password): &(&'static str, &'static str)| {
            let credentials = || Credentials::new(name, password).unwrap();
            assert!(run(&users.check(credentials())).is_none());
            users.remembered(&credentials()).is_some()
        };
        wrong.into_iter().filter(let_in).collect()
    }

    #[test]
    fn what_one_file_remembers_another_does_not() {
        let (old, new) = (users(&[("alice", vectors::BCRYPT)]), users(&[("bob", vectors::BCRYPT)]));
        let alice = || Credentials::new("alice", "correct horse").unwrap();
        let late = old.check(alice());
        assert!(late.run().is_some());
        assert!(old.remembered(&alice()).is_some());
        assert!(new.remembered(&alice()).is_none());
        assert!(new.check(alice()).run().is_none());
    }

    #[test]
    fn a_file_of_sha_1_is_checked_at_once_and_remembers_nothing() {
        let users = users(&[("alice", vectors::SHA1)]);
        assert!(!users.remembers());
        assert!(!check(&users, "alice", "correct horse").is_slow());
        assert_eq!(run(&check(&users, "nobody", "correct horse")), (None, vec![Kind::Sha1]));
        assert!(check(&users, "alice", "correct horse").run().is_some());
        assert!(users.remembered(&Credentials::new("alice", "correct horse").unwrap()).is_none());
    }

    #[test]
    fn neither_password_nor_hash_is_printed() {
        let users = users(&[("alice", vectors::BCRYPT)]);
        let printed = format!("{users:?} {:?}", check(&users, "alice", "correct horse"));
        assert!(!printed.contains("correct") && !printed.contains("$2"), "{printed}");
    }
}
