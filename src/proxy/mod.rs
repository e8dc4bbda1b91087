//! What the rules allow goes to the app: headers rewritten, bodies streamed.

pub use credentials::{Credentials, Shown};
pub use forward::Proxy;
pub use headers::{Rewrite, Sink, Told};

mod compression;
mod credentials;
mod forward;
mod headers;
mod names;
mod translate;
mod upgrade;
