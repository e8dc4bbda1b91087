//! Who is calling, and may they.

pub use guard::{Guard, Permitted};
pub use policy::{Decision, Policy};

pub mod basic;
mod claims;
mod guard;
mod jwt;
mod pages;
mod policy;
mod rules;
