//! What the binary under test is started with: its configuration, the files beside it, its environment.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::{
    App, Issuer, Sidegate, Users,
    command::{Finished, binary, finish},
    pki::AUTHORITY,
};

/// What sidegate is going to be started with.
pub(crate) struct Builder {
    config: Value,
    files: TempDir,
    environment: Vec<(String, String)>,
    descriptors: Option<u32>,
}

impl Builder {
    pub(super) fn new(app: &impl App) -> Self {
        let files = tempfile::Builder::new().prefix("sidegate-").tempdir().unwrap();
        let pair = AUTHORITY.issue();
        for (name, content) in [("ca.pem", &AUTHORITY.pem()), ("tls.crt", &pair.certificate), ("tls.key", &pair.key)] {
            fs::write(files.path().join(name), content).unwrap();
        }
        let path = |name: &str| files.path().join(name);
        let config = json!({
            "listen": { "address": "127.0.0.1:0", "tls": { "certificate": path("tls.crt"), "key": path("tls.key") } },
            "upstream": { "address": format!("http://{}", app.address()) },
            "admin": { "address": "127.0.0.1:0" },
            "shutdown": { "delay": 0 },
            // What is written is searched for secrets when it ends; so it is to write all that it can.
            "log": { "level": "trace" },
        });
        Self { config, files, environment: Vec::new(), descriptors: None }
    }

    /// Accepts this issuer's tokens: by its JWKS, or its shared secret.
    pub(crate) fn jwt(self, issuer: &Issuer) -> Self {
        self.jwt_with(issuer, json!({}))
    }

    /// The same, with further settings of the issuer, or others.
    pub(crate) fn jwt_with(mut self, issuer: &Issuer, settings: Value) -> Self {
        let hmac = matches!(issuer.algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512);
        let count = self.config["auth"]["jwt"].as_array().map_or(0, Vec::len);
        let keys = if hmac {
            json!({ "secret_file": self.write(&format!("secret-{count}"), &issuer.secret) })
        } else {
            json!({ "file": self.write(&format!("jwks-{count}.json"), &issuer.jwks().to_string()) })
        };
        let mut entry = json!({ "issuer": issuer.name, "audiences": [issuer.audience], "keys": keys });
        merge(&mut entry, settings);
        self.push("/auth/jwt", entry);
        self
    }

    /// Accepts tokens of the issuer of this name, with this label in logs, whose keys are fetched as `keys` says. Our
    /// authority is believed there.
    pub(crate) fn remote(mut self, label: &str, issuer: &str, keys: Value) -> Self {
        let believed = json!({ "ca": self.path("ca.pem") });
        let mut entry = json!({ "name": label, "issuer": issuer, "audiences": ["orders"], "keys": believed });
        merge(&mut entry["keys"], keys);
        self.push("/auth/jwt", entry);
        self
    }

    /// Accepts these users' passwords.
    pub(crate) fn users(self, users: &Users) -> Self {
        let users_file = self.write("users", &users.lines);
        let groups_file = users.groups.as_ref().map(|lines| self.write("groups", lines));
        self.set(json!({ "auth": { "basic": { "users_file": users_file, "groups_file": groups_file } } }))
    }

    /// One more rule.
    pub(crate) fn rule(mut self, rule: Value) -> Self {
        self.push("/rules", rule);
        self
    }

    /// Sets whatever these sections say, and leaves the rest. `null` removes.
    pub(crate) fn set(mut self, sections: Value) -> Self {
        merge(&mut self.config, sections);
        self
    }

    /// Writes no more to its log than in service: what it costs is measured.
    pub(crate) fn measured(self) -> Self {
        self.set(json!({ "log": { "level": "info" } }))
    }

    /// Without TLS.
    pub(crate) fn plaintext(self) -> Self {
        self.set(json!({ "listen": { "tls": null, "plaintext": true } }))
    }

    /// Sets a variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lets it have so many file descriptors.
    pub(crate) fn descriptors(mut self, count: u32) -> Self {
        self.descriptors = Some(count);
        self
    }

    /// Writes a file beside the configuration and says where it is.
    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.files.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Where a file beside the configuration is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Starts it and waits until it serves. The app need not be there.
    #[track_caller]
    pub(crate) fn start(mut self) -> Sidegate {
        let config = self.write_config();
        let tls = !self.config["listen"]["tls"].is_null();
        let mut command = self.command(&["serve", "--config"]);
        command.arg(config).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let unix = self.config["listen"]["address"].as_str().is_some_and(|address| address.starts_with("unix:"));
        Sidegate::adopt(command.spawn().unwrap(), self.files, tls, unix)
    }

    /// Runs `serve`, which must end by itself, because of what it was given.
    #[track_caller]
    pub(crate) fn refuse(mut self) -> Finished {
        self.run(&["serve", "--config"])
    }

    /// Runs another command that takes the configuration as its last argument.
    #[track_caller]
    pub(crate) fn run(&mut self, args: &[&str]) -> Finished {
        let config = self.write_config();
        let mut command = self.command(args);
        command.arg(config);
        finish(command, "")
    }

    /// Where there are no rules, whoever is authenticated is let in. JSON is YAML, so the file is both.
    fn write_config(&mut self) -> PathBuf {
        if self.config["rules"].is_null() {
            self.push("/rules", json!({ "allow": "authenticated" }));
        }
        self.write("sidegate.yaml", &format!("{:#}", self.config))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = binary(args, self.descriptors);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn push(&mut self, pointer: &str, entry: Value) {
        let mut place = &mut self.config;
        for key in pointer.split('/').skip(1) {
            place = &mut place[key];
        }
        match place {
            Value::Array(entries) => entries.push(entry),
            empty => *empty = json!([entry]),
        }
    }
}

/// Lays `over` over `base`, key by key; `null` removes.
fn merge(base: &mut Value, over: Value) {
    match over {
        Value::Object(entries) => {
            if !base.is_object() {
                *base = Value::Object(Map::new());
            }
            for (key, value) in entries {
                if value.is_null() {
                    base.as_object_mut().unwrap().remove(&key);
                } else {
                    merge(&mut base[key], value);
                }
            }
        }
        other => *base = other,
    }
}
