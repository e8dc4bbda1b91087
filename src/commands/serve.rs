//! `sidegate serve`: the sidecar.

use std::{io, process::ExitCode};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::{ConfigArgs, compile, complain, refuse};
use crate::{
    app::Compiled,
    config::{Loaded, Problems},
    telemetry::{Diagnostics, start_diagnostics},
};

/// Run the sidecar: terminate TLS, authenticate, decide by the rules, and proxy to the app
///
/// Logs go to stdout (one line per request) and to stderr (everything else). SIGTERM drains: not ready for
/// `shutdown.delay`, then no new connections and `shutdown.grace` for what is under way.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

const EXAMPLES: &str = "\
Examples:
  sidegate serve --config /etc/sidegate/sidegate.yaml
  SIDEGATE__LOG__LEVEL=debug sidegate serve --upstream http://127.0.0.1:8000

Every key can be set by the environment: listen.address is SIDEGATE__LISTEN__ADDRESS.";

/// Runs the command.
///
/// # Errors
/// A port cannot be opened, or the operating system refuses a thread.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (compiled, _diagnostics) = match prepare(args.config.load())? {
        Ok(prepared) => prepared,
        Err(problems) => return Ok(refuse(&problems)),
    };
    let app = compiled.bind()?;
    let listening = format!("sidegate is listening on {}", app.url());
    let admin = format!("admin is listening on http://{}", app.admin_address);
    let announce = move || complain(&format!("{listening}\n{admin}"));
    app.run(stop(announce)).context("the operating system refused to run it")?;
    Ok(ExitCode::SUCCESS)
}

/// Starts the diagnostics that a configuration asks for, and compiles it.
///
/// # Errors
/// The operating system refused a thread.
pub(super) fn prepare(loaded: Result<Loaded, Problems>) -> anyhow::Result<Result<(Compiled, Diagnostics), Problems>> {
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(problems) => return Ok(Err(problems)),
    };
    let level = loaded.config.log.level;
    let diagnostics = start_diagnostics(level).context("the operating system refused a thread for the log")?;
    Ok(compile(&loaded).map(|compiled| {
        for warning in &compiled.warnings {
            tracing::warn!("{warning}");
        }
        (compiled, diagnostics)
    }))
}

/// Done at the first SIGTERM or SIGINT. The second one ends the process at once: who sends it has waited enough.
///
/// `announce` is called when they are caught, so that who stops the process as soon as it says that it runs gets a drain
/// and not a kill.
pub(super) async fn stop(announce: impl FnOnce()) {
    let listen = || -> io::Result<_> { Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)) };
    let signals = listen();
    announce();
    let Ok((mut terminate, mut interrupt)) = signals else {
        // Without signals only SIGKILL can end it; serving is still better than not.
        return std::future::pending().await;
    };
    let mut next = async move || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    next().await;
    tokio::spawn(async move {
        next().await;
        exit_at_once();
    });
}

#[expect(clippy::disallowed_methods, reason = "the drain was given up: there is nothing left to unwind for")]
fn exit_at_once() {
    std::process::exit(1);
}
