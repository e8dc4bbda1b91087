//! The cases, read from `tests/corpus/*.yaml`. That folder's README says what each field means.

use serde::Deserialize;

use super::Expected;
use crate::support::{bytes, entries};

/// The version of HTTP that a case is sent over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Version {
    H1,
    H2,
}

/// One case.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) why: String,
    pub(super) input: Input,
    expect: Expect,
    only: Option<Only>,
    /// Variables of the app in which something of the client's may arrive.
    pub(super) arrives: Vec<String>,
    /// The app's own parser may refuse it: it need not see what was forwarded.
    pub(super) app_may_refuse: bool,
    /// The client breaks it off, or the message is broken after its head: the app may or may not have seen it.
    pub(super) broken_off: bool,
}

/// What is sent.
#[derive(Debug)]
pub(super) enum Input {
    /// A method, a target and header lines, for either version.
    Request { method: Vec<u8>, target: Vec<u8>, lines: Vec<Vec<u8>> },
    /// The bytes of an HTTP/1 connection, with placeholders.
    Bytes(String),
    /// The fields of an HTTP/2 request, its body and its trailers.
    Fields { fields: Vec<(Vec<u8>, Vec<u8>)>, body: Option<Vec<u8>>, trailers: Vec<(Vec<u8>, Vec<u8>)> },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    why: String,
    method: Option<String>,
    target: Option<String>,
    lines: Option<Vec<String>>,
    bytes: Option<String>,
    fields: Option<Vec<(String, String)>>,
    body: Option<String>,
    #[serde(default)]
    trailers: Vec<(String, String)>,
    expect: Expect,
    only: Option<Only>,
    #[serde(default)]
    arrives: Vec<String>,
    #[serde(default)]
    app_may_refuse: bool,
    #[serde(default)]
    broken_off: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Expect {
    Same(Expected),
    Each { h1: Expected, h2: Expected },
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Only {
    H1,
    H2,
}

/// All cases of all files.
pub(super) fn load() -> Vec<Case> {
    let files = ["targets", "headers", "streams", "fields"];
    files.iter().flat_map(|name| entries::<Entry>(name)).map(Case::from).collect()
}

impl Case {
    /// The versions that it is sent over.
    pub(super) fn versions(&self) -> impl Iterator<Item = Version> + use<> {
        let possible = match self.input {
            Input::Request { .. } => [Some(Version::H1), Some(Version::H2)],
            Input::Bytes(_) => [Some(Version::H1), None],
            Input::Fields { .. } => [None, Some(Version::H2)],
        };
        let only = self.only;
        possible.into_iter().flatten().filter(move |version| match only {
            None => true,
            Some(Only::H1) => *version == Version::H1,
            Some(Only::H2) => *version == Version::H2,
        })
    }

    /// What the client sees over this version.
    pub(super) fn expected(&self, version: Version) -> &Expected {
        match (&self.expect, version) {
            (Expect::Same(expected), _)
            | (Expect::Each { h1: expected, .. }, Version::H1)
            | (Expect::Each { h2: expected, .. }, Version::H2) => expected,
        }
    }

    /// Whether it plays with where messages end, so that somebody else has to be asked about afterwards.
    pub(super) fn may_break_connections(&self) -> bool {
        !matches!(self.input, Input::Request { .. })
    }
}

impl From<Entry> for Case {
    fn from(entry: Entry) -> Self {
        let Entry { name, why, expect, only, arrives, app_may_refuse, broken_off, .. } = entry;
        let pairs = |pairs: Vec<(String, String)>| pairs.iter().map(|(n, v)| (bytes(n), bytes(v))).collect();
        let input = match (entry.bytes, entry.fields) {
            (Some(text), None) => Input::Bytes(text),
            (None, Some(fields)) => Input::Fields {
                fields: pairs(fields),
                body: entry.body.as_deref().map(bytes),
                trailers: pairs(entry.trailers),
            },
            (None, None) => Input::Request {
                method: bytes(entry.method.as_deref().unwrap_or("GET")),
                target: bytes(entry.target.as_deref().unwrap_or("/public/x")),
                lines: entry.lines.unwrap_or_default().iter().map(|line| bytes(line)).collect(),
            },
            (Some(_), Some(_)) => panic!("{name}: either bytes or fields"),
        };
        Self { name, why, input, expect, only, arrives, app_may_refuse, broken_off }
    }
}
