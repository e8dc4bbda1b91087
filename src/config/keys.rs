//! Where an issuer's keys are.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Algorithm;

/// Where an issuer's keys are.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Keys {
    /// A JWKS (RFC 7517).
    File(PathBuf),
    /// One or more PEM public keys or certificates.
    PemFile(PathBuf),
    /// A shared secret for HS256, HS384, HS512. One trailing line break is not part of it.
    SecretFile(PathBuf),
}

impl Keys {
    /// The file that holds them.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::PemFile(path) | Self::SecretFile(path) => path,
        }
    }

    /// The algorithms that such keys can be for. A public key must never be taken for a shared secret: everybody
    /// could sign with it.
    pub(super) const fn algorithms(&self) -> &'static [Algorithm] {
        match self {
            Self::File(_) | Self::PemFile(_) => &Algorithm::ASYMMETRIC,
            Self::SecretFile(_) => &Algorithm::HMAC,
        }
    }
}
