//! Loading as an operator sees it: what is accepted, what is refused, and where the report points.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;

use super::*;

mod identity;
mod layers;
mod refused;
mod text;
mod tokens;

/// What passes all checks, and lets a test add the one thing that it is about.
const SMALLEST: &str = "listen: { plaintext: true }\nrules: [{ allow: anyone }]\n";

struct Case {
    directory: tempfile::TempDir,
    source: Source,
}

impl Case {
    fn new(name: &str, content: impl AsRef<[u8]>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(name);
        fs::write(&file, content).unwrap();
        Self { directory, source: Source { file: Some(file), ..Source::default() } }
    }

    fn yaml(content: impl AsRef<[u8]>) -> Self {
        Self::new("sidegate.yaml", content)
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.source.environment.push((name.into(), value.into()));
        self
    }

    fn flag(mut self, flag: &str, key: &str, value: &str) -> Self {
        self.source.overrides.push(Override { flag: flag.into(), key: key.into(), value: value.into() });
        self
    }

    #[track_caller]
    fn config(&self) -> Config {
        load(&self.source).unwrap_or_else(|problems| panic!("{problems}")).config
    }

    /// The problems, without the directory of the file.
    #[track_caller]
    fn problems(&self) -> Vec<String> {
        let directory = format!("{}/", self.directory.path().display());
        let problems = load(&self.source).map(|loaded| loaded.config).expect_err("should have been refused");
        problems.iter().map(|problem| problem.to_string().replace(&directory, "")).collect()
    }
}

#[test]
fn all_mistakes_are_reported_at_once_each_on_its_line() {
    let yaml = "\
listen:
  adress: 0.0.0.0:8443
  plaintext: yes
  http2: true
  http2: false
upstream:
  address: ftp://app
  connect_timeout: 1 second
auth:
  jwt:
    - name: corp
      issuer: https://login.example.com/
      algorithms: [HS256, RS265]
      keys: { file: a, pem_file: b }
    - name: corp
      issuer:
      keys: { file: jwks.json }
    - keys: { file: jwks.json }
      audiences: orders
rules:
  - path: admin
    methods: [get]
    alow: authenticated
  - path: /x/**
    methods: [get]
    allow: everyone
  - name: assets
    path: /a//b
    allow: anyone
  - name: assets
    path: /b
    methods: [pots]
    allow: { groups: admin, user: bob }
identity:
  headers: { X_User: sub, Host: sub, X-Mail: e..mail }
limits:
  max_header_bytes: 12
  max_body_bytes: 1MB
  max_headers: 0
log: { level: loud, access: jso }
workers: 1000
";
    let expected = [
        "sidegate.yaml:2: listen.adress: there is no key `adress` here; did you mean `address`?",
        "sidegate.yaml:3: listen.plaintext: this must be true or false, not `yes`",
        "sidegate.yaml:5: listen.http2: `http2` is given a second time; the first is on line 4; keep one of them",
        "sidegate.yaml:7: upstream.address: `ftp://app` is not an address like http://HOST:PORT, https://HOST:PORT, h2c://HOST:PORT or unix:/PATH",
        "sidegate.yaml:8: upstream.connect_timeout: `1 second` is not a duration like 500ms, 30s, 5m or 1h",
        "sidegate.yaml:13: auth.jwt[0].algorithms[1]: `RS265` is none of",
        "sidegate.yaml:14: auth.jwt[0].keys: this must be exactly one of `discovery: true`, `url`, `file`",
        "sidegate.yaml:16: auth.jwt[1].issuer: this must be a string, not nothing; give the key a value or take it out",
        "sidegate.yaml:18: auth.jwt[2].name: an issuer is called `jwt`, which stands for the tokens of every issuer; ",
        "sidegate.yaml:19: auth.jwt[2].audiences: this must be a list, not `orders`",
        "sidegate.yaml:23: rules[0].alow: there is no key `alow` here; did you mean `allow`?",
        "sidegate.yaml:26: rules[1].allow: `everyone` is none of `anyone`, `authenticated`",
        "sidegate.yaml:28: rules[2].path: `/a//b` contains `//`, and requests for such paths are refused; write one slash",
        "sidegate.yaml:30: rules[3].name: rules[2] is called `assets` too; give each rule a name of its own",
        "sidegate.yaml:32: rules[3].methods: `pots` is no HTTP method; did you mean `POST`?",
        "sidegate.yaml:33: rules[3].allow.groups: this must be a list, not `admin`",
        "sidegate.yaml:33: rules[3].allow.user: there is no key `user` here; did you mean `users`?",
        "sidegate.yaml:35: identity.headers.Host: `Host` belongs to HTTP itself",
        "sidegate.yaml:35: identity.headers.X-Mail: `e..mail` is no path to a claim",
        "sidegate.yaml:35: identity.headers.X_User: `X_User` contains an underscore",
        "sidegate.yaml:37: limits.max_header_bytes: ",
        "sidegate.yaml:38: limits.max_body_bytes: `1MB` is not a size like 512B, 64KiB, 10MiB or 1GiB",
        "sidegate.yaml:39: limits.max_headers: this must be a whole number from 1 on, not `0`",
        "sidegate.yaml:40: log.access: `jso` is none of `json`, `combined`, `off`; did you mean `json`?",
        "sidegate.yaml:40: log.level: `loud` is none of `error`, `warn`, `info`, `debug`, `trace`",
        "sidegate.yaml:41: workers: 1000 workers are more than 64; one for each core that the pod may use is enough",
    ];
    let problems = Case::yaml(yaml).problems();
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.starts_with(expected), "\n  {problem}\n  {expected}");
    }
}

#[test]
fn entries_of_one_line_are_told_in_their_order_and_by_their_numbers() {
    let header = |i: usize| if i == 1 || i == 10 { "{ heder: A }".to_owned() } else { format!("{{ header: X_{i} }}") };
    let sources: Vec<_> = (0..12).map(header).collect();
    let yaml =
        format!("auth: {{ jwt: [{{ keys: {{ file: a }}, token_from: [{}] }}] }}\n{SMALLEST}", sources.join(", "));
    let problems = Case::yaml(yaml).problems();
    assert_eq!(problems.len(), 12, "{problems:#?}");
    for (i, problem) in problems.iter().enumerate() {
        let said = if i == 1 || i == 10 { "heder".to_owned() } else { format!("X_{i}") };
        assert!(problem.contains(&format!("token_from[{i}]")) && problem.contains(&said), "{i}: {problems:#?}");
    }
}

#[test]
fn problems_found_later_get_their_place_too() {
    let case = Case::yaml(SMALLEST).env("SIDEGATE__UPSTREAM__ADDRESS", "http://app:1");
    let loaded = load(&case.source).unwrap();
    let file = loaded.file.clone().unwrap().display().to_string();
    for (place, expected) in [
        ("rules[0].allow", format!("{file}:2: rules[0].allow: w")),
        ("upstream.address", "SIDEGATE__UPSTREAM__ADDRESS: w".to_owned()),
        ("/etc/users:3", "/etc/users:3: w".to_owned()),
        ("", ": w".to_owned()),
    ] {
        let located = loaded.locate(&Problem::new(place, "w", "").into());
        assert_eq!(located.to_string(), expected);
    }
}

#[test]
fn a_file_full_of_mistakes_ends_the_report_in_time() {
    let yaml: String = (0..20_000).map(|i| format!("k{i}: 1\n")).collect();
    let problems = Case::yaml(yaml).problems();
    assert_eq!(problems.len(), 101);
    assert!(problems[0].contains("there is more wrong than these"));
}
