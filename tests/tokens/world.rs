//! Who signs the tokens of the corpus, and whom sidegate accepts of them.

use std::collections::BTreeMap;

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value, json};

use crate::support::{App, Builder, Issuer, Recorder};

/// The issuers, by the names that the corpus has for them.
pub(super) struct World {
    parties: BTreeMap<&'static str, Party>,
    /// A server that nobody should ask for keys.
    elsewhere: String,
}

/// An issuer, and who would like to be it.
pub(super) struct Party {
    pub(super) issuer: Issuer,
    pub(super) impostor: Issuer,
    /// What its tokens have to say beside the usual.
    header: Map<String, Value>,
    claims: Map<String, Value>,
    settings: Value,
    pem: bool,
}

impl World {
    pub(super) fn new(elsewhere: &Recorder) -> Self {
        use Algorithm::{ES256, ES384, EdDSA, HS256, PS256, RS256, RS512};
        let plain = |algorithm| Party::new(algorithm, json!({}));
        let strict = json!({
            "typ": "at+jwt", "max_lifetime": "10m",
            "required_claims": { "email_verified": true, "scope": ["read", "write"], "/a/tenant": { "present": true } },
        });
        let mapped = json!({ "subject_claim": "/user/login.name", "groups_claim": "realm_access.roles" });
        let parties = [
            ("es", plain(ES256)),
            ("p384", plain(ES384)),
            ("ed", plain(EdDSA)),
            ("rs", plain(RS256)),
            ("ps", plain(PS256)),
            ("hs", plain(HS256)),
            ("rs512", Party::new(RS512, json!({ "algorithms": ["RS512"] }))),
            ("pem", Party { pem: true, ..plain(RS256) }),
            ("anyone", Party::new(ES256, json!({ "audiences": [] }))),
            (
                "strict",
                Party::new(ES256, strict).saying(
                    json!({ "typ": "at+jwt" }),
                    json!({ "email_verified": true, "scope": "openid read", "a": { "tenant": 7 } }),
                ),
            ),
            (
                "mapped",
                Party::new(ES256, mapped).saying(
                    json!({}),
                    json!({ "sub": "7", "user": { "login.name": "alice" }, "realm_access": { "roles": ["staff"] } }),
                ),
            ),
        ];
        let parties = parties.into_iter().map(|(name, party)| (name, party.named(name))).collect();
        Self { parties, elsewhere: format!("http://{}/keys", elsewhere.address()) }
    }

    /// Lets sidegate accept them all.
    pub(super) fn accepted(&self, builder: Builder) -> Builder {
        self.parties.iter().fold(builder, |builder, (name, party)| {
            let mut settings = party.settings.clone();
            if party.pem {
                let file = builder.write(&format!("{name}.pem"), &party.issuer.public_pem);
                settings["keys"] = json!({ "file": null, "pem_file": file });
            }
            builder.jwt_with(&party.issuer, settings)
        })
    }

    #[track_caller]
    pub(super) fn party(&self, name: &str) -> &Party {
        self.parties.get(name).unwrap_or_else(|| panic!("there is no issuer {name}"))
    }

    /// What a text in a header or in claims stands for: `now+60`, `iss:NAME`, `kid:NAME`, `jwk:NAME` (`jwk:NAME!` for the
    /// impostor's), `elsewhere`, `json:TEXT`; else itself, in which `<N*TEXT>` is N times TEXT.
    pub(super) fn value(&self, value: &Value, now: u64) -> Value {
        let Some(text) = value.as_str() else { return value.clone() };
        let split = text.split_once(':');
        match split {
            Some(("iss", name)) => json!(self.party(name).issuer.name),
            Some(("kid", name)) => json!(self.party(name).issuer.key_id()),
            Some(("jwk", name)) => match name.strip_suffix('!') {
                Some(name) => self.party(name).impostor.jwk(),
                None => self.party(name).issuer.jwk(),
            },
            Some(("json", text)) => serde_json::from_str(text).unwrap_or_else(|e| panic!("{e} in {text}")),
            _ if text == "elsewhere" => json!(self.elsewhere),
            _ => match text
                .strip_prefix("now")
                .map(|offset| if offset.is_empty() { Ok(0) } else { offset.parse::<i64>() })
            {
                Some(Ok(offset)) => json!(now.saturating_add_signed(offset)),
                _ => json!(repeated(text)),
            },
        }
    }
}

impl Party {
    fn new(algorithm: Algorithm, settings: Value) -> Self {
        let issuer = Issuer::with(algorithm);
        Self { impostor: issuer.impostor(), issuer, header: Map::new(), claims: Map::new(), settings, pem: false }
    }

    fn named(mut self, name: &str) -> Self {
        let name = format!("https://{name}.test/");
        self.impostor = self.impostor.named(&name);
        self.issuer = self.issuer.named(&name);
        self
    }

    fn saying(self, header: Value, claims: Value) -> Self {
        let members = |value: Value| value.as_object().cloned().unwrap();
        Self { header: members(header), claims: members(claims), ..self }
    }

    /// The header of a good token.
    pub(super) fn header(&self) -> Map<String, Value> {
        let usual = json!({ "alg": self.issuer.algorithm, "kid": self.issuer.key_id(), "typ": "JWT" });
        usual.as_object().unwrap().clone().into_iter().chain(self.header.clone()).collect()
    }

    /// The claims of a good token of Alice.
    pub(super) fn claims(&self) -> Map<String, Value> {
        self.issuer.claims("alice").as_object().unwrap().clone().into_iter().chain(self.claims.clone()).collect()
    }
}

fn repeated(text: &str) -> String {
    let parts = text.split_once('<').and_then(|(before, rest)| Some((before, rest.split_once('>')?)));
    let parts = parts.and_then(|(before, (inner, after))| Some((before, inner.split_once('*')?, after)));
    match parts {
        Some((before, (count, text), after)) if count.parse::<usize>().is_ok() => {
            format!("{before}{}{after}", text.repeat(count.parse().unwrap()))
        }
        _ => text.to_owned(),
    }
}
