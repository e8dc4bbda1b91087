//! `sidegate check`: loads all that `serve` would, and shows what came of it.

use std::{
    io::{self, Write},
    net::IpAddr,
    process::ExitCode,
};

use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;

use super::{ConfigArgs, refuse};
use crate::{
    app::Compiled,
    config::{self, Allow, Class, Config, PathPattern, Problem, Problems, Rule, TrustedProxy},
};

/// Load all that `serve` would (certificates, keys, users), and show the configuration, the rules, and warnings
///
/// Reports all problems at once, each with its place, and exits with 64 when there is one. Opens no port.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// For a person, or for a program
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

const EXAMPLES: &str = "\
Examples:
  sidegate check --config sidegate.yaml
  sidegate check --config sidegate.yaml --output json | jq .warnings";

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Runs the command.
///
/// # Errors
/// The report cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match examine(&args.config) {
        Ok((config, warnings)) => {
            let report = match args.output {
                Output::Text => text(&config, &warnings)?,
                Output::Json => json(Some(&config), &warnings, &Problems::default())?,
            };
            print(&report)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(problems) => {
            if args.output == Output::Json {
                print(&json(None, &[], &problems)?)?;
            }
            Ok(refuse(&problems))
        }
    }
}

fn examine(args: &ConfigArgs) -> Result<(Config, Vec<Problem>), Problems> {
    let loaded = args.load()?;
    let compiled = Compiled::new(loaded.config.clone()).map_err(|problems| loaded.locate(&problems))?;
    let mut warnings = compiled.warnings;
    warnings.extend(exposures(&loaded.config));
    Ok((loaded.config, warnings))
}

/// What is configured as meant, perhaps, but opens a way around.
fn exposures(config: &Config) -> Vec<Problem> {
    let mut warnings = Vec::new();
    let host = config.upstream.address.host();
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if !loopback {
        let what = format!(
            "the app at {} is not on loopback: whoever reaches it there has passed no rule",
            config.upstream.address
        );
        warnings.push(Problem::new("upstream.address", what, "let the app listen on 127.0.0.1 only"));
    }
    let network = config.listen.address.tcp().is_some_and(|address| !address.ip().is_loopback());
    if config.listen.plaintext && network && config.auth.basic.is_some() {
        let what = "passwords cross the network unencrypted";
        warnings.push(Problem::new("listen.plaintext", what, "set listen.tls, or end TLS right before sidegate"));
    }
    let everyone = |proxy: &TrustedProxy| matches!(proxy, TrustedProxy::Network(network) if network.is_everyone());
    if config.listen.trusted_proxies.iter().any(everyone) {
        let what = "whoever can connect is believed about where a request comes from";
        warnings.push(Problem::new("listen.trusted_proxies", what, "name the networks of your proxies only"));
    }
    let is_public = |rule: &Rule| matches!(rule.allow, Allow::Class(Class::Anyone));
    // A pattern that cannot be read was a problem before it came here.
    let paths: Vec<_> =
        config.rules.iter().map(|rule| rule.path.as_deref().and_then(|path| PathPattern::parse(path).ok())).collect();
    for (i, rule) in config.rules.iter().enumerate().filter(|(_, rule)| is_public(rule)) {
        for (j, later) in config.rules.iter().enumerate().skip(i + 1).filter(|(_, later)| !is_public(later)) {
            if PathPattern::takes_all_of(paths[i].as_ref(), paths[j].as_ref()) {
                let what = format!(
                    "the public rule `{}` comes first for some of what `{}` protects",
                    rule.label(i),
                    later.label(j)
                );
                let remedy = "move the narrower rule before the public one";
                warnings.push(Problem::new(format!("rules[{i}]"), what, remedy));
            }
        }
    }
    warnings
}

fn text(config: &Config, warnings: &[Problem]) -> anyhow::Result<String> {
    let mut text = String::from("# The configuration in effect\n");
    text.push_str(&config::render(config).map_err(|problem| anyhow::anyhow!("{problem}"))?);
    text.push_str("\n# The rules: the first that matches decides, and what none matches is denied\n");
    let rows: Vec<_> = config.rules.iter().enumerate().map(|(i, rule)| row(i, rule)).collect();
    let header = ["", "NAME", "METHODS", "PATH", "ALLOWS"].map(str::to_owned);
    let widths: Vec<_> = (0..header.len())
        .map(|column| rows.iter().chain([&header]).map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    for row in [&header].into_iter().chain(&rows) {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    for warning in warnings {
        text.push_str(&format!("\nwarning: {}: {}\n", warning.place, warning.what));
        if !warning.remedy.is_empty() {
            text.push_str(&format!("   help: {}\n", warning.remedy));
        }
    }
    text.push_str("\nok\n");
    Ok(text)
}

fn row(i: usize, rule: &Rule) -> [String; 5] {
    let methods = if rule.methods.is_empty() { "any".to_owned() } else { rule.methods.join(",") };
    let path = rule.path.clone().unwrap_or_else(|| "any".to_owned());
    [(i + 1).to_string(), rule.label(i), methods, path, allows(&rule.allow)]
}

fn allows(allow: &Allow) -> String {
    let callers = match allow {
        Allow::Class(Class::Anyone) => return "anyone".to_owned(),
        Allow::Class(Class::Authenticated) => return "authenticated".to_owned(),
        Allow::Callers(callers) => callers,
    };
    let mut demands = Vec::new();
    for (name, entries) in [("user", &callers.users), ("group", &callers.groups)] {
        if !entries.is_empty() {
            demands.push(format!("{name} {}", entries.join(" or ")));
        }
    }
    demands.extend(callers.claims.iter().map(|(path, value)| format!("{path} = {value}")));
    demands.join(", and ")
}

fn json(config: Option<&Config>, warnings: &[Problem], problems: &Problems) -> anyhow::Result<String> {
    #[derive(Serialize)]
    struct Entry<'a> {
        place: &'a str,
        what: &'a str,
        remedy: &'a str,
    }
    #[derive(Serialize)]
    struct Report<'a> {
        ok: bool,
        problems: Vec<Entry<'a>>,
        warnings: Vec<Entry<'a>>,
        config: Option<&'a Config>,
    }
    fn entries<'a>(problems: impl Iterator<Item = &'a Problem>) -> Vec<Entry<'a>> {
        problems.map(|p| Entry { place: &p.place, what: &p.what, remedy: &p.remedy }).collect()
    }
    let (problems, warnings) = (entries(problems.iter()), entries(warnings.iter()));
    let report = Report { ok: problems.is_empty(), problems, warnings, config };
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("cannot write to standard output")
}
