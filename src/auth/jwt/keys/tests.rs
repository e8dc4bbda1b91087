//! What becomes of keys, good and bad.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{fs, sync::LazyLock};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData};
use serde_json::{Value, json};
use x509_parser::{prelude::FromDer, public_key::PublicKey, x509::SubjectPublicKeyInfo};

use super::*;

/// Generating one takes a second in a debug build.
static RSA_KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap());

fn load(
    keys: impl FnOnce(std::path::PathBuf) -> config::Keys,
    content: &str,
) -> Result<(KeySet, Vec<Problem>), Problem> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    fs::write(&path, content).unwrap();
    let config = config::Jwt::new(keys(path));
    let file = match &config.keys {
        config::Keys::File(path) => KeyFile::Jwks(path),
        config::Keys::PemFile(path) => KeyFile::Pem(path),
        config::Keys::SecretFile(path) => KeyFile::Secret(path),
        config::Keys::Discovery(_)
        | config::Keys::Url(..)
        | config::Keys::Kubernetes(..)
        | config::Keys::TokenReview(..) => panic!("not a file"),
    };
    KeySet::load(file, &config.accepted_algorithms(), "auth.jwt[0].keys")
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn rsa_jwk(changes: Value) -> Value {
    let spki = RSA_KEY.subject_public_key_info();
    let (_, info) = SubjectPublicKeyInfo::from_der(&spki).unwrap();
    let PublicKey::RSA(public) = info.parsed().unwrap() else { panic!("an RSA key") };
    let (n, e) = (public.modulus.strip_prefix(&[0]).unwrap(), public.exponent);
    let mut jwk = json!({"kty": "RSA", "kid": "rsa", "n": encoded(n), "e": encoded(e)});
    for (name, value) in changes.as_object().unwrap() {
        jwk[name] = value.clone();
    }
    jwk
}

fn ec_jwk(key: &KeyPair, crv: &str, kid: Option<&str>) -> Value {
    let point = key.der_bytes();
    let half = point.len() / 2;
    json!({"kty": "EC", "crv": crv, "kid": kid, "x": encoded(&point[1..=half]), "y": encoded(&point[half + 1..])})
}

fn jwks(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn sign(algorithm: Algorithm, key: &EncodingKey) -> String {
    jsonwebtoken::crypto::sign(b"message", key, library(algorithm))
        .unwrap_or_else(|error| panic!("{algorithm:?}: {error}"))
}

#[test]
fn one_key_that_is_not_usable_does_not_take_the_others_down() {
    let p256 = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let unusable = [
        (rsa_jwk(json!({"alg": "RSA-OAEP"})), "`alg` RSA-OAEP"),
        (rsa_jwk(json!({"use": "enc"})), "`use`"),
        (rsa_jwk(json!({"key_ops": ["encrypt"]})), "`key_ops`"),
        (rsa_jwk(json!({"n": "AQAB"})), "at least 2048"),
        (rsa_jwk(json!({"n": "not base64!"})), "base64url"),
        (json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}), "type AKP"),
        (json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}), "curve secp256k1"),
        (json!({"kty": "EC", "crv": "P-256", "x": encoded(&[1; 32]), "y": encoded(&[1; 32])}), "not a point"),
        (json!({"kty": "EC", "crv": "P-256", "x": "AA"}), "no `y`"),
        (json!({"kty": "oct", "k": "AA"}), "secret_file"),
        (json!({"no": "type"}), "not a JWK"),
        (json!("garbage"), "not a JWK"),
    ];
    let mut keys: Vec<_> = unusable.iter().map(|(key, _)| key.clone()).collect();
    keys.push(rsa_jwk(json!({})));
    keys.push(ec_jwk(&p256, "P-256", Some("p256")));
    keys.push(ec_jwk(&p384, "P-384", None));
    keys.push(json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(ed25519.der_bytes())}));
    let (set, left_out) = load(config::Keys::File, &jwks(&keys)).unwrap();
    assert_eq!(left_out.len(), unusable.len());
    for (problem, (_, expected)) in left_out.iter().zip(&unusable) {
        assert!(problem.what.contains(expected), "{problem}");
    }

    let rsa = EncodingKey::from_rsa_pem(RSA_KEY.serialize_pem().as_bytes()).unwrap();
    for (algorithm, kid, key) in [
        (Algorithm::RS256, Some("rsa"), &rsa),
        (Algorithm::PS256, Some("rsa"), &rsa),
        (Algorithm::RS256, None, &rsa),
        (Algorithm::ES256, Some("p256"), &EncodingKey::from_ec_der(&p256.serialize_der())),
        (Algorithm::ES384, None, &EncodingKey::from_ec_der(&p384.serialize_der())),
        // The set's key has no id, so it may be the one that the token means.
        (Algorithm::ES384, Some("any"), &EncodingKey::from_ec_der(&p384.serialize_der())),
        (Algorithm::EdDSA, None, &EncodingKey::from_ed_der(&ed25519.serialize_der())),
    ] {
        let signature = sign(algorithm, key);
        assert_eq!(set.verify(algorithm, kid, "message", &signature), Ok(()), "{algorithm:?} {kid:?}");
        assert_eq!(set.verify(algorithm, kid, "massage", &signature), Err(Reason::JwtSignature), "{algorithm:?}");
    }
    let signature = sign(Algorithm::ES256, &EncodingKey::from_ec_der(&p256.serialize_der()));
    assert_eq!(set.verify(Algorithm::ES256, Some("rsa"), "message", &signature), Err(Reason::JwtKeyUnknown));
    assert_eq!(set.verify(Algorithm::HS256, None, "message", &signature), Err(Reason::JwtKeyUnknown));
}

#[test]
fn pem_holds_public_keys_and_certificates() {
    let p256 = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap().self_signed(&p256).unwrap();
    let (set, left_out) =
        load(config::Keys::PemFile, &format!("{}{}", certificate.pem(), ed25519.public_key_pem())).unwrap();
    assert_eq!(left_out, []);
    for (algorithm, key) in [
        (Algorithm::ES256, EncodingKey::from_ec_der(&p256.serialize_der())),
        (Algorithm::EdDSA, EncodingKey::from_ed_der(&ed25519.serialize_der())),
    ] {
        assert_eq!(set.verify(algorithm, None, "message", &sign(algorithm, &key)), Ok(()), "{algorithm:?}");
    }
}

#[test]
fn a_file_without_a_usable_key_says_why() {
    let private = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
    let oaep = jwks(&[rsa_jwk(json!({"alg": "RSA-OAEP"}))]);
    let empty = jwks(&[]);
    for (keys, content, expected) in [
        (config::Keys::File as fn(_) -> _, "", "not JSON"),
        (config::Keys::File, "not json", "not JSON"),
        (config::Keys::File, "[]", "no list `keys`"),
        (config::Keys::File, empty.as_str(), "no usable key"),
        (config::Keys::File, oaep.as_str(), "RSA-OAEP"),
        (config::Keys::PemFile, "not pem", "no usable key"),
        (config::Keys::PemFile, private.as_str(), "a private key"),
        (config::Keys::SecretFile, "short", "at least 32"),
    ] {
        let problem = load(keys, content).unwrap_err();
        assert!(problem.to_string().contains(expected), "{content:.40}: {problem}");
    }
}

#[test]
fn a_secret_is_a_line() {
    let secret = "0123456789abcdef0123456789abcdef";
    for content in [secret.to_owned(), format!("{secret}\n"), format!("{secret}\r\n")] {
        let (set, _) = load(config::Keys::SecretFile, &content).unwrap();
        let signature = sign(Algorithm::HS256, &EncodingKey::from_secret(secret.as_bytes()));
        assert_eq!(set.verify(Algorithm::HS256, None, "message", &signature), Ok(()));
    }
}
