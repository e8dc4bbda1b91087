//! What an operator may set: the types, their defaults and their units.
//!
//! These are the raw values of the file, checked one by one. What the program works with is compiled from them
//! once, by the module that needs it: `tls`, `auth::Policy::compile`, `proxy`.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

mod problems;
pub(crate) mod units;

pub use problems::{Problem, Problems};
pub use units::UpstreamAddress;

/// A whole configuration: what `serve` needs to run.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The listener that clients reach.
    #[serde(default)]
    pub listen: Listen,
    /// The app behind us.
    #[serde(default)]
    pub upstream: Upstream,
    /// Who may prove who they are, and how.
    #[serde(default)]
    pub auth: Auth,
    /// The first that matches decides; none matches = deny.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// How the app is told who is calling.
    #[serde(default)]
    pub identity: Identity,
    /// What a client may use of us.
    #[serde(default)]
    pub limits: Limits,
    /// Probes and metrics.
    #[serde(default)]
    pub admin: Admin,
    /// What is written to stdout and stderr.
    #[serde(default)]
    pub log: Log,
    /// How we stop.
    #[serde(default)]
    pub shutdown: Shutdown,
    /// Worker threads, each with a runtime of its own.
    #[serde(default = "one_worker")]
    pub workers: NonZeroUsize,
}

/// The listener that clients reach.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// Where to listen.
    pub address: SocketAddr,
    /// What to serve over TLS with. Without it `plaintext` must be true.
    pub tls: Option<Tls>,
    /// Says that serving without TLS is meant: it ends elsewhere, or this is a laptop.
    pub plaintext: bool,
    /// Whether HTTP/2 is offered (by ALPN) beside HTTP/1.1.
    pub http2: bool,
}

/// A certificate chain and its key, both PEM.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain, leaf first.
    pub certificate: PathBuf,
    /// The leaf's private key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
    /// The oldest protocol version spoken.
    #[serde(default)]
    pub min_version: TlsVersion,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum TlsVersion {
    /// RFC 5246, with AEAD ciphers and ephemeral keys only.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    V1_3,
}

/// The app behind us. In the file a bare address stands for `{ address: … }`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Upstream {
    /// Where the app listens.
    pub address: UpstreamAddress,
    /// Until a connection to the app stands. Refused connects are retried within it: no byte was sent.
    #[serde(with = "units::duration")]
    pub connect_timeout: Duration,
    /// Until the app's response header. 0 = off.
    #[serde(with = "units::duration")]
    pub response_timeout: Duration,
    /// Between two chunks of a body, either way. 0 = off.
    #[serde(with = "units::duration")]
    pub idle_timeout: Duration,
    /// How long an idle connection to the app is kept. Below gunicorn's 2 s, so that the app never closes a
    /// connection at the moment that we use it. 0 = every request has a connection of its own.
    #[serde(with = "units::duration")]
    pub keep_alive: Duration,
}

/// Who may prove who they are, and how.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Issuers whose tokens are accepted.
    pub jwt: Vec<Jwt>,
    /// Passwords.
    pub basic: Option<Basic>,
}

/// One issuer whose tokens are accepted.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// The label in logs and metrics. Defaults to the issuer's host, or `jwt`.
    pub name: Option<String>,
    /// The `iss` that its tokens must carry.
    pub issuer: Option<String>,
    /// A token must name one of these in `aud`. Empty = `aud` is not looked at.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// The signature algorithms accepted, whatever the token says. Defaults to the asymmetric ones that fit, or
    /// for a `secret_file` to HS256, HS384 and HS512.
    pub algorithms: Option<Vec<Algorithm>>,
    /// Where its keys are.
    pub keys: Keys,
    /// How far the issuer's clock may be off ours.
    #[serde(default = "leeway", with = "units::duration")]
    pub leeway: Duration,
    /// The claim that lists the groups: a dotted path (`realm_access.roles`) or a JSON pointer.
    #[serde(default = "groups_claim")]
    pub groups_claim: String,
}

/// A JWS signature algorithm (RFC 7518, RFC 8037). There is no `none`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names are the registry's")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    EdDSA,
    HS256,
    HS384,
    HS512,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Keys {
    /// A JWKS (RFC 7517).
    File(PathBuf),
    /// One or more PEM public keys or certificates.
    PemFile(PathBuf),
    /// A shared secret for HS256, HS384, HS512. One trailing line break is not part of it.
    SecretFile(PathBuf),
}

/// Passwords.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    /// htpasswd: bcrypt, APR1, `{SHA}`, `$5$`, `$6$`, argon2id, mixed.
    pub users_file: PathBuf,
    /// Lines of `group: user user`, as Apache's AuthGroupFile.
    pub groups_file: Option<PathBuf>,
    /// What the browser shows when it asks for the password.
    #[serde(default = "realm")]
    pub realm: String,
}

/// Who may do what.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The label in logs and metrics. Defaults to `rule-N`, counted from 1.
    pub name: Option<String>,
    /// An exact path, `/prefix/**` (which covers `/prefix` itself), or a glob in which `*` stays within one segment.
    /// Absent = every path.
    pub path: Option<String>,
    /// The methods. Empty = every method.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Whom it lets through.
    pub allow: Allow,
}

/// Whom a rule lets through.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", untagged)]
pub enum Allow {
    /// `anyone` or `authenticated`.
    Class(Class),
    /// Callers with these properties: each one that is given must hold.
    Callers(Callers),
}

/// A class of callers that has a name.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// No credentials needed.
    Anyone,
    /// Any caller whom we know.
    Authenticated,
}

/// Properties of a caller: each one that is given must hold, and of a list one entry.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Callers {
    /// The user is one of these (`sub`, or the name of Basic).
    pub users: Vec<String>,
    /// The user is in one of these groups.
    pub groups: Vec<String>,
    /// Each claim, by its path, equals the value, or holds it when it is a list or a `scope`.
    pub claims: BTreeMap<String, serde_json::Value>,
}

/// How the app is told who is calling.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// Header → claim path. `sub` and `groups` stand for the user and the groups of Basic too.
    pub headers: BTreeMap<String, String>,
    /// Between the entries of a list.
    pub group_separator: String,
    /// Whether the app sees the password or the token.
    pub forward_credentials: bool,
}

/// What a client may use of us.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections at once; further ones wait in the kernel's queue.
    pub max_connections: NonZeroUsize,
    /// Requests at once; further ones are answered 503.
    pub max_in_flight: NonZeroUsize,
    /// All header lines of a request together.
    #[serde(with = "units::size")]
    pub max_header_bytes: u64,
    /// Header lines of a request.
    pub max_headers: NonZeroUsize,
    /// A request's body. 0 = no limit.
    #[serde(with = "units::size")]
    pub max_body_bytes: u64,
    /// Until the TLS handshake is done.
    #[serde(with = "units::duration")]
    pub handshake_timeout: Duration,
    /// From a request's first byte until the end of its header.
    #[serde(with = "units::duration")]
    pub header_timeout: Duration,
    /// How long a connection without a request is kept.
    #[serde(with = "units::duration")]
    pub client_idle_timeout: Duration,
    /// Requests at once on one HTTP/2 connection.
    pub http2_streams: u32,
}

/// Probes and metrics.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Where they are served, over plain HTTP. It must be reachable by kubelet and Prometheus.
    pub address: SocketAddr,
}

/// What is written to stdout and stderr.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The least severe message written to stderr.
    pub level: Level,
    /// The form of the access log on stdout.
    pub access: AccessLog,
}

/// A severity.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// The form of the access log.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLog {
    /// One JSON object a line, with the field names of Envoy and Istio.
    #[default]
    Json,
    /// nginx's `combined`.
    Combined,
    /// None.
    Off,
}

/// How we stop.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// After SIGTERM: not ready, but still accepting, until the endpoints have heard of it.
    #[serde(with = "units::duration")]
    pub delay: Duration,
    /// Then: no new connection; how long the requests under way may take.
    #[serde(with = "units::duration")]
    pub grace: Duration,
}

impl Default for Listen {
    fn default() -> Self {
        Self { address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8443)), tls: None, plaintext: false, http2: true }
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            address: UpstreamAddress::default(),
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(300),
            keep_alive: Duration::from_secs(1),
        }
    }
}

impl Default for Identity {
    fn default() -> Self {
        let headers = [("X-Forwarded-User", "sub"), ("X-Forwarded-Email", "email"), ("X-Forwarded-Groups", "groups")];
        Self {
            headers: headers.map(|(header, claim)| (header.to_owned(), claim.to_owned())).into(),
            group_separator: ",".to_owned(),
            forward_credentials: false,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: NonZeroUsize::new(4096).unwrap_or(NonZeroUsize::MIN),
            max_in_flight: NonZeroUsize::new(1024).unwrap_or(NonZeroUsize::MIN),
            max_header_bytes: 32 * 1024,
            max_headers: NonZeroUsize::new(100).unwrap_or(NonZeroUsize::MIN),
            max_body_bytes: 0,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            client_idle_timeout: Duration::from_secs(75),
            http2_streams: 100,
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9090)) }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { delay: Duration::from_secs(5), grace: Duration::from_secs(20) }
    }
}

fn one_worker() -> NonZeroUsize {
    NonZeroUsize::MIN
}

fn leeway() -> Duration {
    Duration::from_secs(30)
}

fn groups_claim() -> String {
    "groups".to_owned()
}

fn realm() -> String {
    "sidegate".to_owned()
}
