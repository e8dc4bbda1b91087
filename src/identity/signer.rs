//! The key that signs for the app who is calling, and what the app needs to check it.

use std::{fmt, path::Path, sync::Arc};

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use serde_json::{Map, Value, json};

use super::{Assertion, Method};
use crate::config::{self, Problem};

/// The key of the configuration that names the file.
const KEY_FILE: &str = "identity.signed.key_file";

/// What there is in a token besides the claims that were made before: two times, and the signature. In bytes, generously.
const REST: usize = 256;

/// Makes short-lived tokens for the app (RFC 7519), with ES256.
pub struct Signer {
    key: EcdsaKeyPair,
    /// The encoded header, with the dot behind it.
    header: String,
    jwks: Bytes,
    issuer: String,
    audience: String,
    claims: Vec<String>,
    /// In seconds.
    pub(super) lifetime: u64,
}

/// Of whom something is to be said.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The name.
    pub user: &'a str,
    /// How it was proved.
    pub method: Method,
    /// The name of the issuer, or of the password file's realm.
    pub issuer: &'a str,
    /// The groups.
    pub groups: &'a [String],
    /// All claims.
    pub claims: &'a Value,
}

impl Signer {
    /// Reads the key, or makes one.
    ///
    /// # Errors
    /// The file cannot be read, or has no key for ES256.
    pub fn load(config: &config::Signed) -> Result<Arc<Self>, Problem> {
        let key = match &config.key_file {
            Some(path) => read(path)?,
            None => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| {
                let what = "the system gives no random numbers to make a key of";
                Problem::new("identity.signed", what, "check the kernel's getrandom")
            })?,
        };
        // Uncompressed (SEC 1 section 2.3.3): 4, then the two coordinates.
        let (_, point) = key.public_key().as_ref().split_at(1);
        let (x, y) = point.split_at(point.len() / 2);
        let [x, y] = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
        // The members and their order are those of RFC 7638 section 3.2.
        let thumbprint = digest(&SHA256, format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#).as_bytes());
        let kid = URL_SAFE_NO_PAD.encode(thumbprint);
        let jwk = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid, "use": "sig", "alg": "ES256" });
        let header = json!({ "alg": "ES256", "kid": kid, "typ": "JWT" });
        Ok(Arc::new(Self {
            key,
            header: URL_SAFE_NO_PAD.encode(header.to_string()) + ".",
            jwks: json!({ "keys": [jwk] }).to_string().into(),
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            claims: config.claims.clone(),
            lifetime: config.lifetime.as_secs(),
        }))
    }

    /// The public key (RFC 7517).
    pub fn jwks(&self) -> Bytes {
        self.jwks.clone()
    }

    /// What is going to be said of `subject`, without the times. `None` when it is longer than `max` bytes.
    pub fn assertion(self: &Arc<Self>, subject: Subject<'_>, max: usize) -> Option<Assertion> {
        let wanted = self.claims.iter().filter_map(|name| Some((name.clone(), subject.claims.get(name)?.clone())));
        let mut claims: Map<_, _> = wanted.filter(|(_, value)| !value.is_null()).collect();
        for (name, value) in [
            ("iss", json!(self.issuer)),
            ("aud", json!(self.audience)),
            ("sub", json!(subject.user)),
            ("groups", json!(subject.groups)),
            ("auth_method", json!(subject.method.label())),
            ("auth_issuer", json!(subject.issuer)),
        ] {
            claims.insert(name.to_owned(), value);
        }
        let mut claims = Value::Object(claims).to_string();
        // The times come behind it.
        claims.pop();
        let claims = claims.into_boxed_str();
        (self.length(&claims) <= max).then(|| Assertion::new(self.clone(), claims))
    }

    /// How long a token with these claims is at the most, in bytes.
    pub(super) fn length(&self, claims: &str) -> usize {
        self.header.len() + claims.len() / 3 * 4 + REST
    }

    /// A token with these claims. `None` if the cryptographic library fails.
    pub(super) fn sign(&self, claims: &str) -> Option<String> {
        let mut token = self.header.clone();
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.key.sign(&SystemRandom::new(), token.as_bytes()).ok()?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Some(token)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("key", &"***").field("audience", &self.audience).finish_non_exhaustive()
    }
}

fn read(path: &Path) -> Result<EcdsaKeyPair, Problem> {
    const REMEDY: &str = "make one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`";
    let bytes = config::read(path, KEY_FILE)?;
    let unusable = |what: &str| Problem::new(path.display().to_string(), what, REMEDY);
    let key = PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|error| unusable(&format!("no private key could be read: {error}")))?;
    EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_der())
        .map_err(|_| unusable("the private key is not one of the curve P-256"))
}
