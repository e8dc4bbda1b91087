//! The app behind us: connections to it, and the bodies that stream over them.
//!
//! There is one app and it is near, so a connection needs no task of its own: whoever holds it drives it. A request
//! therefore runs from the client's socket to the app's and back in one task, without a wake-up between two tasks, and
//! dropping it closes the connection to the app at once.

pub use answer::{Answer, Broken};
pub use connection::{Connection, Gauges, SendError, Switched};
pub use pool::{ConnectError, Pool};
pub use upload::{Limits, Upload};

mod answer;
mod connection;
mod pool;
mod stall;
mod upload;
