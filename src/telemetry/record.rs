//! What is known of one request while it lasts. Dropping it ends the request: it is counted and logged then, whether the
//! answer was complete, broke off, or nobody waited for it.

use std::sync::Arc;

use http::{Method, StatusCode};
use tokio::time::Instant;

use super::{
    AccessLog, Metrics,
    entry::{Finished, Said},
};
use crate::{
    clock,
    exchange::{Exchange, Trail},
    http1::is_bodiless,
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
    said: Option<Said>,
}

impl Record {
    /// A request that has just arrived.
    pub(super) fn start(exchange: &Exchange, metrics: Arc<Metrics>, log: Arc<AccessLog>) -> Self {
        metrics.in_flight.inc();
        Self {
            said: log.begin(exchange),
            metrics,
            log,
            arrival: clock::now(),
            method: exchange.request.method().clone(),
            status: None,
            sent: 0,
            complete: false,
            trail: exchange.trail.clone(),
        }
    }

    /// The header of the answer is there, and nothing will follow it when `is_end`.
    pub(super) fn answer(&mut self, status: StatusCode, is_end: bool) {
        self.status = Some(status);
        // Where no body is allowed nobody asks for one.
        self.complete = is_end || is_bodiless(status, self.method == Method::HEAD);
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
        if let Some(said) = &self.said {
            let rule = verdict.and_then(|verdict| verdict.rule).and_then(|rule| self.metrics.rule(rule));
            let (sent, trail) = (self.sent + self.trail.sent(), &*self.trail);
            self.log.end(said, &Finished { code: status.as_u16(), sent, duration, trail, rule });
        }
    }
}
