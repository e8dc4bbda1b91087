//! Sends what is permitted to the app, and streams the answer back.

use std::{error::Error as _, sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{CONTENT_LENGTH, HOST, TE, TRAILER},
    request,
    uri::Scheme,
};
use hyper::body::{Body as _, Incoming};
use tokio::time::Instant;

use super::{
    compression::{Compression, Wish},
    headers::Rewrite,
};
use crate::{
    auth::Permitted,
    body::Body,
    config,
    denial::Denial,
    exchange::{Exchange, Trail, discard},
    reason::Reason,
    target::Target,
    upstream::{Answer, ConnectError, Connection, Connections, Lease, Limits, SendError, Shared, Upload},
};

/// A connection that has rested for less is not closed by an idle timeout of the app. Shorter than the pauses of all but
/// a busy connection, and for those alone a copy of each request would be a cost.
const FRESH: Duration = Duration::from_millis(5);

/// How often a request may find that the shared connection ended before it was sent.
const ATTEMPTS: usize = 3;

/// The way to the app.
#[derive(Debug)]
pub struct Proxy {
    app: Connections,
    headers: Arc<Rewrite>,
    upload: Limits,
    compression: Option<Compression>,
    /// The largest body without a length that is read before the app is asked, in bytes. 0 = none is.
    buffer: u64,
}

/// What the answer depends on.
#[derive(Clone, Copy, Debug)]
struct Asked {
    start: Instant,
    head: bool,
    /// Whether the client said that it takes trailers.
    trailers: bool,
    /// The coding that the client wants the body in.
    wish: Wish,
}

/// What could be done with a request at once.
enum First<F> {
    /// It was sent over an idle connection. There is a copy when it may be sent twice.
    Sent(F, Option<Box<Request<Upload>>>),
    /// It has to wait: for a connection, or for its body.
    Waits(Box<Request<Upload>>),
}

impl Proxy {
    /// A way to the app over its `connections`.
    pub fn new(config: &config::Config, connections: Connections) -> Self {
        let max_bytes = match config.limits.max_body_bytes {
            0 => u64::MAX,
            bytes => bytes,
        };
        Self {
            app: connections,
            headers: Arc::new(Rewrite::new(&config.identity)),
            upload: Limits { max_bytes, idle_timeout: config.upstream.idle_timeout },
            compression: Compression::compile(&config.compression),
            buffer: config.upstream.buffer_request,
        }
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
        let first = self.rewrite(permitted).map(|(request, asked, trail)| match self.idle(&request) {
            None => (First::Waits(Box::new(request)), asked, trail),
            Some((connection, rest)) => {
                // A copy costs as much as the decision. An app that closes a connection which it used a moment ago says
                // so in its answer; only one that has rested may be closed unseen.
                let copy = if rest < FRESH { None } else { copy_of(&request, &trail) };
                (First::Sent(Box::pin(connection.send(request, trail.clone())), copy), asked, trail)
            }
        });
        async move {
            let (first, asked, trail) = first?;
            let request = match first {
                First::Waits(request) => request,
                First::Sent(sent, copy) => match (sent.await, copy) {
                    (Ok((response, connection)), _) => return Ok(self.answer(response, connection, asked, trail)),
                    // The app closed the connection while it was idle: that says nothing about the request.
                    (Err(SendError::Unsent(unsent)), _) => unsent,
                    (Err(SendError::Broken(_) | SendError::Closed), Some(copy)) => copy,
                    (Err(error), _) => return Err(failed(error, &trail)),
                },
            };
            Box::pin(self.ask(request, asked, trail)).await
        }
    }

    /// An idle connection that a request can be sent over at once.
    fn idle(&self, request: &Request<Upload>) -> Option<(Connection, Duration)> {
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
                request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            pool.check_out()
        } else {
            None
        };
        if let Some((connection, _)) = idle {
            match connection.send(*request, trail.clone()).await {
                Ok((response, connection)) => return Ok(self.answer(response, connection, asked, trail)),
                Err(SendError::Unsent(unsent)) => request = unsent,
                Err(error) => return Err(failed(error, &trail)),
            }
        }
        let connection = pool.connect().await.map_err(unreachable)?;
        match connection.send(*request, trail.clone()).await {
            Ok((response, connection)) => Ok(self.answer(response, connection, asked, trail)),
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
            match shared.send(open, *request, &trail).await {
                Ok((response, stream)) => return Ok(self.answer_on(response, Lease::Shared(stream), asked, trail)),
                Err(SendError::Unsent(unsent)) => request = unsent,
                Err(error) => return Err(failed(error, &trail)),
            }
        }
        Err(Reason::UpstreamBroken.into())
    }

    /// The request as the app gets it.
    fn rewrite(&self, permitted: Permitted) -> Result<(Request<Upload>, Asked, Arc<Trail>), Denial> {
        let (caller, target, exchange) = permitted.into_parts();
        let Exchange { request, origin, trail, .. } = exchange;
        let wish = self.compression.as_ref().map_or(Wish::NONE, |compression| compression.wish(&request));
        let (mut parts, body) = request.into_parts();
        let size = body.size_hint();
        if size.lower() > self.upload.max_bytes {
            discard(body, parts.version);
            return Err(Reason::BodyTooLarge.into());
        }
        // Framed anew: hyper has checked the length, and a body of no bytes is not the same as no body.
        let length = size.exact().filter(|_| parts.headers.contains_key(CONTENT_LENGTH));
        let head = parts.method == Method::HEAD;
        let asked = Asked { start: Instant::now(), head, trailers: takes_trailers(&parts.headers), wish };
        self.headers.to_app(&mut parts.headers, &target, &origin, &caller, &trail.request_id);
        if let Some(length) = length {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        parts.uri = Uri::from(target.forwarded().clone());
        let version = std::mem::replace(&mut parts.version, Version::HTTP_11);
        parts.extensions.clear();
        let mut upload = Upload::new(body, version, self.upload, trail.clone());
        if let Connections::Shared(_) = self.app {
            to_http2(&mut parts, &target, asked.trailers)?;
            let headers = self.headers.clone();
            upload = upload.with_trailers(Arc::new(move |trailers| headers.trailers_to_app(trailers)));
        }
        Ok((Request::from_parts(parts, upload), asked, trail))
    }

    /// The answer that came over a connection of its own, as the client gets it.
    fn answer(
        &self,
        response: Response<Incoming>,
        connection: Connection,
        asked: Asked,
        trail: Arc<Trail>,
    ) -> Response<Body> {
        // These have no body, and some apps send one all the same: what is left of it would be the next client's answer.
        let bodiless = asked.head || matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let pool = match &self.app {
            Connections::Pool(pool) if !bodiless => Some(pool.clone()),
            Connections::Pool(_) | Connections::Shared(_) => None,
        };
        self.answer_on(response, Lease::Own(connection, pool), asked, trail)
    }

    /// The answer as the client gets it.
    fn answer_on(&self, response: Response<Incoming>, lease: Lease, asked: Asked, trail: Arc<Trail>) -> Response<Body> {
        trail.answered_after(asked.start.elapsed());
        let (mut parts, source) = response.into_parts();
        // hyper's HTTP/1.1 server sends the trailers that this header announces, to clients that asked for them.
        let announced = if asked.trailers { parts.headers.remove(TRAILER) } else { None };
        self.headers.to_client(&mut parts.headers);
        if let Some(announced) = announced {
            parts.headers.insert(TRAILER, announced);
        }
        parts.extensions.clear();
        let answer = Answer::new(source, lease, self.upload.idle_timeout, trail);
        let body = match &self.compression {
            None => Body::from(answer),
            Some(compression) => compression.apply(asked.wish, asked.head, &mut parts, answer),
        };
        Response::from_parts(parts, body)
    }
}

/// Whether a client says that it takes trailers (RFC 9110 section 10.1.4).
fn takes_trailers(headers: &HeaderMap) -> bool {
    let says = |value: &HeaderValue| {
        value.as_bytes().split(|byte| *byte == b',').any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    };
    headers.get_all(TE).iter().any(says)
}

/// Makes of a request for HTTP/1.1 one for HTTP/2 (RFC 9113 section 8.3.1).
fn to_http2(parts: &mut request::Parts, target: &Target, trailers: bool) -> Result<(), Reason> {
    parts.uri = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(target.host().as_bytes())
        .path_and_query(target.forwarded().clone())
        .build()
        .map_err(|_| Reason::HeaderInvalid)?;
    parts.version = Version::HTTP_2;
    parts.headers.remove(HOST);
    if trailers {
        // A gRPC server refuses a client that does not say so.
        parts.headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    Ok(())
}

/// A second request like this one, where sending it twice does no harm: it has no body, and its method is idempotent
/// (RFC 9110 section 9.2.2).
fn copy_of(request: &Request<Upload>, trail: &Arc<Trail>) -> Option<Box<Request<Upload>>> {
    let idempotent = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    if !idempotent || !request.body().is_end_stream() {
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
        ConnectError::Refused(_) | ConnectError::Timeout | ConnectError::Unusable(_) => {
            tracing::warn!(%error, "the app cannot be reached");
            Reason::UpstreamUnreachable.into()
        }
    }
}

/// What a failed exchange is to the client: its own upload's fault, where that broke off first; else the app's.
fn failed(error: SendError, trail: &Trail) -> Denial {
    let cause = match error {
        SendError::Timeout => return Reason::UpstreamTimeout.into(),
        // hyper says what kind of error it is, and leaves the rest to the cause of it.
        SendError::Broken(error) => match error.source() {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
        SendError::Closed | SendError::Unsent(_) => "the connection ended".to_owned(),
    };
    let reason = trail.failure().unwrap_or(Reason::UpstreamBroken);
    if reason == Reason::UpstreamBroken {
        tracing::warn!(%cause, "the app broke off its answer");
    }
    reason.into()
}
