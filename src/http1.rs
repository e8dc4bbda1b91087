//! HTTP/1.1 messages (RFC 9112): heads read strictly and written once, bodies followed to their end. Both sides share it.
//!
//! It is ours, and not a library's, for two reasons. What a request says is decided in one place: a second parser behind
//! the strict one could make another message of the same bytes. And a library has to hand messages and bodies from one
//! task to another, for whoever may want them there, while ours never leave the task of their connection.

pub mod answer;
pub mod chunks;
pub mod content;
pub mod encode;
pub mod head;
pub mod incoming;
pub mod input;
mod name;
pub mod output;
