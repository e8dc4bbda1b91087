//! Connections to the app between two requests.
//!
//! hyper-util's pool opens connections in the background and parks what it did not need: a connection on which nothing
//! is sent blocks a synchronous gunicorn worker for 30 s. This one connects only for a request that waits, and closes
//! what has been idle for `keep_alive` by a timer that really runs.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{Connection, Gauges};
use crate::config;

/// Between two attempts to connect while the app refuses.
const RETRY: Duration = Duration::from_millis(50);

/// The idle connections to the app of one worker.
#[derive(Debug)]
pub struct Pool {
    host: String,
    port: u16,
    connect_timeout: Duration,
    keep_alive: Duration,
    response_timeout: Duration,
    // One worker's tasks share it on one thread: the lock is never contended, and never held across an await.
    idle: Mutex<Idle>,
    gauges: Gauges,
}

#[derive(Debug, Default)]
struct Idle {
    /// The longest idle is in front.
    connections: VecDeque<Connection>,
    /// Whether a task runs that closes them.
    sweeping: bool,
}

/// Why no connection to the app could be had.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It refused, or its address is wrong.
    #[error("cannot connect: {0}")]
    Refused(#[from] io::Error),
    /// `connect_timeout` passed.
    #[error("cannot connect within the connect timeout")]
    Timeout,
    /// hyper could not use the connection.
    #[error("cannot use the connection: {0}")]
    Unusable(#[from] hyper::Error),
}

impl Pool {
    /// A pool of connections to the app that `config` names, counted by `gauges`.
    pub fn new(config: &config::Upstream, gauges: Gauges) -> Arc<Self> {
        Arc::new(Self {
            host: config.address.host().to_owned(),
            port: config.address.port(),
            connect_timeout: config.connect_timeout,
            keep_alive: config.keep_alive,
            response_timeout: config.response_timeout,
            idle: Mutex::default(),
            gauges,
        })
    }

    /// An idle connection and how long it has rested: the one used last, which is the least likely to be closed by the
    /// app.
    pub fn check_out(&self) -> Option<(Connection, Duration)> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(mut connection) = idle.connections.pop_back() {
            let rest = connection.rested();
            if rest < self.keep_alive && connection.is_idle() {
                connection.work();
                return Some((connection, rest));
            }
        }
        None
    }

    /// A new connection. A refused attempt is repeated within `connect_timeout`: an app that restarts is back in a
    /// moment, and no byte was sent.
    ///
    /// # Errors
    /// The app cannot be reached.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        let mut refusal = None;
        let attempts = async {
            loop {
                match TcpStream::connect((self.host.as_str(), self.port)).await {
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => refusal = Some(error),
                    result => return result,
                }
                sleep(RETRY).await;
            }
        };
        let stream = match timeout(self.connect_timeout, attempts).await {
            Ok(result) => result?,
            Err(_) => return Err(refusal.map_or(ConnectError::Timeout, ConnectError::Refused)),
        };
        stream.set_nodelay(true)?;
        Ok(Connection::new(stream, self.gauges.clone(), self.response_timeout).await?)
    }

    /// Takes back a connection whose answer is complete, if it can carry another request.
    pub(super) fn check_in(self: &Arc<Self>, mut connection: Connection) {
        if self.keep_alive.is_zero() || !connection.is_idle() {
            return;
        }
        connection.rest();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.connections.push_back(connection);
        if !idle.sweeping {
            idle.sweeping = true;
            tokio::spawn(self.clone().sweep());
        }
    }

    /// Closes what has been idle for too long, until nothing is left.
    async fn sweep(self: Arc<Self>) {
        loop {
            sleep(self.keep_alive / 2).await;
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            while idle.connections.front().is_some_and(|oldest| oldest.rested() >= self.keep_alive) {
                idle.connections.pop_front();
            }
            if idle.connections.is_empty() {
                idle.sweeping = false;
                return;
            }
        }
    }
}
