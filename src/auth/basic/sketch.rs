//! How often keys have failed lately: any number of keys, in a fixed number of bytes, and nothing is ever evicted.
//!
//! A table that evicts can be made to forget: who has used up his guesses fails for a thousand other names, and begins
//! anew. So there is no entry for a key here. A key has one cell in each of four rows, which it shares with others, and
//! its count is the least of the four (a count-min sketch). **A count may be too high and is never too low**: failing
//! for other keys can only add to a cell. The price is that a flood from very many keys refuses some who did nothing:
//! one key in 6,000 while a thousand others fail at once, one in six while eight thousand do.
//!
//! A cell is a leaky bucket: each failure adds a step, and time takes them away, one step in a `limit`-th of the
//! window. It holds the moment at which it will be empty, so that nothing has to go round and drain it.

use std::{num::NonZeroU32, time::Duration};

/// The cells that a key has.
const ROWS: usize = 4;

/// The cells of a row. 256 KiB in all; a page that no failure has touched costs nothing.
const COLUMNS: usize = 1 << 13;

/// How many failures are too many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// What a failure adds, in nanoseconds.
    step: u64,
    /// What a bucket holds, in nanoseconds.
    window: u64,
}

/// The failures of all keys. A key is a hash under a random key of ours: nobody can choose one that shares the cells of
/// another.
#[derive(Debug)]
pub(super) struct Sketch {
    rate: Rate,
    cells: Box<[u64]>,
}

impl Rate {
    /// As many failures as `limit` within `window`: all at once, and from then on one as soon as one has drained.
    pub(super) fn new(limit: NonZeroU32, window: Duration) -> Self {
        let window = nanoseconds(window);
        Self { step: window / u64::from(limit.get()), window }
    }

    /// How long a bucket that is empty at `end` has no room for one failure more. 0 = it has.
    pub(super) fn wait(self, end: u64, now: u64) -> u64 {
        (end.max(now) + self.step).saturating_sub(now + self.window)
    }

    /// The end of a bucket with one failure more.
    pub(super) fn add(self, end: u64, now: u64) -> u64 {
        end.max(now) + self.step
    }

    /// The end of a bucket without a failure that was added at `added` and was none. What may have drained of it since
    /// is not taken out again: it could be what another failure added.
    pub(super) fn give_back(self, end: u64, added: u64, now: u64) -> u64 {
        end.saturating_sub(self.step.saturating_sub(now.saturating_sub(added)))
    }
}

impl Sketch {
    /// Where nobody has failed.
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, cells: vec![0; ROWS * COLUMNS].into() }
    }

    /// How long `key` may not fail once more, in nanoseconds. 0 = it may.
    pub(super) fn wait(&self, key: u64, now: u64) -> u64 {
        let least = cells(key).into_iter().map(|cell| self.cells[cell]).min().unwrap_or(0);
        self.rate.wait(least, now)
    }

    /// Counts a failure of `key`.
    pub(super) fn add(&mut self, key: u64, now: u64) {
        for cell in cells(key) {
            self.cells[cell] = self.rate.add(self.cells[cell], now);
        }
    }

    /// Takes back a failure that was counted at `added` and was none.
    pub(super) fn give_back(&mut self, key: u64, added: u64, now: u64) {
        for cell in cells(key) {
            self.cells[cell] = self.rate.give_back(self.cells[cell], added, now);
        }
    }
}

/// A duration in the unit of the cells, which lasts for 584 years.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The cells of a key, one in each row.
fn cells(key: u64) -> [usize; ROWS] {
    std::array::from_fn(|row| row * COLUMNS + (key >> (row as u32 * COLUMNS.ilog2())) as usize % COLUMNS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::{
        collections::HashMap,
        hash::{BuildHasher, RandomState},
    };

    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn rate(limit: u32, seconds: u64) -> Rate {
        Rate::new(limit.try_into().unwrap(), Duration::from_secs(seconds))
    }

    /// Counts failures of `key` at `now` until it may not fail any more.
    fn fail_as_often_as_possible(sketch: &mut Sketch, key: u64, now: u64) -> usize {
        let mut count = 0;
        while sketch.wait(key, now) == 0 && count < 20_000 {
            sketch.add(key, now);
            count += 1;
        }
        count
    }

    #[test]
    fn a_key_may_fail_as_often_as_the_limit_says_and_then_once_each_time_that_one_has_drained() {
        for (limit, seconds) in [(1, 60), (7, 60), (10, 60), (10_000, 1), (3, 86_400)] {
            let mut sketch = Sketch::new(rate(limit, seconds));
            let (start, window) = (5 * SECOND, seconds * SECOND);
            assert_eq!(fail_as_often_as_possible(&mut sketch, 7, start), limit as usize);
            let wait = sketch.wait(7, start);
            assert_eq!(wait, window / u64::from(limit) * (u64::from(limit) + 1) - window);
            assert_eq!(sketch.wait(7, start + wait - 1), 1);
            assert_eq!(fail_as_often_as_possible(&mut sketch, 7, start + wait), 1);
            assert_eq!(fail_as_often_as_possible(&mut sketch, 7, start + 3 * window), limit as usize);
        }
    }

    #[test]
    fn failing_for_any_number_of_other_keys_never_gives_a_key_its_guesses_back() {
        let (random, mut sketch) = (RandomState::new(), Sketch::new(rate(10, 60)));
        fail_as_often_as_possible(&mut sketch, random.hash_one("mallory"), 0);
        for other in 0..200_000_u32 {
            let key = random.hash_one(other);
            sketch.add(key, 0);
            if other % 2 == 0 {
                sketch.give_back(key, 0, 0);
            }
            assert!(sketch.wait(random.hash_one("mallory"), 0) > 0, "after {other}");
        }
    }

    #[test]
    fn a_thousand_keys_that_fail_hold_up_next_to_nobody_else() {
        let (random, mut sketch) = (RandomState::new(), Sketch::new(rate(10, 60)));
        for other in 0..1_000_u32 {
            fail_as_often_as_possible(&mut sketch, random.hash_one(other), 0);
        }
        let held_up = (1_000..11_000_u32).filter(|key| sketch.wait(random.hash_one(key), 0) > 0).count();
        assert!(held_up < 30, "{held_up} of 10,000, where 2 are expected");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Wait(u64),
        Fail(u64),
        /// Takes back the failure with this number, if it is there.
        GiveBack(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..20 * SECOND).prop_map(Step::Wait),
            (0..3_u64).prop_map(Step::Fail),
            (0..8_usize).prop_map(Step::GiveBack)
        ]
    }

    proptest! {
        #[test]
        fn a_count_is_never_lower_than_the_failures_that_stayed_failures(steps in proptest::collection::vec(step(), 0..60)) {
            // Three keys that share all cells but one.
            let keys = [0, 1, 1 << 13];
            let (mut sketch, rate) = (Sketch::new(rate(6, 60)), rate(6, 60));
            let (mut now, mut pending) = (0, Vec::new());
            // What stayed a failure, by key.
            let mut kept: HashMap<u64, Vec<u64>> = HashMap::new();
            for step in steps {
                match step {
                    Step::Wait(time) => now += time,
                    Step::Fail(key) => {
                        sketch.add(keys[key as usize], now);
                        pending.push((keys[key as usize], now));
                    }
                    Step::GiveBack(number) if number < pending.len() => {
                        let (key, added) = pending.swap_remove(number);
                        sketch.give_back(key, added, now);
                    }
                    Step::GiveBack(_) => {}
                }
            }
            for (key, added) in pending {
                kept.entry(key).or_default().push(added);
            }
            for (key, mut failures) in kept {
                failures.sort_unstable();
                let end = failures.into_iter().fold(0, |end, added| rate.add(end, added));
                let counted = cells(key).into_iter().map(|cell| sketch.cells[cell]).min().unwrap();
                prop_assert!(counted.max(now) >= end.max(now), "{counted} of {end} at {now}");
            }
        }
    }
}
