//! What is linked in: one cryptographic provider, and no second one beside it.

use std::{
    collections::BTreeSet,
    env,
    process::{Command, Stdio},
};

/// Crates that bring cryptography of their own for signatures, TLS or key exchange. With two of them in one tree rustls and
/// jsonwebtoken cannot choose and panic at first use, and what was audited is not what runs. Hashes of passwords are another matter.
const PROVIDERS: &[&str] = &[
    "aws-lc-fips-sys",
    "aws-lc-rs",
    "boring",
    "boring-sys",
    "ed25519-dalek",
    "graviola",
    "mbedtls",
    "native-tls",
    "openssl",
    "openssl-sys",
    "p256",
    "p384",
    "p521",
    "ring",
    "rsa",
    "rustls-graviola",
    "rustls-openssl",
    "rustls-rustcrypto",
];

#[test]
fn there_is_exactly_one_cryptographic_provider_in_the_tree() {
    for target in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-musl", "aarch64-apple-darwin"] {
        let tree = tree(&["--edges", "normal,build", "--target", target]);
        let providers: Vec<_> = PROVIDERS.iter().filter(|name| tree.contains(**name)).collect();
        assert_eq!(providers, [&"aws-lc-rs"], "for {target}");
        // Nor in two versions, of which each would be initialised by itself.
        assert_eq!(versions("aws-lc-rs"), 1);
    }
}

#[test]
fn everything_that_signs_or_encrypts_does_it_with_that_provider() {
    let users: BTreeSet<_> = tree(&["--edges", "normal", "--invert", "aws-lc-rs", "--depth", "1"]);
    for user in ["rustls", "jsonwebtoken", "rcgen", "sidegate"] {
        assert!(users.contains(user), "{user} does not use it: {users:?}");
    }
}

fn versions(name: &str) -> usize {
    let lock = include_str!("../Cargo.lock");
    lock.lines().filter(|line| *line == format!("name = \"{name}\"")).count()
}

/// The names of the crates that cargo prints with these options.
fn tree(options: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--prefix", "none", "--format", "{p}"])
        .args(options)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo, which runs this");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}
