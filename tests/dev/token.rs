//! `sidegate token`: every kind of key makes a token that `serve` accepts.

use std::{fs, process::Command};

use serde_json::{Value, json};

use super::fixture::{Dev, payload, program};
use crate::support::{Recorder, Sidegate, command};

#[test]
fn a_token_by_any_key_is_one_that_serve_accepts() {
    let app = Recorder::start();
    let keys = tempfile::tempdir().unwrap();
    let path = |name: &str| keys.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("secret"), "0123456789abcdef0123456789abcdef\n").unwrap();
    let (pem, secret) = (|name: &str| json!({ "pem_file": path(name) }), json!({ "secret_file": path("secret") }));
    let mut issuers = vec![json!({ "name": "secret", "issuer": "secret", "audiences": ["orders"], "keys": secret })];
    let mut cases = vec![
        ("secret", vec!["--secret-file".to_owned(), path("secret")], "HS256"),
        (
            "secret",
            vec!["--secret-file".to_owned(), path("secret"), "--algorithm".to_owned(), "HS512".to_owned()],
            "HS512",
        ),
    ];
    for (name, options, algorithms) in [
        ("rsa", &["rsa:2048"][..], &["RS256", "PS384"][..]),
        ("p256", &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"], &["ES256"]),
        ("p384", &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"], &["ES384"]),
        ("ed25519", &["ed25519"], &["EdDSA"]),
    ] {
        let (private, public) = (path(&format!("{name}.key")), path(&format!("{name}.pub")));
        let kind = options[0].split(':').next().unwrap();
        openssl(&[&["genpkey", "-algorithm", kind, "-out", &private], &options[1..]].concat());
        openssl(&["pkey", "-in", &private, "-pubout", "-out", &public]);
        issuers.push(
            json!({ "name": name, "issuer": name, "audiences": ["orders"], "keys": pem(&format!("{name}.pub")) }),
        );
        let mut forms = vec![private.clone()];
        if kind != "ed25519" {
            // PKCS#1 and SEC1, as OpenSSL wrote them before version 3.
            let old = path(&format!("{name}.old"));
            openssl(&["pkey", "-in", &private, "-traditional", "-out", &old]);
            assert!(!fs::read_to_string(&old).unwrap().contains("BEGIN PRIVATE KEY"));
            forms.push(old);
        }
        for form in forms {
            cases.push((name, vec!["--key".to_owned(), form.clone()], algorithms[0]));
            let last = algorithms[algorithms.len() - 1];
            cases.push((name, vec!["--key".to_owned(), form, "--algorithm".to_owned(), last.to_owned()], last));
        }
    }
    let sidegate = Sidegate::before(&app).set(json!({ "auth": { "jwt": issuers } })).start();
    for (issuer, key, algorithm) in cases {
        let mut args = vec!["token", "--issuer", issuer, "--audience", "orders", "--subject", issuer];
        args.extend(["--kid", "k1", "--group", "ops", "--claim", "email=x@y.test"]);
        args.extend(key.iter().map(String::as_str));
        let token = command(&args, "").succeeded().trim_end().to_owned();
        assert_eq!(jsonwebtoken::decode_header(&token).unwrap().alg, algorithm.parse().unwrap());
        assert_eq!(sidegate.curl("/").bearer(&token).send().status, 200, "{args:?}");
        let request = app.last_request();
        assert_eq!(request.header("x-forwarded-user"), Some(issuer));
        assert_eq!(request.header("x-forwarded-groups"), Some("ops"));
        assert_eq!(request.header("x-forwarded-email"), Some("x@y.test"));
    }
}

#[test]
fn a_token_says_what_it_was_told_to() {
    let dev = Dev::start(&[]);
    let mint = |flags: &str| payload(&dev.paste(&format!("'{}' token {flags}", env!("CARGO_BIN_EXE_sidegate"))));
    let claims = mint("");
    let time = |claims: &Value, name: &str| claims[name].as_u64().unwrap();
    assert_eq!(time(&claims, "exp") - time(&claims, "iat"), 3600);
    assert_eq!(claims["iat"], claims["nbf"]);
    assert_eq!((&claims["sub"], &claims["email"]), (&json!("alice"), &json!("alice@example.com")));

    let claims = mint("--expires 90s --subject bob --audience a --audience b --issuer me --claim admin=true");
    assert_eq!(time(&claims, "exp") - time(&claims, "iat"), 90);
    let shown = ["sub", "aud", "iss", "admin", "groups"].map(|name| claims[name].clone());
    assert_eq!(shown, [json!("bob"), json!(["a", "b"]), json!("me"), json!(true), json!(null)]);
    assert_eq!(mint("--claim exp=1")["exp"], 1);
}

#[test]
fn bad_usage_of_token_is_told() {
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    openssl(&["genpkey", "-algorithm", "ed25519", "-out", &path("good")]);
    openssl(&["genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:x", "-out", &path("encrypted")]);
    openssl(&["genpkey", "-algorithm", "X25519", "-out", &path("other")]);
    openssl(&["genpkey", "-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:1024", "-out", &path("short")]);
    fs::write(path("secret"), "short\n").unwrap();
    for (flags, says) in [
        (vec!["--key", "missing"], &["--key", "missing"][..]),
        (vec!["--key", "encrypted", "--subject", "a"], &["encrypted", "unencrypted"]),
        (vec!["--key", "other", "--subject", "a"], &["other", "Ed25519"]),
        (vec!["--key", "short", "--subject", "a"], &["short", "2048"]),
        (vec!["--secret-file", "secret", "--subject", "a"], &["secret", "5 bytes", "32"]),
        (vec!["--key", "good"], &["--subject"]),
        (vec!["--key", "good", "--subject", "a", "--algorithm", "RS256"], &["--algorithm", "EdDSA"]),
        (vec!["--key", "good", "--subject", "a", "--algorithm", "none"], &["--algorithm"]),
        (vec!["--key", "good", "--secret-file", "secret"], &["--secret-file"]),
        (vec!["--key", "good", "--subject", "a", "--expires", "soon"], &["--expires", "1h"]),
        (vec!["--key", "good", "--subject", "a", "--claim", "sub.x=1"], &["sub"]),
    ] {
        let file = |arg: &str| {
            let names = ["missing", "encrypted", "other", "short", "secret", "good"];
            if names.contains(&arg) { path(arg) } else { arg.to_owned() }
        };
        let args: Vec<_> = ["token".to_owned()].into_iter().chain(flags.iter().map(|arg| file(arg))).collect();
        let finished = command(&args.iter().map(String::as_str).collect::<Vec<_>>(), "");
        finished.assert_failed(64, says);
        assert_eq!(finished.stdout, "");
    }

    let home = tempfile::tempdir().unwrap();
    let output = program(env!("CARGO_BIN_EXE_sidegate"), home.path()).arg("token").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("start `sidegate dev` first"), "{stderr}");
}

#[track_caller]
fn openssl(args: &[&str]) {
    let output = Command::new("openssl").args(args).output().unwrap();
    assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
