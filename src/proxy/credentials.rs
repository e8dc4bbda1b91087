//! What the app sees in place of the credentials that a request came with, by the rule that let it through.

use std::path::Path;

use http::HeaderValue;

use crate::config::{self, Config, ForwardCredentials, Problem, Problems};

/// The longest value: what is longer is the wrong file, and no app takes it.
const MAX_VALUE: usize = 8 * 1024;

/// What the app sees of the credentials, by the places of the rules.
#[derive(Clone, Debug)]
pub struct Credentials(Vec<Shown>);

/// What the app sees of the credentials.
#[derive(Clone, Debug)]
pub enum Shown {
    /// Nothing.
    Nothing,
    /// What the client sent.
    AsSent,
    /// The signed identity, of callers whom we know.
    Assertion,
    /// This value of `Authorization`, whoever calls.
    Fixed(HeaderValue),
}

impl Credentials {
    /// Reads the files that are named.
    ///
    /// # Errors
    /// Those that cannot be read, or hold no value of `Authorization`.
    pub fn load(config: &Config) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut shown = Vec::with_capacity(config.rules.len());
        for (i, rule) in config.rules.iter().enumerate() {
            let section =
                if rule.forward_credentials.is_some() { format!("rules[{i}]") } else { "identity".to_owned() };
            match Shown::of(rule.forwarding(&config.identity), &section) {
                Ok(one) => shown.push(one),
                // The file that all rules share is wrong once.
                Err(problem) if problems.iter().any(|known| *known == problem) => {}
                Err(problem) => problems.push(problem),
            }
        }
        problems.or(Self(shown))
    }

    /// What the app sees of a request that this rule let through. Without a rule there is nothing to see.
    pub(super) fn shown(&self, rule: Option<usize>) -> &Shown {
        rule.and_then(|rule| self.0.get(rule)).unwrap_or(&Shown::Nothing)
    }
}

impl Shown {
    fn of(config: &ForwardCredentials, section: &str) -> Result<Self, Problem> {
        Ok(match config {
            ForwardCredentials::No => Self::Nothing,
            ForwardCredentials::Yes => Self::AsSent,
            ForwardCredentials::Signed => Self::Assertion,
            ForwardCredentials::File(path) => Self::Fixed(read(path, &format!("{section}.forward_credentials.file"))?),
        })
    }
}

/// The value of `Authorization` in a file of one line.
fn read(path: &Path, key: &str) -> Result<HeaderValue, Problem> {
    const REMEDY: &str = "it must hold one line, like `Bearer TOKEN` or `Basic BASE64`";
    let bytes = config::read(path, key)?;
    let text = bytes.trim_ascii_end();
    let is_line = text.iter().all(|byte| matches!(byte, b' '..=b'~'));
    let has_scheme = text.iter().position(|byte| *byte == b' ').is_some_and(|space| space > 0);
    let value = match HeaderValue::from_bytes(text) {
        _ if text.is_empty() => Err("the file is empty"),
        _ if text.len() > MAX_VALUE => Err("the value is longer than 8 KiB"),
        _ if text.contains(&b'\n') => Err("there is more than one line in the file"),
        Ok(value) if is_line && has_scheme => Ok(value),
        Ok(_) if is_line => Err("the file does not begin with the name of a scheme and a space"),
        Ok(_) | Err(_) => Err("there are characters in the file that a header cannot carry"),
    };
    let mut value = value.map_err(|what| Problem::new(path.display().to_string(), what, REMEDY))?;
    value.set_sensitive(true);
    Ok(value)
}
