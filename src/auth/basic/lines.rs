//! What the users file and the groups file have in common: they are read once, line by line.

use std::path::Path;

use super::credentials::MAX_NAME_BYTES;
use crate::config::{Problem, Problems};

/// The problems of one file that are told one by one.
const MAX_PROBLEMS: usize = 20;

/// What is wrong with a line, and what to do about it. It repeats nothing of a hash.
#[derive(Debug, Eq, PartialEq)]
pub struct Fault {
    what: String,
    remedy: &'static str,
}

impl Fault {
    pub(super) fn new(what: impl Into<String>, remedy: &'static str) -> Self {
        Self { what: what.into(), remedy }
    }

    pub(super) fn at(self, place: String) -> Problem {
        Problem::new(place, self.what, self.remedy)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

impl std::error::Error for Fault {}

/// Whether a user may have this name: it fits on a line of a users file, and a client can send it.
///
/// # Errors
/// Says why not.
pub fn check_name(name: &str) -> Result<(), Fault> {
    let what = match name {
        "" => "the name is empty",
        _ if name.len() > MAX_NAME_BYTES => "the name is longer than 255 bytes",
        _ if name.contains(':') => "the name contains a colon",
        _ if name.chars().any(char::is_control) => "the name contains a control character",
        _ if name.trim() != name => "the name begins or ends with a blank",
        _ if name.starts_with('#') => "the name begins with `#`, which makes its line a comment",
        _ => return Ok(()),
    };
    Err(Fault::new(what, "give the user another name"))
}

/// The lines that say something (not blank, no comment) with their numbers, counted from 1. `longest` is in bytes.
pub(super) fn lines(content: &[u8], longest: usize) -> impl Iterator<Item = (usize, Result<&str, Fault>)> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    content.split(|byte| *byte == b'\n').enumerate().filter_map(move |(index, line)| {
        let (number, line) = (index + 1, line.trim_ascii_end());
        if line.is_empty() || line.starts_with(b"#") {
            return None;
        }
        if line.len() > longest {
            return Some((
                number,
                Err(Fault::new(format!("the line is longer than {longest} bytes"), "split or remove it")),
            ));
        }
        Some((number, str::from_utf8(line).map_err(|_| Fault::new("the line is not UTF-8", "save the file as UTF-8"))))
    })
}

/// The problems of one file. A file of another kind has one on every line, so after the first few they are counted.
pub(super) struct Findings<'a> {
    path: &'a Path,
    problems: Problems,
    count: usize,
}

impl<'a> Findings<'a> {
    pub(super) fn new(path: &'a Path) -> Self {
        Self { path, problems: Problems::default(), count: 0 }
    }

    /// Where a line is.
    pub(super) fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }

    /// Keeps the value of an `Ok`, and notes an `Err`.
    pub(super) fn keep<T>(&mut self, line: usize, result: Result<T, Fault>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(fault) => {
                self.count += 1;
                if self.count <= MAX_PROBLEMS {
                    self.problems.push(fault.at(self.place(line)));
                }
                None
            }
        }
    }

    /// Notes what is wrong with the file as a whole, if nothing is wrong with a line.
    pub(super) fn note(&mut self, fault: Fault) {
        if self.problems.is_empty() {
            self.problems.push(fault.at(self.path.display().to_string()));
        }
    }

    /// `Ok(value)` when nothing was found.
    pub(super) fn or<T>(mut self, value: T) -> Result<T, Problems> {
        if let Some(more @ 1..) = self.count.checked_sub(MAX_PROBLEMS) {
            let what = format!("{more} more broken lines");
            self.problems.push(Problem::new(self.path.display().to_string(), what, "is it the file that you meant?"));
        }
        self.problems.or(value)
    }
}
