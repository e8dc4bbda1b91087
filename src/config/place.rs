//! Where each key was written, so that what is wrong with it can be found there.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use figment::{Figment, Source, value::Value};

use super::{
    Problem,
    fault::Fault,
    findings::{Finding, element, member, parent},
};

/// Begins the name of every variable that sets a key. Not `SIDEGATE_`: Kubernetes makes `SIDEGATE_SERVICE_HOST` and
/// the like for a Service of that name.
pub(super) const PREFIX: &str = "SIDEGATE__";

/// Where a key was written. In the order in which problems are reported.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Place {
    /// Nowhere: the default applies.
    #[default]
    Nowhere,
    /// In the file, and on which line if that is known.
    File(PathBuf, Option<usize>),
    /// In a variable of the environment.
    Variable(String),
    /// On the command line.
    Flag(String),
}

impl Place {
    /// A variable or a flag.
    pub(super) fn named(name: &str) -> Self {
        if name.to_ascii_uppercase().starts_with(PREFIX) {
            Self::Variable(name.to_owned())
        } else {
            Self::Flag(name.to_owned())
        }
    }

    /// `finding` as it is told to the operator.
    pub(super) fn problem(&self, finding: Finding) -> Problem {
        let Finding { key, what, remedy } = finding;
        let place = match self {
            Self::Nowhere => String::new(),
            Self::File(path, Some(line)) => format!("{}:{line}", path.display()),
            Self::File(path, None) => path.display().to_string(),
            // A variable says its key by its own name.
            Self::Variable(name) if name.eq_ignore_ascii_case(&variable(&key)) => {
                return Problem::new(name, what, remedy);
            }
            Self::Variable(name) | Self::Flag(name) => name.clone(),
        };
        let place = match (place.is_empty(), key.is_empty()) {
            (_, true) => place,
            (true, false) => key,
            (false, false) => format!("{place}: {key}"),
        };
        Problem::new(place, what, remedy)
    }

    /// What is wrong and what to do, in the words of this place.
    pub(super) fn finding(&self, fault: Fault) -> Finding {
        let Fault { mut finding, meant, wants_list, .. } = fault;
        let key = &finding.key;
        match (self, meant) {
            (Self::Variable(name), Some(meant)) if !key.contains('[') => {
                let rest = name.get(variable(key).len()..).unwrap_or_default();
                let meant = variable(&member(parent(key), meant));
                finding.remedy = format!("did you mean `{meant}{rest}`?");
            }
            (_, Some(meant)) => finding.remedy = format!("did you mean `{meant}`?"),
            (Self::Variable(_), None) if wants_list && !key.contains('[') => {
                finding.remedy = format!("set the whole list, in YAML: {}='[…]'", variable(key));
            }
            (_, None) => {}
        }
        finding
    }
}

/// The place of each key.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(BTreeMap<String, Place>);

impl Places {
    /// Notes where everything in `root` comes from, as `figment` knows; `lines` are those of the file.
    pub(super) fn new(root: &Value, figment: &Figment, file: Option<&Path>, lines: &BTreeMap<String, usize>) -> Self {
        let mut places = Self::default();
        places.note(root, "", figment, lines);
        if let Some(path) = file {
            places.0.insert(String::new(), Place::File(path.to_owned(), None));
        }
        places
    }

    fn note(&mut self, value: &Value, key: &str, figment: &Figment, lines: &BTreeMap<String, usize>) {
        match figment.get_metadata(value.tag()).and_then(|metadata| metadata.source.as_ref()) {
            Some(Source::File(path)) => {
                // What a shorthand stands for has no line of its own.
                let line = lines.get(key).or_else(|| lines.get(parent(key)));
                self.0.insert(key.to_owned(), Place::File(path.clone(), line.copied()));
            }
            Some(Source::Custom(name)) => {
                self.0.insert(key.to_owned(), Place::named(name));
            }
            _ => {}
        }
        if let Some(map) = value.as_dict() {
            map.iter().for_each(|(name, value)| self.note(value, &member(key, name), figment, lines));
        }
        if let Some(list) = value.as_array() {
            list.iter().enumerate().for_each(|(i, value)| self.note(value, &element(key, i), figment, lines));
        }
    }

    /// Where `key` was written, or else what holds it.
    pub(super) fn of(&self, mut key: &str) -> Place {
        loop {
            match self.0.get(key) {
                None if !key.is_empty() => key = parent(key),
                place => return place.cloned().unwrap_or_default(),
            }
        }
    }

    /// `problem` with the place of the key that it is at. One that is not at a key of ours stays as it is.
    pub(super) fn locate(&self, problem: Problem) -> Problem {
        let Some(place) = self.0.get(&problem.place).filter(|_| !problem.place.is_empty()) else { return problem };
        place.problem(Finding::new(problem.place, problem.what, problem.remedy))
    }
}

/// The variable that sets `key`.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}
