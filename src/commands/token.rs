//! `sidegate token`: mints a token, with the key of `sidegate dev` or with a given one.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use jsonwebtoken::{Algorithm, Header};
use serde::de::{IntoDeserializer, value};
use serde_json::{Map, Value, json};

pub(super) use self::{claim::Claim, key::SigningKey};
use super::{USAGE, complain, dev};
use crate::config::{Problem, units};

mod claim;
mod key;

/// Mint a token, by default one that the running `sidegate dev` accepts
///
/// Prints the token and nothing else. Without --key and --secret-file it is signed with the key of `sidegate dev` and
/// says what that accepts; every part of it can be set to something else, to see what is refused.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Whom it stands for (`sub`) [default: the user of `sidegate dev`]
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,

    /// A group the caller is in (`groups`); may be repeated
    #[arg(long = "group", value_name = "NAME")]
    groups: Vec<String>,

    /// A further claim; may be repeated. JSON where it is JSON, else text; dots lead into objects
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    claims: Vec<Claim>,

    /// Who issues it (`iss`)
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,

    /// Whom it is meant for (`aud`); may be repeated
    #[arg(long = "audience", value_name = "NAME")]
    audiences: Vec<String>,

    /// How long it is valid, like 30s, 15m or 12h
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    expires: Duration,

    /// A private key as PEM: RSA, EC P-256, EC P-384 or Ed25519
    #[arg(long, value_name = "FILE", conflicts_with = "secret_file")]
    key: Option<PathBuf>,

    /// A shared secret, for HS256, HS384 or HS512
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,

    /// What it is signed with [default: what fits the key, with RSA RS256]
    #[arg(
        long,
        value_name = "NAME",
        hide_possible_values = true,
        value_parser = PossibleValuesParser::new(ALGORITHMS).try_map(|name| name.parse::<Algorithm>()),
    )]
    algorithm: Option<Algorithm>,

    /// The id of the key (`kid`)
    #[arg(long, value_name = "ID")]
    kid: Option<String>,
}

const ALGORITHMS: [&str; 12] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256", "HS384", "HS512"];

const EXAMPLES: &str = "\
Examples:
  Call the app behind a running `sidegate dev`, as its user and as somebody else:
    curl -H \"Authorization: Bearer $(sidegate token)\" …
    curl -H \"Authorization: Bearer $(sidegate token --subject bob --group admin)\" …

  Claims, also nested ones; and a token that has expired:
    sidegate token --claim tenant=acme --claim realm_access.roles='[\"editor\"]'
    sidegate token --claim exp=1

  A token of one's own issuer:
    sidegate token --key private.pem --issuer https://login.test/ --audience orders \\
      --subject alice";

/// Why there is no token.
enum Failure {
    /// What was asked for cannot be.
    Usage(Problem),
    /// There is no key to sign with yet.
    NoDevKey(Problem),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Usage(problem)
    }
}

/// Runs the command.
///
/// # Errors
/// The token cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (problem, code) = match mint(args, SystemTime::now()) {
        Ok(token) => {
            let mut stdout = io::stdout().lock();
            writeln!(stdout, "{token}").and_then(|()| stdout.flush()).context("cannot write to standard output")?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(Failure::Usage(problem)) => (problem, ExitCode::from(USAGE)),
        Err(Failure::NoDevKey(problem)) => (problem, ExitCode::FAILURE),
    };
    complain(&format!("error: {problem}"));
    Ok(code)
}

fn mint(args: &Args, now: SystemTime) -> Result<String, Failure> {
    let (signing, base, kid) = match (&args.key, &args.secret_file) {
        (Some(path), _) => (SigningKey::read_pem(path, "--key")?, Map::new(), None),
        (None, Some(path)) => (SigningKey::read_secret(path, "--secret-file")?, Map::new(), None),
        (None, None) => {
            let (signing, profile) = dev::Profile::load().map_err(Failure::NoDevKey)?;
            (signing, profile.claims, Some(profile.kid))
        }
    };
    let algorithm = args.algorithm.or(signing.algorithms.first().copied()).unwrap_or_default();
    if !signing.algorithms.contains(&algorithm) {
        let what = format!("{algorithm:?} does not fit the key");
        let remedy = format!("leave it out, or choose among {:?}", signing.algorithms);
        return Err(Problem::new("--algorithm", what, remedy).into());
    }
    let claims = claims(args, base, now)?;
    let header = Header { kid: args.kid.clone().or(kid), ..Header::new(algorithm) };
    let token = jsonwebtoken::encode(&header, &claims, signing.encoding())
        .map_err(|error| Problem::new("--key", format!("the key does not sign: {error}"), ""))?;
    Ok(token)
}

/// The claims: those of `base`, with what the flags say in their place.
fn claims(args: &Args, base: Map<String, Value>, now: SystemTime) -> Result<Map<String, Value>, Problem> {
    let mut claims = base;
    if let Some(subject) = &args.subject
        && claims.get("sub").and_then(Value::as_str) != Some(subject)
    {
        // Somebody else: who has neither the e-mail address nor the groups of the one whom `base` is about.
        claims.retain(|name, _| matches!(name.as_str(), "iss" | "aud"));
        claims.insert("sub".to_owned(), json!(subject));
    }
    if !args.groups.is_empty() {
        claims.insert("groups".to_owned(), json!(args.groups));
    }
    if let Some(issuer) = &args.issuer {
        claims.insert("iss".to_owned(), json!(issuer));
    }
    match &*args.audiences {
        [] => {}
        [audience] => drop(claims.insert("aud".to_owned(), json!(audience))),
        audiences => drop(claims.insert("aud".to_owned(), json!(audiences))),
    }
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    claims.insert("iat".to_owned(), json!(now));
    claims.insert("nbf".to_owned(), json!(now));
    claims.insert("exp".to_owned(), json!(now.saturating_add(args.expires.as_secs())));
    for claim in &args.claims {
        claim.put(&mut claims).map_err(|what| Problem::new("usage", what, "leave one of the two out"))?;
    }
    if !claims.contains_key("sub") {
        return Err(Problem::new("--subject", "the token would stand for nobody", "name the caller: --subject alice"));
    }
    Ok(claims)
}

fn duration(text: &str) -> Result<Duration, value::Error> {
    units::duration::deserialize(text.into_deserializer())
}
