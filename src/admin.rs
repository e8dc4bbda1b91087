//! Probes and metrics, on a listener of their own: plain HTTP, read-only, and on another thread than the requests.

use std::{
    borrow::Cow,
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    runtime::Handle,
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use crate::{
    auth::{KeyRing, KeyState, Policy},
    telemetry::Metrics,
    upstream::Connector,
};

/// A worker that does not run a task within this time is stuck.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// How long the app may take to accept a connection before it counts as unreachable.
const REACH: Duration = Duration::from_secs(1);

/// How long an answer about the app is good for. Each question costs a synchronous app one `accept`.
const FRESH: Duration = Duration::from_secs(2);

/// How long a connection may take from its first byte to its last. Whoever reaches this port can take up a place for so
/// long and no longer: the probes must find one.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections at once: kubelet, Prometheus, and a few people.
const MAX_CONNECTIONS: usize = 256;

/// How long the public key may be kept. A new one has a new name, for which libraries ask again at once.
const KEPT: &str = "public, max-age=300";

/// After an error of `accept`.
const PAUSE: Duration = Duration::from_millis(50);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const JWK_SET: &str = "application/jwk-set+json";
const TEXT: &str = "text/plain; charset=utf-8";

/// The admin listener.
#[derive(Clone, Debug)]
pub struct Admin {
    /// What the probes report.
    pub health: Arc<Health>,
    /// What `/metrics` reports.
    pub metrics: Arc<Metrics>,
    /// The public key that what we tell the app can be checked with, if we sign it.
    pub jwks: Option<Bytes>,
}

/// The state that probes ask about.
#[derive(Debug)]
pub struct Health {
    workers: Vec<Handle>,
    app: Connector,
    /// The issuers' keys.
    keys: Vec<Arc<KeyRing>>,
    /// Whether callers can be known without any of them.
    other_proofs: bool,
    draining: AtomicBool,
    reached: Mutex<Option<(Instant, bool)>>,
}

/// One check of a probe.
struct Check {
    name: Cow<'static, str>,
    failure: Option<Cow<'static, str>>,
    /// Whether it is ready all the same.
    bearable: bool,
}

impl Health {
    /// The health of the workers behind these handles, of the app that `app` connects to, and of the keys that `policy` has.
    pub fn new(workers: Vec<Handle>, app: Connector, policy: &Policy) -> Self {
        let (keys, other_proofs) = (policy.key_rings(), policy.knows_without_keys());
        Self { workers, app, keys, other_proofs, draining: AtomicBool::new(false), reached: Mutex::default() }
    }

    /// From now on not ready.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Whether every worker still runs what it is given. Depends on nothing outside of the process: an app that is down
    /// is no reason to restart its sidecar.
    async fn workers(&self) -> Check {
        for worker in &self.workers {
            if !matches!(timeout(HEARTBEAT, worker.spawn(async {})).await, Ok(Ok(()))) {
                // The others would not change the answer, which has to be there before `DEADLINE`.
                return Check::new("workers", Some("a worker does not respond"));
            }
        }
        Check::new("workers", None)
    }

    /// Whether the app accepts connections.
    async fn app(&self) -> Check {
        let known = *self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        let reached = match known {
            Some((at, reached)) if at.elapsed() < FRESH => reached,
            _ => {
                let reached = timeout(REACH, self.app.reaches()).await.unwrap_or(false);
                *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), reached));
                reached
            }
        };
        Check::new("app", (!reached).then_some("the app does not accept connections"))
    }

    /// Whether each issuer whose keys are fetched has some. One that has had some since the start and lost them in a long
    /// outage does not take the others' callers with it: a pod is not ready without it only if there is nobody else.
    fn keys(&self) -> Vec<Check> {
        let states: Vec<_> = self.keys.iter().map(|ring| (ring, ring.state())).collect();
        let usable = |state: &Option<KeyState>| !matches!(state, Some(KeyState::Missing { .. }));
        let others = self.other_proofs || states.iter().any(|(_, state)| usable(state));
        let check = |(ring, state): (&Arc<KeyRing>, Option<KeyState>)| {
            let (failure, bearable) = match state? {
                KeyState::There => (None, false),
                KeyState::Missing { why, before } => (Some(why.into()), before && others),
            };
            Some(Check { name: format!("keys of {}", ring.label()).into(), failure, bearable })
        };
        states.into_iter().filter_map(check).collect()
    }

    /// How many tasks the workers have that have not ended.
    fn tasks(&self) -> usize {
        self.workers.iter().map(|worker| worker.metrics().num_alive_tasks()).sum()
    }

    fn listener(&self) -> Check {
        Check::new("listener", self.draining.load(Relaxed).then_some("shutting down"))
    }
}

impl Check {
    fn new(name: &'static str, failure: Option<&'static str>) -> Self {
        Self { name: name.into(), failure: failure.map(Cow::Borrowed), bearable: false }
    }
}

impl Admin {
    /// Serves every connection, for as long as the process lives.
    pub async fn run(self, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let place = places.clone().acquire_owned().await;
            let Ok((stream, _)) = listener.accept().await else {
                sleep(PAUSE).await;
                continue;
            };
            let admin = self.clone();
            tokio::spawn(async move {
                let _place = place;
                let service = service_fn(move |request| {
                    let admin = admin.clone();
                    async move { Ok::<_, Infallible>(admin.answer(&request).await) }
                });
                let mut server = http1::Builder::new();
                server.timer(TokioTimer::new()).keep_alive(false);
                // A probe that breaks off concerns nobody.
                let _ = timeout(CONNECTION_TIMEOUT, server.serve_connection(TokioIo::new(stream), service)).await;
            });
        }
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "read-only: GET or HEAD\n".to_owned());
        }
        let verbose = request.uri().query().is_some_and(|query| query.split('&').any(|key| key == "verbose"));
        match request.uri().path() {
            "/livez" => probe(&[self.health.workers().await], verbose),
            // Does not wait for the app: a native sidecar starts before it.
            "/startupz" => probe(&[self.health.workers().await], verbose),
            "/readyz" => {
                let health = &self.health;
                let mut checks = vec![health.listener(), health.workers().await];
                checks.extend(health.keys());
                checks.push(health.app().await);
                probe(&checks, verbose)
            }
            "/metrics" => {
                for ring in &self.health.keys {
                    self.metrics.jwks_age(ring.label(), ring.age());
                }
                self.metrics.tasks.set(self.health.tasks().try_into().unwrap_or(i64::MAX));
                if accepts_open_metrics(request) {
                    answer(StatusCode::OK, OPEN_METRICS, self.metrics.open_metrics())
                } else {
                    answer(StatusCode::OK, PROMETHEUS_TEXT, self.metrics.prometheus_text())
                }
            }
            "/jwks.json" | "/.well-known/jwks.json" => match &self.jwks {
                Some(jwks) => {
                    let mut response = answer(StatusCode::OK, JWK_SET, jwks.clone());
                    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(KEPT));
                    response
                }
                None => text(StatusCode::NOT_FOUND, "nothing is signed: identity.signed is not set\n".to_owned()),
            },
            "/" => {
                text(StatusCode::OK, "sidegate: /livez /readyz[?verbose] /startupz /metrics /jwks.json\n".to_owned())
            }
            _ => text(StatusCode::NOT_FOUND, "not here: /livez /readyz /startupz /metrics /jwks.json\n".to_owned()),
        }
    }
}

/// Prometheus asks for OpenMetrics; a person with curl, and older tools, get the text format.
fn accepts_open_metrics(request: &Request<Incoming>) -> bool {
    let accepts = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.contains("application/openmetrics-text"));
    request.headers().get_all(header::ACCEPT).iter().any(accepts)
}

/// Lists every check when asked to, or when one failed: a probe that only says 503 explains nothing.
fn probe(checks: &[Check], verbose: bool) -> Response<Full<Bytes>> {
    let failed = checks.iter().any(|check| check.failure.is_some() && !check.bearable);
    let status = if failed { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    if !failed && !verbose {
        return text(status, "ok\n".to_owned());
    }
    let line = |check: &Check| match &check.failure {
        None => format!("[+] {} ok\n", check.name),
        Some(failure) => format!("[-] {} failed: {failure}\n", check.name),
    };
    text(status, checks.iter().map(line).collect())
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    answer(status, TEXT, body)
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
