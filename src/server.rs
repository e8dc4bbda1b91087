//! Accepts connections, shakes hands, and hands each request to the stack. Knows no auth.
//!
//! Every wait has a limit of its own: the handshake, a request's header, the time between two requests, a client that
//! does not read, the drain.

use std::{future::Future, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use prometheus_client::metrics::gauge::Gauge;
use rustls::ServerConfig;
use tokio::{
    select,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::listener::Bound;
use self::{
    activity::{Activity, Next},
    drive::{End, drive},
    listener::{Listener, Socket},
    reception::Reception,
    stream::Stream,
};
use crate::{
    config,
    exchange::Payload,
    http1::head,
    origin::{Client, Trust},
    reason::Reason,
    stack::HttpService,
    telemetry::Metrics,
    tunnel::Duplex,
};

mod activity;
mod bell;
mod drive;
mod fields;
mod http1;
mod http2;
mod listener;
mod peer;
mod preface;
pub mod proxy_protocol;
mod reception;
mod stream;

/// After an error that concerns the process and not one connection (no more descriptors): trying again at once would
/// only burn the CPU that is needed to end other connections.
const PAUSE: Duration = Duration::from_millis(50);

/// Of so many failures in a row one is told: one line in a second.
const TELL: u32 = 20;

/// The listener's settings, the same for every worker.
#[derive(Clone, Debug)]
pub struct Server {
    /// The handshakes' configuration, where TLS is spoken.
    pub tls: Option<Arc<ServerConfig>>,
    /// Whether a client may speak HTTP/2 where TLS, which would agree on it, is not spoken.
    pub prior_knowledge: bool,
    /// Whether a connection begins with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// Whose word is taken about where a request comes from.
    pub trust: Arc<Trust>,
    /// What a client may use of us.
    pub limits: config::Limits,
    /// The places for connections, shared by the workers.
    pub places: Arc<Semaphore>,
    /// Where connections are counted.
    pub metrics: Arc<Metrics>,
    /// When to take no more connections, and end those that are idle.
    pub drain: CancellationToken,
    /// When to end all that is left.
    pub cut: CancellationToken,
}

impl Server {
    /// Serves every connection of `listener` with `service`, until the drain; then until the last request has ended.
    ///
    /// # Errors
    /// The runtime cannot take care of the listener.
    pub async fn run(self, bound: Bound, service: impl HttpService) -> io::Result<()> {
        let listener = Listener::new(bound)?;
        let connections = TaskTracker::new();
        let server = Arc::new(self);
        while let Some((socket, peer, place)) = server.accept(&listener).await {
            connections.spawn(server.clone().connection(socket, peer, place, service.clone()));
        }
        drop(listener);
        connections.close();
        // What is left is dropped with the runtime, and so is counted and logged.
        select! {
            () = connections.wait() => {}
            () = server.cut.cancelled() => {}
        }
        Ok(())
    }

    /// The next connection; `None` when draining. A place comes first: beyond the limit connections wait in the
    /// kernel's queue, which costs nothing.
    async fn accept(&self, listener: &Listener) -> Option<(Socket, Option<SocketAddr>, OwnedSemaphorePermit)> {
        let mut failures = 0_u32;
        loop {
            let next = async {
                let place = self.places.clone().acquire_owned().await;
                (place, listener.accept().await)
            };
            let (place, accepted) = select! {
                biased;
                () = self.drain.cancelled() => return None,
                next = next => next,
            };
            match accepted {
                Ok((socket, peer)) => return Some((socket, peer, place.ok()?)),
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    if failures.is_multiple_of(TELL) {
                        tracing::error!(%error, "cannot accept connections");
                    }
                    failures += 1;
                    self.metrics.connection_failed("accept");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Takes care of a connection for as long as it lasts.
    ///
    /// What is large is boxed, and the box as small as what is in it: a task is as large as the largest of all that it
    /// will ever wait for, most connections are idle HTTP/1, and to open one takes several times what it takes to hold it.
    async fn connection(
        self: Arc<Self>,
        socket: Socket,
        peer: Option<SocketAddr>,
        place: OwnedSemaphorePermit,
        service: impl HttpService,
    ) {
        let _place = place;
        let Some((opened, client)) = Box::pin(self.open(socket, peer)).await else { return };
        let _open = Counted::new(&self.metrics.connections);
        let activity = Arc::new(Activity::new());
        let reception = Reception { activity: activity.clone(), client: Arc::new(client), service };
        let serving = match opened {
            Opened::Tls(stream) => {
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                self.serve(Stream::new(*stream, activity.clone(), BytesMut::new()), http2, reception)
            }
            Opened::Plain(mut socket) => {
                // Where HTTP/2 cannot be agreed on, what the client says first decides.
                let spoken = if self.prior_knowledge {
                    Box::pin(self.spoken(&mut socket, &activity)).await
                } else {
                    Ok((false, BytesMut::new()))
                };
                let Ok((http2, said)) = spoken else { return };
                self.serve(Stream::new(socket, activity.clone(), said), http2, reception)
            }
        };
        let result = serving.await;
        // A refusal is an answer like any other, and no failure.
        match activity.refusal() {
            Some(Reason::HeaderTooLarge) => self.metrics.connection_failed("header_too_large"),
            Some(Reason::RequestIncomplete) => self.metrics.connection_failed("incomplete"),
            Some(_) => self.metrics.connection_failed("malformed"),
            None => {
                if let Err(reason) = result {
                    self.metrics.connection_failed(reason);
                }
            }
        }
    }

    /// Finds out who has connected, and shakes hands where TLS is spoken. `None` when that came to nothing.
    async fn open(&self, mut socket: Socket, peer: Option<SocketAddr>) -> Option<(Opened, Client)> {
        socket.set_nodelay().ok()?;
        let _handshaking = Counted::new(&self.metrics.handshaking);
        let deadline = Instant::now() + self.limits.handshake_timeout;
        let client = self.client(&mut socket, peer, deadline).await?;
        let Some(tls) = self.tls.clone() else { return Some((Opened::Plain(socket), client)) };
        let handshake = TlsAcceptor::from(tls).accept(socket);
        let outcome = select! {
            biased;
            () = self.drain.cancelled() => return None,
            outcome = timeout_at(deadline, handshake) => outcome,
        };
        match outcome {
            Ok(Ok(stream)) => {
                self.metrics.handshake("ok");
                return Some((Opened::Tls(Box::new(stream)), client));
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, ?peer, "TLS handshake failed");
                self.metrics.handshake("failed");
            }
            Err(_) => {
                tracing::debug!(?peer, "TLS handshake timed out");
                self.metrics.handshake("timeout");
            }
        }
        None
    }

    /// Serves a connection.
    fn serve<'a>(
        &'a self,
        stream: Stream<impl Duplex + 'static>,
        http2: bool,
        reception: Reception<impl HttpService>,
    ) -> Pin<Box<dyn Future<Output = Result<End, http1::Failure>> + Send + 'a>> {
        if http2 {
            Box::pin(self.serve_http2(stream, reception))
        } else {
            Box::pin(self.serve_http1(stream, reception))
        }
    }

    /// Not an `async fn`: that would keep its arguments beside what was made of them.
    fn serve_http1(
        &self,
        stream: Stream<impl Duplex>,
        reception: Reception<impl HttpService>,
    ) -> impl Future<Output = Result<End, http1::Failure>> + Send {
        let activity = reception.activity.clone();
        let mut connection = http1::Connection::new(stream, self.heads(), reception);
        async move {
            let result = drive(Pin::new(&mut connection), &activity, &self.limits, false, &self.drain).await;
            if result == Ok(End::Done)
                && let Some(next) = activity.next()
            {
                let (stream, early) = connection.into_parts();
                // Boxed: of all connections few come here.
                Box::pin(self.tunnel(stream, early, next)).await;
            }
            result
        }
    }

    fn serve_http2(
        &self,
        stream: Stream<impl Duplex + 'static>,
        reception: Reception<impl HttpService>,
    ) -> impl Future<Output = Result<End, http1::Failure>> + Send {
        let (activity, heads) = (reception.activity.clone(), self.heads());
        let service = hyper::service::service_fn(move |mut request| {
            let refusal = fields::read(&mut request, heads).err();
            reception.clone().take(request.map(Payload::Http2), refusal)
        });
        let mut connection = http2::Connection::new(stream, service, &self.limits);
        async move { drive(Pin::new(&mut connection), &activity, &self.limits, true, &self.drain).await }
    }

    /// How large a request's header may be.
    fn heads(&self) -> head::Limits {
        head::Limits {
            bytes: usize::try_from(self.limits.max_header_bytes).unwrap_or(usize::MAX),
            lines: self.limits.max_headers.get(),
        }
    }

    /// What becomes of a connection that has switched to another protocol. `early` is what the client has sent since.
    async fn tunnel(&self, mut stream: Stream<impl Duplex>, early: Bytes, next: Box<Next>) {
        let _open = Counted::new(&self.metrics.tunnels);
        stream.switch();
        next.run(stream, early).await;
    }
}

/// A connection on which HTTP can be spoken.
enum Opened {
    Plain(Socket),
    /// Boxed for its way here.
    Tls(Box<TlsStream<Socket>>),
}

/// Counts while it lives.
struct Counted<'a>(&'a Gauge);

impl<'a> Counted<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Whether an error of `accept` says that this one connection is gone already, so that the next can be accepted.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
