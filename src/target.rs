//! The one canonical target of a request: computed once, matched by the rules and forwarded to the app.

use http::{Method, Request, header::HeaderValue, uri::PathAndQuery};

mod host;
mod path;
mod upgrade;

use self::host::Host;
pub use self::upgrade::{WEBSOCKET, is_to_websocket};
use crate::{config::Paths, reason::Reason};

/// What a request is for. What is matched is what is forwarded.
#[derive(Clone, Debug)]
pub struct Target {
    /// Path and query as the app is sent them: as the client wrote them, unless the path was normalised.
    forwarded: PathAndQuery,
    /// The decoded path where it differs from the written one.
    decoded: Option<Box<str>>,
    /// Whether apps may read the path in different ways. Then [`Target::settle`] has to decide.
    doubtful: bool,
    host: Host,
    /// Whether it is to become a WebSocket.
    upgrade: bool,
}

/// Why a target is refused, and by whose setting.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unsettled<R> {
    /// The rule that one of the readings leads to.
    pub rule: Option<R>,
    /// `path_ambiguous`.
    pub reason: Reason,
}

impl Target {
    /// The target of `request`.
    ///
    /// # Errors
    /// `path_ambiguous`, `method_invalid` or `header_invalid` for what is refused whatever the settings say.
    pub fn parse<B>(request: &Request<B>) -> Result<Self, Reason> {
        // RFC 9110 section 9.1 makes `post` another method than `POST`. Werkzeug makes them one, after our rules saw two.
        if request.method().as_str().bytes().any(|byte| byte.is_ascii_lowercase()) {
            return Err(Reason::MethodInvalid);
        }
        // CONNECT asks for a tunnel past the rules; `OPTIONS *` has no path that a rule could match.
        let uri = request.uri();
        let forwarded = uri.path_and_query().ok_or(Reason::PathAmbiguous)?.clone();
        // Asked of the whole: `path()` says `/` for `http://host?x` and for `?x`, and the app would be sent the `?x`.
        if request.method() == Method::CONNECT || !forwarded.as_str().starts_with('/') {
            return Err(Reason::PathAmbiguous);
        }
        // What an absolute-form of another scheme names is not ours to serve.
        if uri.scheme_str().is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
            return Err(Reason::PathAmbiguous);
        }
        let decoded = if path::is_plain(forwarded.path()) { None } else { Some(path::decode(forwarded.path())?) };
        let doubtful = decoded.as_deref().is_some_and(|path| !path::is_certain(path));
        let host = Host::of(request)?;
        let upgrade = upgrade::is_requested(request);
        Ok(Self { forwarded, decoded: decoded.map(String::into_boxed_str), doubtful, host, upgrade })
    }

    /// Whether the request asks to become a WebSocket. Only then may the app's answer be a tunnel, and a token be where
    /// browsers can put it for a WebSocket alone.
    pub fn is_upgrade(&self) -> bool {
        self.upgrade
    }

    /// The rule that decides: what `find` says of the host's name and of every reading of the path. `paths` are the
    /// settings that the rule has. Where they say so, the path is rewritten.
    ///
    /// The rule is found by the path in its canonical form, and its own settings decide what becomes of the written
    /// one. But whatever they are, each reading of what is forwarded must lead to that rule: so no setting of one rule
    /// opens a way past another.
    ///
    /// # Errors
    /// `path_ambiguous` when the settings of that rule do not let the path pass, or one reading leads to another rule.
    pub fn settle<R: Copy + PartialEq>(
        &mut self,
        find: impl Fn(&[u8], &str) -> Option<R>,
        paths: impl Fn(Option<R>) -> Paths,
    ) -> Result<Option<R>, Unsettled<R>> {
        let find = |path: &str| find(self.host.name(), path);
        if !self.doubtful {
            return Ok(find(self.path()));
        }
        let refused = |rule| move |reason| Unsettled { rule, reason };
        let written = self.forwarded.path();
        let canonical = path::canonical(written).map_err(refused(None))?;
        let rule = find(&canonical);
        let refused = refused(rule);
        let paths = paths(rule);
        let rewritten = path::rewrite(written, paths).map_err(refused)?;
        let decoded = path::decode(&rewritten).map_err(refused)?;
        let readings = path::readings(&decoded, paths).map_err(refused)?;
        if readings.iter().any(|reading| find(reading) != rule) {
            return Err(refused(Reason::PathAmbiguous));
        }
        if rewritten != written {
            let query = self.forwarded.query().map_or_else(String::new, |query| format!("?{query}"));
            self.forwarded = format!("{rewritten}{query}").try_into().map_err(|_| refused(Reason::PathAmbiguous))?;
        }
        self.decoded = Some(canonical.into_boxed_str());
        self.doubtful = false;
        Ok(rule)
    }

    /// The decoded path: what the rules match.
    pub fn path(&self) -> &str {
        self.decoded.as_deref().unwrap_or_else(|| self.forwarded.path())
    }

    /// Path and query for the app.
    pub fn forwarded(&self) -> &PathAndQuery {
        &self.forwarded
    }

    /// The host as the client wrote it, with its port where there is one: what the app is told.
    pub fn host(&self) -> &HeaderValue {
        self.host.written()
    }
}

/// Whether `host` is one that everybody reads alike, with a port or without.
pub fn is_host(host: &HeaderValue) -> bool {
    Host::parse(host.clone()).is_ok()
}

#[cfg(test)]
mod tests;
