//! Sidegate in between changes nothing: honest requests (`tests/corpus/benign.yaml`), sent to the app directly and through
//! sidegate over HTTP/1.1 and HTTP/2, have the same answers, and the app is asked the same.

use std::{
    collections::{BTreeMap, HashMap},
    io::Write,
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{
    Answer, App, Flask, H2, Issuer, Nginx, Received, Recorder, Sidegate, Wire, Worker, bytes, entries,
};

/// Headers of an answer that may differ, with the reason.
const OF_ANSWERS: &[(&str, &str)] = &[
    ("date", "the moment"),
    ("connection", "RFC 9110 section 7.6.1: belongs to one connection"),
    ("keep-alive", "the same"),
    ("transfer-encoding", "the same: HTTP/2 has frames, and we chunk what ends with its connection"),
];

/// Headers of a request that may differ at the app, with the reason.
const OF_REQUESTS: &[(&str, &str)] = &[
    ("x-forwarded-for", "ours: the direct client says nothing about itself"),
    ("x-forwarded-host", "ours"),
    ("x-forwarded-port", "ours"),
    ("x-forwarded-proto", "ours"),
    ("x-request-id", "ours, a new one for each request"),
    ("connection", "RFC 9110 section 7.6.1: belongs to one connection"),
    ("te", "the same"),
    ("expect", "RFC 9110 section 10.1.1: answered by us, before the body is read"),
    ("transfer-encoding", "framed anew; the body is compared byte by byte"),
];

/// What an echo of the request says about these.
const OF_ECHOES: &[&str] = &["HTTP_X_REQUEST_ID", "HTTP_TRANSFER_ENCODING", "HTTP_EXPECT"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    why: String,
    #[serde(default)]
    app: Kind,
    method: Option<String>,
    target: String,
    #[serde(default)]
    lines: Vec<String>,
    body: Option<String>,
    /// The body goes out in chunks of so many bytes, over HTTP/1.1 only.
    chunks: Option<usize>,
    /// What the app answers, to the byte.
    answer: Option<String>,
    /// Headers of the answer that are new each time.
    #[serde(default)]
    ignore: Vec<String>,
    /// `h1` where HTTP/2 cannot say it.
    only: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Flask,
    Nginx,
    Raw,
}

#[test]
fn an_honest_request_gets_the_same_answer_and_asks_the_app_the_same() {
    let cases: Vec<Case> = entries("benign");
    assert!(cases.len() >= 100, "{} cases", cases.len());
    let raw = raw_app(&cases);
    let flask = Flask::start(Worker::Threads);
    let nginx = Nginx::start();
    nginx.put("a.txt", b"0123456789\n");
    nginx.put("empty", b"");
    nginx.put("large.bin", &b"0123456789".repeat(500_000));
    let before_raw = Path::to(&raw);
    let before = HashMap::from([(false, Path::to(&flask)), (true, Path::to(&nginx))]);
    let mut findings = Vec::new();
    for case in &cases {
        assert!(!case.why.is_empty(), "{} has no reason", case.name);
        let mut compare = |what: &str, direct: String, through: String| {
            if direct != through {
                findings.push(format!("{} {what}:\n  direct  {direct:.600}\n  through {through:.600}", case.name));
            }
        };
        // What the app is asked, whichever app it is meant for.
        let (answer, asked) = (before_raw.direct(case), raw.last_request());
        before_raw.through(case, |version, through| {
            let (what, seen) = (format!("over {version}"), raw.last_request());
            compare(&what, request_of(&asked, case, version), request_of(&seen, case, version));
            if case.app == Kind::Raw {
                compare(&what, answer_of(&answer, case), answer_of(&through, case));
            }
        });
        if case.app != Kind::Raw {
            let path = &before[&(case.app == Kind::Nginx)];
            let direct = answer_of(&path.direct(case), case);
            path.through(case, |version, through| {
                compare(&format!("over {version}"), direct.clone(), answer_of(&through, case));
            });
        }
    }
    assert!(findings.is_empty(), "{} differ\n{}", findings.len(), findings.join("\n"));
}

/// An app, and the way to it through sidegate.
struct Path {
    app: std::net::SocketAddr,
    sidegate: Sidegate,
}

impl Path {
    fn to(app: &impl App) -> Self {
        let rule = json!({ "allow": "anyone" });
        Self { app: app.address(), sidegate: Sidegate::before(app).jwt(&Issuer::new()).rule(rule).start() }
    }

    /// The answer of the app itself, which is told what sidegate would tell it.
    fn direct(&self, case: &Case) -> Answer {
        let ours = format!(
            "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: app.test\r\nX-Forwarded-Port: 443\r\n\
             X-Forwarded-Proto: https\r\nX-Request-Id: {}\r\n",
            "0".repeat(32)
        );
        Wire::tcp(self.app).send(message(case, &ours)).answer_to(case.method())
    }

    /// The same through sidegate, one version after the other.
    fn through(&self, case: &Case, mut then: impl FnMut(&str, Answer)) {
        then("HTTP/1.1", self.sidegate.wire().send(message(case, "")).answer_to(case.method()));
        if case.only.is_none() && case.chunks.is_none() {
            let answer = H2::connect(&self.sidegate).exchange(request(case));
            then("HTTP/2", answer.unwrap_or_else(|| panic!("{} was reset", case.name)));
        }
    }
}

impl Case {
    fn method(&self) -> &str {
        self.method.as_deref().unwrap_or("GET")
    }

    fn lines(&self) -> Vec<Vec<u8>> {
        let lines = self.lines.iter().flat_map(|line| {
            let line = bytes(line);
            line.split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end().to_vec()).collect::<Vec<_>>()
        });
        lines.chain([format!("X-Case: {}", self.name).into_bytes()]).collect()
    }
}

/// The request as HTTP/1.1 has it.
fn message(case: &Case, ours: &str) -> Vec<u8> {
    let mut message =
        [case.method().as_bytes(), b" ", &bytes(&case.target), b" HTTP/1.1\r\nHost: app.test\r\n"].concat();
    message.extend(ours.bytes());
    for line in case.lines() {
        message.extend([&line[..], b"\r\n"].concat());
    }
    let body = case.body.as_deref().map(bytes).unwrap_or_default();
    if let Some(size) = case.chunks {
        message.extend(b"Transfer-Encoding: chunked\r\n\r\n");
        for chunk in body.chunks(size) {
            message.extend([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
        }
        message.extend(b"0\r\n\r\n");
        return message;
    }
    if !body.is_empty() {
        message.extend(format!("Content-Length: {}\r\n", body.len()).bytes());
    }
    message.extend(b"\r\n");
    message.extend(body);
    message
}

/// The request as HTTP/2 has it.
fn request(case: &Case) -> Request<Full<Bytes>> {
    let target = String::from_utf8(bytes(&case.target)).unwrap();
    let mut request = Request::builder().method(case.method()).uri(format!("https://app.test{target}"));
    for line in case.lines() {
        let colon = line.iter().position(|byte| *byte == b':').unwrap();
        request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    let body = case.body.as_deref().map(bytes).unwrap_or_default();
    request.body(Full::new(Bytes::from(body))).unwrap_or_else(|e| panic!("{}: {e}", case.name))
}

/// An app that answers each case with its own bytes, and writes down what it is asked.
fn raw_app(cases: &[Case]) -> Recorder {
    let answers: HashMap<String, Vec<u8>> =
        cases.iter().filter_map(|case| Some((case.name.clone(), bytes(case.answer.as_deref()?)))).collect();
    Recorder::scripted(move |asked, stream| {
        let own = asked.header("x-case").and_then(|name| answers.get(name));
        let other = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
        let other = if asked.line.starts_with("HEAD ") { &other[..other.len() - 3] } else { &other[..] };
        let bytes = own.map_or(other, Vec::as_slice);
        stream.write_all(bytes)?;
        let head = String::from_utf8_lossy(bytes).to_ascii_lowercase();
        let bodiless = head.contains(" 304 ") || head.contains(" 204 ");
        Ok(bodiless || head.contains("content-length:") || head.contains("transfer-encoding:"))
    })
}

/// An answer, as text that can be compared.
fn answer_of(answer: &Answer, case: &Case) -> String {
    let mut skipped: Vec<_> = OF_ANSWERS.iter().map(|(name, _)| *name).collect();
    skipped.extend(case.ignore.iter().map(String::as_str));
    let mut body = answer.body.clone();
    if let Ok(mut echo) = serde_json::from_slice::<Value>(&body)
        && let Some(environ) = echo.get_mut("environ").and_then(Value::as_object_mut)
    {
        OF_ECHOES.iter().for_each(|name| drop(environ.remove(*name)));
        body = echo.to_string().into_bytes();
        skipped.push("content-length");
    }
    format!("{} {:?} {}", answer.status, headers_of(&answer.headers, &skipped), shown(&body))
}

/// What the app was asked, as text that can be compared.
fn request_of(request: &Received, case: &Case, version: &str) -> String {
    let mut skipped: Vec<_> = OF_REQUESTS.iter().map(|(name, _)| *name).collect();
    if case.chunks.is_some() {
        skipped.push("content-length"); // for a small body may get one
    }
    if version == "HTTP/2" && case.body.is_none() && !case.lines.iter().any(|line| line.starts_with("Content-Length")) {
        skipped.push("content-length"); // hyper's client says of some methods that there is no body
    }
    format!("{} {:?} {}", request.line, headers_of(&request.headers, &skipped), shown(&request.body))
}

/// By name, for which neither case nor order counts; the order of one name's values does.
fn headers_of<'a>(headers: &'a [(String, String)], skipped: &[&str]) -> BTreeMap<String, Vec<&'a str>> {
    let mut sorted: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        if !skipped.contains(&name.as_str()) {
            sorted.entry(name).or_default().push(value);
        }
    }
    sorted
}

/// A body: as it is, or its size and digest.
fn shown(body: &[u8]) -> String {
    if body.len() < 400 {
        return body.escape_ascii().to_string();
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body);
    format!("{} bytes {:02x?}", body.len(), digest.as_ref())
}
