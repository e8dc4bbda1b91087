//! What the documents say is what there is: reasons, metrics, log fields, commands, configurations and links.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;
use sidegate::{
    config::{self, Source},
    reason::Reason,
};

use crate::support::{Issuer, JwksServer, Recorder, Sidegate, Users, command};

#[test]
fn every_reason_is_documented_with_its_status_and_no_other() {
    let documented = table("docs/reasons.md", |cells| (cells[0].clone(), cells[1].clone()));
    let known: BTreeMap<_, _> =
        Reason::ALL.iter().map(|reason| (reason.code().to_owned(), reason.status().as_str().to_owned())).collect();
    assert_eq!(documented, known);
}

#[test]
fn every_metric_is_documented_with_its_type_and_labels_and_no_other() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let keys = JwksServer::start();
    keys.publish(&issuer.jwks());
    let sidegate = Sidegate::before(&app)
        .remote("corp", &issuer.name, json!({ "url": keys.url("/jwks") }))
        .remote("cluster", "https://cluster.test/", json!({ "token_review": true, "url": keys.url("/nothing") }))
        .users(&Users::one("alice", "correct-horse"))
        .start();
    sidegate.wait_until_ready();
    assert_eq!(sidegate.curl("/").bearer(&issuer.token("bob")).send().status, 200);
    // Families that have counted nothing are not shown.
    let of_the_cluster = issuer.token_with("bob", json!({ "iss": "https://cluster.test/" }));
    sidegate.get_with_token(&of_the_cluster).assert_refused(503, "review_unavailable");
    sidegate.wire().send("nonsense\r\n\r\n").answer_or_end();
    sidegate.wait_for_metric_above("sidegate_connection_errors_total", &[], 0.0);
    sidegate.wait_for_metric_above("sidegate_requests_total", &[], 0.0);

    let scrape = sidegate.ask_admin("/metrics").text();
    let types = scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let exposed: BTreeMap<_, _> =
        types.map(|(name, kind)| (name.to_owned(), (kind.to_owned(), labels(&scrape, name)))).collect();
    let documented = table("docs/metrics.md", |cells| {
        (cells[0].clone(), (cells[1].clone(), cells.get(2).map(|cell| names(cell)).unwrap_or_default()))
    });
    let documented: BTreeMap<_, _> = documented.into_iter().filter(|(name, _)| name.starts_with("sidegate_")).collect();
    assert_eq!(documented, exposed);
}

#[test]
fn every_field_of_the_access_log_is_documented_and_no_other() {
    let app = Recorder::start();
    let sidegate = Sidegate::before(&app).users(&Users::one("alice", "correct-horse")).start();
    sidegate.get("/", &[]);
    let log = sidegate.access_log(1);
    let written: BTreeSet<_> = log[0].as_object().unwrap().keys().cloned().collect();
    let documented = table("docs/metrics.md", |cells| (cells[0].clone(), ()));
    let documented: BTreeSet<_> = documented.into_keys().filter(|name| !name.starts_with("sidegate_")).collect();
    assert_eq!(documented, written);
}

#[test]
fn the_readme_names_every_command_and_no_other() {
    let help = command(&["--help"], "").succeeded().to_owned();
    let listed = help.split_once("Commands:").unwrap().1.split_once("Options:").unwrap().0;
    let known: BTreeSet<_> = listed
        .lines()
        .filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' '))?.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    let readme = read(Path::new("README.md"));
    let code = code(&readme);
    let words = code.iter().flat_map(|text| {
        let after = |start: &'static str| text.split(start).skip(1).filter_map(|rest| rest.split_whitespace().next());
        after("sidegate ").chain(after("cargo run --release -- "))
    });
    let named: BTreeSet<_> = words
        .map(|word| word.trim_end_matches(|c: char| !c.is_ascii_lowercase()))
        .filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect();
    assert_eq!(named, known);
}

#[test]
fn the_configurations_in_the_readme_load() {
    let readme = read(Path::new("README.md"));
    let mut seen = 0;
    for block in readme.split("```yaml\n").skip(1) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("sidegate.yaml");
        fs::write(&file, block.split("```").next().unwrap()).unwrap();
        config::load(&Source { file: Some(file), ..Source::default() }).unwrap_or_else(|problems| panic!("{problems}"));
        seen += 1;
    }
    assert!(seen > 0);
}

#[test]
fn every_link_leads_somewhere() {
    let mut seen = 0;
    for document in documents() {
        let text = read(&document);
        for target in targets(&text).filter(|target| !target.contains("://")) {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { document.clone() } else { document.parent().unwrap().join(path) };
            assert!(root().join(&file).exists(), "{}: {target} does not exist", document.display());
            let found = anchor.is_empty() || anchors(&read(&file)).contains(anchor);
            assert!(found, "{}: {target} is no heading", document.display());
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &Path) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The documents, relative to the root.
fn documents() -> Vec<PathBuf> {
    let below = |directory: &str| {
        let entries = fs::read_dir(root().join(directory)).unwrap();
        let directory = directory.to_owned();
        entries.map(move |entry| Path::new(&directory).join(entry.unwrap().file_name()))
    };
    let all = below("").chain(below("docs")).chain(below("k8s"));
    all.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// The rows of a document's tables whose first cell is code, as what `entry` makes of their cells without backticks.
fn table<V>(file: &str, entry: impl Fn(&[String]) -> (String, V)) -> BTreeMap<String, V> {
    let text = read(Path::new(file));
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let mut entries = BTreeMap::new();
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let (name, value) = entry(&cells);
        assert!(entries.insert(name, value).is_none(), "{file} has two rows for {}", cells[0]);
    }
    entries
}

/// The names in a cell, which commas separate.
fn names(cell: &str) -> BTreeSet<String> {
    cell.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// The labels of a metric, but for the one that every histogram has.
fn labels(scrape: &str, name: &str) -> BTreeSet<String> {
    let series = scrape.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.split_once('}'));
    let labels = series.flat_map(|(labels, _)| labels.split("\","));
    labels.filter_map(|label| Some(label.split_once('=')?.0.to_owned())).collect()
}

/// The code of a document without comments: its blocks line by line, and its inline spans.
fn code(text: &str) -> Vec<&str> {
    let parts = text.split("```").enumerate();
    parts
        .flat_map(|(i, part)| if i % 2 == 1 { part.lines().skip(1).collect() } else { spans(part) })
        .filter_map(|code| code.split("# ").next())
        .collect()
}

fn spans(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// What a document's links and pictures point to.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|part| {
        let after =
            |start: &'static str, end: char| part.split(start).skip(1).filter_map(move |rest| rest.split(end).next());
        after("](", ')').chain(after("src=\"", '"')).chain(after("srcset=\"", '"'))
    })
}

/// The anchors that a code-hosting site makes of a document's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let prose = text.split("```").step_by(2);
    let headings = prose.flat_map(str::lines).filter(|line| line.starts_with('#'));
    let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    let anchor =
        |heading: &str| heading.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect::<String>();
    headings.map(|heading| anchor(heading).replace(' ', "-")).collect()
}
