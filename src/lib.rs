//! The sidecar that puts authentication in front of an application that has none.
//!
//! ```text
//!  TCP or Unix socket ─ PROXY protocol ─ TLS ─┬─ HTTP/1: heads and chunks, read strictly, once ──┬─ reception
//!        server         server::peer     tls  └─ HTTP/2: hyper, then fields ────────────────────┘   │
//!                                  Exchange: the request, its origin, the trail of what was decided ▼
//!    stack:   Observe ─ Cors ─ Respond ─ Admit ─ Guard ═╗          the order lives in stack.rs, nowhere else
//!               │                 │        │       │    ║ Permitted       (no Permitted, no forward)
//!           metrics/log        Denial  Overloaded  │    ▼
//!                                target + sources: Policy   proxy (translate) ── upstream ── app on loopback,
//!                                                                │                           a Unix socket, h2c, TLS
//!                                                     101 ═▶ tunnel: bytes, and no more requests
//!    beside:  admin → /livez /readyz /startupz /metrics /jwks.json (own listener, own thread)
//!             fetch → auth::jwt: issuers' keys, auth::review: a cluster's word  (own thread)
//! ```
//!
//! Follow one request: `main → commands::serve → app → server → server::http1 → server::reception → stack →
//! telemetry::observe → denial → admit → auth::guard → target → auth::policy → sources → auth::jwt → proxy::forward →
//! proxy::translate → proxy::headers (into `upstream::Message`) → upstream::connection → upstream::outgoing`, and back by
//! `upstream::reply → upstream::answer → proxy::translate → server::http1`. How its bytes are read and written is in `http1`,
//! for both sides. The modules below are in the order in which a request meets them.
//!
//! Three facts about types carry the design, and the compiler keeps them:
//! - `Guard` takes an [`exchange::Exchange`] and calls an inner service with [`auth::Permitted`], which nothing else can
//!   make: what was not authorised cannot be forwarded.
//! - Below `Respond` the error is a [`denial::Denial`], above it `Infallible`: no error reaches a connection, and none is
//!   forgotten.
//! - `Observe` accepts only an infallible inner service: it sees every answer, refusals included.

pub mod commands;
pub mod config;

pub mod app;

pub mod server;
pub mod tls;

pub mod origin;

pub mod http1;

pub mod clock;
pub mod exchange;
pub mod fields;
pub mod stack;

pub mod telemetry;

pub mod cors;

pub mod denial;
pub mod reason;

pub mod admit;

pub mod auth;
pub mod fetch;
pub mod identity;
pub mod live;
pub mod sources;
pub mod target;

pub mod proxy;

pub mod body;
pub mod compress;
pub mod tunnel;
pub mod upstream;

pub mod admin;
