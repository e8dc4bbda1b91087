//! The app behind us: connections to it, and the bodies that stream over them.
//!
//! There is one app and it is near, so a connection needs no task of its own: whoever holds it drives it. A request
//! therefore runs from the client's socket to the app's and back in one task, without a wake-up between two tasks, and
//! dropping it closes the connection to the app at once. Two things are otherwise: HTTP/2, where many requests share one
//! connection, and an upload that goes on beside its answer.

use std::sync::Arc;

pub use answer::{Answer, Broken, Lease};
pub use connection::{Connection, Gauges, SendError, Sending, Switched};
pub use connector::{ConnectError, Connector};
pub use detached::Detached;
pub use fault::Fault;
pub use message::Message;
pub use pool::Pool;
pub use shared::{Shared, Stream};
pub use upload::{Limits, TrailerFilter, Upload};

use crate::config::{self, Protocol};

mod answer;
mod connection;
mod connector;
mod detached;
mod fault;
mod message;
mod outgoing;
mod pool;
mod reply;
mod shared;
mod stall;
mod stream;
mod upload;

/// The connections to the app of one worker.
#[derive(Clone, Debug)]
pub enum Connections {
    /// HTTP/1.1: one for each request, kept for the next.
    Pool(Arc<Pool>),
    /// HTTP/2: shared by many.
    Shared(Arc<Shared>),
}

impl Connections {
    /// Connections that `connector` opens as the requests need them, counted by `gauges`.
    pub fn new(config: &config::Upstream, connector: Connector, gauges: Gauges) -> Self {
        match config.address.protocol {
            Protocol::Http | Protocol::Https => Self::Pool(Pool::new(config, connector, gauges)),
            Protocol::H2c => Self::Shared(Shared::new(config, connector, gauges)),
        }
    }
}
