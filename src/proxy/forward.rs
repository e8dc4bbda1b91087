//! Sends what is permitted to the app, and streams the answer back.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header::CONTENT_LENGTH, request};
use hyper::body::{Body as _, Incoming};
use tokio::time::Instant;

use super::headers::Rewrite;
use crate::{
    auth::Permitted,
    body::Body,
    config,
    denial::Denial,
    exchange::{Exchange, Trail, discard},
    reason::Reason,
    upstream::{Answer, Connection, Limits, Pool, SendError, Upload},
};

/// A connection that has rested for less is not closed by an idle timeout of the app.
const FRESH: Duration = Duration::from_millis(100);

/// The way to the app.
#[derive(Debug)]
pub struct Proxy {
    pool: Arc<Pool>,
    headers: Rewrite,
    upload: Limits,
}

impl Proxy {
    /// A way to the app over the connections of `pool`.
    pub fn new(config: &config::Config, pool: Arc<Pool>) -> Self {
        let max_bytes = match config.limits.max_body_bytes {
            0 => u64::MAX,
            bytes => bytes,
        };
        Self {
            pool,
            headers: Rewrite::new(&config.identity),
            upload: Limits { max_bytes, idle_timeout: config.upstream.idle_timeout },
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
        let head = permitted.method() == Method::HEAD;
        let first = self.rewrite(permitted).map(|(request, trail)| match self.pool.check_out() {
            None => (None, Some(Box::new(request)), trail),
            Some((connection, rest)) => {
                // A copy costs as much as the decision. An app that closes a connection which it used a moment ago says
                // so in its answer; only one that has rested may be closed unseen.
                let copy = if rest < FRESH { None } else { copy_of(&request, &trail) };
                (Some(Box::pin(connection.send(request, trail.clone()))), copy, trail)
            }
        });
        let start = Instant::now();
        async move {
            let (sent, mut request, trail) = first?;
            if let Some(sent) = sent {
                match sent.await {
                    Ok((response, connection)) => return Ok(self.answer(response, connection, start, head, trail)),
                    // The app closed the connection while it was idle: that says nothing about the request.
                    Err(SendError::Unsent(unsent)) => request = Some(unsent),
                    Err(error @ SendError::Timeout) => return Err(failed(error, &trail)),
                    Err(error) if request.is_none() => return Err(failed(error, &trail)),
                    Err(SendError::Broken(_) | SendError::Closed) => {}
                }
            }
            let request = request.ok_or(Reason::UpstreamBroken)?;
            let connection = Box::pin(self.pool.connect()).await.map_err(|error| {
                tracing::warn!(%error, "the app cannot be reached");
                Denial::from(Reason::UpstreamUnreachable)
            })?;
            match Box::pin(connection.send(*request, trail.clone())).await {
                Ok((response, connection)) => Ok(self.answer(response, connection, start, head, trail)),
                Err(error) => Err(failed(error, &trail)),
            }
        }
    }

    /// The request as the app gets it.
    fn rewrite(&self, permitted: Permitted) -> Result<(Request<Upload>, Arc<Trail>), Denial> {
        let (caller, target, exchange) = permitted.into_parts();
        let Exchange { request, client, trail, .. } = exchange;
        let (mut parts, body) = request.into_parts();
        let size = body.size_hint();
        if size.lower() > self.upload.max_bytes {
            discard(body, parts.version);
            return Err(Reason::BodyTooLarge.into());
        }
        // Framed anew: hyper has checked the length, and a body of no bytes is not the same as no body.
        let length = size.exact().filter(|_| parts.headers.contains_key(CONTENT_LENGTH));
        self.headers.to_app(&mut parts.headers, parts.version, &target, &client, &caller, &trail);
        if let Some(length) = length {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        parts.uri = Uri::from(target.forwarded().clone());
        let version = std::mem::replace(&mut parts.version, Version::HTTP_11);
        parts.extensions.clear();
        let upload = Upload::new(body, version, self.upload, trail.clone());
        Ok((Request::from_parts(parts, upload), trail))
    }

    /// The answer as the client gets it.
    fn answer(
        &self,
        response: Response<Incoming>,
        connection: Connection,
        start: Instant,
        head: bool,
        trail: Arc<Trail>,
    ) -> Response<Body> {
        trail.answered_after(start.elapsed());
        let (mut parts, source) = response.into_parts();
        // These have no body, and some apps send one all the same: what is left of it would be the next client's answer.
        let bodiless = head || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let pool = (!bodiless).then(|| self.pool.clone());
        self.headers.to_client(&mut parts.headers);
        parts.extensions.clear();
        let answer = Answer::new(source, connection, pool, self.upload.idle_timeout, trail);
        Response::from_parts(parts, Body::from(answer))
    }
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

/// What a failed exchange is to the client: its own upload's fault, where that broke off first; else the app's.
fn failed(error: SendError, trail: &Trail) -> Denial {
    let cause = match error {
        SendError::Timeout => return Reason::UpstreamTimeout.into(),
        SendError::Broken(error) => error.to_string(),
        SendError::Closed | SendError::Unsent(_) => "the connection ended".to_owned(),
    };
    let reason = trail.failure().unwrap_or(Reason::UpstreamBroken);
    if reason == Reason::UpstreamBroken {
        tracing::warn!(%cause, "the app broke off its answer");
    }
    reason.into()
}
