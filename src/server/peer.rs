//! Who is at the other end of a connection: its peer, or whom a load balancer announces.

use std::net::SocketAddr;

use tokio::{
    select,
    time::{Instant, timeout_at},
};

use super::{
    Server,
    listener::Socket,
    proxy_protocol::{self, Announced},
};
use crate::origin::Client;

impl Server {
    /// The client that a new connection is for. `None` when the connection is not to be served: it does not begin with
    /// the header that it must begin with, or comes from a peer that may not send one, or we are draining.
    pub(super) async fn client(
        &self,
        socket: &mut Socket,
        peer: Option<SocketAddr>,
        deadline: Instant,
    ) -> Option<Client> {
        let tls = self.tls.is_some();
        if !self.proxy_protocol {
            let client = Client::new(peer, tls);
            return Some(if self.trust.has_peer(peer) { client.believed(&self.trust) } else { client });
        }
        if !self.trust.has_peer(peer) {
            tracing::debug!(
                ?peer,
                "closed: only listen.trusted_proxies may connect where listen.proxy_protocol is true"
            );
            self.metrics.connection_failed("proxy_untrusted");
            return None;
        }
        let announced = select! {
            biased;
            () = self.drain.cancelled() => return None,
            outcome = timeout_at(deadline, proxy_protocol::read(socket)) => outcome,
        };
        let announced = match announced.unwrap_or_else(|late| Err(late.into())) {
            Ok(announced) => announced,
            Err(error) => {
                tracing::debug!(%error, ?peer, "closed: the connection does not begin with a PROXY protocol header");
                self.metrics.connection_failed("proxy_header");
                return None;
            }
        };
        Some(match announced {
            // The load balancer passes bytes on and does not look at headers: what they say is the client's word. It is
            // believed when the client is a trusted proxy, a CDN for example, by its own address.
            Announced::Client(address) => {
                let client = Client::new(Some(address), tls);
                if self.trust.has_told(address.ip()) { client.believed(&self.trust) } else { client }
            }
            Announced::Local => Client::new(peer, tls),
            // The address is the load balancer's. A rule that lets its network in does not mean those whom it hides.
            Announced::Unknown => Client::new(peer, tls).unnamed(),
        })
    }
}
