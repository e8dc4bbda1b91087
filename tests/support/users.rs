//! Lines of a users file, made by other people's tools where there is one: `openssl passwd`, not our own code.

use std::process::Command;

use argon2::{Argon2, PasswordHasher};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::{Engine, engine::general_purpose::STANDARD};

use super::canary;

/// A users file with its groups file.
#[derive(Clone, Default)]
pub(crate) struct Users {
    pub(crate) lines: String,
    pub(crate) groups: Option<String>,
}

impl Users {
    /// One user with the hash that is quickest to check.
    pub(crate) fn one(name: &str, password: &str) -> Self {
        Self::default().and(name, &sha(password))
    }

    /// One more user with this hash.
    pub(crate) fn and(mut self, name: &str, hash: &str) -> Self {
        canary::remember(hash);
        self.lines += &format!("{name}:{hash}\n");
        self
    }

    /// Lines of `group: user user`.
    pub(crate) fn groups(mut self, lines: &str) -> Self {
        self.groups = Some(lines.to_owned());
        self
    }
}

/// The header line with a name and a password.
pub(crate) fn password(name: &str, password: &str) -> String {
    format!("Authorization: Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

/// `{SHA}`
pub(crate) fn sha(password: &str) -> String {
    format!("{{SHA}}{}", STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes())))
}

/// `$apr1$`
pub(crate) fn apr1(password: &str) -> String {
    openssl_passwd("-apr1", password)
}

/// `$5$`
pub(crate) fn sha256_crypt(password: &str) -> String {
    openssl_passwd("-5", password)
}

/// `$6$`
pub(crate) fn sha512_crypt(password: &str) -> String {
    openssl_passwd("-6", password)
}

/// `$2y$`, as `htpasswd -B` writes it, with its lowest cost.
pub(crate) fn bcrypt(password: &str) -> String {
    bcrypt_with_cost(password, 4)
}

/// `$2y$`, where one more is twice the work.
pub(crate) fn bcrypt_with_cost(password: &str, cost: u32) -> String {
    bcrypt::hash_with_result(password, cost).unwrap().format_for_version(bcrypt::Version::TwoY)
}

/// `$argon2id$`
pub(crate) fn argon2id(password: &str) -> String {
    Argon2::default().hash_password(password.as_bytes()).unwrap().to_string()
}

/// `$argon2id$` in one pass over so many KiB.
pub(crate) fn argon2id_with(password: &str, memory: u32) -> String {
    let params = argon2::Params::new(memory, 1, 1, None).unwrap();
    let argon2 = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    argon2.hash_password(password.as_bytes()).unwrap().to_string()
}

fn openssl_passwd(algorithm: &str, password: &str) -> String {
    let output = Command::new("openssl").args(["passwd", algorithm, password]).output().unwrap();
    assert!(output.status.success(), "openssl passwd: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
