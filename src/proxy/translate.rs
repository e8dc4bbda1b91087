//! The request as the app gets it, and the answer as the client gets it.

use std::sync::Arc;

use http::{
    HeaderValue, Method, Request, Response, Uri, Version,
    header::{CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING},
    request, response,
    uri::Scheme,
};
use hyper::body::Body as _;
use tokio::time::Instant;

use super::{
    compression::{Compression, Wish},
    credentials::{Credentials, Shown},
    headers::Rewrite,
    upgrade::{self, Upgrade},
};
use crate::{
    auth::Permitted,
    body::Body,
    config,
    denial::Denial,
    exchange::{Exchange, Trail, discard},
    fields,
    reason::Reason,
    sources::Sources,
    target::Target,
    upstream::{Answer, Connection, Lease, Limits, Upload},
};

/// What is changed on the way, compiled from the configuration.
#[derive(Debug)]
pub(super) struct Translation {
    headers: Arc<Rewrite>,
    upload: Limits,
    compression: Option<Compression>,
    upgrades: upgrade::Limits,
    /// Where tokens are, besides `Authorization`.
    tokens: Option<Sources>,
    /// What the app sees of them.
    credentials: Credentials,
    /// Whether the app speaks HTTP/2.
    http2: bool,
}

/// What the answer depends on.
#[derive(Debug)]
pub(super) struct Asked {
    start: Instant,
    pub(super) head: bool,
    /// Whether the client said that it takes trailers (RFC 9110 section 10.1.4).
    trailers: bool,
    /// The coding that the client wants the body in.
    wish: Wish,
    /// Boxed, because few requests ask for one.
    upgrade: Option<Box<Upgrade>>,
}

impl Translation {
    /// The translation for an app that speaks HTTP/2, or HTTP/1.1.
    pub(super) fn new(config: &config::Config, credentials: Credentials, http2: bool) -> Self {
        let max_bytes = match config.limits.max_body_bytes {
            0 => u64::MAX,
            bytes => bytes,
        };
        let tokens = Sources::new(&config.auth.jwt);
        Self {
            headers: Arc::new(Rewrite::new(&config.identity, &tokens)),
            upload: Limits { max_bytes, idle_timeout: config.upstream.idle_timeout },
            compression: Compression::compile(&config.compression),
            upgrades: upgrade::Limits::new(&config.limits),
            tokens: tokens.are_special().then_some(tokens),
            credentials,
            http2,
        }
    }

    /// The request as the app gets it, and what its answer depends on.
    ///
    /// # Errors
    /// It says by its length that its body is too large.
    pub(super) fn to_app(&self, permitted: Permitted) -> Result<(Request<Upload>, Asked, Arc<Trail>), Denial> {
        let shown = self.credentials.shown(permitted.shown_by());
        let (caller, target, exchange) = permitted.into_parts();
        let Exchange { request, origin, trail, .. } = *exchange;
        let wish = self.compression.as_ref().map_or(Wish::NONE, |compression| compression.wish(&request));
        let (mut parts, body) = request.into_parts();
        let size = body.size_hint();
        if size.lower() > self.upload.max_bytes {
            discard(body);
            return Err(Reason::BodyTooLarge.into());
        }
        // Framed anew: the length was checked, and a body of no bytes is not the same as no body.
        let length = size.exact().filter(|_| parts.headers.contains_key(CONTENT_LENGTH));
        let (head, trailers) = (parts.method == Method::HEAD, fields::has(&parts.headers, &TE, "trailers"));
        let tokens = self.tokens.as_ref().filter(|_| !matches!(shown, Shown::AsSent));
        let removed = tokens.map(|tokens| tokens.remove(&mut parts.headers, &target)).unwrap_or_default();
        self.headers.to_app(&mut parts.headers, &target, &origin, &caller, shown, &trail.request_id);
        parts.uri = Uri::from(target.forwarded().clone());
        if let Some(tokens) = tokens.filter(|_| removed.query) {
            let without = tokens.without_tokens(target.forwarded().as_str());
            parts.uri = without.parse().map_err(|_| Reason::PathAmbiguous)?;
        }
        // HTTP/2 has no upgrades of this kind; such an app sees a request like any other.
        let upgrade = (target.is_upgrade() && !self.http2).then(|| {
            upgrade::ask(&mut parts.headers);
            Box::new(self.upgrades.of(&caller, removed.wants_bearer))
        });
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        let mut upload = Upload::new(body, self.upload, trail.clone());
        if let Some(length) = length {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        } else if !upload.is_end_stream() && !self.http2 {
            parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        if self.http2 {
            to_http2(&mut parts, &target, trailers)?;
            let headers = self.headers.clone();
            upload = upload.with_trailers(Arc::new(move |trailers| headers.trailers_to_app(trailers)));
        }
        let asked = Asked { start: Instant::now(), head, trailers, wish, upgrade };
        Ok((Request::from_parts(parts, upload), asked, trail))
    }

    /// The answer as the client gets it.
    pub(super) fn to_client(
        &self,
        mut parts: response::Parts,
        lease: Lease,
        asked: &Asked,
        trail: Arc<Trail>,
    ) -> Response<Body> {
        trail.answered_after(asked.start.elapsed());
        // Our HTTP/1.1 server sends the trailers that this header announces, to clients that asked for them.
        let announced = if asked.trailers { parts.headers.remove(TRAILER) } else { None };
        self.headers.to_client(&mut parts.headers);
        if let Some(announced) = announced {
            parts.headers.insert(TRAILER, announced);
        }
        parts.extensions.clear();
        let answer = Answer::new(lease, self.upload.idle_timeout, trail);
        let body = match &self.compression {
            None => Body::from(answer),
            Some(compression) => compression.apply(asked.wish, asked.head, &mut parts, answer),
        };
        Response::from_parts(parts, body)
    }

    /// The answer of an app that switches to another protocol: the one that was asked for, or none.
    ///
    /// # Errors
    /// The app was not asked for it.
    pub(super) fn switch(
        &self,
        mut parts: response::Parts,
        connection: Box<Connection>,
        asked: Asked,
        trail: Arc<Trail>,
    ) -> Result<Response<Body>, Denial> {
        trail.answered_after(asked.start.elapsed());
        let Some(upgrade) = asked.upgrade.filter(|_| upgrade::is_agreed(&parts)) else {
            tracing::warn!("the app switches to a protocol that it was not asked for");
            return Err(Reason::UpstreamBroken.into());
        };
        self.headers.to_client(&mut parts.headers);
        Ok(upgrade::answer(&upgrade, parts.headers, connection, trail)?)
    }
}

/// Makes of a request for HTTP/1.1 one for HTTP/2 (RFC 9113 section 8.3.1).
fn to_http2(parts: &mut request::Parts, target: &Target, trailers: bool) -> Result<(), Reason> {
    parts.uri = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(target.host().as_bytes())
        .path_and_query(parts.uri.path_and_query().ok_or(Reason::PathAmbiguous)?.clone())
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
