//! The kernel's coarse clocks, which are some milliseconds behind and cost a fifth of the exact ones: for limits that are
//! counted in seconds. What is shown to people is measured by the exact ones; and so is what an issuer has dated, or a
//! token that was made a moment ago would be one of the future.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// The time since some fixed moment. It never goes backwards.
pub fn monotonic() -> Duration {
    duration(clock_gettime(ClockId::MonotonicCoarse))
}

/// The time of day.
pub fn wall() -> SystemTime {
    UNIX_EPOCH + duration(clock_gettime(ClockId::RealtimeCoarse))
}

fn duration(time: Timespec) -> Duration {
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), nanoseconds)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn they_are_no_more_than_some_milliseconds_behind() {
        let most = Duration::from_millis(100);
        let (coarse, exact) = (wall(), SystemTime::now());
        let behind = exact.duration_since(coarse).unwrap_or_else(|ahead| ahead.duration());
        assert!(behind < most, "{behind:?}");
        let (coarse, exact) = (monotonic(), duration(clock_gettime(ClockId::Monotonic)));
        assert!(exact.checked_sub(coarse).unwrap() < most);
    }
}
