//! The kernel's coarse clocks, which are some milliseconds behind and cost a fifth of the exact ones: for limits that are
//! counted in seconds. What is shown to people is measured by the exact ones; and so is what an issuer has dated, or a
//! token that was made a moment ago would be one of the future. Within a [`turn`] of a connection [`now`] is one moment.

use std::{
    cell::Cell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, Timespec, clock_gettime};
use tokio::time::Instant;

thread_local! {
    /// The moment of this thread's turn, once somebody has asked for it.
    static TURN: Cell<Turn> = const { Cell::new(Turn::None) };
}

#[derive(Clone, Copy)]
enum Turn {
    None,
    Begun,
    At(Instant),
}

/// Runs `work`, in which [`now`] is one moment. It is to be short: what a task does between two waits. On HTTP/2 that is all
/// that the streams of a connection can do then: the last of a hundred begins some milliseconds after the moment that it
/// goes by. Turns are not nested: the end of the inner one would end the outer.
pub fn turn<T>(work: impl FnOnce() -> T) -> T {
    /// Ends the turn, however `work` ends.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            TURN.set(Turn::None);
        }
    }
    TURN.set(Turn::Begun);
    let _end = End;
    work()
}

/// The exact time; within a [`turn`] that at which it was first asked for. A request over HTTP/1 asks five times in two
/// turns: when it is sent on, and when its answer is there.
pub fn now() -> Instant {
    match TURN.get() {
        Turn::None => Instant::now(),
        Turn::Begun => {
            let now = Instant::now();
            TURN.set(Turn::At(now));
            now
        }
        Turn::At(now) => now,
    }
}

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

    /// Waits until the exact clock has moved on, which is at once.
    fn pass() {
        let start = Instant::now();
        while Instant::now() == start {}
    }

    #[test]
    fn within_a_turn_it_is_one_moment() {
        let twice = || {
            let first = now();
            pass();
            (first, now())
        };
        let (first, second) = turn(twice);
        assert_eq!(first, second);
        let (third, fourth) = twice();
        assert!(second < third && third < fourth);
        assert!(fourth <= turn(now));
    }

    #[test]
    fn a_turn_ends_even_when_it_panics() {
        let ended = std::panic::catch_unwind(|| {
            turn(|| {
                now();
                std::panic::resume_unwind(Box::new(()))
            })
        });
        assert!(ended.is_err() && matches!(TURN.get(), Turn::None));
    }

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
