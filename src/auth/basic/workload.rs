//! What a wrong password costs: the same hashing whoever is named, so that time does not tell which users exist.
//!
//! A dummy hash for unknown users is enough only if every user's hash costs the same. In a file that mixes kinds a
//! user with bcrypt of cost 10 would stand out from the dummy of cost 12, and one with `{SHA}` and then the dummy
//! from one with bcrypt and then the dummy. So a check that fails has always run **one hash of every kind in the
//! file**, its own among them if the user has one. A uniform file, which is the usual one, pays one hash for that.
//!
//! Rounds of SHA-crypt add up: a user with fewer rounds makes up for the difference with a second, shorter hash.
//! Older tools vary the rounds from user to user, and one hash for each number would be without bound.
//!
//! A right password stops after the user's own hash: that it was right is no secret to who knows it.

use std::collections::BTreeMap;

use super::kind::Kind;

/// Kinds of hashes in one file, rounds aside. All costs of bcrypt that are accepted, and a few.
const MAX_FAMILIES: usize = 20;

/// The fewest rounds that SHA-crypt can be asked for, and so the shortest second hash.
const LEAST_ROUNDS: u32 = 1_000;

/// The kinds of hashes in a file: each without its rounds, with the fewest and the most rounds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Workload {
    families: BTreeMap<Kind, (u32, u32)>,
}

impl Workload {
    /// Takes the kind of one more user into account.
    pub(super) fn add(&mut self, kind: Kind) {
        let rounds = kind.rounds();
        let (least, most) = self.families.entry(kind.with_rounds(0)).or_insert((rounds, rounds));
        *least = rounds.min(*least);
        *most = rounds.max(*most);
    }

    /// What is left to run after the hash of a user with `own` did not match, or for nobody's.
    pub(super) fn rest(&self, own: Option<Kind>) -> Vec<Kind> {
        let mut rest = Vec::new();
        for (family, (least, most)) in &self.families {
            let mixed = least != most;
            match own.filter(|own| own.with_rounds(0) == *family) {
                Some(own) if mixed => rest.push(family.with_rounds(most + LEAST_ROUNDS - own.rounds())),
                Some(_) => {}
                None => {
                    rest.push(family.with_rounds(*most));
                    if mixed {
                        rest.push(family.with_rounds(LEAST_ROUNDS));
                    }
                }
            }
        }
        rest
    }

    /// Whether a wrong password takes longer than the hop to another thread.
    pub(super) fn is_slow(&self) -> bool {
        self.families.keys().any(|kind| kind.is_slow())
    }

    /// How many kinds there are, when they are too many to run them all.
    pub(super) fn too_many(&self) -> Option<usize> {
        Some(self.families.len()).filter(|count| *count > MAX_FAMILIES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA1: Kind = Kind::Sha1;
    const APR1: Kind = Kind::Apr1 { salt: 8 };
    const ARGON2: Kind = Kind::Argon2id { memory: 19_456, passes: 2, lanes: 1 };

    fn bcrypt(cost: u32) -> Kind {
        Kind::Bcrypt { cost }
    }

    fn crypt(rounds: u32) -> Kind {
        Kind::Sha512Crypt { rounds, salt: 16 }
    }

    fn workload(kinds: &[Kind]) -> Workload {
        let mut workload = Workload::default();
        kinds.iter().for_each(|kind| workload.add(*kind));
        workload
    }

    /// What a wrong password costs in all: hashes and rounds of each family.
    fn cost(own: Option<Kind>, workload: &Workload) -> BTreeMap<Kind, (usize, u32)> {
        let mut cost = BTreeMap::new();
        for kind in workload.rest(own).into_iter().chain(own) {
            let (hashes, rounds) = cost.entry(kind.with_rounds(0)).or_default();
            *hashes += 1;
            *rounds += kind.rounds();
        }
        cost
    }

    #[test]
    fn in_a_uniform_file_an_unknown_user_costs_one_hash_and_a_known_one_nothing_more() {
        for kind in [SHA1, APR1, bcrypt(12), crypt(5000), ARGON2] {
            let workload = workload(&[kind, kind]);
            assert_eq!(workload.rest(None), [kind]);
            assert_eq!(workload.rest(Some(kind)), []);
        }
    }

    #[test]
    fn in_a_mixed_file_every_wrong_password_costs_the_same() {
        let kinds = [
            SHA1,
            APR1,
            bcrypt(10),
            bcrypt(12),
            ARGON2,
            crypt(5_000),
            crypt(5_001),
            crypt(200_000),
            Kind::Sha512Crypt { rounds: 5_000, salt: 8 },
            Kind::Sha256Crypt { rounds: 5_000, salt: 16 },
        ];
        let workload = workload(&kinds);
        let unknown = cost(None, &workload);
        assert_eq!(unknown.len(), 8);
        for kind in kinds {
            assert_eq!(cost(Some(kind), &workload), unknown, "{kind}");
        }
    }

    #[test]
    fn a_second_hash_never_has_fewer_rounds_than_sha_crypt_takes() {
        let workload = workload(&[crypt(1_000), crypt(1_001)]);
        for own in [None, Some(crypt(1_000)), Some(crypt(1_001))] {
            assert!(workload.rest(own).iter().all(|kind| kind.rounds() >= LEAST_ROUNDS), "{own:?}");
        }
    }

    #[test]
    fn only_a_file_of_sha_1_is_fast() {
        assert!(!workload(&[SHA1]).is_slow());
        assert!(workload(&[SHA1, APR1]).is_slow());
    }

    #[test]
    fn kinds_are_counted_without_their_rounds() {
        let rounds: Vec<Kind> = (1_000..2_000).map(crypt).collect();
        assert_eq!(workload(&rounds).too_many(), None);
        let memories: Vec<Kind> = (100..121).map(|memory| Kind::Argon2id { memory, passes: 1, lanes: 1 }).collect();
        assert_eq!(workload(&memories).too_many(), Some(21));
    }
}
