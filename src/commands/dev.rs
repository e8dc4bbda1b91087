//! `sidegate dev`: all of sidegate on a laptop, by one command, with everything that it needs made on the spot.

use std::{
    env,
    ffi::OsStr,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
};

use anyhow::{Context, anyhow};
use serde_json::Map;

pub(super) use self::kit::Profile;
use self::{
    banner::{Banner, Commands, colours},
    folder::Folder,
    kit::Plan,
    sample::Sample,
};
use super::{USAGE, complain, refuse, serve, token::Claim};
use crate::{
    auth::basic::{Algorithm, check_name, hash_password},
    config::{self, Protocol, Source, UpstreamAddress},
};

mod banner;
mod folder;
mod kit;
mod password;
mod pki;
mod sample;
mod shell;

/// Try it on this machine: in front of a sample app, or of your own
///
/// Makes a throw-away certificate, signing key and user, writes a configuration, and serves it as `serve` would, on
/// loopback only. Prints lines to paste.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Where your app listens, like http://127.0.0.1:5000 or just :5000 [default: a sample app]
    #[arg(long, value_name = "URL", value_parser = upstream)]
    upstream: Option<UpstreamAddress>,

    /// Where to listen: a loopback address and a port, or just a port; port 0 is whichever is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443", value_parser = listen)]
    listen: SocketAddr,

    /// The user who may log in
    #[arg(long, value_name = "NAME", default_value = "alice", value_parser = user)]
    user: String,

    /// The user's password [default: made up]
    #[arg(long, value_name = "PASSWORD")]
    password: Option<String>,

    /// A group the user is in; may be repeated [default: dev]
    #[arg(long = "group", value_name = "NAME", value_parser = group)]
    groups: Vec<String>,

    /// A further claim of the user's tokens; may be repeated. JSON where it is JSON, else text; dots lead into objects
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    claims: Vec<Claim>,

    /// Serve without TLS
    #[arg(long)]
    plaintext: bool,
}

const EXAMPLES: &str = "\
Examples:
  See what it does, with nothing else at hand:
    sidegate dev

  Put it in front of your own app:
    sidegate dev --upstream :5000

  As somebody in particular:
    sidegate dev --user bob --group admin --claim roles='[\"editor\"]'

Files: $SIDEGATE_DEV_DIR, else sidegate/dev in $XDG_STATE_HOME or ~/.local/state";

/// Where the admin listener is, if nobody else is there.
const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

/// Claims that have a flag of their own, or are about the token and not about the user.
const RESERVED: [(&str, &str); 7] = [
    ("sub", "name the user by --user"),
    ("groups", "name the groups by --group"),
    ("iss", "say it to `sidegate token`"),
    ("aud", "say it to `sidegate token`"),
    ("iat", "say it to `sidegate token`"),
    ("nbf", "say it to `sidegate token`"),
    ("exp", "say it to `sidegate token`"),
];

/// Runs the command.
///
/// # Errors
/// The files cannot be written, a port cannot be opened, or the operating system refuses a thread.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let environment = |name: &str| env::var_os(name);
    let plan = match plan(args, environment("KUBERNETES_SERVICE_HOST").as_deref()) {
        Ok(plan) => plan,
        Err(what) => {
            complain(&format!("error: {what}"));
            return Ok(ExitCode::from(USAGE));
        }
    };
    let (folder, why_temporary) = Folder::open(&environment)?;
    if let Some(why) = why_temporary {
        complain(&format!("note: {why}; this time the files are in {}, until the end", folder.path().display()));
    }
    let sample = plan.upstream.is_none().then(Sample::bind).transpose().context("cannot start the sample app")?;
    let upstream = match &sample {
        Some(sample) => sample.address.clone(),
        None => plan.upstream.clone().unwrap_or_default(),
    };
    let kit = plan.write(&folder, upstream)?;

    // From here on it is what `serve --config` does with that file. The environment is left out: no variable that is
    // set for another sidegate must open what is meant to stay on this machine.
    let source = Source { file: Some(kit.config.clone()), ..Source::default() };
    let (compiled, _diagnostics) = match serve::prepare(config::load(&source))? {
        Ok(prepared) => prepared,
        Err(problems) => return Ok(refuse(&problems)),
    };
    let app = compiled
        .bind_with_any_admin_port()
        .map_err(|error| anyhow!("{error}\n  help: --listen 127.0.0.1:0 takes one that is free"))?;
    let commands = Commands::new(app.address.tcp().unwrap_or(args.listen), &kit, &folder, &environment);
    if let Some(sample) = sample {
        sample.start(commands.clone()).context("cannot start the sample app")?;
    }
    let colours = colours(&environment);
    let banner =
        Banner { commands: &commands, plan: &plan, kit: &kit, folder: &folder, admin: app.admin_address, colours };
    let banner = banner.to_string();
    let announce = move || {
        // Where stdout is closed there is nobody to tell.
        let mut stdout = io::stdout().lock();
        let _ = stdout.write_all(banner.as_bytes()).and_then(|()| stdout.flush());
    };
    app.run(serve::stop(announce)).context("the operating system refused to run it")?;
    Ok(ExitCode::SUCCESS)
}

/// What was asked for, with what was left open.
fn plan(args: &Args, cluster: Option<&OsStr>) -> Result<Plan, String> {
    if cluster.is_some_and(|host| !host.is_empty()) {
        return Err("KUBERNETES_SERVICE_HOST is set, so this is a pod: `sidegate dev` has a password that it prints, \
                    and a key that anybody here can use; run `sidegate serve` with a configuration of your own"
            .to_owned());
    }
    if !args.listen.ip().is_loopback() {
        return Err(format!(
            "--listen: {} can be reached from other machines, and `sidegate dev` is for this one only; \
             take 127.0.0.1:{}, or `sidegate serve` with a configuration of your own",
            args.listen,
            args.listen.port()
        ));
    }
    let mut claims = Map::new();
    for claim in &args.claims {
        claim.put(&mut claims)?;
    }
    if let Some((name, remedy)) = RESERVED.iter().find(|(name, _)| claims.contains_key(*name)) {
        return Err(format!("--claim {name}: {remedy}"));
    }
    let password = match &args.password {
        Some(password) => password.clone(),
        None => password::readable().ok_or("the system gives no random numbers for a password")?,
    };
    let hash = hash_password(&password, Algorithm::default(), None).map_err(|error| format!("--password: {error}"))?;
    let admin = if args.listen.port() == ADMIN.port() { 0 } else { ADMIN.port() };
    Ok(Plan {
        listen: args.listen,
        admin: SocketAddr::new(ADMIN.ip(), admin),
        plaintext: args.plaintext,
        upstream: args.upstream.clone(),
        user: args.user.clone(),
        password,
        hash,
        groups: if args.groups.is_empty() { vec!["dev".to_owned()] } else { args.groups.clone() },
        claims,
    })
}

/// An address to listen on; a port alone is one on this machine.
fn listen(text: &str) -> Result<SocketAddr, String> {
    on_this_machine(text)
        .parse()
        .map_err(|_| "write an address and a port, like 127.0.0.1:8443 or [::1]:8443".to_owned())
}

/// Where the app listens; without a scheme it is HTTP, and without a host on this machine.
fn upstream(text: &str) -> Result<UpstreamAddress, String> {
    let whole = text.contains("://") || text.starts_with("unix:");
    let address: UpstreamAddress =
        if whole { text.parse()? } else { format!("http://{}", on_this_machine(text)).parse()? };
    if address.protocol == Protocol::Https {
        let instead = "use http://HOST:PORT, h2c://HOST:PORT or unix:/PATH, or `serve` with `upstream.tls`";
        return Err(format!("there is no authority here to check {address} by; {instead}"));
    }
    Ok(address)
}

/// `8443`, `:8443` and `localhost:8443` with the address.
fn on_this_machine(text: &str) -> String {
    let port = text.strip_prefix("localhost").unwrap_or(text);
    let port = port.strip_prefix(':').unwrap_or(port);
    if port.parse::<u16>().is_ok() { format!("{}:{port}", Ipv4Addr::LOCALHOST) } else { text.to_owned() }
}

fn user(name: &str) -> Result<String, String> {
    check_name(name).map_err(|fault| fault.to_string())?;
    word(name)
}

fn group(name: &str) -> Result<String, String> {
    if name.is_empty() || name.contains([':', ',']) || name.starts_with('#') {
        return Err("a group's name is not empty, has no colon and no comma, and begins without `#`".to_owned());
    }
    word(name)
}

/// A groups file separates names by blanks.
fn word(name: &str) -> Result<String, String> {
    let blank = |c: char| c.is_whitespace() || c.is_control();
    if name.contains(blank) { Err("a name of the groups file has no blanks".to_owned()) } else { Ok(name.to_owned()) }
}
