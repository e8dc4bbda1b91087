//! Connections to the app between two requests.
//!
//! hyper-util's pool opens connections in the background and parks what it did not need: a connection on which nothing
//! is sent blocks a synchronous gunicorn worker for 30 s. This one connects only for a request that waits, and closes
//! what has been idle for `keep_alive` by a timer that really runs.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::sleep;

use super::{ConnectError, Connection, Connector, Gauges};
use crate::config;

/// A connection that has rested for less is not closed by an idle timeout of the app. Shorter than the pauses of all but
/// a busy connection, and for those alone a copy of each request would be a cost.
const FRESH: Duration = Duration::from_millis(5);

/// The idle connections to the app of one worker.
#[derive(Debug)]
pub struct Pool {
    connector: Connector,
    connect_timeout: Duration,
    keep_alive: Duration,
    response_timeout: Duration,
    // One worker's tasks share it on one thread: the lock is never contended, and never held across an await.
    idle: Mutex<Idle>,
    /// Whether the app has closed a connection that it had not said it would.
    closes: AtomicBool,
    gauges: Gauges,
}

#[derive(Debug, Default)]
struct Idle {
    /// The longest idle is in front.
    connections: VecDeque<Box<Connection>>,
    /// Whether a task runs that closes them.
    sweeping: bool,
}

impl Pool {
    /// A pool of connections that `connector` opens, counted by `gauges`.
    pub(super) fn new(config: &config::Upstream, connector: Connector, gauges: Gauges) -> Arc<Self> {
        Arc::new(Self {
            connector,
            connect_timeout: config.connect_timeout,
            keep_alive: config.keep_alive,
            response_timeout: config.response_timeout,
            idle: Mutex::default(),
            closes: AtomicBool::new(false),
            gauges,
        })
    }

    /// An idle connection: the one used last, which is the least likely to be closed by the app. The second value says
    /// whether the app may close it in the very moment in which it is used. One that was used a moment ago is closed by
    /// its answer, if at all, and the answer says so; unless this app has once closed one and said nothing.
    pub fn check_out(&self) -> Option<(Box<Connection>, bool)> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(mut connection) = idle.connections.pop_back() {
            let rest = connection.rested();
            if rest >= self.keep_alive {
                continue;
            }
            if connection.is_still_idle() {
                connection.work();
                return Some((connection, rest >= FRESH || self.closes.load(Relaxed)));
            }
            self.closes();
        }
        None
    }

    /// Notes that the app has closed a connection and said nothing.
    pub fn closes(&self) {
        self.closes.store(true, Relaxed);
    }

    /// A new connection. A refused attempt is repeated within `connect_timeout`: an app that restarts is back in a
    /// moment, and no byte was sent.
    ///
    /// # Errors
    /// The app cannot be reached.
    pub async fn connect(&self) -> Result<Box<Connection>, ConnectError> {
        let stream = self.connector.connect(self.connect_timeout).await?;
        Ok(Connection::new(stream, self.gauges.clone(), self.response_timeout))
    }

    /// Takes back a connection whose answer is complete, if it can carry another request.
    pub(super) fn check_in(self: &Arc<Self>, mut connection: Box<Connection>) {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::{
        io::Write,
        net::{Shutdown, TcpListener, TcpStream},
    };

    use prometheus_client::metrics::gauge::Gauge;

    use super::*;

    const UNASKED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";

    /// A pool with one idle connection, and the app's end of it. Nothing after this gives the reactor a turn.
    async fn pool() -> (Arc<Pool>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let config = config::Upstream { address, ..config::Upstream::default() };
        let gauges = Gauges { active: Gauge::default(), idle: Gauge::default() };
        let pool = Pool::new(&config, Connector::load(&config).unwrap(), gauges);
        let connection = pool.connect().await.unwrap();
        let (app, _) = listener.accept().unwrap();
        pool.check_in(connection);
        (pool, app)
    }

    #[tokio::test]
    async fn an_idle_connection_is_used_again() {
        let (pool, _app) = pool().await;
        assert!(pool.check_out().is_some());
        assert!(pool.check_out().is_none());
    }

    #[tokio::test]
    async fn a_connection_with_an_answer_that_nobody_asked_for_is_not() {
        for bytes in [UNASKED, &UNASKED[..1]] {
            let (pool, mut app) = pool().await;
            app.write_all(bytes).unwrap();
            assert!(pool.check_out().is_none());
            assert_eq!((pool.gauges.idle.get(), pool.gauges.active.get()), (0, 0));
        }
    }

    #[tokio::test]
    async fn nor_is_one_that_the_app_has_just_closed() {
        let (pool, app) = pool().await;
        app.shutdown(Shutdown::Write).unwrap();
        assert!(pool.check_out().is_none());
    }
}
