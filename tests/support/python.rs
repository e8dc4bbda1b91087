//! Python programs that tell on standard output what a test waits for, and end with their standard input.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{App, wait::PATIENCE};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// A program of `tests/apps`, in the virtual environment. It ends when dropped.
pub(crate) struct Python {
    child: Child,
    output: BufReader<ChildStdout>,
}

/// A server, which says first of all where it listens.
pub(crate) struct PythonApp {
    _python: Python,
    /// What it said: an address, or a path.
    pub(crate) listens: String,
}

impl Python {
    pub(crate) fn start(program: &str, arguments: &[&str]) -> Self {
        let python = Path::new(HERE).join("target/venv/bin/python");
        assert!(python.exists(), "{} is missing: run script/setup", python.display());
        let mut command = Command::new(python);
        command.arg(format!("{HERE}/tests/apps/{program}")).args(arguments);
        command.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// The next line that it says.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "it ended after {line:?}");
        line.trim_end().to_owned()
    }

    /// Tells it to go, and waits until it has.
    pub(crate) fn finish(mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }

    /// Ends it without a warning.
    pub(crate) fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // gunicorn takes its workers with it, which a SIGKILL would leave behind.
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        }
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < deadline {
            thread::park_timeout(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl PythonApp {
    pub(crate) fn start(program: &str, arguments: &[&str]) -> Self {
        let mut python = Python::start(program, arguments);
        let listens = python.line();
        Self { _python: python, listens }
    }
}

impl App for PythonApp {
    fn address(&self) -> SocketAddr {
        self.listens.parse().unwrap_or_else(|_| SocketAddr::from(([127, 0, 0, 1], 9)))
    }
}
