//! What the operator sees of each request: metrics and the access log.

pub use log::{AccessLog, Diagnostics, start_diagnostics};
pub use metrics::Metrics;
pub use observe::{Observe, Observed};

mod combined;
mod entry;
mod json;
mod lines;
mod log;
mod metrics;
mod observe;
mod record;
