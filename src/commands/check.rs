//! `sidegate check`: loads all that `serve` would, and shows what came of it.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;

mod exposures;

use super::{ConfigArgs, compile, refuse};
use crate::config::{self, Allow, Callers, Class, Config, Problem, Problems, Rule};

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
    let mut warnings = compile(&loaded)?.warnings;
    warnings.extend(exposures::find(&loaded.config));
    Ok((loaded.config, warnings))
}

fn text(config: &Config, warnings: &[Problem]) -> anyhow::Result<String> {
    let mut text = String::from("# The configuration in effect\n");
    text.push_str(&config::render(config).map_err(|problem| anyhow::anyhow!("{problem}"))?);
    text.push_str("\n# The rules: the first that matches decides, and what none matches is denied\n");
    text.push_str(&table(&config.rules));
    for warning in warnings {
        text.push_str(&format!("\nwarning: {}: {}\n", warning.place, warning.what));
        if !warning.remedy.is_empty() {
            text.push_str(&format!("   help: {}\n", warning.remedy));
        }
    }
    text.push_str("\nok\n");
    Ok(text)
}

/// The rules, with the columns that some rule has something in.
fn table(rules: &[Rule]) -> String {
    let header = ["", "NAME", "METHODS", "HOSTS", "PATH", "CLIENTS", "CREDENTIALS", "ALLOWS"].map(str::to_owned);
    let rows: Vec<_> = [header].into_iter().chain(rules.iter().enumerate().map(|(i, rule)| row(i, rule))).collect();
    let used = |column: usize| match column {
        HOSTS => rules.iter().any(|rule| !rule.hosts.is_empty()),
        CLIENTS => rules.iter().any(|rule| !rule.client_ips.is_empty()),
        CREDENTIALS => rules.iter().any(|rule| !rule.credentials.is_whichever()),
        _ => true,
    };
    let columns: Vec<_> = (0..COLUMNS).filter(|column| used(*column)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = columns.iter().map(|column| width(*column)).collect();
    let mut table = String::new();
    for row in &rows {
        let cells = columns.iter().zip(&widths).map(|(column, width)| format!("{:<width$}", row[*column]));
        table.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        table.push('\n');
    }
    table
}

const COLUMNS: usize = 8;
const HOSTS: usize = 3;
const CLIENTS: usize = 5;
const CREDENTIALS: usize = 6;

fn row(i: usize, rule: &Rule) -> [String; COLUMNS] {
    fn any<T: ToString>(list: &[T]) -> String {
        let entries: Vec<_> = list.iter().map(ToString::to_string).collect();
        if entries.is_empty() { "any".to_owned() } else { entries.join(",") }
    }
    let path = rule.path.clone().unwrap_or_else(|| "any".to_owned());
    let (methods, hosts, clients) = (any(&rule.methods), any(&rule.hosts), any(&rule.client_ips));
    let credentials = if rule.needs_caller() { rule.credentials.to_string() } else { "none".to_owned() };
    [(i + 1).to_string(), rule.label(i), methods, hosts, path, clients, credentials, allows(&rule.allow)]
}

fn allows(allow: &Allow) -> String {
    match allow {
        Allow::Class(Class::Anyone) => "anyone".to_owned(),
        Allow::Class(Class::Authenticated) => "authenticated".to_owned(),
        Allow::Callers(callers) => described(callers),
    }
}

fn described(callers: &Callers) -> String {
    let mut demands = Vec::new();
    for (name, entries) in [("user", &callers.users), ("group", &callers.groups)] {
        if !entries.is_empty() {
            demands.push(format!("{name} {}", entries.join(" or ")));
        }
    }
    if !callers.service_accounts.is_empty() {
        let accounts: Vec<_> = callers.service_accounts.iter().map(ToString::to_string).collect();
        demands.push(format!("service account {}", accounts.join(" or ")));
    }
    demands.extend(callers.claims.iter().map(|(path, value)| format!("{path} = {value}")));
    let parts = |list: &[Callers]| list.iter().map(|callers| format!("({})", described(callers))).collect::<Vec<_>>();
    demands.extend((!callers.any.is_empty()).then(|| parts(&callers.any).join(" or ")));
    demands.extend(parts(&callers.all));
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
