//! What `sidegate dev` makes for a start: certificates, a signing key, users, and a configuration that names them.

use std::{env, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use jsonwebtoken::{
    Algorithm,
    jwk::{Jwk, JwkSet, KeyAlgorithm, PublicKeyUse, ThumbprintHash},
};
use rcgen::KeyPair;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    folder::{self, Folder},
    pki::Certificates,
};
use crate::{
    commands::token::SigningKey,
    config::{
        self, AccessLog, Admin, Allow, Auth, Basic, Callers, Class, Config, Credentials, Failures, Jwt, Keys, Level,
        Listen, Log, Problem, Prompt, Rule, Shutdown, Tls, TlsVersion, Upstream, UpstreamAddress,
    },
};

const ISSUER: &str = "sidegate-dev";
const AUDIENCE: &str = "sidegate-dev";

const CONFIG: &str = "sidegate.yaml";
const SIGNING_KEY: &str = "signing.key";
const PROFILE: &str = "token.json";

const HEADER: &str = "\
# Written by `sidegate dev`, anew at each start. Every key is here, most with its default.
# `sidegate serve --config` runs the same; a copy of it is a start for a configuration of your own.
";

/// Who is going to be let in, and to what.
pub(super) struct Plan {
    pub(super) listen: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) plaintext: bool,
    /// The app; `None` is the sample, which has paths to try rules on.
    pub(super) upstream: Option<UpstreamAddress>,
    pub(super) user: String,
    pub(super) password: String,
    /// The password as the users file has it.
    pub(super) hash: String,
    pub(super) groups: Vec<String>,
    /// Claims of the user's tokens besides the usual ones, or instead of them.
    pub(super) claims: Map<String, Value>,
}

/// What was made.
#[derive(Debug)]
pub(super) struct Kit {
    pub(super) config: PathBuf,
    /// What clients have to trust, unless there is no TLS.
    pub(super) authority: Option<PathBuf>,
}

/// What `sidegate token` has to know of a running `sidegate dev`.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::commands) struct Profile {
    /// The id of the signing key.
    pub(in crate::commands) kid: String,
    /// The claims of the user's tokens, without those that say when.
    pub(in crate::commands) claims: Map<String, Value>,
}

impl Profile {
    /// Reads it, and the key that goes with it.
    ///
    /// # Errors
    /// There is no `sidegate dev` that would have made them.
    pub(in crate::commands) fn load() -> Result<(SigningKey, Self), Problem> {
        const REMEDY: &str = "start `sidegate dev` first, or name a key with --key";
        let place = folder::place(&|name| env::var_os(name))
            .ok_or_else(|| Problem::new(folder::VARIABLE, "neither it nor HOME is set", REMEDY))?;
        let path = place.join(PROFILE);
        if !path.exists() {
            let what = "there is no key of `sidegate dev`";
            return Err(Problem::new(place.display().to_string(), what, REMEDY));
        }
        let profile = serde_json::from_slice(&config::read(&path, "token")?)
            .map_err(|error| Problem::new(path.display().to_string(), format!("it is broken: {error}"), REMEDY))?;
        Ok((SigningKey::read_pem(&place.join(SIGNING_KEY), "token")?, profile))
    }
}

impl Plan {
    /// Makes everything anew and writes it into `folder`, for the app that listens at `upstream`.
    ///
    /// # Errors
    /// A file cannot be written, or the system gives no random numbers.
    pub(super) fn write(&self, folder: &Folder, upstream: UpstreamAddress) -> anyhow::Result<Kit> {
        let certificates = Certificates::make(self.listen.ip()).context("cannot make the certificate")?;
        let authority = (!self.plaintext).then(|| folder.write("ca.crt", &certificates.authority)).transpose()?;
        let tls = Tls {
            certificate: folder.write("tls.crt", &certificates.certificate)?,
            key: folder.write("tls.key", &certificates.key)?,
            min_version: TlsVersion::default(),
        };
        let config = Config {
            listen: Listen {
                address: self.listen.into(),
                tls: (!self.plaintext).then_some(tls),
                plaintext: self.plaintext,
                ..Listen::default()
            },
            upstream: Upstream { address: upstream, ..Upstream::default() },
            auth: Auth { jwt: vec![self.issuer(folder)?], basic: Some(self.users(folder)?), ..Auth::default() },
            rules: self.rules(),
            admin: Admin { address: self.admin },
            log: Log { level: Level::Warn, access: AccessLog::Combined },
            // Nobody else has to hear of the end, and who presses Ctrl-C wants it now.
            shutdown: Shutdown { delay: Duration::ZERO, grace: Duration::from_secs(2) },
            ..Config::default()
        };
        let yaml = config::render(&config).map_err(|problem| anyhow::anyhow!("{problem}"))?;
        Ok(Kit { config: folder.write(CONFIG, &format!("{HEADER}{yaml}"))?, authority })
    }

    /// Makes the signing key, and writes what `sidegate token` needs for it.
    fn issuer(&self, folder: &Folder) -> anyhow::Result<Jwt> {
        let pem = KeyPair::generate().context("cannot make the signing key")?.serialize_pem();
        let signing = SigningKey::read_pem(&folder.write(SIGNING_KEY, &pem)?, SIGNING_KEY)
            .map_err(|problem| anyhow::anyhow!("{problem}"))?;
        let mut jwk = Jwk::from_encoding_key(signing.encoding(), Algorithm::ES256)?;
        let kid = jwk.thumbprint(ThumbprintHash::SHA256)?;
        jwk.common.key_id = Some(kid.clone());
        jwk.common.key_algorithm = Some(KeyAlgorithm::ES256);
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        let jwks = folder.write("jwks.json", &serde_json::to_string_pretty(&JwkSet { keys: vec![jwk] })?)?;

        let mut claims = Map::from_iter([
            ("iss".to_owned(), json!(ISSUER)),
            ("aud".to_owned(), json!(AUDIENCE)),
            ("sub".to_owned(), json!(self.user)),
            ("groups".to_owned(), json!(self.groups)),
        ]);
        claims.extend(email(&self.user).map(|email| ("email".to_owned(), json!(email))));
        claims.extend(self.claims.clone());
        folder.write(PROFILE, &serde_json::to_string_pretty(&Profile { kid, claims })?)?;
        Ok(Jwt {
            name: Some("dev".to_owned()),
            issuer: Some(ISSUER.to_owned()),
            audiences: vec![AUDIENCE.to_owned()],
            algorithms: Some(vec![config::Algorithm::ES256]),
            ..Jwt::new(Keys::File(jwks))
        })
    }

    fn users(&self, folder: &Folder) -> anyhow::Result<Basic> {
        let groups: String = self.groups.iter().map(|group| format!("{group}: {}\n", self.user)).collect();
        Ok(Basic {
            users_file: folder.write("users", &format!("{}:{}\n", self.user, self.hash))?,
            groups_file: Some(folder.write("groups", &groups)?),
            realm: "sidegate dev".to_owned(),
            prompt: Prompt::default(),
            failures: Failures::default(),
        })
    }

    fn rules(&self) -> Vec<Rule> {
        let rule = |name: &str, path: Option<&str>, allow| Rule {
            name: Some(name.to_owned()),
            path: path.map(str::to_owned),
            methods: Vec::new(),
            hosts: Vec::new(),
            client_ips: Vec::new(),
            paths: None,
            credentials: Credentials::default(),
            forward_credentials: None,
            allow,
        };
        let everyone_known = rule("authenticated", None, Allow::Class(Class::Authenticated));
        if self.upstream.is_some() {
            return vec![everyone_known];
        }
        let admins = Callers { groups: vec!["admin".to_owned()], ..Callers::default() };
        vec![
            rule("public", Some("/public/**"), Allow::Class(Class::Anyone)),
            rule("admin", Some("/admin/**"), Allow::Callers(admins)),
            everyone_known,
        ]
    }
}

/// An address for whom `--claim email=…` gives none.
fn email(user: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_+".contains(c);
    match user.split_once('@') {
        Some(_) => Some(user.to_owned()),
        None => user.chars().all(plain).then(|| format!("{user}@example.com")),
    }
}
