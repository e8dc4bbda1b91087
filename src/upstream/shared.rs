//! The HTTP/2 connections to the app that the requests of a worker share: one, and more while that is not enough.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
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
    client::conn::{
        TrySendError,
        http2::{self, SendRequest},
    },
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::{Instant, timeout_at};

use super::{ConnectError, Connector, Fault, Gauges, SendError, Upload, stall::Stall};
use crate::{config, exchange::Trail, http1::answer::MAX_BYTES};

/// What the app may send of one answer before the client has taken it: memory per request.
const STREAM_WINDOW: u32 = 256 * 1024;

/// The same for all answers together: no limit of its own, or clients that do not read would stop those that do.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// Uploads that wait to be sent, per request.
const SEND_BUFFER: usize = 64 * 1024;

/// Requests at a time on one connection, where the app does not say that it takes fewer. What is beyond would wait in
/// line behind answers that may never end.
const MAX_STREAMS: usize = 100;

/// Requests that were given up on one connection before it is left to end with those still on it. An app tells nobody how
/// many it bears before it breaks off the connection, and with it the requests of all others; the strictest that is known
/// bears 20.
const MAX_ABANDONED: usize = 16;

/// The connections of one worker.
#[derive(Debug)]
pub struct Shared {
    connector: Connector,
    connect_timeout: Duration,
    response_timeout: Duration,
    // One worker's tasks share it on one thread: the lock is never contended, and never held across an await.
    // The first that has room is used, so that the later ones fall idle when there is less to do.
    open: Mutex<Vec<Open>>,
    /// Held by the one that connects, while others wait for what comes of it.
    connecting: tokio::sync::Mutex<()>,
    gauges: Gauges,
}

#[derive(Debug)]
struct Open {
    sender: SendRequest<Upload>,
    /// Gone when the connection has ended.
    load: Weak<Load>,
}

/// How many requests are under way on a connection. It lives as long as that.
#[derive(Debug)]
struct Load {
    streams: AtomicUsize,
    /// How many there may be at a time.
    most: AtomicUsize,
    /// How many were given up before their end: each is a reset for the app.
    abandoned: AtomicUsize,
    gauges: Gauges,
}

/// A request's part of the connection. What it stands for ends with the answer and with the upload: hyper resets the
/// stream when both are dropped, and its server drops the upload when the client has its answer or has gone.
#[derive(Debug)]
pub struct Stream {
    load: Arc<Load>,
    /// Whether both sides have said all that they had to say.
    ended: bool,
}

impl Shared {
    pub(super) fn new(config: &config::Upstream, connector: Connector, gauges: Gauges) -> Arc<Self> {
        Arc::new(Self {
            connector,
            connect_timeout: config.connect_timeout,
            response_timeout: config.response_timeout,
            open: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            gauges,
        })
    }

    /// A stream on a connection, and what sends over it: one that has room, or a new one.
    ///
    /// # Errors
    /// The app cannot be reached.
    pub async fn open(&self) -> Result<(SendRequest<Upload>, Stream), ConnectError> {
        if let Some(open) = self.with_room() {
            return Ok(open);
        }
        let deadline = Instant::now() + self.connect_timeout;
        // Whoever comes while one connects waits for the outcome, and no longer than if it connected itself.
        let Ok(_connecting) = timeout_at(deadline, self.connecting.lock()).await else {
            return Err(ConnectError::Timeout);
        };
        if let Some(open) = self.with_room() {
            return Ok(open);
        }
        let stream = self.connector.connect(deadline.saturating_duration_since(Instant::now())).await?;
        let (sender, mut connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(u32::try_from(MAX_BYTES).unwrap_or(u32::MAX))
            .handshake(TokioIo::new(stream))
            .await?;
        let load = Load::new(self.gauges.clone());
        let open = Open { sender: sender.clone(), load: Arc::downgrade(&load) };
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(open);
        let stream = Stream::new(load.clone());
        tokio::spawn(async move {
            let ended = poll_fn(|cx| {
                let polled = Pin::new(&mut connection).poll(cx);
                // The app may have said so at any time; it is polled with every request.
                load.most.store(connection.current_max_send_streams().clamp(1, MAX_STREAMS), Relaxed);
                polled
            });
            if let Err(error) = ended.await {
                tracing::warn!(cause = %error, "the connection to the app broke off");
            }
        });
        Ok((sender, stream))
    }

    /// The first connection that has room. Those of no more use are forgotten: they end with their last stream.
    fn with_room(&self) -> Option<(SendRequest<Upload>, Stream)> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Option<(SendRequest<Upload>, Stream)> = None;
        open.retain(|open| {
            let Some(load) = open.load.upgrade() else { return false };
            if open.sender.is_closed() || load.abandoned.load(Relaxed) >= MAX_ABANDONED {
                return false;
            }
            let streams = load.streams.load(Relaxed);
            match &found {
                None if streams < load.most.load(Relaxed) => {
                    found = Some((open.sender.clone(), Stream::new(load)));
                    true
                }
                Some(_) => streams > 0,
                None => true,
            }
        });
        found
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
    ) -> Result<(Response<Incoming>, Stream), SendError<Request<Upload>>> {
        let mut stall = Stall::new(self.response_timeout);
        stall.begin(trail.received());
        let mut answer = pin!(sender.try_send_request(request));
        let response = poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer.map_err(unanswered));
            }
            stall.poll_beside(cx, trail.received()).map(|()| Err(SendError::Timeout))
        });
        let response = response.await;
        if matches!(response, Err(SendError::Timeout)) {
            // Whether the app is slow or the connection dead, nobody knows: nothing new is sent over it.
            stream.load.abandoned.store(MAX_ABANDONED, Relaxed);
        }
        Ok((response?, stream))
    }
}

fn unanswered(mut error: TrySendError<Request<Upload>>) -> SendError<Request<Upload>> {
    if let Some(request) = error.take_message() {
        return SendError::Unsent(Box::new(request));
    }
    let fault = Fault::from(error.into_error());
    if fault.is_refusal() { SendError::Refused(fault) } else { SendError::Broken(fault) }
}

impl Load {
    fn new(gauges: Gauges) -> Arc<Self> {
        gauges.idle.inc();
        let [streams, abandoned] = [const { AtomicUsize::new(0) }; 2];
        Arc::new(Self { streams, most: AtomicUsize::new(MAX_STREAMS), abandoned, gauges })
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
        Self { load, ended: false }
    }

    /// The answer is complete, and so is the request: nothing of it is left to be reset.
    pub(super) fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.ended {
            self.load.abandoned.fetch_add(1, Relaxed);
        }
        if self.load.streams.fetch_sub(1, Relaxed) == 1 {
            self.load.gauges.active.dec();
            self.load.gauges.idle.inc();
        }
    }
}
