//! Whatever is signed, a token is refused, or it says in any reader's JSON what it was accepted for. What is not signed is refused.
#![no_main]

use std::{
    fs,
    path::PathBuf,
    sync::LazyLock,
    time::{Duration, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, Request};
use jsonwebtoken::{Algorithm, EncodingKey};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sidegate::{
    auth::{Decision, Policy},
    config::{Source, load},
    identity::Caller,
    target::Target,
};

const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"a secret of the fuzz target alone, which opens nothing";

/// Made of files in memory that are gone once they were read.
static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let folder = PathBuf::from(format!("/dev/shm/sidegate-fuzz-token-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder in memory");
    let (secret, config) = (folder.join("secret"), folder.join("sidegate.yaml"));
    fs::write(&secret, SECRET).expect("a file in memory");
    let text = format!(
        "listen: {{ plaintext: true }}\n\
         auth: {{ jwt: [{{ issuer: i, audiences: [a], keys: {{ secret_file: {} }}, leeway: 0s, typ: at+jwt, \
         max_lifetime: 1h, required_claims: {{ scope: x }}, groups_claim: r.g }}] }}\n\
         rules: [{{ allow: authenticated }}]\n",
        secret.display()
    );
    fs::write(&config, text).expect("a file in memory");
    let loaded = load(&Source { file: Some(config), ..Source::default() }).expect("a configuration");
    let (policy, _) = Policy::compile(&loaded.config).expect("a policy");
    fs::remove_dir_all(folder).expect("a folder of ours");
    policy
});

/// Whom the policy knows by this token.
fn user(token: &[u8]) -> Option<String> {
    let value = HeaderValue::from_bytes(&[b"Bearer ", token].concat()).ok()?;
    let request = Request::get("/").header("host", "app").header("authorization", value).body(()).expect("a request");
    let mut target = Target::parse(&request).expect("a target");
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    match POLICY.decide(request.method(), &mut target, request.headers(), None, now).expect("nothing to wait for") {
        Decision::Permit(Caller::Known(identity), _) => Some(identity.user.to_string()),
        Decision::Permit(Caller::Anonymous, _) => panic!("nobody was let through"),
        Decision::Deny(..) => None,
    }
}

fuzz_target!(|text: &[u8]| {
    // Header and payload are two lines.
    let at = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let (header, payload) = (&text[..at], text.get(at + 1..).unwrap_or_default());
    assert_eq!(user(text), None, "not signed");
    let message = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    assert_eq!(user(format!("{message}.").as_bytes()), None, "not signed");
    let secret = EncodingKey::from_secret(SECRET);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &secret, Algorithm::HS256).expect("a signature");

    let token = format!("{message}.{signature}");
    let Some(known) = user(token.as_bytes()) else { return };
    assert_eq!(user(token.as_bytes()).as_ref(), Some(&known), "remembered");
    let [header, claims] = [header, payload].map(|part| serde_json::from_slice::<Value>(part).expect("JSON"));
    assert_eq!((&header["alg"], header.get("crit")), (&Value::from("HS256"), None));
    assert_eq!((&claims["iss"], &claims["sub"]), (&Value::from("i"), &Value::from(known)));
    let [issued, end] = ["iat", "exp"].map(|name| claims[name].as_u64().expect("a whole number"));
    assert!(end > NOW && issued <= NOW && end - issued <= 3600, "{claims}");
});
