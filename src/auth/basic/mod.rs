//! HTTP Basic (RFC 7617): a user's name and password, checked against a users file.
//!
//! A request goes through here in this order:
//! 1. [`Credentials::parse`] reads the header, and refuses what is too long or malformed before anything is hashed.
//! 2. [`Users::remembered`] answers for a password that was right a moment ago, without hashing.
//! 3. [`Users::check`] plans the hashing as data, the same amount for every wrong password.
//! 4. [`Hashing::run`] carries the plan out on a thread where it blocks nobody; or refuses, when there is none or when
//!    too many passwords were wrong.

mod apr1;
mod cache;
mod check;
mod create;
mod credentials;
mod groups;
mod hash;
mod hashing;
mod kind;
mod known;
mod lines;
mod sketch;
mod throttle;
#[cfg(test)]
mod timing;
mod users;
#[cfg(test)]
mod vectors;
mod workload;

pub use check::PasswordCheck;
pub use create::{Algorithm, Unhashable, hash_password};
pub use credentials::{Credentials, MAX_NAME_BYTES, MAX_PASSWORD_BYTES, Malformed, Password};
pub use hashing::{Hashing, Unchecked};
pub use lines::{Fault, check_name};
pub use users::{User, Users};
