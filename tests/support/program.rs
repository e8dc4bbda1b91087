//! Programs that tell on standard output what a test waits for, and end with their standard input: Python's and Node's.

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{App, wait::PATIENCE};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// A program of `tests/apps`. It ends when dropped.
pub(crate) struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// A server in Python, which says first of all where it listens.
pub(crate) struct PythonApp {
    _python: Program,
    /// What it said: an address, or a path.
    pub(crate) listens: String,
}

impl Program {
    /// In the virtual environment.
    pub(crate) fn python(program: &str, arguments: &[&str]) -> Self {
        let python = Path::new(HERE).join("target/venv/bin/python");
        assert!(python.exists(), "{} is missing: run script/setup", python.display());
        let mut command = Command::new(python);
        command.arg(format!("{HERE}/tests/apps/{program}")).args(arguments).env("PYTHONDONTWRITEBYTECODE", "1");
        Self::start(command)
    }

    /// With the folder of its packages as its first argument.
    pub(super) fn node(program: &str, arguments: &[&str]) -> Self {
        let packages = Path::new(HERE).join("target/node");
        assert!(packages.join("node_modules").exists(), "{} is missing: run script/setup", packages.display());
        let mut command = Command::new("node");
        command.arg(format!("{HERE}/tests/apps/{program}")).arg(packages).args(arguments);
        Self::start(command)
    }

    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    /// The next line that it says.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "it ended after {line:?}");
        line.trim_end().to_owned()
    }

    /// What it answers to this line.
    #[track_caller]
    pub(super) fn ask(&mut self, line: &str) -> String {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
        self.line()
    }

    /// Tells it to go, and waits until it has.
    pub(crate) fn finish(mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }

    /// Ends it without a warning.
    pub(crate) fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // gunicorn takes its workers with it, which a SIGKILL would leave behind.
        end(&mut self.child, &[(Signal::TERM, PATIENCE)]);
    }
}

/// Ends a process by these signals, one after the other, each of which has so long; then by SIGKILL.
pub(crate) fn end(child: &mut Child, signals: &[(Signal, Duration)]) {
    for (signal, patience) in signals {
        if child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = kill_process(Pid::from_child(child), *signal);
        }
        let deadline = Instant::now() + *patience;
        while child.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < deadline {
            thread::park_timeout(Duration::from_millis(5));
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}

impl PythonApp {
    pub(crate) fn start(program: &str, arguments: &[&str]) -> Self {
        let mut python = Program::python(program, arguments);
        let listens = python.line();
        Self { _python: python, listens }
    }
}

impl App for PythonApp {
    fn address(&self) -> SocketAddr {
        self.listens.parse().unwrap_or_else(|_| SocketAddr::from(([127, 0, 0, 1], 9)))
    }
}
