//! One hash of a users file: read once, and compared with passwords in constant time.

use std::{fmt, ops::RangeInclusive};

use argon2::{Argon2, PasswordHash};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha_crypt::{PasswordVerifier, ShaCrypt};
use subtle::ConstantTimeEq;

use super::{apr1, kind::Kind, lines::Fault};

/// The costs of bcrypt that are accepted. The format goes to 31, but 17 already takes more than five seconds.
pub(super) const BCRYPT_COSTS: RangeInclusive<u32> = 4..=16;

/// The rounds of SHA-crypt that are accepted. The format goes to 999,999,999, which takes ten minutes.
pub(super) const SHA_CRYPT_ROUNDS: RangeInclusive<u32> = 1_000..=5_000_000;

/// The most memory of an argon2id hash, in KiB.
const ARGON2_MEMORY: u32 = 1 << 20;

/// The most memory times passes of an argon2id hash, in KiB: a few seconds.
pub(super) const ARGON2_WORK: u64 = 1 << 22;

/// Beyond these bytes sha-crypt does not look at a salt.
const SHA_CRYPT_SALT: usize = 16;

/// A hash that a password can be compared with. `Debug` prints its kind and nothing else.
#[derive(Clone, Eq, PartialEq)]
pub(super) enum Hash {
    Sha1([u8; 20]),
    Apr1 { salt: Box<str>, digest: [u8; apr1::DIGEST_CHARACTERS] },
    ShaCrypt { kind: Kind, text: Box<str> },
    Bcrypt { cost: u32, text: Box<str> },
    Argon2id { memory: u32, passes: u32, lanes: u32, salt: Box<[u8]>, digest: Box<[u8]> },
}

impl Hash {
    /// Reads a hash as it stands in a users file, and checks all of it: none is found broken at a login.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        if let Some(encoded) = text.strip_prefix("{SHA}") {
            let digest = STANDARD.decode(encoded).ok().and_then(|digest| digest.try_into().ok());
            return digest.map(Self::Sha1).ok_or_else(|| broken("{SHA}"));
        }
        if let Some(rest) = text.strip_prefix(apr1::MAGIC) {
            return parse_apr1(rest);
        }
        match text.split('$').nth(1) {
            Some("2a" | "2b" | "2y") if text.starts_with('$') => parse_bcrypt(text),
            Some("5" | "6") if text.starts_with('$') => parse_sha_crypt(text),
            Some("argon2id") if text.starts_with('$') => parse_argon2id(text),
            _ => Err(refused(text)),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Sha1(_) => Kind::Sha1,
            Self::Apr1 { salt, .. } => Kind::Apr1 { salt: salt.len() },
            Self::ShaCrypt { kind, .. } => *kind,
            Self::Bcrypt { cost, .. } => Kind::Bcrypt { cost: *cost },
            Self::Argon2id { memory, passes, lanes, .. } => {
                Kind::Argon2id { memory: *memory, passes: *passes, lanes: *lanes }
            }
        }
    }

    /// Whether it is the hash of `password`.
    ///
    /// Of a password against bcrypt only the first 72 bytes count. That is bcrypt; Apache, nginx and Traefik do the
    /// same, so a login that works there works here. `sidegate hash-password` does not make such a hash.
    pub(super) fn matches(&self, password: &[u8]) -> bool {
        match self {
            Self::Sha1(expected) => {
                digest(&SHA1_FOR_LEGACY_USE_ONLY, password).as_ref().ct_eq(expected.as_slice()).into()
            }
            Self::Apr1 { salt, digest } => apr1::digest(password, salt.as_bytes()).ct_eq(digest).into(),
            Self::ShaCrypt { text, .. } => ShaCrypt::SHA512.verify_password(password, &**text).is_ok(),
            Self::Bcrypt { text, .. } => bcrypt::verify(password, text).unwrap_or(false),
            Self::Argon2id { memory, passes, lanes, salt, digest } => {
                let mut computed = vec![0; digest.len()];
                argon2::Params::new(*memory, *passes, *lanes, Some(digest.len()))
                    .map(|params| Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params))
                    .and_then(|argon2| argon2.hash_password_into(password, salt, &mut computed))
                    .is_ok_and(|()| computed.ct_eq(digest).into())
            }
        }
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({})", self.kind())
    }
}

fn parse_apr1(rest: &str) -> Result<Hash, Fault> {
    let (salt, digest) = rest.split_once('$').ok_or_else(|| broken("APR1"))?;
    // The last of the 22 characters holds two bits, so it is one of four.
    let whole = in_alphabet(digest) && digest.ends_with(['.', '/', '0', '1']);
    match <[u8; apr1::DIGEST_CHARACTERS]>::try_from(digest.as_bytes()) {
        Ok(digest) if whole && (1..=8).contains(&salt.len()) => Ok(Hash::Apr1 { salt: salt.into(), digest }),
        _ => Err(broken("APR1")),
    }
}

fn parse_bcrypt(text: &str) -> Result<Hash, Fault> {
    let cost = text.split('$').nth(2).unwrap_or_default();
    // `HashParts` takes a sign for a digit.
    if text.parse::<bcrypt::HashParts>().is_err() || !cost.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(broken("bcrypt"));
    }
    let cost = cost.parse().map_err(|_| broken("bcrypt"))?;
    if !BCRYPT_COSTS.contains(&cost) {
        let what =
            format!("bcrypt with cost {cost}, where {} to {} are accepted", BCRYPT_COSTS.start(), BCRYPT_COSTS.end());
        return Err(Fault::new(what, MAKE_ANOTHER));
    }
    Ok(Hash::Bcrypt { cost, text: text.into() })
}

fn parse_sha_crypt(text: &str) -> Result<Hash, Fault> {
    let fields: Vec<&str> = text.split('$').skip(1).collect();
    let (id, rounds, salt, digest) = match *fields.as_slice() {
        [id, salt, digest] => (id, None, salt, digest),
        [id, rounds, salt, digest] => (id, Some(rounds), salt, digest),
        _ => return Err(broken("SHA-crypt")),
    };
    let rounds = match rounds {
        None => sha_crypt::Params::RECOMMENDED_ROUNDS,
        // Without leading zeros or a sign: crypt(3) writes none, and so would never match such a line.
        Some(text) => text
            .strip_prefix("rounds=")
            .filter(|digits| digits.starts_with(|c: char| ('1'..='9').contains(&c)))
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| broken("SHA-crypt"))?,
    };
    // The last character of a digest holds what is left over: four bits of SHA-256's, two of SHA-512's.
    let (characters, last) = if id == "5" { (43, &b"./0123456789ABCD"[..]) } else { (86, &b"./01"[..]) };
    let whole = digest.len() == characters && digest.as_bytes().last().is_some_and(|byte| last.contains(byte));
    if !whole || salt.is_empty() || !in_alphabet(salt) || !in_alphabet(digest) {
        return Err(broken("SHA-crypt"));
    }
    if !SHA_CRYPT_ROUNDS.contains(&rounds) {
        let (least, most) = (SHA_CRYPT_ROUNDS.start(), SHA_CRYPT_ROUNDS.end());
        return Err(Fault::new(
            format!("SHA-crypt with {rounds} rounds, where {least} to {most} are accepted"),
            MAKE_ANOTHER,
        ));
    }
    let salt = salt.len().min(SHA_CRYPT_SALT);
    let kind = if id == "5" { Kind::Sha256Crypt { rounds, salt } } else { Kind::Sha512Crypt { rounds, salt } };
    Ok(Hash::ShaCrypt { kind, text: text.into() })
}

fn parse_argon2id(text: &str) -> Result<Hash, Fault> {
    let parsed = PasswordHash::new(text).map_err(|_| broken("argon2id"))?;
    let params = argon2::Params::try_from(&parsed).map_err(|_| broken("argon2id"))?;
    let (Some(salt), Some(digest)) = (parsed.salt, parsed.hash) else { return Err(broken("argon2id")) };
    if parsed.version != Some(argon2::Version::V0x13.into()) {
        return Err(Fault::new("argon2id of another version than 19", MAKE_ANOTHER));
    }
    if !params.keyid().is_empty() || !params.data().is_empty() {
        return Err(Fault::new("argon2id with a `keyid` or `data`, which sidegate does not have", MAKE_ANOTHER));
    }
    let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
    if memory > ARGON2_MEMORY || u64::from(memory) * u64::from(passes) > ARGON2_WORK {
        let what = format!(
            "argon2id with m={memory},t={passes}, where m may be up to {ARGON2_MEMORY} (KiB) and m times t up to {ARGON2_WORK}"
        );
        return Err(Fault::new(what, MAKE_ANOTHER));
    }
    Ok(Hash::Argon2id { memory, passes, lanes, salt: salt.as_ref().into(), digest: digest.as_bytes().into() })
}

/// Why a hash of a kind that is not accepted is not. What it is, is said only as far as its prefix says it: the
/// rest may be a password.
fn refused(text: &str) -> Fault {
    const KNOWN: [(&str, &str); 14] = [
        ("$2x$", "a bcrypt hash of a version that confuses passwords (`$2x$`)"),
        ("$2$", "a bcrypt hash of a version that confuses passwords (`$2$`)"),
        ("$1$", "MD5-crypt (`$1$`)"),
        ("$y$", "yescrypt (`$y$`)"),
        ("$gy$", "gost-yescrypt (`$gy$`)"),
        ("$7$", "scrypt (`$7$`)"),
        ("$scrypt$", "scrypt"),
        ("$pbkdf2", "PBKDF2"),
        ("$argon2i$", "argon2i, which is weaker here than argon2id"),
        ("$argon2d$", "argon2d, which leaks by its timing"),
        ("{SSHA}", "salted SHA-1 (`{SSHA}`)"),
        ("{PLAIN}", "a plain password (`{PLAIN}`)"),
        ("{", "a hash of an unknown scheme in braces"),
        ("$", "a hash of an unknown kind"),
    ];
    let what = match KNOWN.iter().find(|(prefix, _)| text.starts_with(prefix)) {
        _ if text.is_empty() => "no hash after the name",
        Some((_, name)) => name,
        None => "neither a hash that begins with `$` nor `{SHA}`: plain text or DES crypt",
    };
    Fault::new(
        format!("{what}; accepted are bcrypt, argon2id, SHA-crypt ($5$, $6$), APR1 and {{SHA}}"),
        "hash the password with `sidegate hash-password`",
    )
}

fn broken(name: &str) -> Fault {
    Fault::new(
        format!("a broken {name} hash"),
        "copy the whole line again, or hash the password with `sidegate hash-password`",
    )
}

const MAKE_ANOTHER: &str = "hash the password again with `sidegate hash-password`";

fn in_alphabet(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/')
}
