//! `sidegate dev` as a person runs it, and a shell to paste its lines into.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::until;

/// A running `sidegate dev`, with a home directory of its own.
pub(super) struct Dev {
    child: Child,
    pub(super) home: Arc<TempDir>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Dev {
    pub(super) fn start(args: &[&str]) -> Self {
        Self::start_in(Arc::new(tempfile::Builder::new().prefix("it's a home ").tempdir().unwrap()), args)
    }

    pub(super) fn start_in(home: Arc<TempDir>, args: &[&str]) -> Self {
        let mut command = program(env!("CARGO_BIN_EXE_sidegate"), home.path());
        command.args(["dev", "--listen", "127.0.0.1:0"]).args(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (stdout, filled) = (child.stdout.take().unwrap(), lines.clone());
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                filled.lock().unwrap().push(line);
            }
        });
        let mut dev = Self { child, home, lines };
        until("sidegate dev to print its lines", || {
            assert!(dev.child.try_wait().unwrap().is_none(), "it ended: {:?}", dev.lines());
            dev.lines().iter().any(|line| line.contains("Ctrl-C")).then_some(())
        });
        dev
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// The line after this heading.
    #[track_caller]
    pub(super) fn below(&self, heading: &str) -> String {
        let lines = self.lines();
        let at = lines.iter().position(|line| line.trim() == heading).unwrap_or_else(|| panic!("{lines:#?}"));
        lines[at + 1].trim().to_owned()
    }

    /// What stands after this name.
    #[track_caller]
    pub(super) fn row(&self, name: &str) -> String {
        let lines = self.lines();
        let row = lines.iter().find_map(|line| line.trim().strip_prefix(name));
        row.unwrap_or_else(|| panic!("no {name} in {lines:#?}")).trim().to_owned()
    }

    /// The files' directory.
    pub(super) fn folder(&self) -> PathBuf {
        self.row("files").rsplit_once(": ").unwrap().0.into()
    }

    /// Pastes a line into a shell: what it printed.
    #[track_caller]
    pub(super) fn paste(&self, line: &str) -> String {
        let output = program("sh", self.home.path()).args(["-c", line]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}\n{stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    pub(super) fn paste_json(&self, line: &str) -> Value {
        let text = self.paste(line);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}\n{error}: {text}"))
    }

    /// Asks it with a token or without, as `curl` does with these further arguments.
    #[track_caller]
    pub(super) fn curl(&self, path: &str, args: &str) -> String {
        let url = self.below("In a browser");
        let authority = self.folder().join("ca.crt");
        self.paste(&format!(
            r#"curl -sS --noproxy '*' --cacert "{}" {args} '{}{path}'"#,
            authority.display(),
            url.trim_end_matches('/')
        ))
    }

    /// Sends SIGINT, as Ctrl-C does, and waits for the end.
    #[track_caller]
    pub(super) fn interrupt(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        let status = until("sidegate dev to end", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program as a shell of a user with this home would start it.
pub(super) fn program(name: &str, home: &Path) -> Command {
    let mut command = Command::new(name);
    let foreign =
        |name: &str| name.starts_with("SIDEGATE") || name.starts_with("KUBERNETES") || name == "XDG_STATE_HOME";
    for (name, _) in std::env::vars().filter(|(name, _)| foreign(name)) {
        command.env_remove(name);
    }
    command.env("HOME", home).stdin(Stdio::null());
    command
}

/// The claims of a token, whatever its signature.
#[track_caller]
pub(super) fn payload(token: &str) -> Value {
    jsonwebtoken::dangerous::insecure_decode::<Value>(token.trim_end()).unwrap().claims
}
