//! What is known of one request while it lasts. Dropping it ends the request: it is counted and logged then, whether the
//! answer was complete, broke off, or nobody waited for it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{
    HeaderMap, Method, StatusCode, Version,
    header::{HOST, HeaderName, REFERER, USER_AGENT},
};
use jiff::Timestamp;
use tokio::time::Instant;

use super::{AccessLog, Metrics};
use crate::{
    clock,
    exchange::{Exchange, Trail},
    reason::Reason,
};

/// nginx's code for a client that went away before its answer was complete.
const CLIENT_CLOSED: u16 = 499;

/// One request.
#[derive(Debug)]
pub(super) struct Record {
    metrics: Arc<Metrics>,
    log: Arc<AccessLog>,
    arrival: Instant,
    method: Method,
    status: Option<StatusCode>,
    sent: u64,
    complete: bool,
    pub(super) trail: Arc<Trail>,
    line: Option<Box<Line>>,
}

/// What only the access log needs. Not kept when there is none.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) start: Timestamp,
    pub(super) client: Option<SocketAddr>,
    pub(super) path: String,
    pub(super) protocol: &'static str,
    pub(super) authority: Option<String>,
    pub(super) user_agent: Option<String>,
    pub(super) referer: Option<String>,
    pub(super) forwarded_for: Option<String>,
}

/// A finished request, as the log's formats need it.
#[derive(Debug)]
pub(super) struct Finished<'a> {
    pub(super) line: &'a Line,
    pub(super) method: &'a Method,
    pub(super) code: u16,
    pub(super) sent: u64,
    pub(super) duration: Duration,
    pub(super) trail: &'a Trail,
    pub(super) rule: Option<&'a str>,
}

impl Record {
    /// A request that has just arrived.
    pub(super) fn start(exchange: &Exchange, metrics: Arc<Metrics>, log: Arc<AccessLog>) -> Self {
        metrics.in_flight.inc();
        let request = &exchange.request;
        let line = log.is_on().then(|| {
            let authority = request.uri().authority().map(|authority| authority.as_str().to_owned());
            Box::new(Line {
                start: Timestamp::now(),
                client: exchange.origin.address(),
                path: request.uri().path().to_owned(),
                protocol: protocol(request.version()),
                authority: authority.or_else(|| text(request.headers(), &HOST)).map(without_userinfo),
                user_agent: text(request.headers(), &USER_AGENT),
                referer: text(request.headers(), &REFERER).map(without_query),
                forwarded_for: text(request.headers(), &HeaderName::from_static("x-forwarded-for")),
            })
        });
        Self {
            metrics,
            log,
            arrival: clock::now(),
            method: request.method().clone(),
            status: None,
            sent: 0,
            complete: false,
            trail: exchange.trail.clone(),
            line,
        }
    }

    /// The header of the answer is there, and nothing will follow it when `is_end`.
    pub(super) fn answer(&mut self, status: StatusCode, is_end: bool) {
        self.status = Some(status);
        // Where no body is allowed nobody asks for one.
        let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.complete = is_end || bodiless || self.method == Method::HEAD;
    }

    /// So many bytes of the answer were handed on.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    /// The answer is complete, or broke off on the app's side.
    pub(super) fn complete(&mut self) {
        self.complete = true;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let duration = self.arrival.elapsed();
        let gone = StatusCode::from_u16(CLIENT_CLOSED).unwrap_or(StatusCode::BAD_REQUEST);
        // Who broke off the request has gone as well, whatever we still tried to answer.
        let answered = self.complete && self.trail.failure() != Some(Reason::RequestIncomplete);
        let status = self.status.filter(|_| answered).unwrap_or(gone);
        self.metrics.in_flight.dec();
        self.metrics.answered(&self.method, status, duration);
        if let Some(time) = self.trail.upstream_time() {
            self.metrics.upstream_answered(time);
        }
        let verdict = self.trail.verdict();
        if let Some(verdict) = verdict {
            self.metrics.decided(verdict, verdict.refusal);
        }
        if let Some(line) = &self.line {
            let rule = verdict.and_then(|verdict| verdict.rule).and_then(|rule| self.metrics.rule(rule));
            let (method, sent, trail) = (&self.method, self.sent + self.trail.sent(), &*self.trail);
            self.log.write(&Finished { line, method, code: status.as_u16(), sent, duration, trail, rule });
        }
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// `user:password@` may stand before a host.
fn without_userinfo(authority: String) -> String {
    authority.rsplit('@').next().unwrap_or_default().to_owned()
}

/// A query may hold a token, and the page that linked here was ours more often than not.
fn without_query(url: String) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}
