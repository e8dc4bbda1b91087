//! The binary under test, running: asked, watched, and stopped.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ExitStatus},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::{Answer, App, Builder, Curl, Exposition, Wire, canary, wait::until};

/// A running sidegate. It is killed when dropped, and shows its log when the test has failed.
pub(crate) struct Sidegate {
    child: Child,
    files: TempDir,
    tls: bool,
    address: SocketAddr,
    admin: SocketAddr,
    stdout: Arc<Mutex<Vec<String>>>,
    stderr: Arc<Mutex<Vec<String>>>,
    /// The threads that read them.
    readers: Vec<JoinHandle<()>>,
}

impl Sidegate {
    /// Before this app, over TLS, letting in whoever is authenticated; nobody can be, yet.
    pub(crate) fn before(app: &impl App) -> Builder {
        Builder::new(app)
    }

    /// Takes care of a process that has just been started, and waits until it serves.
    #[track_caller]
    pub(super) fn adopt(mut child: Child, files: TempDir, tls: bool, on_unix_socket: bool) -> Self {
        let (stdout, read_stdout) = collect(child.stdout.take().unwrap());
        let (stderr, read_stderr) = collect(child.stderr.take().unwrap());
        let readers = vec![read_stdout, read_stderr];
        let unset = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut sidegate = Self { child, files, tls, address: unset, admin: unset, stdout, stderr, readers };
        let scheme = if tls { "https" } else { "http" };
        if !on_unix_socket {
            sidegate.address = sidegate.listener(&format!("sidegate is listening on {scheme}://"));
        }
        sidegate.admin = sidegate.listener("admin is listening on http://");
        until("/startupz", || (sidegate.ask_admin("/startupz").status == 200).then_some(()));
        sidegate
    }

    /// Where clients connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where probes and Prometheus connect to.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// A URL of the app, through sidegate.
    pub(crate) fn url(&self, path: &str) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    /// A GET by curl.
    pub(crate) fn curl(&self, path: &str) -> Curl {
        Curl::new(&self.url(path), &self.file("ca.pem"))
    }

    /// A connection that speaks HTTP/1.1 inside TLS, where sidegate does.
    pub(crate) fn wire(&self) -> Wire {
        if self.tls { Wire::tls(self.address, &["http/1.1"]) } else { Wire::tcp(self.address) }
    }

    /// A GET over a connection of its own, with these header lines.
    #[track_caller]
    pub(crate) fn get(&self, path: &str, lines: &[&str]) -> Answer {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        self.wire().send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n")).answer()
    }

    /// A GET of `/` with this token.
    #[track_caller]
    pub(crate) fn get_with_token(&self, token: &str) -> Answer {
        self.get("/", &[&format!("Authorization: Bearer {token}")])
    }

    /// Waits until it says that it is ready.
    pub(crate) fn wait_until_ready(&self) {
        until("/readyz", || (self.ask_admin("/readyz").status == 200).then_some(()));
    }

    /// How often the keys of the issuer of this label were fetched with this result.
    pub(crate) fn key_fetches(&self, label: &str, result: &str) -> f64 {
        self.metrics().sum("sidegate_jwks_refresh_total", &[("issuer", label), ("result", result)])
    }

    /// Waits until the keys of the issuer of this label were fetched with this result more often than `count`.
    pub(crate) fn wait_for_key_fetch(&self, label: &str, result: &str, count: f64) {
        self.wait_for_metric_above("sidegate_jwks_refresh_total", &[("issuer", label), ("result", result)], count);
    }

    /// Asks the admin listener.
    #[track_caller]
    pub(crate) fn ask_admin(&self, path: &str) -> Answer {
        Wire::tcp(self.admin).send(format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")).answer()
    }

    /// Scrapes the metrics.
    pub(crate) fn metrics(&self) -> Exposition {
        Exposition::parse(&self.ask_admin("/metrics").text())
    }

    /// Waits until the series of this name with these labels have this sum.
    pub(crate) fn wait_for_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let what = format!("{name}{labels:?} to be {value}");
        until(&what, || ((self.metrics().sum(name, labels) - value).abs() < 1e-9).then_some(()));
    }

    /// Waits until the series of this name with these labels have a larger sum.
    pub(crate) fn wait_for_metric_above(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        until(&format!("{name}{labels:?} above {value}"), || (self.metrics().sum(name, labels) > value).then_some(()));
    }

    /// Asserts that the next client is answered, whatever somebody did before, and however the app is.
    #[track_caller]
    pub(crate) fn assert_alive(&self) {
        assert_eq!(self.ask_admin("/livez").status, 200);
        self.get("/a/../b", &[]).assert_refused(400, "path_ambiguous");
    }

    /// The access log, as soon as it has this many lines.
    pub(crate) fn access_lines(&self, count: usize) -> Vec<String> {
        until(&format!("{count} lines of access log"), || {
            let lines = self.stdout.lock().unwrap();
            (lines.len() >= count).then(|| lines.clone())
        })
    }

    /// The access log as JSON, as soon as it has this many lines.
    pub(crate) fn access_log(&self, count: usize) -> Vec<Value> {
        let parse = |line: &String| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}"));
        self.access_lines(count).iter().map(parse).collect()
    }

    /// What it has written to stderr.
    pub(crate) fn log(&self) -> String {
        self.stderr.lock().unwrap().join("\n")
    }

    /// What is read of its stdout and its stderr. Whoever locks them makes it a process whose output nobody reads.
    pub(crate) fn outputs(&self) -> [Arc<Mutex<Vec<String>>>; 2] {
        [self.stdout.clone(), self.stderr.clone()]
    }

    /// A file of its configuration.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Waits until it has ended.
    pub(crate) fn exit(&mut self) -> ExitStatus {
        until("sidegate to exit", || self.child.try_wait().unwrap())
    }

    /// Whether it has ended.
    pub(crate) fn has_exited(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// The most memory that it has ever had, in kB.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.proc_status("VmHWM:")
    }

    /// How much more than `before`, in kB, it has ever had. The kernel's sums are off by some pages, even that of the peak:
    /// where nothing has grown it may be less than it was.
    pub(crate) fn peak_growth(&self, before: u64) -> u64 {
        self.peak_memory().saturating_sub(before)
    }

    /// How much more than `before`, in kB, it has now.
    pub(crate) fn growth(&self, before: u64) -> u64 {
        self.memory().saturating_sub(before)
    }

    /// The memory that it has now, in kB.
    pub(crate) fn memory(&self) -> u64 {
        self.proc_status("VmRSS:")
    }

    /// How many files and sockets it has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// How many threads it has.
    pub(crate) fn threads(&self) -> u64 {
        self.proc_status("Threads:")
    }

    /// The processor time that it has used, by Linux's usual clock of 100 ticks a second.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // After the name, which is in brackets: state is field 3, utime and stime are 14 and 15.
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    fn proc_status(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[track_caller]
    fn listener(&mut self, prefix: &str) -> SocketAddr {
        until(&format!("{prefix:?} in the log"), || {
            // Looked at before the log, so that what it wrote before it ended is in there.
            let exited = self.child.try_wait().unwrap();
            let log = self.log();
            let rest = log.split_once(prefix).map(|(_, rest)| rest);
            let end = |c: char| c.is_whitespace() || c == '"' || c == '/';
            let address = rest.and_then(|rest| rest.split(end).next()?.parse().ok());
            if address.is_none()
                && let Some(status) = exited
            {
                panic!("sidegate ended with {status}:\n{log}");
            }
            address
        })
    }
}

impl Drop for Sidegate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let access = self.stdout.lock().map(|lines| lines.join("\n")).unwrap_or_default();
            let log = self.stderr.lock().map(|lines| lines.join("\n")).unwrap_or_default();
            eprintln!("--- sidegate's access log\n{access}\n--- sidegate's log\n{log}\n---");
            return;
        }
        for (reader, lines) in self.readers.drain(..).zip([&self.stdout, &self.stderr]) {
            // A test may keep its reader from reading, and then it never ends.
            if lines.try_lock().is_err() {
                continue;
            }
            let _ = reader.join();
            let told = lines.lock().ok().and_then(|lines| canary::told(&lines.join("\n")));
            assert_eq!(told, None, "a secret is in a log");
        }
    }
}

fn collect(pipe: impl Read + Send + 'static) -> (Arc<Mutex<Vec<String>>>, JoinHandle<()>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let filled = lines.clone();
    let reader = thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            filled.lock().unwrap().push(line);
        }
    });
    (lines, reader)
}
