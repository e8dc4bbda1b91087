//! What texts mean, and which are no configuration at all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::{super::*, Case};

#[test]
fn values_mean_what_an_operator_takes_them_for() {
    let yaml = "\
listen: { tls: { certificate: c, key: k, min_version: 1.3 }, http2: \"false\" }
upstream: { address: \"http://[::1]:5000\", idle_timeout: 0, response_timeout: 1500ms, keep_alive: 2 m }
auth:
  basic: { users_file: u, realm: 007, groups_file: ~ }
  jwt: [{ keys: { file: 123 }, audiences: [289347298347298347298347, 1.20, no, true, 12], issuer: accounts.google.com }]
rules: [{ allow: { users: [no, off, 12, 1e3], claims: { level: 3, admin: true, scope: \"7\", realm_access.roles: [a, 1] } } }]
limits: { max_body_bytes: 100, max_header_bytes: 64 KiB, max_headers: '8', http2_streams: 4294967295 }
log: { access: off, level: debug }
workers: 2
";
    let config = Case::yaml(yaml).config();
    assert_eq!(config.listen.tls.unwrap().min_version, TlsVersion::V1_3);
    assert!(!config.listen.http2);
    assert_eq!(config.upstream.address.host(), Some("::1"));
    assert_eq!(
        [config.upstream.idle_timeout, config.upstream.response_timeout, config.upstream.keep_alive]
            .map(|d| d.as_millis()),
        [0, 1500, 120_000]
    );
    let basic = config.auth.basic.unwrap();
    assert_eq!((basic.realm.as_str(), basic.groups_file), ("007", None));
    assert_eq!(config.auth.jwt[0].audiences, ["289347298347298347298347", "1.20", "no", "true", "12"]);
    assert_eq!(config.auth.jwt[0].label(), "accounts.google.com");
    assert!(matches!(&config.auth.jwt[0].keys, Keys::File(path) if path.to_str() == Some("123")));
    let Allow::Callers(callers) = &config.rules[0].allow else { panic!() };
    assert_eq!(callers.users, ["no", "off", "12", "1e3"]);
    let claims = serde_json::json!({"level": 3, "admin": true, "scope": "7", "realm_access.roles": ["a", 1]});
    assert_eq!(serde_json::to_value(&callers.claims).unwrap(), claims);
    assert_eq!(
        (config.limits.max_body_bytes, config.limits.max_header_bytes, config.limits.max_headers.get()),
        (100, 65536, 8)
    );
    assert_eq!(config.log.access, AccessLog::Off);
    assert_eq!(config.workers.get(), 2);
}

#[test]
fn yaml_that_is_broken_or_too_much_is_refused_with_its_line() {
    let deep = format!("a: {}1{}", "[".repeat(60), "]".repeat(60));
    let bomb = "a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n";
    for (yaml, expected) in [
        ("listen:\n  a: 1\n b: 2\n", "sidegate.yaml:3: this is not YAML: "),
        ("listen: {\n", "this is not YAML: "),
        ("a:\n\tb: 1\n", "sidegate.yaml:2: this is not YAML: "),
        ("", "--config: sidegate.yaml says nothing"),
        ("# all commented out\n", "--config: sidegate.yaml says nothing"),
        ("---\n", "says nothing"),
        ("- a\n", "sidegate.yaml:1: this must be a map of keys"),
        ("a: 1\n---\nb: 2\n", "sidegate.yaml:3: a second document begins"),
        ("a: 1\nb: !secret x\n", "sidegate.yaml:2: b: YAML tags are not understood here; write"),
        ("a: 1\n? [b]\n: 2\n", "sidegate.yaml:2: a key is a text"),
        ("a: *nothing\n", "sidegate.yaml:1: this is not YAML: "),
        ("a: &a [*a]\n", "sidegate.yaml:1: a[0]: an anchor that contains itself"),
        (deep.as_str(), "is nested more than 32 levels deep"),
        (bomb, "sidegate.yaml:5: e[7]: there are more than 100000 values"),
    ] {
        let problems = Case::yaml(yaml).problems();
        assert!(problems.len() == 1 && problems[0].contains(expected), "{yaml}\n{problems:#?}\n{expected}");
    }
    let problems = Case::yaml(b"listen:\n  address: \xff\n").problems();
    assert_eq!(problems, ["sidegate.yaml:2: this is not UTF-8; save the file as UTF-8"]);
    let problems = Case::yaml(" ".repeat(10 << 20)).problems();
    assert_eq!(problems, ["--config: sidegate.yaml is larger than 1 MiB; is it the right file?"]);
}

#[test]
fn the_forms_of_yaml_and_its_relatives_are_read() {
    let anchored = "listen: { plaintext: true }\nrules:\n  - { path: /a, allow: &who { users: [alice] } }\n  - { allow: *who }\n\
                    auth: { basic: { users_file: u } }\n";
    let anchored = Case::yaml(anchored).config();
    assert!(matches!(&anchored.rules[1].allow, Allow::Callers(callers) if callers.users == ["alice"]));
    for content in [
        "{\"listen\": {\"plaintext\": true},\n\t\"rules\": [\n\t\t{\"allow\": \"anyone\"}\n\t]}\n",
        "\u{feff}listen: { plaintext: true }\r\nrules:\r\n- allow: anyone\r\n",
        "%YAML 1.2\n---\nlisten: { plaintext: true }\nrules: [{ allow: !!str anyone }]\n...\n",
    ] {
        assert_eq!(Case::yaml(content).config().rules.len(), 1, "{content}");
    }
    let toml = "workers = 3\n[listen]\nplaintext = true\n[[rules]]\npath = \"/a\"\nallow = \"anyone\"\n[limits]\nheader_timeout = \"5s\"\n";
    assert_eq!(Case::new("sidegate.toml", toml).config().workers.get(), 3);
    let problems = Case::new("sidegate.toml", format!("{toml}nonsense = 1\n")).problems();
    assert!(problems[0].starts_with("sidegate.toml: limits.nonsense: there is no key"), "{problems:#?}");
    let problems = Case::new("sidegate.toml", "workers = 3\nworkers = 4\n").problems();
    assert!(problems[0].starts_with("sidegate.toml:2: this is not TOML: "), "{problems:#?}");
}

/// A sample with something put in the place of a part of it.
fn mangled() -> impl Strategy<Value = String> {
    let sample = include_str!("../../../config/reference.yaml");
    let text = prop_oneof!["\\PC{0,8}", "[-:{}\\[\\]*&!|>'\"%@`,?#\n\t ]{0,6}", Just(String::new())];
    (0..sample.len(), 0..40_usize, text).prop_map(|(start, length, text)| {
        let bytes = sample.as_bytes();
        let end = (start + length).min(bytes.len());
        let mangled = [&bytes[..start], text.as_bytes(), &bytes[end..]].concat();
        String::from_utf8_lossy(&mangled).into_owned()
    })
}

proptest! {
    #[test]
    fn whatever_is_written_there_is_an_answer(text in prop_oneof![mangled(), "\\PC{0,40}", "[-:{}\\[\\]*&a\n ]{0,40}"]) {
        if let Ok(document) = yaml::parse(&text) {
            let value = document.value.unwrap_or_else(|| yaml::scalar(""));
            let Extracted { config, faults, left_out } = extract(&value);
            prop_assert!(config.is_some() || !faults.is_empty());
            let mut findings = Findings::new(&left_out);
            config.unwrap_or_default().check(&mut findings);
        }
    }
}
