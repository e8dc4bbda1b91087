//! A request that may become a WebSocket, and the answer that makes it one.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{
    HeaderValue, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, HeaderMap, SEC_WEBSOCKET_PROTOCOL, UPGRADE},
    response,
};
use tokio::time::Instant;

use super::headers::Sink;
use crate::{
    body::Body,
    config,
    exchange::Trail,
    identity::Caller,
    reason::Reason,
    sources::BEARER,
    target::{WEBSOCKET, is_to_websocket},
    tunnel::{Terms, Tunnel},
    upstream::Connection,
};

/// Further than this a timer cannot look; nothing lasts as long.
const FOREVER: Duration = Duration::from_secs(366 * 24 * 3600);

/// The limits of every WebSocket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    idle_timeout: Option<Duration>,
    lifetime: Option<Duration>,
    past_expiry: bool,
}

/// A request of a client who waits for a 101.
#[derive(Debug)]
pub(super) struct Upgrade {
    idle_timeout: Option<Duration>,
    end: Option<(Instant, Reason)>,
    /// Whether the client waits for `bearer` to be chosen, if the app chooses nothing.
    wants_bearer: bool,
}

impl Limits {
    pub(super) fn new(config: &config::Limits) -> Self {
        let limit = |duration: Duration| (!duration.is_zero()).then_some(duration);
        Self {
            idle_timeout: limit(config.upgrade_idle_timeout),
            lifetime: limit(config.upgrade_lifetime),
            past_expiry: config.upgrade_past_expiry,
        }
    }

    /// What a WebSocket of `caller` gets that is asked for now.
    pub(super) fn of(&self, caller: &Caller, wants_bearer: bool) -> Upgrade {
        let expires = caller.identity().and_then(|identity| identity.expires).filter(|_| !self.past_expiry);
        let expires = expires.map(|expires| {
            let end = UNIX_EPOCH + Duration::from_secs(expires);
            (end.duration_since(SystemTime::now()).unwrap_or_default(), Reason::JwtExpired)
        });
        let lifetime = self.lifetime.map(|lifetime| (lifetime, Reason::UpgradeLifetime));
        let end = expires.into_iter().chain(lifetime).min_by_key(|(after, _)| *after);
        Upgrade {
            idle_timeout: self.idle_timeout.map(|timeout| timeout.min(FOREVER)),
            end: end.map(|(after, reason)| (Instant::now() + after.min(FOREVER), reason)),
            wants_bearer,
        }
    }
}

/// Says, to the app and then to the client, that the protocol is to be another. What `Connection` named is gone by then:
/// this adds.
pub(super) fn switch(headers: &mut impl Sink) {
    headers.add(&CONNECTION, &HeaderValue::from_static("Upgrade"));
    headers.add(&UPGRADE, &HeaderValue::from_static(WEBSOCKET));
}

/// Whether this 101 switches to what was asked for.
pub(super) fn is_agreed(head: &response::Parts) -> bool {
    head.version == Version::HTTP_11 && is_to_websocket(&head.headers)
}

/// The answer that was [agreed on](is_agreed), and with it the tunnel. `headers` are those for the client.
///
/// # Errors
/// The connection to the app goes on in HTTP.
pub(super) fn answer(
    upgrade: &Upgrade,
    mut headers: HeaderMap,
    connection: Box<Connection>,
    trail: Arc<Trail>,
) -> Result<Response<Body>, Reason> {
    let switched = connection.into_switched().ok_or(Reason::UpstreamBroken)?;
    let terms = Terms { idle_timeout: upgrade.idle_timeout, end: upgrade.end };
    switch(&mut headers);
    headers.remove(CONTENT_LENGTH);
    if upgrade.wants_bearer && !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(BEARER));
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = headers;
    Tunnel::new(switched.stream, switched.early, switched.place, terms, trail).leave(response.extensions_mut());
    Ok(response)
}
