//! Reads the layers that set values (a file, the environment, flags) and merges them.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use figment::{
    Figment, Metadata, Profile, Provider,
    providers::{Format, Toml},
    value::{Dict, Map, Value},
};

use super::{
    Problem,
    file::read_up_to,
    findings::Finding,
    place::{PREFIX, Place, Places},
    yaml::{self, Document},
};

/// The variable that names the file.
const FILE_VARIABLE: &str = "SIDEGATE_CONFIG";
/// Where the file is when nothing names another.
const DEFAULT_FILE: &str = "/etc/sidegate/sidegate.yaml";
/// No file written by people is larger, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// No key is longer, in names.
const MAX_NAMES: usize = 16;

/// What a configuration is loaded from. Later ones win: defaults, file, environment, flags.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The file, when a flag names it. Else `SIDEGATE_CONFIG` of `environment` does.
    pub file: Option<PathBuf>,
    /// The environment. `SIDEGATE__LISTEN__ADDRESS` sets `listen.address`; a list or a map is written as YAML.
    pub environment: Vec<(OsString, OsString)>,
    /// What flags set.
    pub overrides: Vec<Override>,
}

impl Source {
    /// The `file` that a flag names, and the environment of this process.
    pub fn new(file: Option<PathBuf>) -> Self {
        Self { file, environment: env::vars_os().collect(), overrides: Vec::new() }
    }
}

/// A key that a flag sets.
#[derive(Clone, Debug)]
pub struct Override {
    /// The flag, as it is typed: `--upstream`.
    pub flag: String,
    /// The key: `upstream.address`.
    pub key: String,
    /// The value, written as in the environment.
    pub value: String,
}

/// The values of all layers, merged.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) root: Value,
    pub(super) places: Places,
    pub(super) file: Option<PathBuf>,
    /// What is wrong in a layer, but does not keep the rest from being read.
    pub(super) findings: Vec<(Place, Finding)>,
}

impl Layers {
    /// Reads and merges the layers of `source`.
    ///
    /// # Errors
    /// The file cannot be read. Without it most of what could be said about the rest would mislead.
    pub(super) fn merge(source: &Source) -> Result<Self, Problem> {
        let mut findings = Vec::new();
        let mut figment = Figment::new();
        let mut lines = BTreeMap::new();
        let settings = settings(source, &mut findings);
        let file = file(source, settings.is_empty());
        if let Some((path, named_by)) = &file {
            let document = read(path, named_by)?;
            let values = match document.value {
                Some(Value::Dict(_, values)) => values,
                None | Some(Value::Empty(..)) => {
                    return Err(Problem::new(*named_by, format!("{} says nothing", path.display()), ""));
                }
                Some(_) => return Err(at(path, 1).problem(Finding::new("", "this must be a map of keys", ""))),
            };
            figment = figment.merge(Layer { source: path.as_path().into(), values });
            findings.extend(document.findings.into_iter().map(|(line, finding)| (at(path, line), finding)));
            lines = document.lines;
        }
        for (name, values) in settings {
            figment = figment.merge(Layer { source: name.into(), values });
        }
        // The empty path is the whole.
        let root = figment.find_value("").map_err(|error| Problem::new("configuration", error.to_string(), ""))?;
        let file = file.map(|(path, _)| path);
        let places = Places::new(&root, &figment, file.as_deref(), &lines);
        Ok(Self { root, places, file, findings })
    }
}

/// What one file, variable or flag says.
struct Layer {
    source: figment::Source,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::from("", self.source.clone())
    }

    fn data(&self) -> figment::error::Result<Map<Profile, Dict>> {
        let mut values = self.values.clone();
        // The shorthand is resolved here: merged as it is, the text of one layer and the map of another would
        // replace each other.
        if let Some(address) = values.remove("upstream") {
            let whole = matches!(address, Value::Dict(..) | Value::Empty(..));
            let upstream = if whole { address } else { Dict::from([("address".to_owned(), address)]).into() };
            values.insert("upstream".to_owned(), upstream);
        }
        Ok(Profile::Default.collect(values))
    }
}

/// The file to read, and what names it. There need be none, when nothing names one and there are other settings.
fn file(source: &Source, needed: bool) -> Option<(PathBuf, &'static str)> {
    if let Some(path) = &source.file {
        return Some((path.clone(), "--config"));
    }
    if let Some((_, path)) = source.environment.iter().find(|(name, path)| name == FILE_VARIABLE && !path.is_empty()) {
        return Some((path.into(), FILE_VARIABLE));
    }
    let default = Path::new(DEFAULT_FILE);
    (needed || default.exists()).then(|| (default.to_owned(), "configuration"))
}

/// Reads the file at `path`, which `named_by` names.
fn read(path: &Path, named_by: &str) -> Result<Document, Problem> {
    let content = read_up_to(path, named_by, MAX_FILE).map_err(|problem| match problem.remedy.as_str() {
        "" => Problem { remedy: format!("name another with --config or {FILE_VARIABLE}"), ..problem },
        _ => problem,
    })?;
    let fault = |(line, finding)| at(path, line).problem(finding);
    let text = str::from_utf8(&content).map_err(|error| {
        let line = 1 + content[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        fault((line, Finding::new("", "this is not UTF-8", "save the file as UTF-8")))
    })?;
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml")) {
        toml(text).map_err(fault)
    } else {
        yaml::parse(text).map_err(fault)
    }
}

fn toml(text: &str) -> Result<Document, (usize, Finding)> {
    let value = Toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = 1 + before.matches('\n').count();
        (line, Finding::new("", format!("this is not TOML: {}", error.message()), ""))
    })?;
    Ok(Document { value: Some(value), ..Document::default() })
}

fn at(path: &Path, line: usize) -> Place {
    Place::File(path.to_owned(), Some(line))
}

/// What each variable and each flag sets, in the order in which later ones win.
fn settings(source: &Source, findings: &mut Vec<(Place, Finding)>) -> Vec<(String, Dict)> {
    let variables = source.environment.iter().filter_map(|(name, value)| {
        let name = name.to_string_lossy().into_owned();
        let key = name.to_lowercase().strip_prefix(&PREFIX.to_lowercase())?.to_owned();
        Some((name, key, value.to_str()))
    });
    // The longer name is the more specific one.
    let mut variables = variables.collect::<Vec<_>>();
    variables.sort();
    let variables = variables.into_iter().map(|(name, key, value)| (name, names(&key, "__"), value));
    let flags = source.overrides.iter().map(|set| (set.flag.clone(), names(&set.key, "."), Some(set.value.as_str())));
    let mut settings = Vec::new();
    for (name, names, value) in variables.chain(flags) {
        match setting(names, value) {
            Ok(values) => settings.push((name, values)),
            Err(finding) => findings.push((Place::named(&name), finding)),
        }
    }
    settings
}

fn names(key: &str, separator: &str) -> Vec<String> {
    key.split(separator).map(str::to_owned).collect()
}

fn setting(mut names: Vec<String>, value: Option<&str>) -> Result<Dict, Finding> {
    let Some(text) = value else { return Err(Finding::new("", "the value is not UTF-8", "")) };
    if names.len() > MAX_NAMES || names.iter().any(String::is_empty) {
        return Err(Finding::new("", "this names no key", format!("write it like {PREFIX}LISTEN__ADDRESS")));
    }
    // What cannot be YAML for a list, a map or a text in quotes is meant as it is: a realm may contain `: `.
    let value = if text.starts_with(['[', '{', '"', '\'']) {
        let document = yaml::parse(text).map_err(|(_, finding)| finding)?;
        match document.findings.into_iter().next() {
            Some((_, finding)) => return Err(finding),
            None => document.value.unwrap_or_else(|| yaml::scalar("")),
        }
    } else {
        yaml::scalar(text)
    };
    let last = names.pop().unwrap_or_default();
    let innermost = Dict::from([(last, value)]);
    Ok(names.into_iter().rev().fold(innermost, |values, name| Dict::from([(name, values.into())])))
}
