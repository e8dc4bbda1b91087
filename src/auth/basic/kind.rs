//! The kinds of hashes that a users file may hold: an algorithm with the parameters that decide what it costs.

use std::fmt;

use super::hash::Hash;

/// An algorithm with its cost. Two hashes of one kind take the same time for the same password.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Kind {
    /// `{SHA}`: SHA-1 without a salt.
    Sha1,
    /// `$apr1$`.
    Apr1 { salt: usize },
    /// `$5$`. The salt's length in bytes decides how many blocks a round hashes.
    Sha256Crypt { rounds: u32, salt: usize },
    /// `$6$`.
    Sha512Crypt { rounds: u32, salt: usize },
    /// `$2a$`, `$2b$`, `$2y$`. Two to the power of `cost` rounds.
    Bcrypt { cost: u32 },
    /// `$argon2id$`. The memory is in KiB.
    Argon2id { memory: u32, passes: u32, lanes: u32 },
}

impl Kind {
    /// Whether it takes longer than the hop to another thread. `{SHA}` is one SHA-1, under a microsecond.
    pub(super) fn is_slow(self) -> bool {
        self != Self::Sha1
    }

    /// The name of an algorithm that is broken or far too fast, if this is one.
    pub(super) fn weak(self) -> Option<&'static str> {
        match self {
            Self::Sha1 => Some("{SHA}"),
            Self::Apr1 { .. } => Some("APR1"),
            Self::Sha256Crypt { .. } | Self::Sha512Crypt { .. } | Self::Bcrypt { .. } | Self::Argon2id { .. } => None,
        }
    }

    /// The rounds of a kind whose cost is proportional to them, so that two of its hashes can stand for one
    /// longer one. 0 for the other kinds.
    pub(super) fn rounds(self) -> u32 {
        match self {
            Self::Sha256Crypt { rounds, .. } | Self::Sha512Crypt { rounds, .. } => rounds,
            Self::Sha1 | Self::Apr1 { .. } | Self::Bcrypt { .. } | Self::Argon2id { .. } => 0,
        }
    }

    /// The same kind with other rounds, where it has rounds.
    pub(super) fn with_rounds(self, rounds: u32) -> Self {
        match self {
            Self::Sha256Crypt { salt, .. } => Self::Sha256Crypt { rounds, salt },
            Self::Sha512Crypt { salt, .. } => Self::Sha512Crypt { rounds, salt },
            Self::Sha1 | Self::Apr1 { .. } | Self::Bcrypt { .. } | Self::Argon2id { .. } => self,
        }
    }

    /// A hash of this kind that belongs to nobody.
    pub(super) fn decoy(self) -> Hash {
        const ZEROS: &str = "......................................................................................";
        match self {
            Self::Sha1 => Hash::Sha1([0; 20]),
            Self::Apr1 { salt } => Hash::Apr1 { salt: ZEROS[..salt].into(), digest: [b'.'; 22] },
            Self::Sha256Crypt { rounds, salt } => {
                let text = format!("$5$rounds={rounds}${}${}", &ZEROS[..salt], &ZEROS[..43]);
                Hash::ShaCrypt { kind: self, text: text.into() }
            }
            Self::Sha512Crypt { rounds, salt } => {
                let text = format!("$6$rounds={rounds}${}${}", &ZEROS[..salt], &ZEROS[..86]);
                Hash::ShaCrypt { kind: self, text: text.into() }
            }
            Self::Bcrypt { cost } => Hash::Bcrypt { cost, text: format!("$2b${cost:02}${}", &ZEROS[..53]).into() },
            Self::Argon2id { memory, passes, lanes } => {
                Hash::Argon2id { memory, passes, lanes, salt: [0; 16].into(), digest: [0; 32].into() }
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha1 => f.write_str("{SHA}"),
            Self::Apr1 { .. } => f.write_str("APR1"),
            Self::Sha256Crypt { rounds, .. } => write!(f, "SHA-256 crypt with {rounds} rounds"),
            Self::Sha512Crypt { rounds, .. } => write!(f, "SHA-512 crypt with {rounds} rounds"),
            Self::Bcrypt { cost } => write!(f, "bcrypt with cost {cost}"),
            Self::Argon2id { memory, passes, lanes } => write!(f, "argon2id with m={memory},t={passes},p={lanes}"),
        }
    }
}
