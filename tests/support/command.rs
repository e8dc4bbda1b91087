//! Commands of the binary that end by themselves.

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use super::wait::{PATIENCE, until};

const BINARY: &str = env!("CARGO_BIN_EXE_sidegate");

/// A command that has ended.
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Asserts that it ended with this code and said all of these on stderr.
    #[track_caller]
    pub(crate) fn assert_failed(&self, code: i32, says: &[&str]) {
        let Self { stdout, stderr, .. } = self;
        assert_eq!(self.code, code, "stdout: {stdout}\nstderr: {stderr}");
        for text in says {
            assert!(stderr.contains(text), "it does not say {text:?}:\n{stderr}");
        }
        assert!(!stderr.contains("panicked"), "{stderr}");
    }

    /// Asserts that it ended well, and gives what it printed.
    #[track_caller]
    pub(crate) fn succeeded(&self) -> &str {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        &self.stdout
    }
}

/// Runs a command of the binary to its end, with this on its standard input.
#[track_caller]
pub(crate) fn command(args: &[&str], input: &str) -> Finished {
    finish(binary(args, None), input)
}

/// The binary, without what a developer's environment may hold.
pub(super) fn binary(args: &[&str], descriptors: Option<u32>) -> Command {
    let mut command = match descriptors {
        None => Command::new(BINARY),
        Some(count) => {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!(r#"ulimit -n {count}; exec "$0" "$@""#), BINARY]);
            shell
        }
    };
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SIDEGATE") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    command.args(args);
    command
}

/// Runs it to its end.
#[track_caller]
pub(super) fn finish(mut command: Command, input: &str) -> Finished {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    // It may end without having read its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let outputs = [slurp(child.stdout.take().unwrap()), slurp(child.stderr.take().unwrap())];
    let status = until(&format!("{command:?} to end"), || {
        if started.elapsed() > PATIENCE / 2 {
            let _ = child.kill();
        }
        child.try_wait().unwrap()
    });
    let [stdout, stderr] = outputs.map(|output| output.join().unwrap());
    Finished { code: status.code().unwrap_or(-1), stdout, stderr }
}

fn slurp(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
