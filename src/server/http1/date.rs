//! The `Date` of an answer (RFC 9110 section 6.6.1), made once a second.

use std::{cell::RefCell, time::UNIX_EPOCH};

use httpdate::HttpDate;

use crate::clock;

thread_local! {
    /// The second, and the line for it.
    static LINE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// Writes the header line for now.
pub(super) fn write(out: &mut Vec<u8>) {
    let now = clock::wall();
    let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    LINE.with_borrow_mut(|(made, line)| {
        if *made != second {
            *made = second;
            *line = format!("date: {}\r\n", HttpDate::from(now));
        }
        out.extend_from_slice(line.as_bytes());
    });
}
