//! The parts that every end-to-end test is put together from.

use std::net::SocketAddr;

mod answer;
mod api_server;
mod apps;
mod builder;
mod canary;
mod command;
mod corpus;
mod curl;
mod exposition;
pub(crate) mod frames;
mod h2;
mod issuer;
mod jwks_server;
mod pki;
mod program;
mod provider;
mod proxy;
mod recorder;
mod sidegate;
mod users;
mod wait;
mod wire;

pub(crate) use self::{
    answer::Answer,
    api_server::{ApiServer, Mood},
    apps::{Flask, Library, Nginx, Nothing, Routed, Server, WebSocketApp, Worker, websocket_client},
    builder::Builder,
    canary::secret,
    command::command,
    corpus::{bytes, entries},
    curl::Curl,
    exposition::Exposition,
    h2::H2,
    issuer::{Issuer, der, now, signed_with_public_key, unsigned},
    jwks_server::{JwksServer, Reply},
    pki::{AUTHORITY, Authority},
    program::{Program, PythonApp},
    provider::Provider,
    proxy::ForwardProxy,
    recorder::{Received, Recorder, take_order},
    sidegate::Sidegate,
    users::{
        Users, apr1, argon2id, argon2id_with, bcrypt, bcrypt_with_cost, password, sha, sha256_crypt, sha512_crypt,
    },
    wait::until,
    wire::{Wire, tls_config, tls_config_with},
};

/// Something that sidegate can stand before.
pub(crate) trait App {
    /// Where it listens.
    fn address(&self) -> SocketAddr;
}
