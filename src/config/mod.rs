//! What an operator may set: the types, their defaults and units, and how they are loaded.
//!
//! These are the raw values, checked one by one and against each other, as far as no other file is needed for it. What
//! the program works with is compiled from them once, by the module that needs it.
//!
//! A new key is a new field of a section, and nothing else: `layers` merges values without knowing the keys, `extract`
//! lets the types say what is right, and `place` knows where each value was written.

use std::{num::NonZeroUsize, path::PathBuf};

use serde::{Deserialize, Serialize};

mod account;
mod address;
mod auth;
mod basic;
mod compression;
mod cors;
mod credentials;
mod extract;
mod fault;
mod file;
mod findings;
mod forwarding;
mod host;
mod identity;
mod jwt;
mod keys;
mod layers;
mod limits;
mod listen;
mod network;
mod operation;
mod origin;
mod path;
mod paths;
mod place;
mod problems;
mod rule;
mod signed;
#[cfg(test)]
mod tests;
mod token_cache;
mod token_source;
pub(crate) mod units;
mod upstream;
mod url;
mod wanted;
mod yaml;

pub use account::AccountPattern;
pub use address::{Endpoint, Protocol, UpstreamAddress};
pub use auth::Auth;
pub use basic::{Basic, Failures, Prompt};
pub use compression::{Coding, Compression};
pub use cors::{Cors, Origins, Preflight};
pub use credentials::{Credentials, Kinds};
pub use file::{check_folder, read};
pub use forwarding::ForwardCredentials;
pub use host::HostPattern;
pub use identity::{Identity, NAMESPACE, PAYLOAD, Preset, SERVICE_ACCOUNT};
pub use jwt::{Algorithm, Jwt};
pub use keys::{Keys, Remote, Review, Server};
pub use layers::{Override, Source};
pub use limits::Limits;
pub use listen::{Forwarded, Listen, ListenAddress, Tls, TlsVersion, TrustedProxy};
pub use network::Network;
pub use operation::{AccessLog, Admin, Level, Log, Shutdown};
pub use origin::Origin;
pub use path::PathPattern;
pub use paths::{Handling, Paths, RulePaths};
pub use problems::{Problem, Problems};
pub use rule::{Allow, Callers, Class, Rule};
pub use signed::Signed;
pub use token_cache::TokenCache;
pub use token_source::TokenSource;
pub use upstream::{Upstream, UpstreamTls};
pub use url::{Url, is_off_limits};

use self::{
    extract::{Extracted, extract},
    findings::{Finding, Findings, steps},
    layers::Layers,
    place::Places,
};

/// A whole configuration: what `serve` needs to run.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The listener that clients reach.
    pub listen: Listen,
    /// The app behind us.
    pub upstream: Upstream,
    /// Who may prove who they are, and how.
    pub auth: Auth,
    /// The first that matches decides; none matches = deny.
    pub rules: Vec<Rule>,
    /// What becomes of paths that apps read in different ways.
    pub paths: Paths,
    /// What web pages of other origins may do.
    pub cors: Cors,
    /// Which answers are compressed.
    pub compression: Compression,
    /// How the app is told who is calling.
    pub identity: Identity,
    /// What a client may use of us.
    pub limits: Limits,
    /// Probes and metrics.
    pub admin: Admin,
    /// What is written to stdout and stderr.
    pub log: Log,
    /// How we stop.
    pub shutdown: Shutdown,
    /// Worker threads, each with a runtime of its own.
    pub workers: NonZeroUsize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Listen::default(),
            upstream: Upstream::default(),
            auth: Auth::default(),
            rules: Vec::new(),
            paths: Paths::default(),
            cors: Cors::default(),
            compression: Compression::default(),
            identity: Identity::default(),
            limits: Limits::default(),
            admin: Admin::default(),
            log: Log::default(),
            shutdown: Shutdown::default(),
            workers: NonZeroUsize::MIN,
        }
    }
}

/// More threads than any sidecar has cores: a mistyped number.
const MAX_WORKERS: usize = 64;

impl Config {
    /// Checks what can be checked without another file.
    fn check(&self, findings: &mut Findings<'_>) {
        self.listen.check(findings);
        self.upstream.check(&self.listen, findings);
        self.auth.check(&self.rules, findings);
        Rule::check_all(&self.rules, &self.auth, &self.identity, findings);
        self.cors.check(findings);
        self.compression.check(findings);
        self.identity.check(findings);
        self.limits.check(findings);
        self.admin.check(&self.listen, findings);
        if self.workers.get() > MAX_WORKERS {
            let what = format!("{} workers are more than {MAX_WORKERS}", self.workers);
            findings.push("workers", what, "one for each core that the pod may use is enough");
        }
    }
}

/// A configuration that was loaded, and where its keys were written.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The file that was read, if one was.
    pub file: Option<PathBuf>,
    places: Places,
}

impl Loaded {
    /// `problems` with their places made exact: one at a key (`listen.tls.key`) gets the file and line, or the
    /// variable, that the key was written in. Others stay as they are.
    pub fn locate(&self, problems: &Problems) -> Problems {
        problems.iter().cloned().map(|problem| self.places.locate(problem)).collect()
    }
}

/// Loads a configuration.
///
/// # Errors
/// All that is wrong with it, each with its place: the line of the file, or the variable or flag, and the key.
pub fn load(source: &Source) -> Result<Loaded, Problems> {
    let Layers { root, places, file, findings: mut found } = Layers::merge(source)?;
    let Extracted { config, faults, left_out } = extract(&root);
    let mut findings = Findings::new(&left_out);
    match &config {
        Some(config) => config.check(&mut findings),
        None => found.push((places.of(""), Finding::new("", "there is more wrong than these", "mend them first"))),
    }
    for fault in faults {
        let place = places.of(&fault.finding.key);
        let finding = place.finding(fault);
        found.push((place, finding));
    }
    found.extend(findings.into_list().into_iter().map(|finding| (places.of(&finding.key), finding)));
    found.sort_by(|(a, one), (b, other)| a.cmp(b).then_with(|| steps(&one.key).cmp(steps(&other.key))));
    let problems: Problems = found.into_iter().map(|(place, finding)| place.problem(finding)).collect();
    problems.or(Loaded { config: config.unwrap_or_default(), file, places })
}

/// `config` as YAML, with all defaults filled in. There are no secrets in it, only the names of their files.
///
/// # Errors
/// A path that is not UTF-8 cannot be written.
pub fn render(config: &Config) -> Result<String, Problem> {
    let mut config = config.clone();
    for jwt in &mut config.auth.jwt {
        jwt.name = Some(jwt.label());
        // Where there are no keys the API server knows which.
        if !matches!(jwt.keys, Keys::TokenReview(..)) {
            jwt.algorithms = Some(jwt.accepted_algorithms());
        }
    }
    for (i, rule) in config.rules.iter_mut().enumerate() {
        rule.name = Some(rule.label(i));
    }
    config.identity = config.identity.written_out();
    serde_saphyr::to_string(&config).map_err(|error| Problem::new("configuration", error.to_string(), ""))
}
