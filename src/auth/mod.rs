//! Who is calling, and may they.

pub use guard::{Guard, Permitted};
pub use jwt::CacheGauges;
pub use need::{Learned, Need};
pub use policy::{Decision, Pending, Policy};

pub mod basic;
mod claims;
mod guard;
mod jwt;
mod need;
mod pages;
mod policy;
mod rules;
