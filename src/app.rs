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
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{Admin, Health},
    auth::{Policy, basic::Hashing},
    config::{Config, Problem, Problems},
    proxy::Proxy,
    server::Server,
    stack,
    telemetry::{AccessLog, Metrics},
    tls::Tls,
    upstream::{Gauges, Pool},
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
    /// What works but deserves a look.
    pub warnings: Vec<Problem>,
}

/// Bound listeners, ready to run.
#[derive(Debug)]
pub struct App {
    compiled: Compiled,
    listener: TcpListener,
    admin: TcpListener,
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where probes and Prometheus connect.
    pub admin_address: SocketAddr,
}

/// A port that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("{key}: cannot listen on {address}: {error}; {remedy}")]
pub struct BindError {
    key: &'static str,
    address: SocketAddr,
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
        match (tls, policy) {
            (Some(None), _) | (_, None) => Err(problems),
            (tls, Some((policy, warnings))) => problems.or(Self { config, tls: tls.flatten(), policy, warnings }),
        }
    }

    /// Opens the ports.
    ///
    /// # Errors
    /// One is taken, or may not be opened.
    pub fn bind(self) -> Result<App, BindError> {
        self.bind_with(|admin| bind("admin.address", admin))
    }

    /// Opens the ports; another one for the admin listener when its own cannot be had.
    ///
    /// # Errors
    /// The other one is taken, or may not be opened.
    pub fn bind_with_any_admin_port(self) -> Result<App, BindError> {
        // Asking first whether it is free would leave a moment in which somebody else takes it.
        let any = |admin: SocketAddr| bind("admin.address", SocketAddr::new(admin.ip(), 0));
        self.bind_with(|admin| bind("admin.address", admin).or_else(|_| any(admin)))
    }

    fn bind_with(self, admin: impl FnOnce(SocketAddr) -> Result<TcpListener, BindError>) -> Result<App, BindError> {
        let listener = bind("listen.address", self.config.listen.address)?;
        let admin = admin(self.config.admin.address)?;
        let address = listener.local_addr().unwrap_or(self.config.listen.address);
        let admin_address = admin.local_addr().unwrap_or(self.config.admin.address);
        Ok(App { compiled: self, listener, admin, address, admin_address })
    }
}

impl App {
    /// `https` or `http`: what clients have to speak.
    pub fn scheme(&self) -> &'static str {
        if self.compiled.tls.is_some() { "https" } else { "http" }
    }

    /// Serves until `stop` is done, then drains: not ready for `shutdown.delay` but still serving, then no new
    /// connection, and `shutdown.grace` for the requests under way.
    ///
    /// # Errors
    /// The operating system refused a thread or a runtime.
    pub fn run(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let Self { compiled: Compiled { config, tls, policy, .. }, listener, admin, .. } = self;
        let rules = config.rules.iter().enumerate().map(|(i, rule)| rule.label(i)).collect();
        let metrics = Arc::new(Metrics::new(rules, tls.as_ref().map(|tls| tls.not_after)));
        let log = Arc::new(AccessLog::start(config.log.access, metrics.log_lines_lost.clone())?);
        let (drain, cut) = (CancellationToken::new(), CancellationToken::new());
        let server = Server {
            tls: tls.map(|tls| tls.config),
            limits: config.limits.clone(),
            places: Arc::new(Semaphore::new(connections(config.limits.max_connections.get()))),
            metrics: metrics.clone(),
            drain: drain.clone(),
            cut: cut.clone(),
        };
        let places = Arc::new(Semaphore::new(config.limits.max_in_flight.get()));
        let policy = Arc::new(policy);
        let hashing = Hashing::new();

        let mut workers = Vec::new();
        for number in 0..config.workers.get() {
            let gauges = Gauges { active: metrics.upstream_active.clone(), idle: metrics.upstream_idle.clone() };
            let pool = Pool::new(&config.upstream, gauges);
            let service = stack::build(stack::Parts {
                metrics: metrics.clone(),
                log: log.clone(),
                places: places.clone(),
                policy: policy.clone(),
                hashing: hashing.clone(),
                proxy: Arc::new(Proxy::new(&config, pool)),
            });
            let (server, listener) = (server.clone(), listener.try_clone()?);
            workers.push(Worker::start(number, async move {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => server.run(listener, service).await,
                    Err(error) => tracing::error!(%error, "a worker cannot use its listener"),
                }
            })?);
        }
        drop(listener);

        let control = Builder::new_current_thread().enable_all().build()?;
        control.block_on(async {
            let handles = workers.iter().map(|worker| worker.handle.clone()).collect();
            let health = Arc::new(Health::new(handles, &config.upstream.address));
            let probes = Admin { health: health.clone(), metrics: metrics.clone() };
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
            // A password that is still being hashed must not hold up the end.
            runtime.shutdown_timeout(Duration::ZERO);
            let _ = done.send(());
        })?;
        Ok(Self { handle, ended })
    }
}

fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    let open = || {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        // A sidecar that restarts must not wait for the connections of its predecessor to time out.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(1024)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    open().map_err(|error: io::Error| {
        let kind = error.kind();
        let remedy = if kind == io::ErrorKind::AddrInUse {
            "another process has this port; choose another one, or stop that process"
        } else if kind == io::ErrorKind::PermissionDenied {
            "choose a port above 1023"
        } else {
            "use an address of this machine, or 0.0.0.0 for all of them"
        };
        BindError { key, address, error, remedy }
    })
}
