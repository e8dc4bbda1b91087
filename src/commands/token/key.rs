//! A private key or a shared secret, as it comes in a file, and what it can sign with.

use std::path::Path;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, RsaKeyPair,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::{Algorithm, EncodingKey};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};

use crate::config::{self, Problem};

/// A key that signs tokens.
pub(in crate::commands) struct SigningKey {
    key: EncodingKey,
    /// What it can sign with, the usual one first.
    pub(super) algorithms: &'static [Algorithm],
}

const RSA: &[Algorithm] =
    &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];
const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

const CURVES: [(&EcdsaSigningAlgorithm, &[Algorithm]); 2] =
    [(&ECDSA_P256_SHA256_FIXED_SIGNING, &[Algorithm::ES256]), (&ECDSA_P384_SHA384_FIXED_SIGNING, &[Algorithm::ES384])];

impl SigningKey {
    /// The key in the form that `jsonwebtoken` signs with.
    pub(in crate::commands) fn encoding(&self) -> &EncodingKey {
        &self.key
    }

    /// Reads a private key from a PEM file that `flag` names: RSA, EC P-256, EC P-384 or Ed25519.
    ///
    /// # Errors
    /// The file cannot be read, or holds no such key.
    pub(in crate::commands) fn read_pem(path: &Path, flag: &str) -> Result<Self, Problem> {
        let bytes = config::read(path, flag)?;
        let problem = |what: String, remedy: &str| Problem::new(path.display().to_string(), what, remedy);
        let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
            let remedy = "it must hold one unencrypted private key as PEM: PKCS#8, PKCS#1 or SEC1";
            problem(format!("no private key could be read: {error}"), remedy)
        })?;
        Self::from_der(&key).ok_or_else(|| {
            let what = "the private key is broken, or of a kind that signs no tokens here".to_owned();
            problem(what, "take RSA with 2048 bits or more, EC P-256, EC P-384 or Ed25519")
        })
    }

    /// Reads a shared secret from a file that `flag` names. One trailing line break is not part of it.
    ///
    /// # Errors
    /// The file cannot be read, or holds too short a secret.
    pub(super) fn read_secret(path: &Path, flag: &str) -> Result<Self, Problem> {
        let bytes = config::read(path, flag)?;
        let secret = bytes.strip_suffix(b"\n").map_or(&*bytes, |line| line.strip_suffix(b"\r").unwrap_or(line));
        // `serve` refuses such a secret (RFC 7518 section 3.2), so a token signed with it would be of no use.
        if secret.len() < 32 {
            let what = format!("the secret has {} bytes, and HS256 needs at least 32", secret.len());
            return Err(Problem::new(path.display().to_string(), what, "make one by `openssl rand -hex 32`"));
        }
        Ok(Self { key: EncodingKey::from_secret(secret), algorithms: HMAC })
    }

    fn from_der(key: &PrivateKeyDer<'_>) -> Option<Self> {
        let der = key.secret_der();
        if let PrivateKeyDer::Pkcs1(_) = key {
            RsaKeyPair::from_der(der).ok()?;
            return Some(Self { key: EncodingKey::from_rsa_der(der), algorithms: RSA });
        }
        if RsaKeyPair::from_pkcs8(der).is_ok() {
            // `from_rsa_der` takes PKCS#1 only, and only the PEM reader unwraps PKCS#8.
            let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der));
            return Some(Self { key: EncodingKey::from_rsa_pem(pem.as_bytes()).ok()?, algorithms: RSA });
        }
        for (curve, algorithms) in CURVES {
            if let Ok(pair) = EcdsaKeyPair::from_private_key_der(curve, der) {
                let pkcs8 = pair.to_pkcs8v1().ok()?;
                return Some(Self { key: EncodingKey::from_ec_der(pkcs8.as_ref()), algorithms });
            }
        }
        let pkcs8 = Ed25519KeyPair::from_pkcs8(der).ok()?.to_pkcs8v1().ok()?;
        Some(Self { key: EncodingKey::from_ed_der(pkcs8.as_ref()), algorithms: &[Algorithm::EdDSA] })
    }
}
