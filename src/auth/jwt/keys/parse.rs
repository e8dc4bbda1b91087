//! Keys as they are written: one by one, so that one that we do not know never takes the others down.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::Value;
use x509_parser::{
    pem::Pem,
    prelude::{FromDer, X509Certificate},
    public_key::PublicKey,
    x509::SubjectPublicKeyInfo,
};

use super::Key;
use crate::config::Algorithm;

/// The smallest RSA modulus that the crypto library accepts, in bytes.
const MIN_RSA_BYTES: usize = 2048 / 8;

/// So many keys of a set are looked at. An issuer has a handful.
const MAX_KEYS: usize = 256;

/// What a JWKS must look like.
pub(super) const JWKS_FORM: &str = r#"it must be a JWKS: {"keys": [{"kty": "RSA", …}]}"#;

const RSA: [Algorithm; 6] =
    [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];
const HMAC: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

/// The members of a JWK that we read. Key by key: one that we do not know never takes the others down.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// A key, or why it is of no use.
pub(super) type Outcome = Result<Key, String>;

/// The keys of a JWKS.
pub(super) fn jwks(bytes: &[u8]) -> Result<Vec<Outcome>, String> {
    let json: Value = serde_json::from_slice(bytes).map_err(|error| format!("not JSON: {error}"))?;
    let keys = json.get("keys").and_then(Value::as_array).ok_or("it has no list `keys`")?;
    if keys.len() > MAX_KEYS {
        return Err(format!("it has {} keys, and {MAX_KEYS} at the most", keys.len()));
    }
    Ok(keys.iter().map(jwk).collect())
}

fn jwk(json: &Value) -> Outcome {
    let jwk = Jwk::deserialize(json).map_err(|error| format!("not a JWK: {error}"))?;
    if jwk.r#use.as_deref().is_some_and(|purpose| purpose != "sig") {
        return Err("its `use` is not `sig`".to_owned());
    }
    if jwk.key_ops.as_ref().is_some_and(|operations| operations.iter().all(|operation| operation != "verify")) {
        return Err("its `key_ops` do not hold `verify`".to_owned());
    }
    let member = |name: &str, value: &Option<String>| {
        let text = value.as_ref().ok_or_else(|| format!("it has no `{name}`"))?;
        URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("its `{name}` is not base64url"))
    };
    let (verifier, algorithms) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => rsa(&member("n", &jwk.n)?, &member("e", &jwk.e)?)?,
        ("EC", Some("P-256" | "P-384")) => {
            ec(&[&[4], member("x", &jwk.x)?.as_slice(), member("y", &jwk.y)?.as_slice()].concat())?
        }
        ("OKP", Some("Ed25519")) => ed25519(&member("x", &jwk.x)?)?,
        ("oct", _) => return Err("a shared secret belongs in a `secret_file`".to_owned()),
        (kty, Some(crv)) => return Err(format!("keys of type {kty} with curve {crv} are not supported")),
        (kty, None) => return Err(format!("keys of type {kty} are not supported")),
    };
    let mut key = Key { id: jwk.kid, algorithms, verifier };
    if let Some(name) = jwk.alg {
        key.algorithms.retain(|algorithm| format!("{algorithm:?}") == name);
        if key.algorithms.is_empty() {
            return Err(format!("its `alg` {name} does not fit its type, or is not one for signatures"));
        }
    }
    Ok(key)
}

/// The public keys and certificates of a PEM file.
pub(super) fn pem(bytes: &[u8]) -> Vec<Outcome> {
    Pem::iter_from_buffer(bytes)
        .map(|block| {
            let block = block.map_err(|error| format!("not PEM: {error}"))?;
            let (verifier, algorithms) = match block.label.as_str() {
                "PUBLIC KEY" => spki(&block.contents)?,
                "CERTIFICATE" => {
                    let (_, certificate) = X509Certificate::from_der(&block.contents)
                        .map_err(|_| "a certificate that cannot be read".to_owned())?;
                    spki(certificate.public_key().raw)?
                }
                label if label.contains("PRIVATE") => {
                    return Err("a private key; only its public half belongs here".to_owned());
                }
                label => return Err(format!("a PEM block {label}, not PUBLIC KEY or CERTIFICATE")),
            };
            Ok(Key { id: None, algorithms, verifier })
        })
        .collect()
}

fn spki(der: &[u8]) -> Result<(DecodingKey, Vec<Algorithm>), String> {
    let unreadable = || "a public key that cannot be read".to_owned();
    let (_, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| unreadable())?;
    match info.parsed().map_err(|_| unreadable())? {
        PublicKey::RSA(key) => rsa(key.modulus, key.exponent),
        PublicKey::EC(point) => ec(point.data()),
        PublicKey::Unknown(point) => ed25519(point),
        PublicKey::DSA(_) | PublicKey::GostR3410(_) | PublicKey::GostR3410_2012(_) => {
            Err("a public key of a type that is not supported".to_owned())
        }
    }
}

/// A shared secret. One line break at its end is not part of it.
pub(super) fn secret(bytes: &[u8]) -> Outcome {
    let secret = bytes.strip_suffix(b"\n").map_or(bytes, |line| line.strip_suffix(b"\r").unwrap_or(line));
    // RFC 7518 section 3.2: at least as long as the hash. A shorter one can be guessed offline from one token.
    if secret.len() < 32 {
        return Err(format!("the secret has {} bytes, and HS256 needs at least 32", secret.len()));
    }
    Ok(Key { id: None, algorithms: HMAC.to_vec(), verifier: DecodingKey::from_secret(secret) })
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<(DecodingKey, Vec<Algorithm>), String> {
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    if modulus.len() < MIN_RSA_BYTES {
        return Err(format!("an RSA key of {} bits; at least 2048 are needed", modulus.len() * 8));
    }
    Ok((DecodingKey::from_rsa_raw_components(modulus, exponent), RSA.to_vec()))
}

fn ec(point: &[u8]) -> Result<(DecodingKey, Vec<Algorithm>), String> {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey};
    let (scheme, algorithm) = match point.len() {
        65 => (&ECDSA_P256_SHA256_FIXED, Algorithm::ES256),
        97 => (&ECDSA_P384_SHA384_FIXED, Algorithm::ES384),
        _ => return Err("an EC key that is not on P-256 or P-384".to_owned()),
    };
    ParsedPublicKey::new(scheme, point).map_err(|_| "an EC key that is not a point of its curve".to_owned())?;
    Ok((DecodingKey::from_ec_der(point), vec![algorithm]))
}

fn ed25519(bytes: &[u8]) -> Result<(DecodingKey, Vec<Algorithm>), String> {
    if bytes.len() != 32 {
        return Err("a public key of a type that is not supported".to_owned());
    }
    Ok((DecodingKey::from_ed_der(bytes), vec![Algorithm::EdDSA]))
}
