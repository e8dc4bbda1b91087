//! Which layer wins, and how each is named when it is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use super::{Case, SMALLEST};

#[test]
fn later_layers_win() {
    let case = Case::yaml(
        "listen: { plaintext: true, address: 127.0.0.1:1 }\nupstream: http://file:1\nrules: [{ allow: anyone }]\n",
    )
    .env("SIDEGATE__UPSTREAM__CONNECT_TIMEOUT", "3s")
    .env("SIDEGATE__LISTEN__ADDRESS", "127.0.0.1:2")
    .env("sidegate__limits__max_headers", "7")
    .env("SIDEGATE__UPSTREAM", "http://environment:2")
    .env("SIDEGATE_SERVICE_HOST", "10.0.0.1")
    .flag("--upstream", "upstream", "http://flag:3");
    let config = case.config();
    assert_eq!(config.listen.address.tcp().unwrap().port(), 2);
    assert_eq!(config.limits.max_headers.get(), 7);
    assert_eq!(config.upstream.address.to_string(), "http://flag:3");
    assert_eq!(config.upstream.connect_timeout.as_secs(), 3);
    assert_eq!(Case::yaml(SMALLEST).config().upstream.address.to_string(), "http://127.0.0.1:5000");
}

#[test]
fn the_environment_sets_lists_and_maps_and_what_needs_no_file() {
    let mut case = Case::yaml("")
        .env("SIDEGATE__RULES", "[{ path: /a/**, allow: { groups: [admin] } }, { allow: authenticated }]")
        .env("SIDEGATE__AUTH__BASIC__USERS_FILE", "/users")
        .env("SIDEGATE__AUTH__BASIC__REALM", "Orders: internal # one")
        .env("SIDEGATE__LISTEN", r#"{"plaintext": true}"#)
        .env("SIDEGATE__LISTEN__HTTP2", "false");
    case.source.file = None;
    let config = case.config();
    assert_eq!(config.rules.len(), 2);
    assert_eq!(config.auth.basic.unwrap().realm, "Orders: internal # one");
    assert!(config.listen.plaintext && !config.listen.http2);
}

#[test]
fn the_environment_and_flags_are_named_when_they_are_wrong() {
    for (name, value, expected) in [
        (
            "SIDEGATE__LISTN__ADDRESS",
            "x",
            "SIDEGATE__LISTN__ADDRESS: listn: there is no key `listn` here; did you mean `SIDEGATE__LISTEN__ADDRESS`?",
        ),
        (
            "SIDEGATE__LISTEN__ADRESS",
            "x",
            "SIDEGATE__LISTEN__ADRESS: there is no key `adress` here; did you mean `SIDEGATE__LISTEN__ADDRESS`?",
        ),
        ("SIDEGATE__LISTEN__ADDRESS", "x", "SIDEGATE__LISTEN__ADDRESS: `x` is not an IP address with a port"),
        ("SIDEGATE__LISTEN__HTTP2", "", "SIDEGATE__LISTEN__HTTP2: this must be true or false, not nothing"),
        (
            "SIDEGATE__RULES",
            "[{ alow: anyone }]",
            "SIDEGATE__RULES: rules[0].alow: there is no key `alow` here; did you mean `allow`?",
        ),
        ("SIDEGATE__RULES", "[{", "SIDEGATE__RULES: this is not YAML"),
        (
            "SIDEGATE__RULES",
            "authenticated",
            "SIDEGATE__RULES: this must be a list, not `authenticated`; set the whole list, in YAML: SIDEGATE__RULES='[…]'",
        ),
        (
            "SIDEGATE__RULES__0__ALLOW",
            "anyone",
            "SIDEGATE__RULES__0__ALLOW: rules: this must be a list, not a map of keys; set the whole list",
        ),
        ("SIDEGATE__", "x", "SIDEGATE__: this names no key; write it like SIDEGATE__LISTEN__ADDRESS"),
        ("SIDEGATE__LISTEN__", "x", "SIDEGATE__LISTEN__: this names no key"),
        (
            "SIDEGATE__LISTEN__ADDRESS__PORT",
            "1",
            "SIDEGATE__LISTEN__ADDRESS__PORT: listen.address: this must be an IP address",
        ),
    ] {
        let problems = Case::yaml(SMALLEST).env(name, value).problems();
        assert!(problems.len() == 1 && problems[0].starts_with(expected), "{problems:#?}\n{expected}");
    }
    let problems = Case::yaml(SMALLEST).flag("--upstream", "upstream", "ftp://x").problems();
    assert_eq!(
        problems,
        [
            "--upstream: upstream.address: `ftp://x` is not an address like http://HOST:PORT, https://HOST:PORT, h2c://HOST:PORT or unix:/PATH"
        ]
    );
    let mut case = Case::yaml(SMALLEST);
    let broken = std::os::unix::ffi::OsStringExt::from_vec(vec![0xff]);
    case.source.environment.push(("SIDEGATE__WORKERS".into(), broken));
    assert_eq!(case.problems(), ["SIDEGATE__WORKERS: the value is not UTF-8"]);
    let name = format!("SIDEGATE__{}", "A__".repeat(10_000));
    assert!(Case::yaml(SMALLEST).env(&name, "1").problems()[0].contains("names no key"));
}

#[test]
fn a_file_that_is_not_there_is_named_with_what_named_it() {
    let mut case = Case::yaml(SMALLEST);
    let missing = case.directory.path().join("missing.yaml");
    case.source.file = Some(missing.clone());
    assert_eq!(
        case.problems(),
        ["--config: there is no file missing.yaml; name another with --config or SIDEGATE_CONFIG"]
    );
    case.source.file = None;
    let mut case = case.env("SIDEGATE_CONFIG", missing.to_str().unwrap());
    assert_eq!(
        case.problems(),
        ["SIDEGATE_CONFIG: there is no file missing.yaml; name another with --config or SIDEGATE_CONFIG"]
    );
    std::os::unix::fs::symlink("nowhere", &missing).unwrap();
    assert!(case.problems()[0].contains("missing.yaml is a link to a file that is not there"));
    case.source.file = Some(case.directory.path().to_owned());
    assert!(case.problems()[0].contains("is a directory"));
}
