//! The end-to-end tests: the real binary in front of real apps, over verified TLS.
//!
//! One file per behaviour; a test's name is a sentence. `support` has the parts: a certificate authority and token
//! issuers made at run time, the process under test, clients (curl, raw bytes, HTTP/2) and apps.
//! `script/test` runs all of it; `cargo test --test main -- flask` runs the tests that say `flask`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::wildcard_enum_match_arm, reason = "the enums here are other people's")]

mod support;

mod admin;
mod architecture;
mod basic;
mod basic_hashing;
mod basic_throttle;
mod buffering;
mod challenges;
mod commands;
mod compression;
mod config_samples;
mod cors;
mod dependencies;
mod dev;
mod differential;
mod documents;
mod early_answers;
mod flask;
mod floods;
mod forwarded;
mod forwarding;
mod framing;
mod grpc;
mod gunicorn_pool;
mod h2_conformance;
mod h2_endings;
mod h2c;
mod hostile;
mod identity;
mod jwks;
mod jwks_fetch;
mod jwt;
mod kubernetes;
mod limits;
mod logs;
mod nginx;
mod oidc_provider;
mod paths;
mod presets;
mod prior_knowledge;
mod proxy_protocol;
mod raw_heads;
mod rules;
mod server_sent_events;
mod shutdown;
mod signed_identity;
mod slow_clients;
mod slow_tool;
mod startup;
mod streaming;
mod tls;
mod token_review;
mod token_review_outages;
mod token_sources;
mod tokens;
mod trusted_proxies;
mod unix_listener;
mod upstream;
mod upstream_answers;
mod upstream_bodies;
mod upstream_kinds;
mod upstream_sharing;
mod websocket;
mod websocket_apps;
mod websocket_ends;
