//! The headers of a request on its way to the app, and of the answer on its way back.

use std::{collections::HashSet, time::SystemTime};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
        COOKIE, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
};

use super::{credentials::Shown, names::Names};
use crate::{
    config, exchange::X_REQUEST_ID, fields, identity::Caller, origin::Origin, sources::Sources, target::Target,
    upstream::Message,
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What belongs to one connection and not to the message (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Of a request also: the length is framed anew, and `Expect` is answered by us, who do not wait for the app.
const OF_REQUESTS: [HeaderName; 4] =
    [PROXY_AUTHORIZATION, EXPECT, HeaderName::from_static("http2-settings"), CONTENT_LENGTH];

/// Where the headers go that the app gets.
pub trait Sink {
    /// Adds a header. There may be others of that name.
    fn add(&mut self, name: &HeaderName, value: &HeaderValue);
}

impl Sink for HeaderMap {
    fn add(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.append(name, value.clone());
    }
}

impl Sink for Message {
    fn add(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.field(name, value.as_bytes());
    }
}

/// What the app is told of a request.
#[derive(Clone, Copy, Debug)]
pub struct Told<'r> {
    /// What it is for.
    pub target: &'r Target,
    /// Where it comes from.
    pub origin: &'r Origin,
    /// Who calls.
    pub caller: &'r Caller,
    /// What the app sees of the credentials.
    pub shown: &'r Shown,
    /// Its name.
    pub request_id: &'r HeaderValue,
}

/// The rewriting of headers, compiled from the configuration.
#[derive(Debug)]
pub struct Rewrite {
    of_requests: Names,
    /// The same, where the app is to see the credentials.
    of_requests_with_credentials: Names,
    /// Headers that credentials are in, and every other spelling of their names.
    of_credentials: Names,
    credentials: Vec<HeaderName>,
    of_answers: Names,
    /// The header of what is signed.
    assertion: Option<HeaderName>,
}

impl Rewrite {
    /// The rewriting for what the app is told according to `config`. The headers that `tokens` are in are removed like the
    /// names of callers: in every spelling, and from trailers too.
    pub fn new(config: &config::Identity, tokens: &Sources) -> Self {
        let assertion = config.signed.as_ref().and_then(|signed| HeaderName::try_from(signed.header.as_str()).ok());
        let told = config.told().into_keys().filter_map(|name| HeaderName::try_from(name).ok());
        let removed: Vec<_> =
            told.chain(assertion.clone()).chain([X_REQUEST_ID]).chain(HOP_BY_HOP).chain(OF_REQUESTS).collect();
        let credentials: Vec<_> = tokens.headers().cloned().chain([AUTHORIZATION]).collect();
        Self {
            of_requests: Names::protected_and(removed.iter().chain(&credentials).cloned()),
            of_credentials: Names::only(credentials.iter().cloned()),
            credentials,
            of_requests_with_credentials: Names::protected_and(removed.into_iter()),
            of_answers: Names::only(HOP_BY_HOP),
            assertion,
        }
    }

    /// Gives the app of the client's headers those that it may see, and ours. What `Connection` names is left out, and all
    /// that a client may not say; ours come after, so that nothing can take them away. Nothing is replaced: each name that
    /// we add is among those that are left out (`Host` is here), or the app would see the client's beside ours.
    pub fn to_app(&self, headers: &HeaderMap, told: &Told<'_>, app: &mut impl Sink) {
        let Told { target, origin, caller, shown, request_id } = *told;
        let names = match shown {
            Shown::AsSent => &self.of_requests_with_credentials,
            Shown::Nothing | Shown::Assertion | Shown::Fixed(_) => &self.of_requests,
        };
        // Checked is what is under the name itself; what an app could take for it is not.
        let unchecked = |name| {
            matches!(shown, Shown::AsSent) && self.of_credentials.contains(name) && !self.credentials.contains(name)
        };
        let nominated = headers.contains_key(CONNECTION).then(|| nominated(headers));
        let is_nominated = |name| nominated.as_ref().is_some_and(|names| names.contains(name));
        let mut cookies = false;
        for (name, value) in headers {
            // Ours is the host that the rules saw, whatever else may have come.
            if *name == HOST || names.contains(name) || unchecked(name) || is_nominated(name) {
                continue;
            }
            if *name != COOKIE {
                app.add(name, value);
            } else if !std::mem::replace(&mut cookies, true) {
                app.add(name, &joined_cookies(headers).unwrap_or_else(|| value.clone()));
            }
        }
        let host = target.host();
        app.add(&HOST, host);
        let (host, encrypted) = (origin.host().unwrap_or(host), origin.is_encrypted());
        app.add(&X_FORWARDED_FOR, origin.forwarded_for());
        app.add(&X_FORWARDED_HOST, host);
        app.add(&X_FORWARDED_PORT, &origin.port().cloned().unwrap_or_else(|| port(host, encrypted)));
        app.add(&X_FORWARDED_PROTO, &HeaderValue::from_static(if encrypted { "https" } else { "http" }));
        app.add(&X_REQUEST_ID, request_id);
        if let Some(identity) = caller.identity() {
            for (name, value) in &identity.headers {
                app.add(name, value);
            }
            if let Some(name) = &self.assertion
                && let Some(minted) = identity.signed(SystemTime::now())
            {
                app.add(name, &minted.token);
                if matches!(shown, Shown::Assertion) {
                    app.add(&AUTHORIZATION, &minted.bearer);
                }
            }
        }
        if let Shown::Fixed(value) = shown {
            app.add(&AUTHORIZATION, value);
        }
    }

    /// Leaves of a client's trailers those that the app gets: none that could not be a header of it, none that frames the
    /// message or must be known before its content (RFC 9110 section 6.5.1), and no credentials, which nobody checks there.
    pub(super) fn trailers_to_app(&self, trailers: &mut HeaderMap) {
        const NEVER: [HeaderName; 7] =
            [HOST, COOKIE, AUTHORIZATION, CONTENT_TYPE, CONTENT_ENCODING, CONTENT_RANGE, CACHE_CONTROL];
        remove(trailers, &self.of_requests);
        for name in NEVER {
            trailers.remove(name);
        }
    }

    /// Makes of the app's headers those that the client gets.
    pub(super) fn to_client(&self, headers: &mut HeaderMap) {
        // The chunks are read, and a length counts for nothing beside them (RFC 9112 section 6.3).
        if remove(headers, &self.of_answers).contains(&TRANSFER_ENCODING) {
            headers.remove(CONTENT_LENGTH);
        }
    }
}

/// Removes the headers that `names` has, and those that `Connection` names. Most messages have few headers and none of
/// these: one look at each that is there is cheaper than one for each that could be. Says which they were.
fn remove(headers: &mut HeaderMap, names: &Names) -> Vec<HeaderName> {
    let mut found: Vec<_> = headers.keys().filter(|name| names.contains(name)).cloned().collect();
    if found.contains(&CONNECTION) {
        found.extend(nominated(headers));
    }
    for name in &found {
        headers.remove(name);
    }
    found
}

/// The headers that `Connection` names, of those that are there: it may name as many as fit into a header, and each that
/// passes is looked for among them.
fn nominated(headers: &HeaderMap) -> HashSet<HeaderName> {
    let names = fields::items(headers, &CONNECTION).filter_map(|name| HeaderName::from_bytes(name).ok());
    names.filter(|name| headers.contains_key(name)).collect()
}

/// HTTP/2 may split `Cookie`; HTTP/1.1 has one line (RFC 9113 section 8.2.3, RFC 6265 section 5.4). WSGI would join several
/// with a comma, which breaks the session. `None` when there is no more than one.
fn joined_cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get_all(COOKIE).iter().nth(1)?;
    let parts: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    HeaderValue::from_bytes(&parts.join(&b"; "[..])).ok()
}

/// The port that the client sees. It is the one in `Host`: a Service that maps 443 to our 8443 must not show in the URLs
/// that the app makes.
fn port(host: &HeaderValue, encrypted: bool) -> HeaderValue {
    let written = host
        .as_bytes()
        .rsplit(|byte| *byte == b':')
        .next()
        .filter(|port| port.len() < host.len() && !port.is_empty() && port.iter().all(u8::is_ascii_digit));
    let default = HeaderValue::from_static(if encrypted { "443" } else { "80" });
    written.and_then(|port| HeaderValue::from_bytes(port).ok()).unwrap_or(default)
}

#[cfg(test)]
mod tests;
