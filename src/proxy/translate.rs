//! The request as the app gets it, and the answer as the client gets it.

use std::sync::Arc;

use http::{
    HeaderValue, Method, Request, Response, Uri, Version,
    header::{CONTENT_LENGTH, HOST, TE, TRAILER},
    response,
    uri::{PathAndQuery, Scheme},
};
use hyper::body::Body as _;
use tokio::time::Instant;

use super::{
    compression::{Compression, Wish},
    credentials::{Credentials, Shown},
    headers::{Rewrite, Told},
    upgrade::{self, Upgrade},
};
use crate::{
    auth::Permitted,
    body::Body,
    clock, config,
    denial::Denial,
    exchange::{Exchange, Trail, discard},
    fields,
    identity::Caller,
    reason::Reason,
    sources::{Removed, Sources},
    target::Target,
    upstream::{Answer, Connection, Lease, Limits, Message, Upload},
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

/// A request as it is to be sent, what its answer depends on, and what it leaves behind.
pub(super) type Prepared<M> = (Box<M>, Asked, Arc<Trail>);

/// A permitted request, taken apart.
struct Taken<'t> {
    caller: Caller,
    target: Target,
    shown: &'t Shown,
    /// Without its body.
    exchange: Box<Exchange>,
    /// Path and query as the app is sent them.
    path: PathAndQuery,
    body: Upload,
    /// The length of the body, where the client has said it.
    length: Option<u64>,
    removed: Removed,
    asked: Asked,
}

impl Translation {
    /// The translation that `config` asks for, which shows the app these `credentials`.
    pub(super) fn new(config: &config::Config, credentials: Credentials) -> Self {
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
        }
    }

    /// The request as an app gets it that speaks HTTP/1.1, and what its answer depends on.
    ///
    /// # Errors
    /// It says by its length that its body is too large.
    pub(super) fn to_http1(&self, permitted: Permitted) -> Result<Prepared<Message>, Denial> {
        let Taken { caller, target, shown, exchange, path, body, length, removed, mut asked } = self.take(permitted)?;
        let told = told(&target, &exchange, &caller, shown);
        let mut message = Message::new(exchange.request.method().clone(), path.as_str(), length, body);
        self.headers.to_app(exchange.request.headers(), &told, &mut *message);
        if target.is_upgrade() {
            upgrade::switch(&mut *message);
            asked.upgrade = Some(Box::new(self.upgrades.of(&caller, removed.wants_bearer)));
        }
        Ok((message, asked, exchange.trail))
    }

    /// The same for an app that speaks HTTP/2. That has no upgrades of this kind: it sees a request like any other.
    ///
    /// # Errors
    /// It says by its length that its body is too large.
    pub(super) fn to_http2(&self, permitted: Permitted) -> Result<Prepared<Request<Upload>>, Denial> {
        let Taken { caller, target, shown, exchange, path, body, length, asked, .. } = self.take(permitted)?;
        let headers = self.headers.clone();
        let body = body.with_trailers(Arc::new(move |trailers| headers.trailers_to_app(trailers)));
        let mut request = Request::new(body);
        *request.method_mut() = exchange.request.method().clone();
        *request.version_mut() = Version::HTTP_2;
        // RFC 9113 section 8.3.1.
        let uri = Uri::builder().scheme(Scheme::HTTP).authority(target.host().as_bytes()).path_and_query(path);
        *request.uri_mut() = uri.build().map_err(|_| Reason::HeaderInvalid)?;
        let fields = request.headers_mut();
        self.headers.to_app(exchange.request.headers(), &told(&target, &exchange, &caller, shown), fields);
        fields.remove(HOST);
        if let Some(length) = length {
            fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        if asked.trailers {
            // A gRPC server refuses a client that does not say so.
            fields.insert(TE, HeaderValue::from_static("trailers"));
        }
        Ok((Box::new(request), asked, exchange.trail))
    }

    /// What the app gets of a request, whatever it speaks.
    fn take(&self, permitted: Permitted) -> Result<Taken<'_>, Denial> {
        let shown = self.credentials.shown(permitted.shown_by());
        let (caller, target, mut exchange) = permitted.into_parts();
        let body = exchange.take_body();
        let size = body.size_hint();
        if size.lower() > self.upload.max_bytes {
            discard(body);
            return Err(Reason::BodyTooLarge.into());
        }
        let request = &mut exchange.request;
        let wish = self.compression.as_ref().map_or(Wish::NONE, |compression| compression.wish(request));
        let (head, trailers) = (request.method() == Method::HEAD, fields::has(request.headers(), &TE, "trailers"));
        // Framed anew: the length was checked.
        let length = size.exact().filter(|_| request.headers().contains_key(CONTENT_LENGTH));
        let tokens = self.tokens.as_ref().filter(|_| !matches!(shown, Shown::AsSent));
        let removed = tokens.map(|tokens| tokens.remove(request.headers_mut(), &target)).unwrap_or_default();
        let path = match tokens.filter(|_| removed.query) {
            None => target.forwarded().clone(),
            Some(tokens) => {
                let without = tokens.without_tokens(target.forwarded().as_str());
                without.try_into().map_err(|_| Reason::PathAmbiguous)?
            }
        };
        let body = Upload::new(body, self.upload, exchange.trail.clone());
        // Not the moment of the turn, in which the token was checked.
        let asked = Asked { start: Instant::now(), head, trailers, wish, upgrade: None };
        Ok(Taken { caller, target, shown, exchange, path, body, length, removed, asked })
    }

    /// The answer as the client gets it.
    pub(super) fn to_client(
        &self,
        mut parts: response::Parts,
        lease: Lease,
        asked: &Asked,
        trail: Arc<Trail>,
    ) -> Response<Body> {
        trail.answered_after(clock::now().duration_since(asked.start));
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
        trail.answered_after(clock::now().duration_since(asked.start));
        let Some(upgrade) = asked.upgrade.filter(|_| upgrade::is_agreed(&parts)) else {
            tracing::warn!("the app switches to a protocol that it was not asked for");
            return Err(Reason::UpstreamBroken.into());
        };
        self.headers.to_client(&mut parts.headers);
        Ok(upgrade::answer(&upgrade, parts.headers, connection, trail)?)
    }
}

fn told<'r>(target: &'r Target, exchange: &'r Exchange, caller: &'r Caller, shown: &'r Shown) -> Told<'r> {
    Told { target, origin: &exchange.origin, caller, shown, request_id: &exchange.trail.request_id }
}
