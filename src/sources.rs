//! Where tokens are in a request, and how they are taken out of it before the app sees it.

use std::borrow::Cow;

use http::{
    HeaderName,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
};

pub use self::protocols::BEARER;
use self::protocols::Offer;
use crate::{
    config::{self, TokenSource},
    fields,
    reason::Reason,
    target::Target,
};

mod cookie;
mod protocols;
mod query;

/// The places where the tokens of some issuers may be, in the order in which they are looked at.
#[derive(Debug, Default)]
pub struct Sources(Vec<Source>);

#[derive(Debug, Eq, PartialEq)]
enum Source {
    Header(HeaderName),
    Cookie(Box<str>),
    Query(Box<str>),
    WebSocketProtocol,
}

/// A token, and where it was.
#[derive(Debug)]
pub struct Found<'a> {
    /// As it was sent: nothing about it is proved.
    pub token: Cow<'a, [u8]>,
    /// Its place among the sources.
    pub source: usize,
    /// Whether a browser adds it by itself, whatever page makes it send the request.
    pub ambient: bool,
}

/// What was taken out of a request.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Removed {
    /// The query, without the token, is another one.
    pub query: bool,
    /// The client offers nothing but `bearer` and a token, and a browser insists that one of the two is chosen.
    pub wants_bearer: bool,
}

impl Sources {
    /// The sources of all issuers: those of the first, then what each other has besides.
    pub fn new(issuers: &[config::Jwt]) -> Self {
        let mut sources = Self::default();
        for source in issuers.iter().flat_map(|issuer| &issuer.token_from).filter_map(Source::new) {
            if !sources.0.contains(&source) {
                sources.0.push(source);
            }
        }
        sources
    }

    /// Those that one issuer has, by their places.
    pub fn of(&self, issuer: &config::Jwt) -> Vec<usize> {
        let sources = issuer.token_from.iter().filter_map(Source::new);
        sources.filter_map(|source| self.0.iter().position(|known| *known == source)).collect()
    }

    /// Whether there is any but `Authorization`.
    pub fn are_special(&self) -> bool {
        self.0.iter().any(|source| *source != Source::Header(AUTHORIZATION))
    }

    /// The token in the first source that has one. An empty value is none: it is what apps leave of a cookie at log-out.
    ///
    /// # Errors
    /// `credentials_ambiguous` when that source has two: two readers could choose differently.
    pub fn find<'a>(&self, headers: &'a HeaderMap, target: &'a Target) -> Result<Option<Found<'a>>, Reason> {
        for (place, source) in self.0.iter().enumerate() {
            if let Some(token) = source.token(headers, target)? {
                return Ok(Some(Found { token, source: place, ambient: matches!(source, Source::Cookie(_)) }));
            }
        }
        Ok(None)
    }

    /// Refuses credentials that nobody checks: another token than the one that was `found`, and `Authorization` unless the
    /// token or a `password` that is checked is in there.
    ///
    /// # Errors
    /// `credentials_ambiguous`.
    pub fn nothing_beside(
        &self,
        found: Option<&Found<'_>>,
        password: bool,
        headers: &HeaderMap,
        target: &Target,
    ) -> Result<(), Reason> {
        for source in &self.0 {
            if source.token(headers, target)?.is_some_and(|token| found.is_none_or(|found| token != found.token)) {
                return Err(Reason::CredentialsAmbiguous);
            }
        }
        let token = found.is_some_and(|found| self.0.get(found.source) == Some(&Source::Header(AUTHORIZATION)));
        if !token && !password && authorization(headers)?.is_some_and(|value| !value.is_empty()) {
            return Err(Reason::CredentialsAmbiguous);
        }
        Ok(())
    }

    /// The headers that a token may be in.
    pub fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().filter_map(|source| match source {
            Source::Header(name) => Some(name),
            Source::Cookie(_) | Source::Query(_) | Source::WebSocketProtocol => None,
        })
    }

    /// Takes out every token, used or not, wherever one may be but in a header of its own: [those](Self::headers) go
    /// with the other headers that an app must not see.
    pub fn remove(&self, headers: &mut HeaderMap, target: &Target) -> Removed {
        let mut removed = Removed::default();
        for source in &self.0 {
            match source {
                Source::Header(_) => {}
                Source::Cookie(name) => cookie::remove(headers, name),
                Source::Query(_) | Source::WebSocketProtocol if !target.is_upgrade() => {}
                Source::Query(_) => removed.query = true,
                Source::WebSocketProtocol => removed.wants_bearer = protocols::remove(headers),
            }
        }
        removed
    }

    /// The target for the app: path and query without the parameters that a token may be in.
    pub fn without_tokens(&self, path_and_query: &str) -> String {
        let names = self.0.iter().filter_map(|source| match source {
            Source::Query(name) => Some(&**name),
            Source::Header(_) | Source::Cookie(_) | Source::WebSocketProtocol => None,
        });
        names.fold(path_and_query.to_owned(), |target, name| query::without(&target, name))
    }
}

impl Source {
    fn new(config: &TokenSource) -> Option<Self> {
        match config {
            TokenSource::Header(name) => HeaderName::try_from(name).ok().map(Self::Header),
            TokenSource::Cookie(name) => Some(Self::Cookie(name.as_str().into())),
            TokenSource::Query(name) => Some(Self::Query(name.as_str().into())),
            TokenSource::WebsocketProtocol(wanted) => wanted.then_some(Self::WebSocketProtocol),
        }
    }

    /// What is there, unless it is empty.
    fn token<'a>(&self, headers: &'a HeaderMap, target: &'a Target) -> Result<Option<Cow<'a, [u8]>>, Reason> {
        let token = match self {
            Self::Header(name) => in_header(headers, name)?.map(Cow::Borrowed),
            Self::Cookie(name) => cookie::find(headers, name)?.map(Cow::Borrowed),
            // URLs are kept in histories and logs; what a page may do over `fetch` it can do with a header.
            Self::Query(_) | Self::WebSocketProtocol if !target.is_upgrade() => None,
            Self::Query(name) => query::find(target.forwarded().query(), name)?.map(Cow::Borrowed),
            Self::WebSocketProtocol => Offer::read(headers).token()?,
        };
        Ok(token.filter(|token| !token.is_empty()))
    }
}

/// The one `Authorization` header.
///
/// # Errors
/// `credentials_ambiguous` when there are two.
pub fn authorization(headers: &HeaderMap) -> Result<Option<&[u8]>, Reason> {
    field(headers, &AUTHORIZATION)
}

/// What comes behind a scheme's name.
pub fn after_scheme<'a>(value: &'a [u8], scheme: &str) -> Option<&'a [u8]> {
    let (name, rest) = value.split_at(value.iter().position(|byte| *byte == b' ').unwrap_or(value.len()));
    name.eq_ignore_ascii_case(scheme.as_bytes()).then(|| rest.trim_ascii())
}

/// The token in a header: behind `Bearer`, which a header that has no other use may leave out.
fn in_header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, Reason> {
    if *name == AUTHORIZATION {
        return Ok(authorization(headers)?.and_then(|value| after_scheme(value, "bearer")));
    }
    Ok(field(headers, name)?.map(|value| after_scheme(value, "bearer").unwrap_or(value)))
}

fn field<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, Reason> {
    let value = fields::only(headers, name).map_err(|_| Reason::CredentialsAmbiguous)?;
    Ok(value.map(HeaderValue::as_bytes))
}

/// The only one, if there is one.
fn only<T>(mut values: impl Iterator<Item = T>) -> Result<Option<T>, Reason> {
    let first = values.next();
    if values.next().is_some() { Err(Reason::CredentialsAmbiguous) } else { Ok(first) }
}
