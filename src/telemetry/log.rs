//! The access log on stdout and the diagnostics on stderr.

use std::{
    io::{self, IsTerminal},
    sync::Arc,
    time::Duration,
};

use prometheus_client::metrics::counter::Counter;
use tracing_subscriber::filter::LevelFilter;

use super::{
    combined,
    entry::{Finished, Said},
    json,
    lines::Lines,
};
use crate::{config, exchange::Exchange};

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

    /// What the line of a request will say of it, if there is to be one.
    pub(super) fn begin(&self, exchange: &Exchange) -> Option<Said> {
        match self.format {
            config::AccessLog::Json => Some(json::begin(exchange)),
            config::AccessLog::Combined => Some(combined::begin(exchange)),
            config::AccessLog::Off => None,
        }
    }

    /// Adds the line.
    pub(super) fn end(&self, said: &Said, request: &Finished<'_>) {
        let Some(lines) = &self.lines else { return };
        let kept = lines.push(|buffer, _| match self.format {
            config::AccessLog::Json => json::end(buffer, said, request),
            config::AccessLog::Combined => combined::end(buffer, said, request),
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
