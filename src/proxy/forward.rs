//! Sends what is permitted to the app, and streams the answer back.

use std::sync::Arc;

use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
    request, response,
};
use hyper::body::Body as _;

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
    reason::Reason,
    upstream::{ConnectError, Connection, Connections, Fault, Lease, SendError, Sending, Shared, Upload},
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
    Sent(Sending, Option<Box<Request<Upload>>>),
    /// It has to wait: for a connection, or for its body.
    Waits(Box<Request<Upload>>),
}

impl Proxy {
    /// A way to the app over its `connections`, which shows it these `credentials`.
    pub fn new(config: &config::Config, credentials: Credentials, connections: Connections) -> Self {
        let translation = Translation::new(config, credentials, matches!(connections, Connections::Shared(_)));
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
        let first = self.translation.to_app(permitted).map(|(request, asked, trail)| match self.idle(&request) {
            None => (First::Waits(Box::new(request)), asked, trail),
            Some((connection, may_close)) => {
                // A copy costs as much as the decision.
                let copy = if may_close && is_idempotent(request.method()) { copy_of(&request, &trail) } else { None };
                (First::Sent(connection.send(request, trail.clone()), copy), asked, trail)
            }
        });
        async move {
            let (first, asked, trail) = first?;
            let request = match first {
                First::Waits(request) => request,
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
            Box::pin(self.ask(request, asked, trail)).await
        }
    }

    /// An idle connection that a request can be sent over at once.
    fn idle(&self, request: &Request<Upload>) -> Option<(Box<Connection>, bool)> {
        match &self.app {
            Connections::Pool(pool) if !self.gathers(request) => pool.check_out(),
            Connections::Pool(_) | Connections::Shared(_) => None,
        }
    }

    /// Whether a request's body is read before the app is asked.
    fn gathers(&self, request: &Request<Upload>) -> bool {
        self.buffer > 0 && !request.body().is_end_stream() && !request.headers().contains_key(CONTENT_LENGTH)
    }

    /// Sends a request that had to wait.
    async fn ask(
        &self,
        mut request: Box<Request<Upload>>,
        asked: Asked,
        trail: Arc<Trail>,
    ) -> Result<Response<Body>, Denial> {
        let pool = match &self.app {
            Connections::Pool(pool) => pool,
            Connections::Shared(shared) => return self.ask_over(shared, request, asked, trail).await,
        };
        let idle = if self.gathers(&request) {
            let gathered = request.body_mut().gather(self.buffer).await;
            let length = gathered.map_err(|_| trail.failure().unwrap_or(Reason::RequestIncomplete))?;
            if let Some(length) = length {
                request.headers_mut().remove(TRANSFER_ENCODING);
                request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            pool.check_out()
        } else {
            None
        };
        if let Some((connection, _)) = idle {
            match connection.send(*request, trail.clone()).await {
                Ok((head, connection)) => return self.answer(head, connection, asked, trail),
                Err(SendError::Unsent(unsent)) => request = unsent,
                Err(error) => return Err(failed(error, &trail)),
            }
        }
        let connection = pool.connect().await.map_err(unreachable)?;
        match connection.send(*request, trail.clone()).await {
            Ok((head, connection)) => self.answer(head, connection, asked, trail),
            Err(error) => Err(failed(error, &trail)),
        }
    }

    /// Sends a request over the connection that all share.
    async fn ask_over(
        &self,
        shared: &Shared,
        mut request: Box<Request<Upload>>,
        asked: Asked,
        trail: Arc<Trail>,
    ) -> Result<Response<Body>, Denial> {
        for _ in 0..ATTEMPTS {
            let open = shared.open().await.map_err(unreachable)?;
            // hyper does not give back what it has written; most that goes this way is gRPC, which has a body.
            let copy = copy_of(&request, &trail);
            match shared.send(open, *request, &trail).await {
                Ok((response, stream)) => {
                    let (head, body) = response.into_parts();
                    return Ok(self.translation.to_client(head, Lease::Shared(body, stream), &asked, trail));
                }
                Err(SendError::Unsent(unsent)) => request = unsent,
                Err(SendError::Refused(error)) => {
                    request = copy.ok_or_else(|| failed(SendError::Refused(error), &trail))?;
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
        let bodiless = asked.head || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let pool = match &self.app {
            Connections::Pool(pool) if !bodiless => Some(pool.clone()),
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
fn copy_of(request: &Request<Upload>, trail: &Arc<Trail>) -> Option<Box<Request<Upload>>> {
    if !request.body().is_end_stream() {
        return None;
    }
    let (mut parts, ()) = Request::new(()).into_parts();
    let request::Parts { method, uri, headers, .. } = &mut parts;
    method.clone_from(request.method());
    uri.clone_from(request.uri());
    headers.clone_from(request.headers());
    Some(Box::new(Request::from_parts(parts, Upload::none(trail.clone()))))
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
fn failed(error: SendError, trail: &Trail) -> Denial {
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
