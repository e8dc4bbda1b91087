//! An HTTP answer as a client got it, whichever client that was.

use std::io::{self, BufRead};

use serde_json::Value;

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In the order and the spelling in which they came.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header that may come only once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let all = self.header_values(name);
        assert!(all.len() <= 1, "{name} came {} times: {all:?}", all.len());
        all.first().copied()
    }

    /// All values of a header.
    pub(crate) fn header_values(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in the body of {self:?}"))
    }

    /// Asserts that this is a refusal with this status and reason, and that it says its request's id.
    #[track_caller]
    pub(crate) fn assert_refused(&self, status: u16, reason: &str) {
        assert_eq!((self.status, self.reason().as_deref()), (status, Some(reason)), "{}", self.text());
        let id = self.json()["request_id"].as_str().map(str::to_owned);
        assert!(id.is_some_and(|id| id.len() >= 16), "no request_id in {}", self.text());
    }

    /// The reason code of a refusal.
    pub(crate) fn reason(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        body["error"].as_str().map(str::to_owned)
    }

    /// Reads one HTTP/1 answer to a request of this method, after the interim ones (1xx).
    pub(crate) fn read(stream: &mut impl BufRead, method: &str) -> io::Result<Self> {
        loop {
            let (status, headers) = read_head(stream)?;
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let mut answer = Self { status, headers, body: Vec::new() };
            let bodiless = method == "HEAD" || matches!(status, 101 | 204 | 304);
            if !bodiless {
                answer.body = read_body(stream, &answer.headers, Rest::UntilClose)?;
            }
            return Ok(answer);
        }
    }
}

/// What a message without a length means.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Rest {
    /// An answer: all until the connection ends.
    UntilClose,
    /// A request: nothing.
    Nothing,
}

/// Reads the lines of a head, the first one and the others, without their line ends.
pub(crate) fn read_lines(stream: &mut impl BufRead) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
        if line.is_empty() {
            return Ok(lines);
        }
        lines.push(line);
    }
}

/// Splits `Name: value` lines.
pub(crate) fn headers(lines: &[String]) -> Vec<(String, String)> {
    lines.iter().filter_map(|line| line.split_once(':')).map(|(n, v)| (n.to_owned(), v.trim().to_owned())).collect()
}

/// Reads a body, by its length or in its chunks.
pub(crate) fn read_body(stream: &mut impl BufRead, headers: &[(String, String)], rest: Rest) -> io::Result<Vec<u8>> {
    let value = |name: &str| headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str());
    let mut body = Vec::new();
    if value("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        loop {
            let mut size = String::new();
            stream.read_line(&mut size)?;
            let size = size.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
            if size == 0 {
                read_lines(stream)?; // trailers
                return Ok(body);
            }
            let start = body.len();
            body.resize(start + size, 0);
            stream.read_exact(&mut body[start..])?;
            stream.read_exact(&mut [0; 2])?;
        }
    }
    if let Some(length) = value("content-length") {
        body.resize(length.parse().map_err(io::Error::other)?, 0);
        stream.read_exact(&mut body)?;
    } else if rest == Rest::UntilClose {
        stream.read_to_end(&mut body)?;
    }
    Ok(body)
}

fn read_head(stream: &mut impl BufRead) -> io::Result<(u16, Vec<(String, String)>)> {
    let lines = read_lines(stream)?;
    let first = lines.first().ok_or(io::ErrorKind::InvalidData)?;
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    Ok((status, headers(&lines[1..])))
}
