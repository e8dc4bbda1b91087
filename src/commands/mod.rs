//! What a person types after `sidegate`: one file for each command.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand, error::ErrorKind};

use crate::{
    app::Compiled,
    config::{self, Loaded, Override, Problems, Source},
};

pub mod check;
pub mod dev;
pub mod hash_password;
pub mod healthcheck;
pub mod serve;
pub mod token;

/// Bad usage or a bad configuration: `EX_USAGE` of sysexits(3).
const USAGE: u8 = 64;

/// The sidecar that puts authentication in front of an application that has none.
#[derive(Debug, Parser)]
#[command(name = "sidegate", version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Check(check::Args),
    Dev(dev::Args),
    Token(token::Args),
    HashPassword(hash_password::Args),
    Healthcheck(healthcheck::Args),
}

const EXAMPLES: &str = "\
Examples:
  Try it, with nothing else at hand:
    sidegate dev

  Put it in front of your own app on this machine:
    sidegate dev --upstream http://127.0.0.1:5000

  Run it as the sidecar:
    sidegate serve --config /etc/sidegate/sidegate.yaml

Exit codes: 0 done or allowed, 1 failed or denied, 64 bad usage or bad configuration.";

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Where stderr is closed there is nobody to tell.
            let _ = error.print();
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if asked { ExitCode::SUCCESS } else { ExitCode::from(USAGE) };
        }
    };
    let result = match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Dev(args) => dev::run(&args),
        Command::Token(args) => token::run(&args),
        Command::HashPassword(args) => hash_password::run(args),
        Command::Healthcheck(args) => healthcheck::run(&args),
    };
    result.unwrap_or_else(|error| {
        complain(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

/// Where the configuration comes from.
#[derive(Clone, Debug, clap::Args)]
struct ConfigArgs {
    /// The configuration file [default: $SIDEGATE_CONFIG, else /etc/sidegate/sidegate.yaml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where to listen, instead of `listen.address`
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,

    /// Where the app listens, instead of `upstream.address`
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,

    /// Where to serve probes and metrics, instead of `admin.address`
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
}

impl ConfigArgs {
    fn load(&self) -> Result<Loaded, Problems> {
        let flags = [
            ("--listen", "listen.address", &self.listen),
            ("--upstream", "upstream.address", &self.upstream),
            ("--admin", "admin.address", &self.admin),
        ];
        let mut source = Source::new(self.config.clone());
        source.overrides = flags
            .into_iter()
            .filter_map(|(flag, key, value)| {
                Some(Override { flag: flag.to_owned(), key: key.to_owned(), value: value.clone()? })
            })
            .collect();
        config::load(&source)
    }
}

/// Compiles what was loaded.
///
/// # Errors
/// All the problems, each with its place.
fn compile(loaded: &Loaded) -> Result<Compiled, Problems> {
    let mut problems = Problems::default();
    problems.keep(loaded.config.auth.check_stores());
    let compiled = problems.keep(Compiled::new(loaded.config.clone()));
    compiled.filter(|_| problems.is_empty()).ok_or_else(|| loaded.locate(&problems))
}

/// Tells all the problems, and the exit code that goes with them.
fn refuse(problems: &Problems) -> ExitCode {
    let count = problems.iter().count();
    let mut text = format!("error: the configuration has {count} problem{}\n", if count == 1 { "" } else { "s" });
    for problem in problems.iter() {
        text.push_str(&format!("\n  {}: {}\n", problem.place, problem.what));
        if !problem.remedy.is_empty() {
            text.push_str(&format!("    help: {}\n", problem.remedy));
        }
    }
    complain(text.trim_end());
    ExitCode::from(USAGE)
}

fn complain(text: &str) {
    // Where stderr is closed there is nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
}
