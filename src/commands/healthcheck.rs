//! `sidegate healthcheck`: asks the admin listener, for images without a shell.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};

use super::{ConfigArgs, complain, refuse};

/// Ask a running sidegate on this machine whether it is well
///
/// Exits with 0 when the probe answers 200, else with 1. For `HEALTHCHECK`, exec probes and hooks in an image that has
/// no shell and no curl.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// Which probe: livez, readyz or startupz
    #[arg(long, value_name = "NAME", default_value = "readyz", value_parser = ["livez", "readyz", "startupz"])]
    probe: String,

    /// How long to wait for the answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
}

const EXAMPLES: &str = "\
Examples:
  sidegate healthcheck
  sidegate healthcheck --probe livez --admin 127.0.0.1:9090

The address is `admin.address` of the configuration, unless --admin names it.";

/// What a probe answers at most: a line for each check.
const MAX_ANSWER: u64 = 64 * 1024;

/// Runs the command.
///
/// # Errors
/// The probe cannot be asked.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let address = match &args.config.admin {
        // Then nothing else of the configuration matters, and it need not be there.
        Some(address) => address.parse().with_context(|| format!("--admin: `{address}` is not an address and port"))?,
        None => match args.config.load() {
            Ok(loaded) => loaded.config.admin.address,
            Err(problems) => return Ok(refuse(&problems)),
        },
    };
    let (status, text) = ask(reachable(address), &args.probe, Duration::from_secs(args.timeout))
        .with_context(|| format!("cannot ask http://{}/{}", reachable(address), args.probe))?;
    if status == 200 {
        return Ok(ExitCode::SUCCESS);
    }
    complain(&format!("{}: {status}\n{}", args.probe, text.trim_end()));
    Ok(ExitCode::FAILURE)
}

/// A listener on all addresses is reached on the loopback one.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
    } else {
        address
    }
}

fn ask(address: SocketAddr, probe: &str, timeout: Duration) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    write!(stream, "GET /{probe} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    match stream.take(MAX_ANSWER).read_to_end(&mut answer) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => bail!("no answer within {timeout:?}"),
        result => result?,
    };
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("the answer is not HTTP")?;
    Ok((status, body.to_owned()))
}
