//! The access log on stdout and the diagnostics on stderr.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use jiff::tz::TimeZone;
use prometheus_client::metrics::counter::Counter;
use serde::Serialize;
use tracing_subscriber::filter::LevelFilter;

use super::{lines::Lines, record::Finished};
use crate::{config, reason::Reason};

/// How long lines are gathered before they are written: one system call for hundreds of requests.
const GATHER: Duration = Duration::from_millis(20);

/// The access log. Lines are formatted by the worker and written by a thread of their own, so that a slow reader never
/// holds a request up.
#[derive(Debug)]
pub struct AccessLog {
    format: config::AccessLog,
    lines: Option<Lines>,
    lost: Counter,
}

/// The diagnostics, once started. Dropping it writes what waits, before the process ends.
#[derive(Debug)]
#[must_use = "dropped at once it writes nothing of what comes at the end"]
pub struct Diagnostics {
    lines: Arc<Lines>,
}

impl AccessLog {
    /// A log in this format. `lost` counts the lines that were not written.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(format: config::AccessLog, lost: Counter) -> io::Result<Self> {
        let lines = match format {
            config::AccessLog::Off => None,
            config::AccessLog::Json | config::AccessLog::Combined => {
                Some(Lines::start("access-log", io::stdout(), GATHER)?)
            }
        };
        Ok(Self { format, lines, lost })
    }

    /// Whether anything is written.
    pub(super) fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    /// Adds a line.
    pub(super) fn write(&self, request: &Finished<'_>) {
        let Some(lines) = &self.lines else { return };
        let kept = lines.push(|buffer, _| match self.format {
            config::AccessLog::Json => json(buffer, request),
            config::AccessLog::Combined => combined(buffer, request),
            config::AccessLog::Off => {}
        });
        if !kept {
            self.lost.inc();
        }
    }

    /// Writes what waits, before the process ends; a reader that stands still is given a second.
    pub fn flush(&self) {
        if let Some(lines) = &self.lines {
            lines.flush();
        }
    }
}

/// Starts the diagnostics on stderr: for a person on a terminal, else plain. A worker that has something to say does not
/// wait for who reads it.
///
/// # Errors
/// No thread could be started.
pub fn start_diagnostics(level: config::Level) -> io::Result<Diagnostics> {
    let filter = match level {
        config::Level::Error => LevelFilter::ERROR,
        config::Level::Warn => LevelFilter::WARN,
        config::Level::Info => LevelFilter::INFO,
        config::Level::Debug => LevelFilter::DEBUG,
        config::Level::Trace => LevelFilter::TRACE,
    };
    let lines = Arc::new(Lines::start("diagnostics", io::stderr(), Duration::ZERO)?);
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || Event(writer.clone()))
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .with_max_level(filter)
        .finish();
    // A test starts it once per process; the first one stays.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(Diagnostics { lines })
}

impl Drop for Diagnostics {
    fn drop(&mut self) {
        self.lines.flush();
    }
}

/// Takes one event, which is formatted as a whole before it is written.
struct Event(Arc<Lines>);

impl io::Write for Event {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.push(|buffer, lost| {
            if lost > 0 {
                // Writing to a vector does not fail.
                let _ = writeln!(buffer, "{lost} lines are missing here: nobody read them in time");
            }
            buffer.extend_from_slice(text);
        });
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn json(buffer: &mut Vec<u8>, request: &Finished<'_>) {
    /// Field names as Envoy and Istio have them, where they have one.
    #[derive(Serialize)]
    struct Entry<'a> {
        start_time: jiff::Timestamp,
        method: &'a str,
        path: &'a str,
        protocol: &'a str,
        response_code: u16,
        response_code_details: Option<&'a str>,
        bytes_received: u64,
        bytes_sent: u64,
        duration: u64,
        upstream_service_time: Option<u64>,
        x_forwarded_for: Option<&'a str>,
        user_agent: Option<&'a str>,
        request_id: &'a str,
        authority: Option<&'a str>,
        downstream_remote_address: Option<SocketAddr>,
        auth_method: Option<&'a str>,
        auth_user: Option<&'a str>,
        auth_issuer: Option<&'a str>,
        auth_reason: Option<&'a str>,
        rule: Option<&'a str>,
    }
    let (line, trail, verdict) = (request.line, request.trail, request.trail.verdict());
    let identity = verdict.and_then(|verdict| verdict.identity.as_deref());
    let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let entry = Entry {
        start_time: line.start,
        method: request.method.as_str(),
        path: &line.path,
        protocol: line.protocol,
        response_code: request.code,
        response_code_details: trail.failure().map(Reason::code),
        bytes_received: trail.received(),
        bytes_sent: request.sent,
        duration: milliseconds(request.duration),
        upstream_service_time: trail.upstream_time().map(milliseconds),
        x_forwarded_for: line.forwarded_for.as_deref(),
        user_agent: line.user_agent.as_deref(),
        request_id: trail.request_id.to_str().unwrap_or("-"),
        authority: line.authority.as_deref(),
        downstream_remote_address: line.client,
        auth_method: verdict.map(|verdict| verdict.method.label()),
        auth_user: identity.map(|identity| &*identity.user),
        auth_issuer: identity.map(|identity| &*identity.issuer),
        auth_reason: verdict.map(|verdict| verdict.refusal.map_or("ok", Reason::code)),
        rule: request.rule,
    };
    // Writing to a vector does not fail, and every field has a JSON form.
    let _ = serde_json::to_writer(&mut *buffer, &entry);
    buffer.push(b'\n');
}

/// nginx's `combined`, to the byte, but for queries: they may hold tokens, and are left out.
fn combined(buffer: &mut Vec<u8>, request: &Finished<'_>) {
    let line = request.line;
    let identity = request.trail.verdict().and_then(|verdict| verdict.identity.as_deref());
    let user = identity.map_or("-", |identity| &*identity.user);
    let protocol = if line.protocol == "HTTP/2" { "HTTP/2.0" } else { line.protocol };
    let time = line.start.to_zoned(TimeZone::UTC).strftime("%d/%b/%Y:%H:%M:%S %z");
    let mut text = String::with_capacity(256);
    let _ = match line.client {
        Some(client) => write!(text, "{}", client.ip()),
        None => write!(text, "unix:"),
    };
    let _ = write!(text, " - {} [{time}] \"", Escaped(user));
    let _ = write!(text, "{} {} {protocol}\" ", Escaped(request.method.as_str()), Escaped(&line.path));
    let _ = write!(text, "{} {} ", request.code, request.sent);
    let referer = Escaped(line.referer.as_deref().unwrap_or("-"));
    let _ = writeln!(text, "\"{referer}\" \"{}\"", Escaped(line.user_agent.as_deref().unwrap_or("-")));
    buffer.extend_from_slice(text.as_bytes());
}

/// Text as nginx escapes it: what could end the field or the line as `\xXX`.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for byte in self.0.bytes() {
            if matches!(byte, b'"' | b'\\') || !(0x20..0x7f).contains(&byte) {
                write!(f, "\\x{byte:02X}")?;
            } else {
                f.write_char(char::from(byte))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_end_a_field_is_escaped() {
        assert_eq!(Escaped("a\"b\\c\nd\u{e9}\x1b[31m").to_string(), r"a\x22b\x5Cc\x0Ad\xC3\xA9\x1B[31m");
    }
}
