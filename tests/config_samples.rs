//! The sample configurations load, and the reference one shows every key with its default.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use serde_json::Value;
use sidegate::config::{self, Config, Source};

#[test]
fn every_sample_loads() {
    let mut seen = 0;
    for entry in std::fs::read_dir(samples()).unwrap() {
        let path = entry.unwrap().path();
        config::load(&Source { file: Some(path.clone()), ..Source::default() })
            .unwrap_or_else(|problems| panic!("{problems}"));
        seen += 1;
    }
    assert!(seen >= 4);
}

#[test]
fn the_reference_shows_the_defaults() {
    let reference = load("reference.yaml");
    // What has no default, and nothing else.
    let smallest = "
listen: { tls: { certificate: /etc/sidegate/tls/tls.crt, key: /etc/sidegate/tls/tls.key } }
auth:
  jwt: [{ name: corp, issuer: https://login.example.com/, audiences: [orders], keys: { file: /etc/sidegate/jwks.json } }]
  basic: { users_file: /etc/sidegate/users/users }
rules:
  - { name: health, path: /healthz, methods: [GET, HEAD], allow: anyone }
  - name: admin
    path: /admin/**
    allow: { users: [alice], groups: [admin], claims: { department: it, scope: orders:write } }
  - { name: everyone-else, path: /**, allow: authenticated }
";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("smallest.yaml");
    std::fs::write(&file, smallest).unwrap();
    let smallest = config::load(&Source { file: Some(file), ..Source::default() }).unwrap().config;
    assert_eq!(config::render(&reference).unwrap(), config::render(&smallest).unwrap());
}

#[test]
fn the_reference_shows_every_key() {
    let text = std::fs::read_to_string(samples().join("reference.yaml")).unwrap();
    let written: Value = serde_saphyr::from_str(&text).unwrap();
    let all = serde_json::to_value(load("reference.yaml")).unwrap();
    for key in leaves(&all) {
        assert!(written.pointer(&key).is_some(), "{key} is not in the reference");
    }
}

#[test]
fn the_environment_can_set_every_key() {
    let reference = load("reference.yaml");
    let all = serde_json::to_value(&reference).unwrap();
    let environment = settings(&all).into_iter().map(|(name, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (name.into(), value.into())
    });
    let environment = environment.collect::<Vec<_>>();
    assert!(environment.len() > 30, "{environment:?}");
    let loaded =
        config::load(&Source { environment, ..Source::default() }).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.file, None);
    assert_eq!(config::render(&loaded.config).unwrap(), config::render(&reference).unwrap());
}

#[test]
fn what_is_rendered_loads_as_the_same() {
    let directory = tempfile::tempdir().unwrap();
    for sample in ["reference.yaml", "legacy-app.yaml", "microservice.yaml", "development.yaml"] {
        let rendered = config::render(&load(sample)).unwrap();
        let file = directory.path().join(sample);
        std::fs::write(&file, &rendered).unwrap();
        let again = config::load(&Source { file: Some(file), ..Source::default() })
            .unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(config::render(&again.config).unwrap(), rendered);
    }
}

fn samples() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config"))
}

fn load(sample: &str) -> Config {
    let source = Source { file: Some(samples().join(sample)), ..Source::default() };
    config::load(&source).unwrap_or_else(|problems| panic!("{problems}")).config
}

/// The JSON pointer of each value in `value` that holds no other.
fn leaves(value: &Value) -> Vec<String> {
    let below = |name: &str, value: &Value| -> Vec<_> {
        leaves(value).into_iter().map(|key| format!("/{name}{key}")).collect()
    };
    if let Some(map) = value.as_object().filter(|map| !map.is_empty()) {
        return map.iter().flat_map(|(name, value)| below(name, value)).collect();
    }
    if let Some(list) = value.as_array().filter(|list| !list.is_empty()) {
        return list.iter().enumerate().flat_map(|(i, value)| below(&i.to_string(), value)).collect();
    }
    vec![String::new()]
}

/// The variable for each key that holds no other keys of the schema: lists, and maps whose keys the operator makes
/// up, are set as a whole.
fn settings(value: &Value) -> Vec<(String, Value)> {
    fn walk(prefix: &str, value: &Value, all: &mut Vec<(String, Value)>) {
        let Some(map) = value.as_object().filter(|_| !prefix.ends_with("HEADERS")) else {
            return all.push((prefix.to_owned(), value.clone()));
        };
        for (name, value) in map {
            walk(&format!("{prefix}__{}", name.to_uppercase()), value, all);
        }
    }
    let mut all = Vec::new();
    walk("SIDEGATE", value, &mut all);
    all
}
