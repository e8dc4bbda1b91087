//! Sends what is permitted to the app, and streams the answer back.

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode, response};

use super::{
    credentials::Credentials,
    translate::{Asked, Translation},
};
use crate::{
    auth::Permitted,
    body::Body,
    config,
    denial::Denial,
    exchange::Trail,
    http1::is_bodiless,
    reason::Reason,
    upstream::{ConnectError, Connection, Connections, Fault, Lease, Message, SendError, Sending, Upload},
};

/// How often a request may find that a shared connection ended before it was sent, or that the app refused it unseen.
const ATTEMPTS: usize = 3;

/// The way to the app.
#[derive(Debug)]
pub struct Proxy {
    app: Connections,
    translation: Translation,
    /// The largest body without a length that is read before the app is asked, in bytes. 0 = none is.
    buffer: u64,
}

/// What could be done with a request at once.
enum First {
    /// It was sent over an idle connection. There is a copy when it may be sent twice.
    Sent(Sending, Option<Box<Message>>),
    /// It has to wait: for a connection, or for its body.
    Waits(Box<Message>),
    /// It goes over a connection that all share.
    Shares(Box<Request<Upload>>),
}

impl Proxy {
    /// A way to the app over its `connections`, which shows it these `credentials`.
    pub fn new(config: &config::Config, credentials: Credentials, connections: Connections) -> Self {
        let translation = Translation::new(config, credentials);
        Self { app: connections, translation, buffer: config.upstream.buffer_request }
    }

    /// Sends a permitted request to the app: over an idle connection, or over a new one. It is sent a second time only
    /// where the app cannot have seen it, or where seeing it twice does no harm; and then over a new connection.
    ///
    /// What can be done at once is done before the future is made, so that the future stays small.
    ///
    /// # Errors
    /// The app cannot be reached, is late, or breaks the protocol; or the request's body breaks a limit.
    pub fn forward(
        self: Arc<Self>,
        permitted: Permitted,
    ) -> impl Future<Output = Result<Response<Body>, Denial>> + Send + use<> {
        let begun = match &self.app {
            Connections::Pool(pool) => self.translation.to_http1(permitted).map(|(message, asked, trail)| {
                let idle = if self.gathers(&message) { None } else { pool.check_out() };
                let first = match idle {
                    None => First::Waits(message),
                    Some((connection, may_close)) => {
                        // A copy costs an allocation.
                        let copy = may_close && is_idempotent(message.method());
                        let copy = if copy { message.copy() } else { None };
                        First::Sent(connection.send(message, trail.clone()), copy)
                    }
                };
                (first, asked, trail)
            }),
            Connections::Shared(_) => {
                let request = self.translation.to_http2(permitted);
                request.map(|(request, asked, trail)| (First::Shares(request), asked, trail))
            }
        };
        async move {
            let (first, asked, trail) = begun?;
            let message = match first {
                First::Shares(request) => return Box::pin(self.share(request, asked, trail)).await,
                First::Waits(message) => message,
                First::Sent(sent, copy) => match (sent.await, copy) {
                    (Ok((head, connection)), _) => return self.answer(head, connection, asked, trail),
                    // The app closed the connection while it was idle: that says nothing about the request.
                    (Err(SendError::Unsent(unsent)), _) => unsent,
                    (Err(SendError::Broken(_)), Some(copy)) => copy,
                    (Err(error), _) => {
                        if let (Connections::Pool(pool), SendError::Broken(_)) = (&self.app, &error) {
                            pool.closes();
                        }
                        return Err(failed(error, &trail));
                    }
                },
            };
            Box::pin(self.ask(message, asked, trail)).await
        }
    }

    /// Whether a request's body is read before the app is asked.
    fn gathers(&self, message: &Message) -> bool {
        self.buffer > 0 && message.is_chunked()
    }

    /// Sends a request that had to wait.
    async fn ask(&self, mut message: Box<Message>, asked: Asked, trail: Arc<Trail>) -> Result<Response<Body>, Denial> {
        let Connections::Pool(pool) = &self.app else { return Err(Reason::UpstreamBroken.into()) };
        if self.gathers(&message) {
            let gathered = message.gather(self.buffer).await;
            gathered.map_err(|_| trail.failure().unwrap_or(Reason::RequestIncomplete))?;
            if let Some((connection, _)) = pool.check_out() {
                match connection.send(message, trail.clone()).await {
                    Ok((head, connection)) => return self.answer(head, connection, asked, trail),
                    Err(SendError::Unsent(unsent)) => message = unsent,
                    Err(error) => return Err(failed(error, &trail)),
                }
            }
        }
        let connection = pool.connect().await.map_err(unreachable)?;
        match connection.send(message, trail.clone()).await {
            Ok((head, connection)) => self.answer(head, connection, asked, trail),
            Err(error) => Err(failed(error, &trail)),
        }
    }

    /// Sends a request over a connection that all share.
    async fn share(
        &self,
        mut request: Box<Request<Upload>>,
        asked: Asked,
        trail: Arc<Trail>,
    ) -> Result<Response<Body>, Denial> {
        let Connections::Shared(shared) = &self.app else { return Err(Reason::UpstreamBroken.into()) };
        for _ in 0..ATTEMPTS {
            let open = shared.open().await.map_err(unreachable)?;
            // hyper does not give back what it has written; most that goes this way is gRPC, which has a body.
            let copy = copy_of(&request);
            match shared.send(open, *request, &trail).await {
                Ok((response, stream)) => {
                    let (head, body) = response.into_parts();
                    return Ok(self.translation.to_client(head, Lease::Shared(body, stream), &asked, trail));
                }
                Err(SendError::Unsent(unsent)) => request = unsent,
                Err(SendError::Refused(error)) => {
                    request = copy.ok_or_else(|| failed(SendError::<()>::Refused(error), &trail))?;
                }
                Err(error) => return Err(failed(error, &trail)),
            }
        }
        Err(Reason::UpstreamBroken.into())
    }

    /// The answer that came over a connection of its own, as the client gets it.
    fn answer(
        &self,
        head: response::Parts,
        connection: Box<Connection>,
        asked: Asked,
        trail: Arc<Trail>,
    ) -> Result<Response<Body>, Denial> {
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return self.translation.switch(head, connection, asked, trail);
        }
        // These have no body, and some apps send one all the same: what is left of it would be the next client's answer.
        let pool = match &self.app {
            Connections::Pool(pool) if !is_bodiless(head.status, asked.head) => Some(pool.clone()),
            Connections::Pool(_) | Connections::Shared(_) => None,
        };
        Ok(self.translation.to_client(head, Lease::Own(connection, pool), &asked, trail))
    }
}

/// Whether a request of this method may be sent twice, whatever became of the first (RFC 9110 section 9.2.2).
fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// A second request like this one, if it has no body.
fn copy_of(request: &Request<Upload>) -> Option<Box<Request<Upload>>> {
    let mut copy = Request::new(request.body().again()?);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    Some(Box::new(copy))
}

fn unreachable(error: ConnectError) -> Denial {
    match error {
        ConnectError::Tls(error) => {
            tracing::warn!(%error, "the app cannot be reached over TLS");
            Reason::UpstreamTls.into()
        }
        ConnectError::Refused(_) | ConnectError::Timeout | ConnectError::Http2(_) => {
            tracing::warn!(%error, "the app cannot be reached");
            Reason::UpstreamUnreachable.into()
        }
    }
}

/// What a failed exchange is to the client: its own upload's fault, where that broke off first; else the app's.
fn failed<M>(error: SendError<M>, trail: &Trail) -> Denial {
    let cause = match error {
        SendError::Timeout => return Reason::UpstreamTimeout.into(),
        SendError::Broken(fault) | SendError::Refused(fault) => fault,
        SendError::Unsent(_) => Fault::Ended,
    };
    let reason = trail.failure().unwrap_or(Reason::UpstreamBroken);
    if reason == Reason::UpstreamBroken {
        tracing::warn!(%cause, "the app broke off its answer");
    }
    reason.into()
}
