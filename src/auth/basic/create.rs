//! New hashes for a users file.

use std::{ops::RangeInclusive, str::FromStr};

use argon2::{Argon2, PasswordHasher};
use sha_crypt::ShaCrypt;

use super::{
    credentials::MAX_PASSWORD_BYTES,
    hash::{ARGON2_WORK, BCRYPT_COSTS, SHA_CRYPT_ROUNDS},
};

/// The memory of a new argon2id hash, in KiB: what OWASP's cheat sheet on storing passwords names for two passes.
const ARGON2_MEMORY: u32 = 19 * 1024;

/// The bytes of a password that bcrypt looks at.
const BCRYPT_BYTES: usize = 72;

/// How a new password is hashed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Algorithm {
    /// `$2y$`, the spelling that `htpasswd` and every server that reads its files know.
    ///
    /// The default, for a sidecar's sake: it needs 4 KiB of memory where argon2id needs 19 MiB for each password
    /// that is checked at the same time, in a container whose limit is often 64 MiB.
    #[default]
    Bcrypt,
    /// `$argon2id$`, which costs an attacker memory too.
    Argon2id,
    /// `$6$`, which the C library knows, and so nginx.
    Sha512Crypt,
}

impl Algorithm {
    /// The names that [`FromStr`] takes.
    pub const NAMES: [&'static str; 3] = ["bcrypt", "argon2id", "sha512-crypt"];

    /// What the cost counts, the costs that are accepted, and the one to choose.
    ///
    /// The defaults take 40 to 100 ms of a processor. Under a CPU limit of 0.1, which is usual for a sidecar, that
    /// is up to a second, once in five minutes for each user; with more, requests that wait their turn are refused.
    pub fn cost(self) -> (&'static str, RangeInclusive<u32>, u32) {
        match self {
            Self::Bcrypt => ("the logarithm of the rounds", BCRYPT_COSTS, 10),
            Self::Argon2id => {
                ("the passes over 19 MiB", 1..=u32::try_from(ARGON2_WORK).unwrap_or(u32::MAX) / ARGON2_MEMORY, 2)
            }
            Self::Sha512Crypt => ("the rounds", SHA_CRYPT_ROUNDS, 100_000),
        }
    }
}

impl FromStr for Algorithm {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "bcrypt" => Ok(Self::Bcrypt),
            "argon2id" => Ok(Self::Argon2id),
            "sha512-crypt" => Ok(Self::Sha512Crypt),
            _ => Err(format!("`{name}` is none of {}", Self::NAMES.join(", "))),
        }
    }
}

/// Why a password is not hashed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unhashable {
    /// No password protects nothing.
    #[error("the password is empty")]
    Empty,
    /// No request may carry it.
    #[error("the password contains a control character, which HTTP Basic forbids")]
    Control,
    /// No request may carry it, or bcrypt would look at a part of it only.
    #[error("the password has {length} bytes, {limit} are possible{advice}")]
    TooLong {
        /// The bytes that it has.
        length: usize,
        /// The bytes that it may have.
        limit: usize,
        /// What else to do than to choose a shorter one.
        advice: &'static str,
    },
    /// The cost is out of the algorithm's range.
    #[error("a cost of {cost}, where {counts} may be {} to {}", range.start(), range.end())]
    Cost {
        /// What was asked for.
        cost: u32,
        /// What it counts.
        counts: &'static str,
        /// What is accepted.
        range: RangeInclusive<u32>,
    },
    /// The system gives no random numbers for the salt, or no memory.
    #[error("hashing failed: {0}")]
    System(String),
}

/// Hashes a password with a random salt, for a line of a users file.
///
/// # Errors
/// When no request could carry the password, or the cost is out of range.
pub fn hash_password(password: &str, algorithm: Algorithm, cost: Option<u32>) -> Result<String, Unhashable> {
    let (limit, advice) = match algorithm {
        Algorithm::Bcrypt => (BCRYPT_BYTES, " with bcrypt, which would ignore the rest; argon2id takes longer ones"),
        Algorithm::Argon2id | Algorithm::Sha512Crypt => (MAX_PASSWORD_BYTES, ""),
    };
    let (counts, range, default) = algorithm.cost();
    let cost = cost.unwrap_or(default);
    match password.len() {
        0 => return Err(Unhashable::Empty),
        length if length > limit => return Err(Unhashable::TooLong { length, limit, advice }),
        _ if password.chars().any(char::is_control) => return Err(Unhashable::Control),
        _ if !range.contains(&cost) => return Err(Unhashable::Cost { cost, counts, range }),
        _ => {}
    }

    let system = |error: &dyn ToString| Unhashable::System(error.to_string());
    let mut salt = [0; 16];
    aws_lc_rs::rand::fill(&mut salt).map_err(|error| system(&error))?;
    match algorithm {
        Algorithm::Bcrypt => bcrypt::hash_with_salt(password, cost, salt)
            .map(|parts| parts.format_for_version(bcrypt::Version::TwoY))
            .map_err(|error| system(&error)),
        Algorithm::Argon2id => argon2::Params::new(ARGON2_MEMORY, cost, 1, None)
            .map(|params| Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params))
            .map_err(|error| system(&error))?
            .hash_password_with_salt(password.as_bytes(), &salt)
            .map(|hash| hash.to_string())
            .map_err(|error| system(&error)),
        Algorithm::Sha512Crypt => {
            let params = sha_crypt::Params::new(cost).map_err(|error| system(&error))?;
            // 12 bytes are the 16 characters of a salt that the algorithm looks at.
            ShaCrypt::new(sha_crypt::Algorithm::Sha512Crypt, params)
                .hash_password_with_salt(password.as_bytes(), &salt[..12])
                .map(|hash| hash.to_string())
                .map_err(|error| system(&error))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::auth::basic::hash::Hash;

    const ALL: [(Algorithm, u32); 3] =
        [(Algorithm::Bcrypt, 4), (Algorithm::Argon2id, 1), (Algorithm::Sha512Crypt, 1_000)];

    #[test]
    fn a_new_hash_is_one_that_a_users_file_takes() {
        for (algorithm, cost) in ALL {
            let limit = if algorithm == Algorithm::Bcrypt { BCRYPT_BYTES } else { MAX_PASSWORD_BYTES };
            for password in ["correct horse", "pässwörd→", &"p".repeat(limit)] {
                let text = hash_password(password, algorithm, Some(cost)).unwrap();
                let hash = Hash::parse(&text).unwrap();
                assert!(hash.matches(password.as_bytes()), "{algorithm:?}");
                assert!(!hash.matches(&password.as_bytes()[1..]), "{algorithm:?}");
                assert_ne!(hash_password(password, algorithm, Some(cost)).unwrap(), text, "the salt is random");
            }
        }
    }

    #[test]
    fn every_default_and_every_limit_of_the_cost_is_one_that_a_users_file_takes() {
        for (name, (algorithm, _)) in Algorithm::NAMES.iter().zip(ALL) {
            assert_eq!(name.parse(), Ok(algorithm));
            let (_, range, default) = algorithm.cost();
            assert!(range.contains(&default));
            let text = hash_password("correct horse", algorithm, None).unwrap();
            assert!(Hash::parse(&text).is_ok(), "{algorithm:?}");
            for wrong in [range.start() - 1, range.end() + 1] {
                let error = hash_password("correct horse", algorithm, Some(wrong)).unwrap_err();
                assert!(matches!(error, Unhashable::Cost { cost, .. } if cost == wrong), "{error}");
            }
        }
        assert!(
            Hash::parse(&format!("$argon2id$v=19$m={ARGON2_MEMORY},t=215,p=1$c29tZXNhbHQ$HLY7365Ju2EvnseQtMyxtw"))
                .is_ok()
        );
        assert_eq!(*Algorithm::Argon2id.cost().1.end(), 215);
    }

    #[test]
    fn what_no_request_can_carry_is_not_hashed() {
        let error = |password: &str, algorithm| hash_password(password, algorithm, None).unwrap_err();
        for (algorithm, _) in ALL {
            assert_eq!(error("", algorithm), Unhashable::Empty);
            assert_eq!(error("a\0b", algorithm), Unhashable::Control);
            assert!(matches!(error(&"p".repeat(1025), algorithm), Unhashable::TooLong { .. }));
        }
        let told = error(&"p".repeat(73), Algorithm::Bcrypt).to_string();
        assert_eq!(
            told,
            "the password has 73 bytes, 72 are possible with bcrypt, which would ignore the rest; argon2id takes longer ones"
        );
    }
}
