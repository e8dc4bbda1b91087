//! HTTP/1.1 messages (RFC 9112): heads read strictly and written once, bodies followed to their end. Both sides share it.
//!
//! It is ours, and not a library's, for two reasons. What a request says is decided in one place: a second parser behind
//! the strict one could make another message of the same bytes. And a library has to hand messages and bodies from one
//! task to another, for whoever may want them there, while ours never leave the task of their connection.

use http::StatusCode;

pub mod answer;
pub mod chunks;
pub mod content;
pub mod encode;
pub mod head;
pub mod incoming;
pub mod input;
mod name;
pub mod output;

/// Whether an answer has no body, whatever its header says (RFC 9112 section 6.3, item 1). `head` says that it answers a
/// HEAD.
pub fn is_bodiless(status: StatusCode, head: bool) -> bool {
    head || status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
