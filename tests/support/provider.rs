//! A real OpenID provider: its tokens as a client gets them, its keys, and how often it is asked for them.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use super::{AUTHORITY, Curl, Program, canary};

/// `tests/apps/oidc/provider.mjs`, whose certificate our authority vouches for.
pub(crate) struct Provider {
    program: Program,
    files: TempDir,
    /// The issuer of its tokens.
    pub(crate) name: String,
    /// Of its client `billing`.
    secret: String,
}

impl Provider {
    pub(crate) fn start() -> Self {
        let files = tempfile::Builder::new().prefix("provider-").tempdir().unwrap();
        let pair = AUTHORITY.issue();
        let write = |name: &str, content: &str| {
            let path = files.path().join(name);
            fs::write(&path, content).unwrap();
            path.display().to_string()
        };
        let (certificate, key) = (write("tls.crt", &pair.certificate), write("tls.key", &pair.key));
        write("ca.pem", &AUTHORITY.pem());
        let mut program = Program::node("oidc/provider.mjs", &[&certificate, &key]);
        let line = program.line();
        let (name, secret) = line.split_once(' ').unwrap();
        canary::remember(secret);
        Self { name: name.to_owned(), secret: secret.to_owned(), program, files }
    }

    /// A token for its client, as that asks for one (RFC 6749 section 4.4 with RFC 8707).
    #[track_caller]
    pub(crate) fn token(&self) -> String {
        let answer = Curl::new(&format!("{}/token", self.name), &self.files.path().join("ca.pem"))
            .basic("billing", &self.secret)
            .args(["--data", "grant_type=client_credentials&scope=read&resource=urn:orders"])
            .send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// Signs with a new key from now on, and publishes the old ones beside it.
    pub(crate) fn rotate(&mut self) {
        self.program.ask("rotate");
    }

    /// Publishes no key any more but the one that it signs with.
    pub(crate) fn withdraw(&mut self) {
        self.program.ask("withdraw");
    }

    /// How often it was asked for its keys.
    pub(crate) fn key_fetches(&mut self) -> u64 {
        let counts: Value = serde_json::from_str(&self.program.ask("counts")).unwrap();
        counts["jwks"].as_u64().unwrap()
    }

    /// Answers nobody any more.
    pub(crate) fn stop(&mut self) {
        assert_eq!(self.program.ask("stop"), "stopped");
    }

    /// Answers again, where it did.
    pub(crate) fn resume(&mut self) {
        assert_eq!(self.program.ask("start"), "started");
    }
}
