//! Where a request comes from: the peer of its connection, and what a trusted proxy says about the way before it.
//!
//! Nobody is believed unless the configuration names them; then an [`Origin`] is the connection's [`Client`] and nothing
//! else, and costs what a pointer costs.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{HeaderMap, HeaderValue};

use self::claims::Claims;
use crate::{
    config::{Forwarded, Network, TrustedProxy},
    reason::Reason,
};

mod claims;
mod forwarded;

/// Whose word is taken about where a request comes from.
#[derive(Debug)]
pub struct Trust {
    networks: Vec<Network>,
    unix: bool,
    headers: Forwarded,
}

impl Trust {
    /// Trust in these proxies, and in what they say in these headers.
    pub fn new(proxies: &[TrustedProxy], headers: Forwarded) -> Self {
        let network = |proxy: &TrustedProxy| match proxy {
            TrustedProxy::Network(network) => Some(*network),
            TrustedProxy::Unix => None,
        };
        Self {
            networks: proxies.iter().filter_map(network).collect(),
            unix: proxies.contains(&TrustedProxy::Unix),
            headers,
        }
    }

    /// Whether the other end of a connection is a trusted proxy. On a Unix socket it has no address.
    pub fn has_peer(&self, peer: Option<SocketAddr>) -> bool {
        match peer {
            Some(peer) => self.networks.iter().any(|network| network.contains(peer.ip())),
            None => self.unix,
        }
    }

    /// Whether an address that was only told is a trusted proxy's. `0.0.0.0/0` says that whoever connects is a proxy,
    /// not that whoever is behind it is one: else each client could name another in its own place.
    pub fn has_told(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| !network.is_everyone() && network.contains(address))
    }
}

/// Whoever a connection comes from, made once per connection.
#[derive(Debug)]
pub struct Client {
    address: Option<SocketAddr>,
    /// Whether the address is the client's own, and not that of a proxy which cannot name its client.
    named: bool,
    /// The address as the header value that the app is given.
    forwarded_for: HeaderValue,
    tls: bool,
    trust: Option<Arc<Trust>>,
}

impl Client {
    /// The client at `address`; `None` on a Unix socket. `tls` says whether the connection is encrypted by us.
    pub fn new(address: Option<SocketAddr>, tls: bool) -> Self {
        // IPv4-mapped addresses come from dual-stack listeners; the app should not see two forms of one address.
        let address = address.map(|address| SocketAddr::new(address.ip().to_canonical(), address.port()));
        let text = address.and_then(|address| HeaderValue::try_from(address.ip().to_string()).ok());
        // The word of RFC 7239 section 6.2 for who cannot be named.
        let forwarded_for = text.unwrap_or(HeaderValue::from_static("unknown"));
        Self { address, named: true, forwarded_for, tls, trust: None }
    }

    /// The same, believed about the requests that it passes on.
    #[must_use]
    pub fn believed(self, trust: &Arc<Trust>) -> Self {
        Self { trust: Some(trust.clone()), ..self }
    }

    /// The same, as a proxy that cannot say for whom the connection is: no rule takes it for the client.
    #[must_use]
    pub fn unnamed(self) -> Self {
        Self { named: false, ..self }
    }
}

/// Where one request comes from.
#[derive(Debug)]
pub struct Origin {
    client: Arc<Client>,
    claims: Option<Box<Result<Claims, &'static str>>>,
}

impl Origin {
    /// The origin of a request with these headers, over a connection from `client`.
    pub fn new(client: Arc<Client>, headers: &HeaderMap) -> Self {
        let claims = client.trust.as_deref().and_then(|trust| claims::read(headers, &client.forwarded_for, trust));
        if let Some(Err(header)) = &claims {
            tracing::debug!(header, proxy = ?client.address, "a trusted proxy says what cannot be understood");
        }
        Self { client, claims: claims.map(Box::new) }
    }

    /// Refuses what a trusted proxy says and cannot be understood: whoever guessed would guess in somebody's favour.
    ///
    /// # Errors
    /// `forwarded_invalid`.
    pub fn valid(&self) -> Result<(), Reason> {
        if matches!(self.claims.as_deref(), Some(Err(_))) { Err(Reason::ForwardedInvalid) } else { Ok(()) }
    }

    /// The client's IP address, for rules; `None` when it cannot be told whose request it is. It is the connection's, or
    /// the last one that trusted proxies name and that is no trusted proxy itself.
    pub fn ip(&self) -> Option<IpAddr> {
        let told = self.claims().and_then(|claims| claims.client);
        told.or_else(|| self.client.address.filter(|_| self.client.named).map(|address| address.ip()))
    }

    /// The client's address, for logs: its port is 0 when a proxy told the address. `None` on a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        let told = self.claims().and_then(|claims| claims.client).map(|ip| SocketAddr::new(ip, 0));
        told.or(self.client.address)
    }

    /// `X-Forwarded-For` for the app: the way of the request as far as it is believed, and the connection's other end.
    pub fn forwarded_for(&self) -> &HeaderValue {
        self.claims().and_then(|claims| claims.chain.as_ref()).unwrap_or(&self.client.forwarded_for)
    }

    /// Whether the client speaks TLS, to us or to a trusted proxy.
    pub fn is_encrypted(&self) -> bool {
        self.claims().and_then(|claims| claims.encrypted).unwrap_or(self.client.tls)
    }

    /// The host that the client asked a trusted proxy for, when that says so. The app is told it; rules never see it.
    pub fn host(&self) -> Option<&HeaderValue> {
        self.claims()?.host.as_ref()
    }

    /// The port that the client connected to at a trusted proxy, when that says so.
    pub fn port(&self) -> Option<&HeaderValue> {
        self.claims()?.port.as_ref()
    }

    fn claims(&self) -> Option<&Claims> {
        self.claims.as_deref()?.as_ref().ok()
    }
}

#[cfg(test)]
mod tests;
