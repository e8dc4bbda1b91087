//! What the rules allow goes to the app: headers rewritten, bodies streamed.

pub use forward::Proxy;

mod forward;
mod headers;
mod names;
mod upgrade;
