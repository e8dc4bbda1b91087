//! A token among the subprotocols that a WebSocket offers: a browser lets a page set no other header.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL};

use super::only;
use crate::{fields, reason::Reason};

/// What introduces a token that is the next entry.
pub const BEARER: &str = "bearer";

/// What introduces a token in the same entry: the form of the Kubernetes API server.
const KUBERNETES: &[u8] = b"base64url.bearer.authorization.k8s.io.";

/// Stands for a token that cannot be decoded: it is there, and it is not well-formed.
const UNREADABLE: &[u8] = b"?";

/// The subprotocols that a client offers, with the credentials apart.
#[derive(Debug, Default)]
pub(super) struct Offer<'a> {
    /// Tokens behind `bearer`.
    pairs: Vec<&'a [u8]>,
    /// Tokens in the form of Kubernetes, still encoded.
    encoded: Vec<&'a [u8]>,
    /// What is left for the app.
    others: Vec<&'a [u8]>,
}

impl<'a> Offer<'a> {
    pub(super) fn read(headers: &'a HeaderMap) -> Self {
        let mut entries = fields::items(headers, &SEC_WEBSOCKET_PROTOCOL);
        let mut offer = Self::default();
        while let Some(entry) = entries.next() {
            if entry == BEARER.as_bytes() {
                // Nothing behind it is no token, and no subprotocol for the app either.
                offer.pairs.push(entries.next().unwrap_or_default());
            } else if let Some(encoded) = entry.strip_prefix(KUBERNETES) {
                offer.encoded.push(encoded);
            } else {
                offer.others.push(entry);
            }
        }
        offer
    }

    /// The token, if one is offered.
    pub(super) fn token(&self) -> Result<Option<Cow<'a, [u8]>>, Reason> {
        let decode = |encoded: &&[u8]| URL_SAFE_NO_PAD.decode(encoded).map_or(Cow::Borrowed(UNREADABLE), Cow::Owned);
        let pairs = self.pairs.iter().map(|token| Cow::Borrowed(*token));
        only(pairs.chain(self.encoded.iter().map(decode)))
    }
}

/// Takes the tokens out. True when there was nothing else, in the form that can be answered with `bearer`.
pub(super) fn remove(headers: &mut HeaderMap) -> bool {
    let Offer { pairs, encoded, others } = Offer::read(headers);
    if pairs.is_empty() && encoded.is_empty() {
        return false;
    }
    let wants_bearer = others.is_empty() && !pairs.is_empty();
    let left = others.join(&b", "[..]);
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    if let Ok(left) = HeaderValue::from_bytes(&left)
        && !left.is_empty()
    {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, left);
    }
    wants_bearer
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn offers(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(line).unwrap())).collect()
    }

    fn token(lines: &[&str]) -> Result<Option<String>, Reason> {
        let headers = offers(lines);
        let token = Offer::read(&headers).token()?;
        Ok(token.map(|token| String::from_utf8(token.into_owned()).unwrap()))
    }

    fn left(lines: &[&str]) -> (Vec<String>, bool) {
        let mut headers = offers(lines);
        let wants_bearer = remove(&mut headers);
        let left = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().map(|line| line.to_str().unwrap().to_owned());
        (left.collect(), wants_bearer)
    }

    #[test]
    fn both_forms_are_found() {
        for lines in [
            &["bearer, a.b.c"][..],
            &["chat,bearer,a.b.c,v2"],
            &["bearer", "a.b.c"],
            &["base64url.bearer.authorization.k8s.io.YS5iLmM, v1"],
        ] {
            assert_eq!(token(lines).unwrap().as_deref(), Some("a.b.c"), "{lines:?}");
        }
        assert_eq!(token(&["chat, v1", "Bearer.x"]).unwrap(), None);
        assert_eq!(token(&["chat, bearer"]).unwrap().as_deref(), Some(""));
        assert_eq!(token(&["base64url.bearer.authorization.k8s.io.***"]).unwrap().as_deref(), Some("?"));
    }

    #[test]
    fn two_tokens_are_ambiguous() {
        for line in [
            "bearer, a, bearer, a",
            "bearer, a, base64url.bearer.authorization.k8s.io.YQ",
            "base64url.bearer.authorization.k8s.io.YQ, base64url.bearer.authorization.k8s.io.YQ",
        ] {
            assert_eq!(token(&[line]), Err(Reason::CredentialsAmbiguous), "{line}");
        }
    }

    #[test]
    fn what_is_left_is_for_the_app() {
        let none = Vec::<String>::new();
        assert_eq!(left(&["bearer, a.b.c"]), (none.clone(), true));
        assert_eq!(left(&["base64url.bearer.authorization.k8s.io.YS5iLmM"]), (none.clone(), false));
        assert_eq!(left(&["chat, bearer, a.b.c", "v2"]), (vec!["chat, v2".to_owned()], false));
        assert_eq!(left(&["base64url.bearer.authorization.k8s.io.YQ,v1"]), (vec!["v1".to_owned()], false));
        assert_eq!(left(&["chat,v2", "v3"]), (vec!["chat,v2".to_owned(), "v3".to_owned()], false));
        assert_eq!(left(&[]), (none, false));
    }
}
