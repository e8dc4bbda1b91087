//! The sidecar that puts authentication in front of an application that has none.

pub mod config;
