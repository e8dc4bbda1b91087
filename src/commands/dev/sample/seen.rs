//! What the sample app sees of a request: its line and its headers, and nothing else.

use http::{HeaderMap, request};
use serde::Serialize;
use serde_json::{Map, Value};

/// A request as an app sees it. Text is as it came, and not to be trusted with markup.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) path: String,
    pub(super) headers: Vec<Header>,
    /// The length of the body, in bytes.
    pub(super) body: usize,
}

#[derive(Debug)]
pub(super) struct Header {
    /// As HTTP/1.1 has long written it: `X-Forwarded-User`.
    pub(super) name: String,
    pub(super) value: String,
    /// What it says, where it is sidegate that says it.
    pub(super) meaning: Option<&'static str>,
}

/// The headers that sidegate sets itself, whatever the client sent.
const FROM_SIDEGATE: [(&str, &str); 9] = [
    ("X-Forwarded-User", "who is calling: the token’s sub, or the name that the password belongs to"),
    ("X-Forwarded-Email", "the token’s email"),
    ("X-Forwarded-Groups", "the token’s groups, or those of the groups file"),
    ("X-Forwarded-Preferred-Username", "the token’s preferred_username"),
    ("X-Forwarded-For", "the address that the request came from"),
    ("X-Forwarded-Host", "the name that the client asked for"),
    ("X-Forwarded-Port", "the port that the client asked for"),
    ("X-Forwarded-Proto", "whether the client’s connection was encrypted"),
    ("X-Request-Id", "the same as in sidegate’s log"),
];

impl Seen {
    pub(super) fn new(parts: &request::Parts, body: usize) -> Self {
        let uri = &parts.uri;
        let target = uri.path_and_query().map_or_else(|| uri.path(), http::uri::PathAndQuery::as_str);
        Self {
            method: parts.method.to_string(),
            target: target.to_owned(),
            path: uri.path().to_owned(),
            headers: headers(&parts.headers),
            body,
        }
    }

    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.name == name).map(|header| header.value.as_str())
    }

    /// Who is calling, where sidegate says so.
    pub(super) fn user(&self) -> Option<&str> {
        self.header("X-Forwarded-User")
    }

    /// The headers that sidegate sets, or those that it does not.
    pub(super) fn told_by_sidegate(&self, ours: bool) -> impl Iterator<Item = &Header> {
        self.headers.iter().filter(move |header| header.meaning.is_some() == ours)
    }

    /// For a person at a terminal, and for a program.
    pub(super) fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Answer<'a> {
            hello: &'a str,
            user: Option<&'a str>,
            email: Option<&'a str>,
            groups: Vec<&'a str>,
            request: Line<'a>,
            /// Told apart by who says so.
            set_by_sidegate: Map<String, Value>,
            sent_by_the_client: Map<String, Value>,
        }
        #[derive(Serialize)]
        struct Line<'a> {
            method: &'a str,
            target: &'a str,
            scheme: Option<&'a str>,
            client: Option<&'a str>,
            body_bytes: usize,
        }
        let told = |ours: bool| {
            let headers = self.told_by_sidegate(ours);
            headers.map(|header| (header.name.clone(), Value::from(header.value.as_str()))).collect()
        };
        let groups = self.header("X-Forwarded-Groups").map(|groups| groups.split(',').collect());
        let answer = Answer {
            hello: self.user().unwrap_or("whoever you are"),
            user: self.user(),
            email: self.header("X-Forwarded-Email"),
            groups: groups.unwrap_or_default(),
            request: Line {
                method: &self.method,
                target: &self.target,
                scheme: self.header("X-Forwarded-Proto"),
                client: self.header("X-Forwarded-For"),
                body_bytes: self.body,
            },
            set_by_sidegate: told(true),
            sent_by_the_client: told(false),
        };
        // Strings have a JSON form, all of them.
        serde_json::to_string_pretty(&answer).unwrap_or_default() + "\n"
    }
}

/// The headers, sidegate's first, repeated ones in one line.
fn headers(all: &HeaderMap) -> Vec<Header> {
    let mut headers: Vec<Header> = Vec::new();
    for name in all.keys() {
        let values: Vec<_> = all.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        let name = capitalised(name.as_str());
        let meaning = FROM_SIDEGATE.iter().find(|(ours, _)| *ours == name).map(|(_, meaning)| *meaning);
        headers.push(Header { name, value: values.join(", "), meaning });
    }
    let rank = |header: &Header| FROM_SIDEGATE.iter().position(|(name, _)| *name == header.name).unwrap_or(usize::MAX);
    headers.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.name.cmp(&b.name)));
    headers
}

fn capitalised(name: &str) -> String {
    let word = |word: &str| {
        let mut characters = word.chars();
        characters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(characters).collect::<String>()
    };
    name.split('-').map(word).collect::<Vec<_>>().join("-")
}
