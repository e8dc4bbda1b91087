//! A case of the corpus, and the token that it describes.

use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    signatures::altered,
    world::{Party, World},
};
use crate::support::{bytes, der, entries, now};

/// How a token is built, and what becomes of it. The README beside the corpus says what each means.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) why: String,
    issuer: Option<String>,
    header: Map<String, Value>,
    header_text: Option<String>,
    claims: Map<String, Value>,
    payload: Option<String>,
    key: Option<String>,
    algorithm: Option<Algorithm>,
    signature: Option<String>,
    encode: Map<String, Value>,
    token: Option<String>,
    expect: String,
    user: Option<String>,
    twin: Option<Box<Case>>,
}

/// All of them.
pub(super) fn load() -> Vec<Case> {
    entries("tokens")
}

impl Case {
    /// Why the token is refused; `None` when it is accepted.
    pub(super) fn expected_reason(&self) -> Option<&str> {
        (self.expect != "ok").then_some(&self.expect)
    }

    /// Whom the app is told of.
    pub(super) fn user(&self) -> &str {
        self.user.as_deref().unwrap_or("alice")
    }

    /// The token without what is wrong with it: a good one of the same issuer, where nothing closer is described.
    pub(super) fn twin(&self) -> Self {
        let described = self.twin.as_deref().cloned().unwrap_or_default();
        Self { issuer: described.issuer.or_else(|| self.issuer.clone()), ..described }
    }

    /// How it is built, whatever it is called.
    pub(super) fn input(&self) -> String {
        format!("{:?}", Self { name: String::new(), why: String::new(), twin: None, ..self.clone() })
    }

    /// The token. What comes out of `encode` must be another text, for which its parts may have to be longer.
    pub(super) fn token(&self, world: &World) -> Vec<u8> {
        (0..60)
            .find_map(|padding| self.try_token(world, padding))
            .unwrap_or_else(|| panic!("{}: `encode` changes nothing", self.name))
    }

    fn try_token(&self, world: &World, padding: usize) -> Option<Vec<u8>> {
        let party = world.party(self.issuer.as_deref().unwrap_or("es"));
        let now = now();
        let merged = |mut base: Map<String, Value>, edits: &Map<String, Value>| {
            for (name, value) in edits {
                match value {
                    Value::Null => base.remove(name),
                    value => base.insert(name.clone(), world.value(value, now)),
                };
            }
            if padding > 0 {
                base.insert("padding".to_owned(), Value::String("x".repeat(padding)));
            }
            base
        };
        let header = text(&merged(party.header(), &self.header), self.header_text.as_deref());
        let payload = text(&merged(party.claims(), &self.claims), self.payload.as_deref());
        let encoded = |part: &str, bytes: &[u8]| {
            let plain = URL_SAFE_NO_PAD.encode(bytes);
            match self.encode.get(part).and_then(Value::as_str) {
                None => Some(plain),
                Some(how) => Some(encoded_otherwise(&plain, bytes, how)).filter(|other| *other != plain),
            }
        };
        let (header, payload) = (encoded("header", &header)?, encoded("payload", &payload)?);
        let mut signature = self.sign(party, world, format!("{header}.{payload}").as_bytes());
        if let Some(how) = &self.signature {
            signature = altered(&signature, how, &party.issuer);
        }
        let signature = encoded("signature", &signature)?;
        let form = self.token.as_deref().unwrap_or("{h}.{p}.{s}");
        Some(form.replace("{h}", &header).replace("{p}", &payload).replace("{s}", &signature).into_bytes())
    }

    fn sign(&self, party: &Party, world: &World, message: &[u8]) -> Vec<u8> {
        let issuer = &party.issuer;
        let secret = |bytes: &[u8]| {
            let (key, algorithm) = (EncodingKey::from_secret(bytes), self.algorithm.unwrap_or(Algorithm::HS256));
            let text = jsonwebtoken::crypto::sign(message, &key, algorithm).unwrap();
            URL_SAFE_NO_PAD.decode(text).unwrap()
        };
        let member = |name: &str| issuer.jwk()[name].as_str().unwrap().to_owned();
        match self.key.as_deref() {
            None => issuer.signature(message, self.algorithm.unwrap_or(issuer.algorithm)),
            Some("impostor") => party.impostor.signature(message, self.algorithm.unwrap_or(issuer.algorithm)),
            Some("none") => Vec::new(),
            Some("pem") => secret(issuer.public_pem.as_bytes()),
            Some("pem-trimmed") => secret(issuer.public_pem.trim().as_bytes()),
            Some("pem-blank") => secret(format!(" {}", issuer.public_pem).as_bytes()),
            Some("pem-crlf") => secret(issuer.public_pem.replace('\n', "\r\n").as_bytes()),
            Some("pem-body") => secret(STANDARD.encode(der(&issuer.public_pem)).as_bytes()),
            Some("der") => secret(&der(&issuer.public_pem)),
            Some("jwk") => secret(issuer.jwk().to_string().as_bytes()),
            Some("jwks") => secret(issuer.jwks().to_string().as_bytes()),
            Some("secret-line") => secret(format!("{}\n", issuer.secret).as_bytes()),
            Some(key) => match key.split_once(':') {
                Some(("issuer", name)) => {
                    let other = &world.party(name).issuer;
                    other.signature(message, self.algorithm.unwrap_or(other.algorithm))
                }
                Some(("member", name)) => secret(member(name).as_bytes()),
                Some(("member-bytes", name)) => secret(&URL_SAFE_NO_PAD.decode(member(name)).unwrap()),
                Some(("secret", text)) => secret(text.as_bytes()),
                _ => panic!("{}: there is no key {key}", self.name),
            },
        }
    }
}

/// The JSON text of `members`, or `template`, in which `$good` stands for them.
fn text(members: &Map<String, Value>, template: Option<&str>) -> Vec<u8> {
    let good = serde_json::to_string(members).unwrap();
    let Some(template) = template else { return good.into_bytes() };
    let parts: Vec<_> = template.split("$good").map(bytes).collect();
    parts.join(&good.as_bytes()[1..good.len() - 1])
}

/// `bytes`, whose base64url is `plain`, as somebody less strict would read them too.
fn encoded_otherwise(plain: &str, bytes: &[u8], how: &str) -> String {
    let (start, end) = plain.split_at(plain.len() / 2);
    match how {
        "padded" => format!("{plain}{}", "=".repeat((4 - plain.len() % 4) % 4)),
        "over-padded" => format!("{plain}===="),
        "standard" => STANDARD.encode(bytes).trim_end_matches('=').to_owned(),
        "loose-bits" => {
            // The bits of the last character that no byte is made of.
            let spare = [0, 0, 4, 2][plain.len() % 4];
            let alphabet = URL_SAFE.as_str().as_bytes();
            let last = alphabet.iter().position(|c| plain.ends_with(char::from(*c))).unwrap();
            let other = if spare == 0 { last } else { last | 1 };
            format!("{}{}", &plain[..plain.len() - 1], char::from(alphabet[other]))
        }
        "one-more" => format!("{plain}{}", "A".repeat([1, 4, 3, 2][plain.len() % 4])),
        infix => format!("{start}{infix}{end}"),
    }
}
