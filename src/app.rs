//! The composition root: from a configuration to bound listeners, running threads, and a drained end.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    pin::pin,
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::{Semaphore, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{Admin, Health},
    auth::{Background, CacheGauges, Judge, Policy, Refreshed, Reviewed, basic::Hashing},
    config::{Config, ListenAddress, Problem, Problems},
    cors::Terms,
    origin::Trust,
    proxy::{Credentials, Proxy},
    server::{Bound, Server},
    stack,
    telemetry::{AccessLog, Metrics},
    tls::Tls,
    upstream::{Connections, Connector, Gauges},
};

/// How long what is cut off may take to be counted and logged.
const CUT: Duration = Duration::from_secs(1);

/// What was read and compiled from the configuration and the files that it names: all that can be wrong is found here,
/// before a port is opened.
#[derive(Debug)]
pub struct Compiled {
    config: Config,
    tls: Option<Tls>,
    policy: Policy,
    credentials: Credentials,
    connector: Connector,
    /// What works but deserves a look.
    pub warnings: Vec<Problem>,
}

/// Bound listeners, ready to run.
#[derive(Debug)]
pub struct App {
    compiled: Compiled,
    listener: Bound,
    admin: TcpListener,
    /// Where clients connect.
    pub address: ListenAddress,
    /// Where probes and Prometheus connect.
    pub admin_address: SocketAddr,
}

/// A port or a Unix socket that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("{key}: cannot listen on {address}: {error}; {remedy}")]
pub struct BindError {
    key: &'static str,
    address: ListenAddress,
    error: io::Error,
    remedy: &'static str,
}

impl Compiled {
    /// Reads certificates, keys and users, and compiles the rules.
    ///
    /// # Errors
    /// All the problems, not the first.
    pub fn new(config: Config) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let tls = config.listen.tls.as_ref().map(|tls| problems.keep(Tls::load(tls, config.listen.http2)));
        let policy = problems.keep(Policy::compile(&config));
        let connector = problems.keep(Connector::load(&config.upstream));
        let credentials = problems.keep(Credentials::load(&config));
        match (tls, policy, credentials, connector) {
            (tls, Some((policy, warnings)), Some(credentials), Some(connector)) => {
                problems.or(Self { config, tls: tls.flatten(), policy, credentials, connector, warnings })
            }
            (_, None, _, _) | (_, _, None, _) | (_, _, _, None) => Err(problems),
        }
    }

    /// Opens the ports.
    ///
    /// # Errors
    /// One is taken, or may not be opened.
    pub fn bind(self) -> Result<App, BindError> {
        self.bind_with(bind_admin)
    }

    /// Opens the ports; another one for the admin listener when its own cannot be had.
    ///
    /// # Errors
    /// The other one is taken, or may not be opened.
    pub fn bind_with_any_admin_port(self) -> Result<App, BindError> {
        // Asking first whether it is free would leave a moment in which somebody else takes it.
        self.bind_with(|admin| bind_admin(admin).or_else(|_| bind_admin(SocketAddr::new(admin.ip(), 0))))
    }

    fn bind_with(self, admin: impl FnOnce(SocketAddr) -> Result<TcpListener, BindError>) -> Result<App, BindError> {
        let listener = bind("listen.address", &self.config.listen.address)?;
        let admin = admin(self.config.admin.address)?;
        let address = listener.address().map_or_else(|| self.config.listen.address.clone(), ListenAddress::from);
        let admin_address = admin.local_addr().unwrap_or(self.config.admin.address);
        Ok(App { compiled: self, listener, admin, address, admin_address })
    }
}

impl App {
    /// Where clients connect, as a URL; a Unix socket as `unix:/path`.
    pub fn url(&self) -> String {
        match &self.address {
            ListenAddress::Tcp(address) if self.compiled.tls.is_some() => format!("https://{address}"),
            ListenAddress::Tcp(address) => format!("http://{address}"),
            unix @ ListenAddress::Unix(_) => unix.to_string(),
        }
    }

    /// Serves until `stop` is done, then drains: not ready for `shutdown.delay` but still serving, then no new
    /// connection, and `shutdown.grace` for the requests under way.
    ///
    /// # Errors
    /// The operating system refused a thread or a runtime.
    pub fn run(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let Self { compiled, listener, admin, .. } = self;
        let Compiled { config, tls, mut policy, credentials, connector, .. } = compiled;
        let rules = config.rules.iter().enumerate().map(|(i, rule)| rule.label(i)).collect();
        let metrics = Arc::new(Metrics::new(rules, tls.as_ref().map(|tls| tls.not_after)));
        let log = Arc::new(AccessLog::start(config.log.access, metrics.log_lines_lost.clone())?);
        let (drain, cut) = (CancellationToken::new(), CancellationToken::new());
        let server = Server {
            tls: tls.map(|tls| tls.config),
            prior_knowledge: config.listen.http2,
            proxy_protocol: config.listen.proxy_protocol,
            trust: Arc::new(Trust::new(&config.listen.trusted_proxies, config.listen.forwarded)),
            limits: config.limits.clone(),
            places: Arc::new(Semaphore::new(connections(config.limits.max_connections.get()))),
            metrics: metrics.clone(),
            drain: drain.clone(),
            cut: cut.clone(),
        };
        let places = Arc::new(Semaphore::new(config.limits.max_in_flight.get()));
        let (entries, bytes) = (metrics.token_cache_entries.clone(), metrics.token_cache_bytes.clone());
        policy.show_cache_in(CacheGauges { entries, bytes });
        let background = policy.take_background();
        let policy = Arc::new(policy);
        let failures = config.auth.basic.as_ref().map(|basic| basic.failures.clone()).unwrap_or_default();
        let half = (config.limits.max_in_flight.get() / 2).max(1);
        let judge = Judge { policy, hashing: Hashing::new(&failures), waiting: Arc::new(Semaphore::new(half)) };
        let cors = Terms::compile(&config.cors);

        let mut workers = Vec::new();
        for number in 0..config.workers.get() {
            let gauges = Gauges { active: metrics.upstream_active.clone(), idle: metrics.upstream_idle.clone() };
            let connections = Connections::new(&config.upstream, connector.clone(), gauges);
            let service = stack::build(stack::Parts {
                metrics: metrics.clone(),
                log: log.clone(),
                cors: cors.clone(),
                places: places.clone(),
                judge: judge.clone(),
                proxy: Arc::new(Proxy::new(&config, credentials.clone(), connections)),
            });
            let (server, listener) = (server.clone(), listener.try_clone()?);
            workers.push(Worker::start(number, async move {
                if let Err(error) = server.run(listener, service).await {
                    tracing::error!(%error, "a worker cannot use its listener");
                }
            })?);
        }
        drop(listener);

        start_background(background, &metrics)?;
        let control = Builder::new_current_thread().enable_all().build()?;
        control.block_on(async {
            let handles = workers.iter().map(|worker| worker.handle.clone()).collect();
            let health = Arc::new(Health::new(handles, connector, &judge.policy));
            let probes = Admin { health: health.clone(), metrics: metrics.clone(), jwks: judge.policy.jwks() };
            tokio::spawn(probes.run(tokio::net::TcpListener::from_std(admin)?));

            stop.await;
            tracing::info!(delay = ?config.shutdown.delay, grace = ?config.shutdown.grace, "shutting down");
            health.drain();
            sleep(config.shutdown.delay).await;
            drain.cancel();
            let mut ended = pin!(async {
                for worker in workers {
                    let _ = worker.ended.await;
                }
            });
            if timeout(config.shutdown.grace, ended.as_mut()).await.is_err() {
                tracing::warn!(requests = metrics.in_flight.get(), "the grace period is over; what is left is cut off");
                cut.cancel();
                let _ = timeout(CUT, ended).await;
            }
            io::Result::Ok(())
        })?;
        log.flush();
        Ok(())
    }
}

/// Starts what fetches keys and asks about tokens, on a thread of its own: it reads and writes files, which may hang with
/// the volume that they are on, and the probes must not hang with them.
fn start_background(background: Background, metrics: &Arc<Metrics>) -> io::Result<()> {
    let Background { refreshers, reviewers } = background;
    if refreshers.is_empty() && reviewers.is_empty() {
        return Ok(());
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let metrics = metrics.clone();
    let work = async move {
        let mut tasks = JoinSet::new();
        for refresher in refreshers {
            let (metrics, issuer) = (metrics.clone(), refresher.label().to_owned());
            tasks.spawn(refresher.run(move |refreshed| {
                let result = match refreshed {
                    Refreshed::Changed => "changed",
                    Refreshed::Unchanged => "unchanged",
                    Refreshed::Failed => "failed",
                };
                metrics.jwks_refreshed(&issuer, result);
            }));
        }
        for reviewer in reviewers {
            let (metrics, issuer) = (metrics.clone(), reviewer.label().to_owned());
            tasks.spawn(reviewer.run(move |reviewed| {
                let result = match reviewed {
                    Reviewed::Proved => "authenticated",
                    Reviewed::Refused => "refused",
                    Reviewed::Failed => "failed",
                };
                metrics.token_reviewed(&issuer, result);
            }));
        }
        while tasks.join_next().await.is_some() {}
    };
    // It ends with the process.
    thread::Builder::new().name("background".to_owned()).spawn(move || runtime.block_on(work))?;
    Ok(())
}

/// How many clients may be connected: as many as is wished, and as there are descriptors for. Each needs one, and one more
/// for the app while it asks; without a reserve the first to go without would be the app and the probes.
fn connections(wished: usize) -> usize {
    /// For the admin listener, the listeners themselves, and what the runtimes hold open.
    const RESERVE: u64 = 300;
    let limits = getrlimit(Resource::Nofile);
    // The soft limit is low for programs that use select(2). We do not.
    let raised = Rlimit { current: limits.maximum, maximum: limits.maximum };
    let available = if setrlimit(Resource::Nofile, raised).is_ok() { limits.maximum } else { limits.current };
    let possible = available.map_or(u64::MAX, |available| ((available - RESERVE.min(available / 4)) / 2).max(1));
    if possible < wished as u64 {
        tracing::warn!(possible, wished, "limits.max_connections: the limit on open files (ulimit -n) allows fewer");
    }
    usize::try_from(possible).unwrap_or(usize::MAX).min(wished)
}

/// A thread with a runtime of its own: ordinary tasks on one thread cost a sixth less than on a work-stealing runtime.
struct Worker {
    handle: Handle,
    ended: oneshot::Receiver<()>,
}

impl Worker {
    fn start(number: usize, work: impl Future<Output = ()> + Send + 'static) -> io::Result<Self> {
        let runtime: Runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (done, ended) = oneshot::channel();
        thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            runtime.block_on(work);
            // A name that is still being looked up must not hold up the end.
            runtime.shutdown_timeout(Duration::ZERO);
            let _ = done.send(());
        })?;
        Ok(Self { handle, ended })
    }
}

fn bind_admin(address: SocketAddr) -> Result<TcpListener, BindError> {
    bind("admin.address", &address.into()).map(TcpListener::from)
}

fn bind(key: &'static str, address: &ListenAddress) -> Result<Bound, BindError> {
    Bound::open(address).map_err(|error| {
        let (kind, unix) = (error.kind(), address.unix().is_some());
        let remedy = match (kind, unix) {
            (io::ErrorKind::AddrInUse, false) => {
                "another process has this port; choose another one, or stop that process"
            }
            (io::ErrorKind::PermissionDenied, false) => "choose a port above 1023",
            (_, false) => "use an address of this machine, or 0.0.0.0 for all of them",
            (io::ErrorKind::AddrInUse, true) => {
                "another process listens there; choose another path, or stop that process"
            }
            (io::ErrorKind::AlreadyExists, true) => "choose another path, or remove that file",
            (_, true) => "name a file in a directory that is there and that sidegate may write to",
        };
        BindError { key, address: address.clone(), error, remedy }
    })
}
