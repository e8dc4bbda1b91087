//! The metrics. Handles are resolved once, so that counting a request takes no lock and no look-up by name.

use std::{
    collections::HashSet,
    fmt::Write as _,
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{Method, StatusCode};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::{exchange::Verdict, identity, reason::Reason};

/// Methods with a label of their own. A client can invent others; those share the last one (CVE-2022-21698).
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "other"];

/// Status codes are 100 to 999.
const STATUS_CODES: usize = 900;

/// Upper bounds in seconds. An app behind a sidecar answers between a millisecond and a minute.
const BUCKETS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// Every metric, and the registry that encodes them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Handles<RequestLabels>,
    request_duration: Histogram,
    upstream_duration: Histogram,
    decisions: Handles<DecisionLabels>,
    rules: Vec<String>,
    token_cache: [Counter; 2],
    /// Verified tokens that are remembered.
    pub token_cache_entries: Gauge,
    /// The memory that these take.
    pub token_cache_bytes: Gauge,
    password_cache: [Counter; 2],
    connection_errors: Family<ErrorLabels, Counter>,
    handshakes: Family<ResultLabels, Counter>,
    jwks_age: Family<IssuerLabels, Gauge>,
    jwks_refreshes: Family<IssuerResultLabels, Counter>,
    token_reviews: Family<IssuerResultLabels, Counter>,
    /// Requests that are being served.
    pub in_flight: Gauge,
    /// Tasks on the workers' runtimes.
    pub tasks: Gauge,
    /// Connections of clients whose TLS handshake is under way.
    pub handshaking: Gauge,
    /// Connections of clients that are open.
    pub connections: Gauge,
    /// Connections of clients that have become a WebSocket.
    pub tunnels: Gauge,
    /// Connections to the app that carry a request.
    pub upstream_active: Gauge,
    /// Connections to the app that wait for one.
    pub upstream_idle: Gauge,
    /// Access log lines that were lost because nobody read stdout.
    pub log_lines_lost: Counter,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RequestLabels {
    method: &'static str,
    code: u32,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct DecisionLabels {
    method: &'static str,
    outcome: &'static str,
    reason: &'static str,
    rule: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ErrorLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct IssuerLabels {
    issuer: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct IssuerResultLabels {
    issuer: String,
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct StateLabels {
    state: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct BuildLabels {
    version: &'static str,
}

impl Metrics {
    /// The metrics of a process whose rules have these names, and whose certificate ends at `not_after`.
    pub fn new(rules: Vec<String>, not_after: Option<SystemTime>) -> Self {
        let mut registry = Registry::with_prefix("sidegate");
        let requests = Handles::new(METHODS.len() * STATUS_CODES);
        registry.register("requests", "Requests answered", requests.family.clone());
        let request_duration = Histogram::new(BUCKETS);
        registry.register_with_unit(
            "request_duration",
            "From the request's header to the end of the answer",
            Unit::Seconds,
            request_duration.clone(),
        );
        let upstream_duration = Histogram::new(BUCKETS);
        registry.register_with_unit(
            "upstream_duration",
            "From sending the request to the header of the app's answer",
            Unit::Seconds,
            upstream_duration.clone(),
        );
        // Per rule, and once for requests that no rule matched: each method, allowed or with each reason.
        let outcomes = identity::Method::ALL.len() * (Reason::ALL.len() + 1);
        let decisions = Handles::new((rules.len() + 1) * outcomes);
        registry.register("auth_decisions", "Decisions about requests", decisions.family.clone());

        let mut results = |name: &str, help: &str| {
            let family = Family::<ResultLabels, Counter>::default();
            registry.register(name, help, family.clone());
            ["miss", "hit"].map(|result| family.get_or_create_owned(&ResultLabels { result }))
        };
        let token_cache = results("token_cache", "Look-ups of verified tokens");
        let password_cache = results("password_cache", "Look-ups of verified passwords");

        let (token_cache_entries, token_cache_bytes) = (Gauge::default(), Gauge::default());
        registry.register("token_cache_entries", "Verified tokens that are remembered", token_cache_entries.clone());
        let help = "Memory that remembered tokens take";
        registry.register_with_unit("token_cache", help, Unit::Bytes, token_cache_bytes.clone());

        let connection_errors = Family::default();
        registry.register("connection_errors", "Connections that ended in an error", connection_errors.clone());
        let handshakes = Family::default();
        registry.register("tls_handshakes", "TLS handshakes", handshakes.clone());
        let jwks_age = Family::default();
        registry.register_with_unit(
            "jwks_age",
            "Since an issuer's keys were last fetched",
            Unit::Seconds,
            jwks_age.clone(),
        );
        let jwks_refreshes = Family::default();
        registry.register("jwks_refresh", "Fetches of an issuer's keys", jwks_refreshes.clone());
        let token_reviews = Family::default();
        registry.register("token_reviews", "Tokens that an API server was asked about", token_reviews.clone());
        let in_flight = Gauge::default();
        registry.register("requests_in_flight", "Requests that are being served", in_flight.clone());

        let tasks = Gauge::default();
        registry.register("tasks", "Tasks of the workers that have not ended", tasks.clone());
        let tunnels = Gauge::default();
        registry.register("tunnels", "WebSockets that are open", tunnels.clone());

        let mut states = |name: &str, help: &str, states: [&'static str; 2]| {
            let family = Family::<StateLabels, Gauge>::default();
            registry.register(name, help, family.clone());
            states.map(|state| family.get_or_create_owned(&StateLabels { state }))
        };
        let [handshaking, connections] = states("connections", "Connections of clients", ["handshaking", "open"]);
        let [upstream_active, upstream_idle] =
            states("upstream_connections", "Connections to the app", ["active", "idle"]);

        let log_lines_lost = Counter::default();
        registry.register("access_log_lines_lost", "Lines that nobody read in time", log_lines_lost.clone());
        if let Some(end) = not_after.and_then(|time| time.duration_since(UNIX_EPOCH).ok()) {
            let gauge = Gauge::<i64>::default();
            gauge.set(i64::try_from(end.as_secs()).unwrap_or(i64::MAX));
            registry.register_with_unit(
                "certificate_not_after",
                "End of the served certificate's validity, since 1970",
                Unit::Seconds,
                gauge,
            );
        }
        // A gauge of 1 and not OpenMetrics' `info`, which Prometheus' own text format does not know.
        let build = Family::<BuildLabels, Gauge>::default();
        build.get_or_create_owned(&BuildLabels { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "What runs here", build);

        Self {
            registry,
            requests,
            request_duration,
            upstream_duration,
            decisions,
            rules,
            token_cache,
            token_cache_entries,
            token_cache_bytes,
            password_cache,
            connection_errors,
            handshakes,
            jwks_age,
            jwks_refreshes,
            token_reviews,
            in_flight,
            tasks,
            handshaking,
            connections,
            tunnels,
            upstream_active,
            upstream_idle,
            log_lines_lost,
        }
    }

    /// Shows how long ago this issuer's keys were fetched; nothing where there are none.
    pub fn jwks_age(&self, issuer: &str, age: Option<Duration>) {
        let labels = IssuerLabels { issuer: issuer.to_owned() };
        match age {
            Some(age) => {
                self.jwks_age.get_or_create_owned(&labels).set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
            }
            None => {
                self.jwks_age.remove(&labels);
            }
        }
    }

    /// Counts a fetch of this issuer's keys.
    pub fn jwks_refreshed(&self, issuer: &str, result: &'static str) {
        let labels = IssuerResultLabels { issuer: issuer.to_owned(), result };
        self.jwks_refreshes.get_or_create_owned(&labels).inc();
    }

    /// Counts a question about a token of this issuer.
    pub fn token_reviewed(&self, issuer: &str, result: &'static str) {
        let labels = IssuerResultLabels { issuer: issuer.to_owned(), result };
        self.token_reviews.get_or_create_owned(&labels).inc();
    }

    /// The name of a rule, by its index.
    pub fn rule(&self, index: usize) -> Option<&str> {
        self.rules.get(index).map(String::as_str)
    }

    /// Counts a request that was answered.
    pub(super) fn answered(&self, method: &Method, status: StatusCode, duration: Duration) {
        let place = METHODS.iter().position(|name| *name == method.as_str()).unwrap_or(METHODS.len() - 1);
        let code = status.as_u16();
        self.requests.inc(place * STATUS_CODES + usize::from(code - 100), || RequestLabels {
            method: METHODS[place],
            code: u32::from(code),
        });
        // A WebSocket lasts as long as a browser's tab: hours that would hide how long requests take.
        if status != StatusCode::SWITCHING_PROTOCOLS {
            self.request_duration.observe(duration.as_secs_f64());
        }
    }

    /// Counts an answer of the app.
    pub(super) fn upstream_answered(&self, duration: Duration) {
        self.upstream_duration.observe(duration.as_secs_f64());
    }

    /// Counts a decision: `refusal` is why it was refused, if it was.
    pub(super) fn decided(&self, verdict: &Verdict, refusal: Option<Reason>) {
        let rule = verdict.rule.unwrap_or(self.rules.len());
        let outcomes = Reason::ALL.len() + 1;
        let outcome = refusal.map_or(0, |reason| reason.index() + 1);
        let place = (rule * identity::Method::ALL.len() + verdict.method.index()) * outcomes + outcome;
        self.decisions.inc(place, || DecisionLabels {
            method: verdict.method.label(),
            outcome: if refusal.is_some() { "denied" } else { "allowed" },
            reason: refusal.map_or("ok", Reason::code),
            rule: self.rule(rule).unwrap_or("none").to_owned(),
        });
        let cache = match verdict.method {
            identity::Method::None => return,
            identity::Method::Jwt => &self.token_cache,
            identity::Method::Basic => &self.password_cache,
        };
        cache[usize::from(verdict.remembered)].inc();
    }

    /// Counts a connection that ended in an error.
    pub fn connection_failed(&self, reason: &'static str) {
        self.connection_errors.get_or_create_owned(&ErrorLabels { reason }).inc();
    }

    /// Counts a TLS handshake.
    pub fn handshake(&self, result: &'static str) {
        self.handshakes.get_or_create_owned(&ResultLabels { result }).inc();
    }

    /// All of them, in the OpenMetrics text format.
    pub fn open_metrics(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// All of them, in the older Prometheus text format: there a counter's family has the name of its samples, and
    /// neither units nor an end are said.
    pub fn prometheus_text(&self) -> String {
        let open_metrics = self.open_metrics();
        let lines = open_metrics.lines().filter(|line| !line.starts_with("# UNIT") && *line != "# EOF");
        let counters: HashSet<_> =
            open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
        let mut text = String::with_capacity(open_metrics.len());
        for line in lines {
            let mut words = line.splitn(4, ' ');
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some("#"), Some(keyword), Some(name), Some(rest)) if counters.contains(name) => {
                    let _ = writeln!(text, "# {keyword} {name}_total {rest}");
                }
                _ => {
                    let _ = writeln!(text, "{line}");
                }
            }
        }
        text
    }
}

/// A family of counters with a bounded number of members, each looked up by name once.
#[derive(Debug)]
struct Handles<L> {
    family: Family<L, Counter>,
    counters: Box<[OnceLock<Counter>]>,
}

impl<L: Clone + Eq + std::hash::Hash> Handles<L> {
    fn new(members: usize) -> Self {
        Self { family: Family::default(), counters: (0..members).map(|_| OnceLock::new()).collect() }
    }

    fn inc(&self, place: usize, labels: impl FnOnce() -> L) {
        if let Some(counter) = self.counters.get(place) {
            counter.get_or_init(|| self.family.get_or_create_owned(&labels())).inc();
        }
    }
}
