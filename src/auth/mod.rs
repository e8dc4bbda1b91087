//! Who is calling, and may they.

pub use guard::{Guard, Judge, Permitted};
pub use jwt::{Background, CacheGauges, KeyRing, KeyState, Refetch, Refreshed, Refresher};
pub use need::{Learned, Need};
pub use policy::{Decision, Pending, Policy};
pub use review::{Answer, Asked, Reviewed, Reviewer};

pub mod basic;
mod claims;
mod cluster;
mod guard;
mod jwt;
mod need;
mod pages;
mod policy;
mod review;
mod rules;
mod wanted;
