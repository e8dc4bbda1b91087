//! An issuer's keys, and what they verify.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use jsonwebtoken::DecodingKey;

use crate::{
    config::{self, Algorithm, Problem},
    reason::Reason,
};

mod parse;

/// Keys tried for a token, of those that it may mean: an issuer has a handful, and each try costs a signature check.
const MAX_TRIES: usize = 8;

/// The keys of one issuer, with what each may verify.
#[derive(Debug)]
pub(super) struct KeySet {
    keys: Vec<Key>,
    generation: u64,
}

/// A file of keys of an issuer.
#[derive(Clone, Copy, Debug)]
pub(super) enum KeyFile<'a> {
    /// A JWKS.
    Jwks(&'a Path),
    /// Public keys or certificates.
    Pem(&'a Path),
    /// A shared secret.
    Secret(&'a Path),
}

struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    verifier: DecodingKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}

impl KeySet {
    /// The keys in `file`, which `key` of the configuration names, for these algorithms, and what was left out of them and
    /// why.
    ///
    /// # Errors
    /// A file that cannot be read, is not what it should be, or has no usable key.
    pub(super) fn load(
        file: KeyFile<'_>,
        algorithms: &[Algorithm],
        key: &str,
    ) -> Result<(Self, Vec<Problem>), Problem> {
        let (KeyFile::Jwks(path) | KeyFile::Pem(path) | KeyFile::Secret(path)) = file;
        let bytes = config::read(path, key)?;
        let problem = |what, remedy: &str| Problem::new(path.display().to_string(), what, remedy);
        let keys = match file {
            KeyFile::Jwks(_) => parse::jwks(&bytes).map_err(|what| problem(what, parse::JWKS_FORM))?,
            KeyFile::Pem(_) => parse::pem(&bytes),
            KeyFile::Secret(_) => vec![parse::secret(&bytes)],
        };
        let (set, left_out) = Self::of(keys, algorithms).map_err(|what| {
            let accepted: Vec<_> = algorithms.iter().map(|algorithm| format!("{algorithm:?}")).collect();
            problem(what, &format!("give it a key for one of {}", accepted.join(", ")))
        })?;
        Ok((set, left_out.into_iter().map(|what| problem(what, "it is not used")).collect()))
    }

    /// The keys of a JWKS that was fetched, and what was left out of them and why.
    ///
    /// # Errors
    /// It is no JWKS, or has no usable key.
    pub(super) fn from_jwks(bytes: &[u8], algorithms: &[Algorithm]) -> Result<(Self, Vec<String>), String> {
        Self::of(parse::jwks(bytes)?, algorithms)
    }

    /// No keys: none were fetched yet, or too long ago.
    pub(super) fn none() -> Self {
        Self::new(Vec::new())
    }

    fn of(keys: Vec<parse::Outcome>, algorithms: &[Algorithm]) -> Result<(Self, Vec<String>), String> {
        let mut usable = Vec::new();
        let mut left_out = Vec::new();
        for (i, key) in keys.into_iter().enumerate() {
            match key.and_then(|key| key.limited_to(algorithms)) {
                Ok(key) => usable.push(key),
                Err(what) => left_out.push(format!("key {}: {what}", i + 1)),
            }
        }
        if usable.is_empty() {
            let why = if left_out.is_empty() { "it is empty".to_owned() } else { left_out.join("; ") };
            return Err(format!("no usable key ({why})"));
        }
        Ok((Self::new(usable), left_out))
    }

    fn new(keys: Vec<Key>) -> Self {
        /// What was verified by one set is not taken for verified by another, whoever's it is.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { keys, generation: NEXT.fetch_add(1, Relaxed) }
    }

    /// Which of all key sets of the process this is.
    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    /// How many keys there are.
    pub(super) fn count(&self) -> usize {
        self.keys.len()
    }

    /// Whether a token that names the key `id`, or none, may have been signed with a key that is not in this set. One that is
    /// in it and does not fit is no reason to look for others.
    pub(super) fn may_lack(&self, id: Option<&str>) -> bool {
        id.is_none_or(|id| self.keys.iter().all(|key| key.id.as_deref() != Some(id)))
    }

    /// Checks the signature of `message` with the keys that fit.
    pub(super) fn verify(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
        message: &str,
        signature: &str,
    ) -> Result<(), Reason> {
        let fitting = |key: &&Key| key.algorithms.contains(&algorithm);
        let named = |key: &&Key| id.is_some() && key.id.as_deref() == id;
        // A key without an id may be meant by any; with an id in the token and a key of that id, nothing else is.
        let mut candidates: Vec<_> = self.keys.iter().filter(fitting).filter(named).take(MAX_TRIES).collect();
        if candidates.is_empty() {
            let any = |key: &&Key| id.is_none() || key.id.is_none();
            candidates = self.keys.iter().filter(fitting).filter(any).take(MAX_TRIES).collect();
        }
        if candidates.is_empty() {
            return Err(Reason::JwtKeyUnknown);
        }
        for key in candidates {
            match jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.verifier, library(algorithm)) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(_) => return Err(Reason::JwtMalformed),
            }
        }
        Err(Reason::JwtSignature)
    }
}

impl Key {
    fn limited_to(mut self, accepted: &[Algorithm]) -> Result<Self, String> {
        let able: Vec<_> = self.algorithms.iter().map(|algorithm| format!("{algorithm:?}")).collect();
        self.algorithms.retain(|algorithm| accepted.contains(algorithm));
        if self.algorithms.is_empty() {
            return Err(format!("it is for {}, which `algorithms` does not list", able.join(", ")));
        }
        Ok(self)
    }
}

fn library(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::RS384 => jsonwebtoken::Algorithm::RS384,
        Algorithm::RS512 => jsonwebtoken::Algorithm::RS512,
        Algorithm::PS256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::PS384 => jsonwebtoken::Algorithm::PS384,
        Algorithm::PS512 => jsonwebtoken::Algorithm::PS512,
        Algorithm::ES256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::ES384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
        Algorithm::HS256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::HS384 => jsonwebtoken::Algorithm::HS384,
        Algorithm::HS512 => jsonwebtoken::Algorithm::HS512,
    }
}

#[cfg(test)]
mod tests;
