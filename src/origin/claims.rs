//! What a trusted proxy says in `X-Forwarded-*` and `Forwarded`, and what of it is believed.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str,
};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Trust, forwarded};
use crate::{config::Forwarded, fields, target};

const FORWARDED: &str = "forwarded";
const X_FORWARDED_FOR: &str = "x-forwarded-for";
const X_FORWARDED_HOST: &str = "x-forwarded-host";
const X_FORWARDED_PORT: &str = "x-forwarded-port";
const X_FORWARDED_PROTO: &str = "x-forwarded-proto";
const X_FORWARDED: [&str; 4] = [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST, X_FORWARDED_PORT];

/// What is believed. `None` is what nobody said.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// The client's address.
    pub(super) client: Option<IpAddr>,
    /// From the client to the connection's other end, as the header value that the app is given.
    pub(super) chain: Option<HeaderValue>,
    pub(super) encrypted: Option<bool>,
    pub(super) host: Option<HeaderValue>,
    pub(super) port: Option<HeaderValue>,
}

/// What one of the two families of headers says.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// The addresses that the request came by, from the last one to the client's.
    pub(super) way: Vec<IpAddr>,
    pub(super) encrypted: Option<bool>,
    pub(super) host: Option<HeaderValue>,
    pub(super) port: Option<HeaderValue>,
}

/// Reads what a trusted proxy says about the way of a request, in the one family of headers that is believed; `peer` is how
/// the proxy itself is called there. `None` when it says nothing, and the name of a header when that is not understood.
pub(super) fn read(headers: &HeaderMap, peer: &HeaderValue, trust: &Trust) -> Option<Result<Claims, &'static str>> {
    let said = match trust.headers {
        Forwarded::XForwarded => {
            if !X_FORWARDED.iter().any(|name| headers.contains_key(*name)) {
                return None;
            }
            x_forwarded(headers, trust)
        }
        Forwarded::Forwarded => {
            if !headers.contains_key(FORWARDED) {
                return None;
            }
            forwarded::read(&headers.get_all(FORWARDED), trust).ok_or(FORWARDED)
        }
    };
    Some(said.map(|Said { way, encrypted, host, port }| Claims {
        client: way.last().copied(),
        chain: chain(&way, peer),
        encrypted,
        host,
        port,
    }))
}

fn x_forwarded(headers: &HeaderMap, trust: &Trust) -> Result<Said, &'static str> {
    fn last<'h, T>(
        headers: &'h HeaderMap,
        name: &'static str,
        read: impl Fn(&'h [u8]) -> Option<T>,
    ) -> Result<Option<T>, &'static str> {
        // What the peer itself says: where somebody else has said something before, it comes last.
        fields::items(headers, &HeaderName::from_static(name))
            .next_back()
            .map(|item| read(item).ok_or(name))
            .transpose()
    }
    let nodes =
        fields::items(headers, &HeaderName::from_static(X_FORWARDED_FOR)).rev().map(|item| Some((node(item)?, ())));
    let way = walk(nodes, trust).ok_or(X_FORWARDED_FOR)?;
    Ok(Said {
        way: way.into_iter().map(|(address, ())| address).collect(),
        encrypted: last(headers, X_FORWARDED_PROTO, encrypted)?,
        host: last(headers, X_FORWARDED_HOST, host)?,
        port: last(headers, X_FORWARDED_PORT, port)?,
    })
}

/// Goes from the last address that was added to the first one that is no trusted proxy's: that is the client, and what
/// stands before it is the client's own word. `None` when one of them is no address.
pub(super) fn walk<T>(nodes: impl Iterator<Item = Option<(IpAddr, T)>>, trust: &Trust) -> Option<Vec<(IpAddr, T)>> {
    let mut way = Vec::new();
    for node in nodes {
        let (address, said) = node?;
        way.push((address, said));
        if !trust.has_told(address) {
            break;
        }
    }
    Some(way)
}

/// An address as proxies write it: with a port or without, IPv6 in brackets or without.
pub(super) fn node(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bare = text.parse::<IpAddr>().ok();
    bare.or_else(bracketed).or_else(with_port).map(|address| address.to_canonical())
}

/// The scheme, or what some proxies call it for a WebSocket.
pub(super) fn encrypted(text: &[u8]) -> Option<bool> {
    let is_one_of = |names: [&str; 2]| names.iter().any(|name| text.eq_ignore_ascii_case(name.as_bytes()));
    if is_one_of(["https", "wss"]) {
        return Some(true);
    }
    is_one_of(["http", "ws"]).then_some(false)
}

/// A host, with a port or without.
pub(super) fn host(text: &[u8]) -> Option<HeaderValue> {
    HeaderValue::from_bytes(text).ok().filter(target::is_host)
}

fn port(text: &[u8]) -> Option<HeaderValue> {
    let digits = str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse::<u16>().ok().filter(|port| *port > 0).map(HeaderValue::from)
}

fn chain(way: &[IpAddr], peer: &HeaderValue) -> Option<HeaderValue> {
    if way.is_empty() {
        return None;
    }
    let mut text: String = way.iter().rev().map(|address| format!("{address}, ")).collect();
    text.push_str(peer.to_str().ok()?);
    HeaderValue::try_from(text).ok()
}
