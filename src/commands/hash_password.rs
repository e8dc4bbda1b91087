//! `sidegate hash-password`: reads a password and prints a line for the users file.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use zeroize::Zeroizing;

use crate::auth::basic::{Algorithm, MAX_PASSWORD_BYTES, Unhashable, check_name, hash_password};

/// Exit code for bad usage, as sysexits(3) has it.
const USAGE: u8 = 64;

/// Reads a password and prints a line for the users file.
///
/// At a terminal it asks twice, without showing what is typed. Otherwise the first line of standard input is the
/// password.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The user's name. Without it only the hash is printed
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub user: Option<String>,

    /// How the password is hashed
    #[arg(
        long,
        value_name = "ALGORITHM",
        default_value = Algorithm::NAMES[0],
        value_parser = PossibleValuesParser::new(Algorithm::NAMES).try_map(|name| name.parse::<Algorithm>()),
    )]
    pub algorithm: Algorithm,

    /// How much work a guess is: bcrypt 4 to 16 (default 10; one more is twice the work), argon2id passes over
    /// 19 MiB (default 2), sha512-crypt rounds (default 100000)
    #[arg(long, value_name = "N")]
    pub cost: Option<u32>,
}

const EXAMPLES: &str = "\
Examples:
  Add a user, asking for the password:
    sidegate hash-password --user alice >> users

  From a script, with a password that is in no list of processes:
    printf '%s\\n' \"$PASSWORD\" | sidegate hash-password --user alice

  A longer password than the 72 bytes of bcrypt:
    sidegate hash-password --user alice --algorithm argon2id";

/// Runs the command.
///
/// # Errors
/// When no password can be read, or it is one that cannot be used.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let stdin = io::stdin();
    let password = if stdin.is_terminal() { ask()? } else { first_line(stdin.lock())? };
    match line(&args, &password) {
        Ok(line) => {
            let mut stdout = io::stdout().lock();
            writeln!(stdout, "{line}").and_then(|()| stdout.flush()).context("cannot write to standard output")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error @ Unhashable::Cost { .. }) => {
            writeln!(io::stderr(), "error: --cost: {error}").context("cannot write to standard error")?;
            Ok(ExitCode::from(USAGE))
        }
        Err(error) => Err(error.into()),
    }
}

/// The line for the users file.
fn line(args: &Args, password: &str) -> Result<String, Unhashable> {
    let hash = hash_password(password, args.algorithm, args.cost)?;
    Ok(match &args.user {
        Some(user) => format!("{user}:{hash}"),
        None => hash,
    })
}

/// Asks for the password, twice since nobody sees what is typed.
fn ask() -> anyhow::Result<Zeroizing<String>> {
    let prompt = |text| rpassword::prompt_password(text).map(Zeroizing::new).context("cannot read from the terminal");
    let password = prompt("Password: ")?;
    if prompt("Again: ")? != password {
        bail!("the two passwords differ; nothing was printed");
    }
    Ok(password)
}

/// The first line of `input`, without its line break.
fn first_line(input: impl BufRead) -> anyhow::Result<Zeroizing<String>> {
    // One byte more than is possible, and the line break: what is longer is refused as too long.
    let longest = MAX_PASSWORD_BYTES as u64 + 1 + 2;
    let mut line = Zeroizing::new(Vec::with_capacity(longest as usize));
    input.take(longest).read_until(b'\n', &mut line).context("cannot read the password from standard input")?;
    let text = line.strip_suffix(b"\n").map_or(&**line, |line| line.strip_suffix(b"\r").unwrap_or(line));
    Ok(Zeroizing::new(str::from_utf8(text).context("the password is not UTF-8")?.to_owned()))
}

fn name(name: &str) -> Result<String, String> {
    check_name(name).map(|()| name.to_owned()).map_err(|fault| fault.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use clap::{Args as _, Command, FromArgMatches};

    use super::*;
    use crate::{
        auth::basic::{Credentials, Users},
        config,
    };

    fn parse(args: &[&str]) -> Result<Args, clap::Error> {
        let command = Args::augment_args(Command::new("hash-password")).no_binary_name(true);
        Args::from_arg_matches(&command.try_get_matches_from(args)?)
    }

    #[test]
    fn the_line_is_one_that_a_users_file_takes() {
        for (algorithm, cost) in Algorithm::NAMES.iter().zip(["4", "1", "1000"]) {
            let args = parse(&["--user", "älice", "--algorithm", algorithm, "--cost", cost]).unwrap();
            let line = line(&args, "correct horse").unwrap();
            let folder = tempfile::tempdir().unwrap();
            let users_file = folder.path().join("users");
            std::fs::write(&users_file, line).unwrap();
            let users = Users::load(&config::Basic {
                users_file,
                groups_file: None,
                realm: String::new(),
                prompt: config::Prompt::Always,
                failures: config::Failures::default(),
            })
            .unwrap();
            assert_eq!(users.warnings(), []);
            let run = |password| users.check(Credentials::new("älice", password).unwrap()).run();
            assert_eq!(run("correct hors"), None);
            assert_eq!(&*run("correct horse").unwrap().name, "älice");
        }
    }

    #[test]
    fn without_a_user_only_the_hash_is_printed() {
        let line = line(&parse(&["--cost", "4"]).unwrap(), "correct horse").unwrap();
        assert!(line.starts_with("$2y$04$"), "bcrypt is the default");
    }

    #[test]
    fn names_that_no_users_file_takes_are_bad_usage() {
        for (name, told) in [("a:b", "colon"), ("", "empty"), ("a\nb", "control"), (" a", "blank"), ("#a", "comment")] {
            let error = parse(&["--user", name]).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        assert!(parse(&["--algorithm", "md5"]).unwrap_err().to_string().contains("sha512-crypt"));
    }

    #[test]
    fn the_costs_in_the_help_are_those_in_force() {
        let help = Args::augment_args(Command::new("hash-password")).render_long_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        let (_, bcrypt, default) = Algorithm::Bcrypt.cost();
        for told in [
            format!("bcrypt {} to {} (default {default};", bcrypt.start(), bcrypt.end()),
            format!("19 MiB (default {})", Algorithm::Argon2id.cost().2),
            format!("rounds (default {})", Algorithm::Sha512Crypt.cost().2),
        ] {
            assert!(help.contains(&told), "{told} is missing in: {help}");
        }
    }

    #[test]
    fn the_first_line_of_the_input_is_the_password() {
        let read = |text: &[u8]| first_line(text).map(|line| line.to_string()).map_err(|error| error.to_string());
        for text in ["correct horse", "correct horse\n", "correct horse\r\n", "correct horse\nmore\n"] {
            assert_eq!(read(text.as_bytes()), Ok("correct horse".to_owned()), "{text:?}");
        }
        assert_eq!(read(b" two  blanks "), Ok(" two  blanks ".to_owned()));
        assert_eq!(read(b""), Ok(String::new()));
        assert_eq!(read(b"a\xff\n"), Err("the password is not UTF-8".to_owned()));
        let long = read(&[b'p'; 1 << 20]).unwrap();
        let args = parse(&["--algorithm", "argon2id"]).unwrap();
        assert!(matches!(line(&args, &long), Err(Unhashable::TooLong { .. })));
    }
}
