//! Where an issuer's keys are.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Algorithm, Url, findings::quoted, units};

mod check;

/// Where an issuer's keys are, or who is asked instead.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Keys {
    /// A JWKS (RFC 7517).
    File(PathBuf),
    /// One or more PEM public keys or certificates.
    PemFile(PathBuf),
    /// A shared secret for HS256, HS384, HS512. One trailing line break is not part of it.
    SecretFile(PathBuf),
    /// A JWKS where the issuer's metadata says (OpenID Connect Discovery 1.0).
    Discovery(Remote),
    /// A JWKS at this URL.
    Url(Url, Remote),
    /// The JWKS of the Kubernetes cluster that we run in, or of the one at this URL, for the tokens of its service accounts.
    /// A URL with a path is that of the JWKS itself.
    Kubernetes(Option<Url>, Remote),
    /// No keys: the API server of that cluster is asked about each token, in a `TokenReview`. A URL with a path is where.
    TokenReview(Option<Url>, Review),
}

/// How a JWKS is fetched.
#[derive(Clone, Debug)]
pub struct Remote {
    /// How often.
    pub refresh: Duration,
    /// At most one fetch for a key that is not known in this time.
    pub min_refetch: Duration,
    /// How long a request with such a key waits for it.
    pub unknown_key_wait: Duration,
    /// How long after the last good fetch the keys are used.
    pub max_stale: Duration,
    /// A folder that keeps the last good keys over a restart.
    pub store: Option<PathBuf>,
    /// Who is asked.
    pub server: Server,
}

/// How a Kubernetes API server is asked about tokens.
#[derive(Clone, Debug)]
pub struct Review {
    /// How long an answer is good.
    pub cache: Duration,
    /// How long after that an answer is good while there is no other.
    pub max_stale: Duration,
    /// Who is asked.
    pub server: Server,
}

/// How a server is believed, and believes us.
#[derive(Clone, Debug)]
pub struct Server {
    /// The longest that an answer may take.
    pub timeout: Duration,
    /// The authorities that it proves itself by, PEM. Absent = those of the system.
    pub ca: Option<PathBuf>,
    /// A file with the token that it is shown.
    pub bearer_token_file: Option<PathBuf>,
}

/// The keys as they are written: exactly one source, and what belongs to it beside it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    discovery: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kubernetes: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_review: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<Url>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pem_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_refetch: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown_key_wait: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_stale: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bearer_token_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(transparent)]
struct Span(#[serde(with = "units::duration")] Duration);

const SOURCES: &str =
    "`discovery: true`, `url`, `file`, `pem_file`, `secret_file`, `kubernetes: true`, `token_review: true`";

impl TryFrom<Written> for Keys {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { discovery, kubernetes, token_review, url, file, pem_file, secret_file, .. } = &written;
        let said = [("discovery", *discovery), ("kubernetes", *kubernetes), ("token_review", *token_review)];
        if let Some((name, _)) = said.iter().find(|(_, said)| *said == Some(false)) {
            return Err(format!("`{name}: false` is no source; take it out"));
        }
        // For a cluster the URL says where it is, and is no source of its own.
        let is_cluster = kubernetes.is_some() || token_review.is_some();
        let given: Vec<_> = [
            ("discovery", discovery.is_some()),
            ("kubernetes", kubernetes.is_some()),
            ("token_review", token_review.is_some()),
            ("url", url.is_some() && !is_cluster),
            ("file", file.is_some()),
            ("pem_file", pem_file.is_some()),
            ("secret_file", secret_file.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
        .collect();
        match given.as_slice() {
            [] => return Err(format!("this must be exactly one of {SOURCES}")),
            [name] => written.check_fits(name)?,
            [one, other, ..] => {
                return Err(format!("this must be exactly one of {SOURCES}, and there are `{one}` and `{other}`"));
            }
        }
        let remote = written.remote();
        let review = written.review();
        let Written { discovery, kubernetes, url, file, pem_file, secret_file, .. } = written;
        Ok(match (file, pem_file, secret_file) {
            (Some(path), ..) => Self::File(path),
            (_, Some(path), _) => Self::PemFile(path),
            (.., Some(path)) => Self::SecretFile(path),
            _ if discovery.is_some() => Self::Discovery(remote),
            _ if kubernetes.is_some() => Self::Kubernetes(url, remote),
            _ => match (url, is_cluster) {
                (Some(url), false) => Self::Url(url, remote),
                (url, _) => Self::TokenReview(url, review),
            },
        })
    }
}

impl Written {
    /// Whether everything beside the source `name` belongs to it.
    fn check_fits(&self, name: &str) -> Result<(), String> {
        let fetched = matches!(name, "discovery" | "url" | "kubernetes");
        let asked = name == "token_review";
        let keys = [
            ("refresh", self.refresh.is_some(), fetched),
            ("min_refetch", self.min_refetch.is_some(), fetched),
            ("unknown_key_wait", self.unknown_key_wait.is_some(), fetched),
            ("store", self.store.is_some(), fetched),
            ("cache", self.cache.is_some(), asked),
            ("max_stale", self.max_stale.is_some(), fetched || asked),
            ("timeout", self.timeout.is_some(), fetched || asked),
            ("ca", self.ca.is_some(), fetched || asked),
            ("bearer_token_file", self.bearer_token_file.is_some(), fetched || asked),
        ];
        let foreign: Vec<_> =
            keys.into_iter().filter_map(|(key, given, fits)| (given && !fits).then_some(key)).collect();
        match foreign.as_slice() {
            [] => Ok(()),
            [key] => Err(format!("`{key}` does not belong to `{name}`; take it out")),
            keys => Err(format!("{} do not belong to `{name}`; take them out", quoted(keys))),
        }
    }

    fn remote(&self) -> Remote {
        // The default of one makes way for the other one, where that is given.
        let least = or(self.min_refetch, 10);
        let refresh = self.refresh.map_or_else(|| least.max(Duration::from_secs(300)), |Span(refresh)| refresh);
        let min_refetch = if self.min_refetch.is_none() && !refresh.is_zero() { least.min(refresh) } else { least };
        Remote {
            refresh,
            min_refetch,
            unknown_key_wait: or(self.unknown_key_wait, 2),
            max_stale: or(self.max_stale, 24 * 3600),
            store: self.store.clone(),
            server: self.server(),
        }
    }

    fn review(&self) -> Review {
        Review { cache: or(self.cache, 60), max_stale: or(self.max_stale, 0), server: self.server() }
    }

    fn server(&self) -> Server {
        Server { timeout: or(self.timeout, 3), ca: self.ca.clone(), bearer_token_file: self.bearer_token_file.clone() }
    }
}

fn or(span: Option<Span>, seconds: u64) -> Duration {
    span.map_or(Duration::from_secs(seconds), |Span(duration)| duration)
}

impl From<Keys> for Written {
    fn from(keys: Keys) -> Self {
        let server = |server: Server, rest: Self| Self {
            timeout: Some(Span(server.timeout)),
            ca: server.ca,
            bearer_token_file: server.bearer_token_file,
            ..rest
        };
        let fetched = |remote: Remote| {
            let rest = Self {
                refresh: Some(Span(remote.refresh)),
                min_refetch: Some(Span(remote.min_refetch)),
                unknown_key_wait: Some(Span(remote.unknown_key_wait)),
                max_stale: Some(Span(remote.max_stale)),
                store: remote.store,
                ..Self::default()
            };
            server(remote.server, rest)
        };
        match keys {
            Keys::File(path) => Self { file: Some(path), ..Self::default() },
            Keys::PemFile(path) => Self { pem_file: Some(path), ..Self::default() },
            Keys::SecretFile(path) => Self { secret_file: Some(path), ..Self::default() },
            Keys::Discovery(remote) => Self { discovery: Some(true), ..fetched(remote) },
            Keys::Url(url, remote) => Self { url: Some(url), ..fetched(remote) },
            Keys::Kubernetes(url, remote) => Self { kubernetes: Some(true), url, ..fetched(remote) },
            Keys::TokenReview(url, review) => {
                let (cache, max_stale) = (Some(Span(review.cache)), Some(Span(review.max_stale)));
                let rest = Self { token_review: Some(true), url, cache, max_stale, ..Self::default() };
                server(review.server, rest)
            }
        }
    }
}

impl Default for Keys {
    /// An issuer that is an `https` URL says itself where its keys are.
    fn default() -> Self {
        Self::Discovery(Written::default().remote())
    }
}

impl Keys {
    /// The algorithms that such keys can be for. A public key must never be taken for a shared secret: everybody
    /// could sign with it.
    pub(super) const fn algorithms(&self) -> &'static [Algorithm] {
        match self {
            Self::SecretFile(_) => &Algorithm::HMAC,
            Self::File(_)
            | Self::PemFile(_)
            | Self::Discovery(_)
            | Self::Url(..)
            | Self::Kubernetes(..)
            | Self::TokenReview(..) => &Algorithm::ASYMMETRIC,
        }
    }

    /// The folder that keeps them over a restart.
    pub(super) fn store(&self) -> Option<&Path> {
        match self {
            Self::Discovery(remote) | Self::Url(_, remote) | Self::Kubernetes(_, remote) => remote.store.as_deref(),
            Self::File(_) | Self::PemFile(_) | Self::SecretFile(_) | Self::TokenReview(..) => None,
        }
    }

    /// Whether the tokens are those of a Kubernetes cluster.
    pub const fn are_of_a_cluster(&self) -> bool {
        matches!(self, Self::Kubernetes(..) | Self::TokenReview(..))
    }
}
