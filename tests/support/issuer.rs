//! An issuer of tokens: its key, its JWKS, and every kind of token that a good or a bad client may send.

use std::{
    sync::LazyLock,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use rcgen::KeyPair;
use serde_json::{Value, json};

/// RSA keys take a while to make; one is enough for a test process, and a second one to be wrong with.
static RSA: LazyLock<[KeyPair; 2]> =
    LazyLock::new(|| [(); 2].map(|()| KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap()));

/// Issues tokens under one name with one key.
pub(crate) struct Issuer {
    pub(crate) name: String,
    pub(crate) audience: String,
    pub(crate) algorithm: Algorithm,
    private: EncodingKey,
    key_id: String,
    /// PEM of the public key; empty for a shared secret.
    pub(crate) public_pem: String,
    /// The shared secret; empty for a key pair.
    pub(crate) secret: String,
}

impl Issuer {
    /// The usual one: ES256, which is quick to make and to sign with.
    pub(crate) fn new() -> Self {
        Self::with(Algorithm::ES256)
    }

    /// One that signs with `algorithm`.
    pub(crate) fn with(algorithm: Algorithm) -> Self {
        let Keys { private, public_pem, secret } = Keys::generate(algorithm, 0);
        let (name, audience) = ("https://issuer.test/".to_owned(), "orders".to_owned());
        let key_id = format!("{algorithm:?}-1");
        Self { name, audience, algorithm, private, key_id, public_pem, secret }
    }

    /// An issuer who says to be this one and has another key.
    pub(crate) fn impostor(&self) -> Self {
        let Keys { private, public_pem, secret } = Keys::generate(self.algorithm, 1);
        let (name, audience) = (self.name.clone(), self.audience.clone());
        let key_id = self.key_id.clone();
        Self { name, audience, algorithm: self.algorithm, private, key_id, public_pem, secret }
    }

    /// The same issuer, who now signs with another key of another id.
    pub(crate) fn rotated(&self) -> Self {
        let key_id = format!("{}-next", self.key_id);
        Self { key_id, ..self.impostor() }
    }

    /// The same key under another name.
    pub(crate) fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// The public key in the form of RFC 7517, with a key id.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.key_id.clone());
        serde_json::to_value(jwk).unwrap()
    }

    /// A set with this one key.
    pub(crate) fn jwks(&self) -> Value {
        json!({ "keys": [self.jwk()] })
    }

    /// The claims of a good token for `user`, valid for five minutes.
    pub(crate) fn claims(&self, user: &str) -> Value {
        json!({ "iss": self.name, "aud": self.audience, "sub": user, "iat": now(), "exp": now() + 300 })
    }

    /// A good token for `user`.
    pub(crate) fn token(&self, user: &str) -> String {
        self.sign(&self.claims(user))
    }

    /// A good token for `user` with these claims besides, or instead.
    pub(crate) fn token_with(&self, user: &str, claims: Value) -> String {
        let mut all = self.claims(user);
        for (name, value) in claims.as_object().unwrap() {
            if value.is_null() {
                all.as_object_mut().unwrap().remove(name);
            } else {
                all[name] = value.clone();
            }
        }
        self.sign(&all)
    }

    /// Signs whatever it is given.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.key_id.clone()), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &self.private).unwrap()
    }

    /// Signs these very bytes under a header of one's choice, which the `jsonwebtoken` crate would not do.
    pub(crate) fn sign_raw(&self, header: &Value, payload: &str) -> String {
        let message = [header.to_string().as_str(), payload].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.private, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }

    /// The signature of these bytes, whatever they are.
    pub(crate) fn signature(&self, message: &[u8], algorithm: Algorithm) -> Vec<u8> {
        let text = jsonwebtoken::crypto::sign(message, &self.private, algorithm).unwrap();
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    /// The id of the key.
    pub(crate) fn key_id(&self) -> String {
        self.key_id.clone()
    }
}

/// A token with `alg: none` and no signature.
pub(crate) fn unsigned(alg: &str, claims: &Value) -> String {
    let parts = [json!({ "alg": alg, "typ": "JWT" }), claims.clone()];
    parts.map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".") + "."
}

/// The algorithm swap: a token signed with HS256, and the public key that everybody knows as the secret.
pub(crate) fn signed_with_public_key(public_key: &[u8], claims: &Value) -> String {
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(public_key)).unwrap()
}

/// The bytes inside a PEM.
pub(crate) fn der(pem: &str) -> Vec<u8> {
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    base64::engine::general_purpose::STANDARD.decode(base64).unwrap()
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

struct Keys {
    private: EncodingKey,
    public_pem: String,
    secret: String,
}

impl Keys {
    fn generate(algorithm: Algorithm, which_rsa: usize) -> Self {
        use Algorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512};
        match algorithm {
            HS256 | HS384 | HS512 => Self::secret(),
            ES256 => Self::ecdsa(&rcgen::PKCS_ECDSA_P256_SHA256),
            ES384 => Self::ecdsa(&rcgen::PKCS_ECDSA_P384_SHA384),
            EdDSA => Self::ed25519(),
            _ => Self::rsa(&RSA[which_rsa]),
        }
    }

    fn secret() -> Self {
        let mut bytes = [0; 64];
        aws_lc_rs::rand::fill(&mut bytes).unwrap();
        let secret = URL_SAFE_NO_PAD.encode(bytes);
        Self { private: EncodingKey::from_secret(secret.as_bytes()), public_pem: String::new(), secret }
    }

    fn ecdsa(algorithm: &'static rcgen::SignatureAlgorithm) -> Self {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        Self::pair(EncodingKey::from_ec_der(pair.serialized_der()), &pair)
    }

    fn ed25519() -> Self {
        // Not made by rcgen: its PKCS#8 carries the public key too, which jsonwebtoken does not read.
        let private = Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap();
        Self::pair(EncodingKey::from_ed_der(private.as_ref()), &KeyPair::try_from(private.as_ref()).unwrap())
    }

    fn rsa(pair: &KeyPair) -> Self {
        Self::pair(EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap(), pair)
    }

    fn pair(private: EncodingKey, public: &KeyPair) -> Self {
        Self { private, public_pem: public.public_key_pem(), secret: String::new() }
    }
}
