//! The client that everybody has: curl, which trusts our authority and nothing else.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
};

use super::{Answer, answer, canary};

/// A request that curl is going to make.
pub(crate) struct Curl {
    command: Command,
    body: Option<Vec<u8>>,
    head: tempfile::NamedTempFile,
}

impl Curl {
    /// A GET of this URL. The path goes out as it stands.
    pub(crate) fn new(url: &str, authority: &Path) -> Self {
        let head = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--path-as-is", "--globoff", "--max-time", "60", "--disable"]);
        command.arg("--cacert").arg(authority).arg("--dump-header").arg(head.path());
        // A proxy in the environment has no business here.
        command.args(["--noproxy", "*", "--write-out", "%{stderr}%{http_version}", url]);
        Self { command, body: None, head }
    }

    /// Further options.
    pub(crate) fn args<const N: usize>(mut self, args: [&str; N]) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn method(self, method: &str) -> Self {
        self.args(["--request", method])
    }

    /// Makes it a HEAD. curl would print the header as if it were the body.
    pub(crate) fn head(self) -> Self {
        self.args(["--head", "--output", "/dev/null"])
    }

    pub(crate) fn header(self, line: &str) -> Self {
        canary::request(line.as_bytes());
        self.args(["--header", line])
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header(&format!("Authorization: Bearer {token}"))
    }

    pub(crate) fn basic(self, user: &str, password: &str) -> Self {
        canary::request(super::password(user, password).as_bytes());
        self.args(["--user", &format!("{user}:{password}")])
    }

    /// Sends this body with its length.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.args(["--data-binary", "@-", "--header", "Content-Type: application/octet-stream"])
    }

    /// Sends this body without saying its length beforehand: chunked, or HTTP/2 without `content-length`.
    pub(crate) fn stream(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.args(["--upload-file", "-"])
    }

    /// Makes the request, which must be answered over this version of HTTP.
    #[track_caller]
    pub(crate) fn send_over(self, version: &str) -> Answer {
        let (answer, spoken) = self.exchange();
        assert_eq!(spoken, version, "the version of HTTP");
        answer
    }

    /// Makes the request.
    #[track_caller]
    pub(crate) fn send(self) -> Answer {
        self.exchange().0
    }

    /// Makes the request; `None` when it was not answered.
    pub(crate) fn attempt(self) -> Option<Answer> {
        let (output, head) = self.run();
        output.status.success().then(|| Answer::from_curl(&head, output.stdout))
    }

    /// Makes a request that must not be answered, and says curl's exit code.
    #[track_caller]
    pub(crate) fn fail(self) -> i32 {
        let (output, _) = self.run();
        assert!(!output.status.success(), "curl got an answer: {}", String::from_utf8_lossy(&output.stdout));
        output.status.code().expect("curl's exit code")
    }

    #[track_caller]
    fn exchange(self) -> (Answer, String) {
        let (output, head) = self.run();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "curl exited with {}: {said}", output.status);
        (Answer::from_curl(&head, output.stdout), said.lines().last().unwrap_or_default().to_owned())
    }

    fn run(mut self) -> (Output, String) {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("curl is installed");
        let mut stdin = child.stdin.take().unwrap();
        let body = self.body.take().unwrap_or_default();
        // On a thread of its own: curl may answer before it has read everything.
        let writer = thread::spawn(move || drop(stdin.write_all(&body)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        (output, String::from_utf8_lossy(&fs::read(self.head.path()).unwrap()).into_owned())
    }
}

impl Answer {
    /// The last head that curl wrote down: before it there may be interim ones.
    #[track_caller]
    fn from_curl(heads: &str, body: Vec<u8>) -> Self {
        let head = heads.trim_end().rsplit("\r\n\r\n").next().unwrap_or_default();
        let lines: Vec<String> = head.lines().map(str::to_owned).collect();
        let status = lines.first().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        Self {
            status: status.unwrap_or_else(|| panic!("no status in {heads:?}")),
            headers: answer::headers(&lines[1..]),
            body,
        }
    }
}
