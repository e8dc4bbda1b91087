//! The clients of one sidegate: each keeps its connection from case to case as long as it can.

use super::{Case, Input, Version, http1::Http1, http2::Http2};
use crate::support::{Sidegate, bytes};

/// What a client saw of one answer.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) status: u16,
    pub(super) body: String,
}

/// One client for each version of HTTP, and one who wants nothing but to be served.
pub(super) struct Clients<'a> {
    sidegate: &'a Sidegate,
    http1: Http1,
    http2: Http2,
    honest: Http1,
}

type Field = (Vec<u8>, Vec<u8>);

impl<'a> Clients<'a> {
    pub(super) fn new(sidegate: &'a Sidegate) -> Self {
        let address = sidegate.address();
        Self { sidegate, http1: Http1::new(address), http2: Http2::new(address), honest: Http1::new(address) }
    }

    /// Sends a case, and says what was answered until the connection was over, or nothing more could come.
    pub(super) fn send(&mut self, case: &Case, version: Version, id: &str, authorization: Option<&str>) -> Vec<Seen> {
        // Who breaks off says so at once, and hears what there is to hear.
        let answers = if case.broken_off { 0 } else { case.expected(version).count() };
        match (&case.input, version) {
            (Input::Request { method, target, lines }, Version::H1) => {
                let request = head(method, target, lines, id, authorization);
                self.http1.ask(&request, method == b"HEAD").into_iter().collect()
            }
            (Input::Request { method, target, lines }, Version::H2) => {
                let fields = fields(method, target, lines);
                self.http2.ask(&signed(fields, id, authorization), None, &[]).into_iter().collect()
            }
            (Input::Bytes(text), _) => {
                let bytes = bytes(&filled(text, id, authorization));
                Http1::converse(self.sidegate.address(), &bytes, answers)
            }
            (Input::Fields { fields, body, trailers }, _) => {
                let fields = signed(fields.clone(), id, authorization);
                self.http2.ask(&fields, body.as_deref(), trailers).into_iter().collect()
            }
        }
    }

    /// What somebody else gets who asks for something public: the status and the route.
    pub(super) fn honest(&mut self, id: &str) -> String {
        let agent = id.replace("corpus/", "honest/");
        let request = format!("GET /public/honest HTTP/1.1\r\nHost: localhost\r\nUser-Agent: honest/{agent}\r\n\r\n");
        match self.honest.ask(request.as_bytes(), false) {
            Some(seen) => format!("{} {}", seen.status, seen.body.trim_end().trim_end_matches(" 0")),
            None => "no answer".to_owned(),
        }
    }
}

/// A head of HTTP/1. `Host` is the case's own where it has one.
fn head(method: &[u8], target: &[u8], lines: &[Vec<u8>], id: &str, authorization: Option<&str>) -> Vec<u8> {
    let mut head = [method, b" ", target, b" HTTP/1.1\r\n"].concat();
    let is_host =
        |line: &Vec<u8>| line.split(|byte| *byte == b':').next().is_some_and(|name| name.eq_ignore_ascii_case(b"host"));
    if !lines.iter().any(is_host) {
        head.extend(b"Host: localhost\r\n");
    }
    head.extend(format!("User-Agent: {id}\r\n").bytes());
    head.extend(authorization.iter().flat_map(|value| format!("Authorization: {value}\r\n").into_bytes()));
    for line in lines {
        head.extend([&line[..], b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    head
}

/// The same as fields of HTTP/2, where names have no capitals.
fn fields(method: &[u8], target: &[u8], lines: &[Vec<u8>]) -> Vec<Field> {
    let pseudo = [(":method", method), (":scheme", b"https"), (":authority", b"localhost"), (":path", target)];
    let mut fields: Vec<_> = pseudo.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).collect();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        fields.push((line[..colon].to_ascii_lowercase(), value.strip_prefix(b" ").unwrap_or(value).to_vec()));
    }
    fields
}

fn signed(mut fields: Vec<Field>, id: &str, authorization: Option<&str>) -> Vec<Field> {
    fields.push((b"user-agent".to_vec(), id.as_bytes().to_vec()));
    fields.extend(authorization.map(|value| (b"authorization".to_vec(), value.as_bytes().to_vec())));
    fields
}

/// The placeholders of a stream of bytes.
fn filled(text: &str, id: &str, authorization: Option<&str>) -> String {
    let authorization = authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
    let agent = format!("User-Agent: {id}\r\n{authorization}");
    text.replace("{smuggled}", "GET /admin/smuggled HTTP/1.1\r\n{head}\r\n")
        .replace("{head}", &format!("Host: localhost\r\n{agent}"))
        .replace("{agent}", &agent)
        .replace("{case}", id)
}
