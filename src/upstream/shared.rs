//! One HTTP/2 connection to the app for all requests of a worker, replaced when it ends.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::{Instant, timeout_at};

use super::{ConnectError, Connector, Gauges, SendError, Upload, connection::MAX_HEADER_BYTES, stall::Stall};
use crate::{config, exchange::Trail};

/// What the app may send of one answer before the client has taken it: memory per request.
const STREAM_WINDOW: u32 = 256 * 1024;

/// The same for all answers together: no limit of its own, or clients that do not read would stop those that do.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// Uploads that wait to be sent, per request.
const SEND_BUFFER: usize = 64 * 1024;

/// The connection of one worker.
#[derive(Debug)]
pub struct Shared {
    connector: Connector,
    connect_timeout: Duration,
    response_timeout: Duration,
    // One worker's tasks share it on one thread: the lock is never contended, and never held across an await.
    current: Mutex<Option<Current>>,
    /// Held by the one that connects, while others wait for what comes of it.
    connecting: tokio::sync::Mutex<()>,
    gauges: Gauges,
}

#[derive(Debug)]
struct Current {
    sender: SendRequest<Upload>,
    /// Gone when the connection has ended.
    load: Weak<Load>,
}

/// How many requests are under way on a connection. It lives as long as that.
#[derive(Debug)]
struct Load {
    streams: AtomicUsize,
    gauges: Gauges,
}

/// A request's part of the connection. What it stands for ends with the answer and with the upload: hyper resets the
/// stream when both are dropped, and its server drops the upload when the client has its answer or has gone.
#[derive(Debug)]
pub struct Stream {
    load: Arc<Load>,
}

impl Shared {
    pub(super) fn new(config: &config::Upstream, connector: Connector, gauges: Gauges) -> Arc<Self> {
        Arc::new(Self {
            connector,
            connect_timeout: config.connect_timeout,
            response_timeout: config.response_timeout,
            current: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            gauges,
        })
    }

    /// A stream on the connection, and what sends over it: the one there is, or a new one.
    ///
    /// # Errors
    /// The app cannot be reached.
    pub async fn open(&self) -> Result<(SendRequest<Upload>, Stream), ConnectError> {
        if let Some(open) = self.current() {
            return Ok(open);
        }
        let deadline = Instant::now() + self.connect_timeout;
        // Whoever comes while one connects waits for the outcome, and no longer than if it connected itself.
        let Ok(_connecting) = timeout_at(deadline, self.connecting.lock()).await else {
            return Err(ConnectError::Timeout);
        };
        if let Some(open) = self.current() {
            return Ok(open);
        }
        let stream = self.connector.connect(deadline.saturating_duration_since(Instant::now())).await?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX))
            .handshake(TokioIo::new(stream))
            .await?;
        let load = Load::new(self.gauges.clone());
        let current = Current { sender: sender.clone(), load: Arc::downgrade(&load) };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(current);
        let stream = Stream::new(load.clone());
        tokio::spawn(async move {
            let _load = load;
            if let Err(error) = connection.await {
                tracing::warn!(cause = %error, "the connection to the app broke off");
            }
        });
        Ok((sender, stream))
    }

    fn current(&self) -> Option<(SendRequest<Upload>, Stream)> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let current = current.as_ref().filter(|current| !current.sender.is_closed())?;
        Some((current.sender.clone(), Stream::new(current.load.upgrade()?)))
    }

    /// Sends a request over what [`Shared::open`] gave, and waits for the header of the answer.
    ///
    /// # Errors
    /// The stream or the connection ended, or nothing came within `response_timeout` of the last byte sent.
    pub async fn send(
        &self,
        (mut sender, stream): (SendRequest<Upload>, Stream),
        request: Request<Upload>,
        trail: &Trail,
    ) -> Result<(Response<Incoming>, Stream), SendError> {
        let mut stall = Stall::new(self.response_timeout);
        stall.begin(trail.received());
        let mut answer = pin!(sender.try_send_request(request));
        let response = poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer.map_err(SendError::from));
            }
            stall.poll_beside(cx, trail.received()).map(|()| Err(SendError::Timeout))
        });
        Ok((response.await?, stream))
    }
}

impl Load {
    fn new(gauges: Gauges) -> Arc<Self> {
        gauges.idle.inc();
        Arc::new(Self { streams: AtomicUsize::new(0), gauges })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.gauges.idle.dec();
    }
}

impl Stream {
    fn new(load: Arc<Load>) -> Self {
        if load.streams.fetch_add(1, Relaxed) == 0 {
            load.gauges.idle.dec();
            load.gauges.active.inc();
        }
        Self { load }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.load.streams.fetch_sub(1, Relaxed) == 1 {
            self.load.gauges.active.dec();
            self.load.gauges.idle.inc();
        }
    }
}
