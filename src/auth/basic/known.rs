//! From where users have logged in lately, so that a stranger who guesses at a name does not lock out whose it is.
//!
//! A user at such a place has guesses of his own there, which strangers elsewhere do not use up. It is no exemption:
//! who sits behind the same address gets no more guesses out of it than anybody else.
//!
//! The table has a fixed size. A user's places are in one of its buckets, together with those of the few whose names
//! fall into it too, by a hash under a random key of ours. Only a right password brings an entry, and where a bucket is
//! full the oldest goes: who has an account and very many addresses can push out the places of a thousandth of the
//! others, not knowing whose, and those are then where everybody was before.

use std::time::Duration;

use super::sketch::{Rate, nanoseconds};

/// How long a place is known after the last right password that was checked there. Who works on weekdays stays known.
const KNOWN: Duration = Duration::from_secs(7 * 24 * 3600);

const BUCKETS: usize = 1 << 10;

/// The entries of a bucket, and so the most places of one user.
const PLACES: usize = 8;

/// Where users have logged in: 192 KiB.
#[derive(Debug)]
pub(super) struct Known {
    rate: Rate,
    buckets: Box<[[Place; PLACES]]>,
}

/// A user at a client's address.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// Stands for the two.
    key: u64,
    /// When it will be forgotten; the past where nothing was.
    until: u64,
    /// The end of its bucket of failures.
    end: u64,
}

impl Known {
    /// Where nobody is known.
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, buckets: vec![[Place::default(); PLACES]; BUCKETS].into() }
    }

    /// Notes that the user whose name is hashed to `user` had the right password at `place`, the hash of both.
    pub(super) fn remember(&mut self, user: u64, place: u64, now: u64) {
        let until = now + nanoseconds(KNOWN);
        if let Some(known) = self.find(user, place, now) {
            known.until = until;
        } else if let Some(oldest) = self.bucket(user).iter_mut().min_by_key(|known| known.until) {
            *oldest = Place { key: place, until, end: 0 };
        }
    }

    /// The rate of failures, and the user's at this place, where it is known.
    pub(super) fn get(&mut self, user: u64, place: u64, now: u64) -> Option<(Rate, &mut u64)> {
        let rate = self.rate;
        self.find(user, place, now).map(|known| (rate, &mut known.end))
    }

    fn find(&mut self, user: u64, place: u64, now: u64) -> Option<&mut Place> {
        self.bucket(user).iter_mut().find(|known| known.key == place && now < known.until)
    }

    fn bucket(&mut self, user: u64) -> &mut [Place; PLACES] {
        &mut self.buckets[user as usize % BUCKETS]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn known() -> Known {
        Known::new(Rate::new(3.try_into().unwrap(), Duration::from_secs(60)))
    }

    #[test]
    fn a_place_is_known_from_its_first_right_password_until_a_week_after_its_last() {
        let (mut known, day) = (known(), nanoseconds(Duration::from_secs(24 * 3600)));
        assert!(known.get(1, 10, 0).is_none());
        known.remember(1, 10, 0);
        assert!(known.get(1, 10, 7 * day - 1).is_some());
        assert!(known.get(1, 11, 0).is_none() && known.get(2, 10, 0).is_none());
        assert!(known.get(1, 10, 7 * day).is_none());
        known.remember(1, 10, 7 * day);
        known.remember(1, 10, 8 * day);
        assert!(known.get(1, 10, 15 * day - 1).is_some());
    }

    #[test]
    fn another_right_password_does_not_take_back_the_failures_of_a_place() {
        let mut known = known();
        known.remember(1, 10, 0);
        *known.get(1, 10, 0).unwrap().1 = 77;
        known.remember(1, 10, 1);
        assert_eq!(*known.get(1, 10, 1).unwrap().1, 77);
    }

    #[test]
    fn who_logs_in_from_everywhere_pushes_out_no_more_than_one_bucket() {
        let mut known = known();
        for user in 0..BUCKETS as u64 {
            known.remember(user, 1_000_000 + user, 0);
        }
        for place in 0..100_000 {
            known.remember(3, place, 1 + place);
        }
        let lost = (0..BUCKETS as u64).filter(|user| known.get(*user, 1_000_000 + user, 100_001).is_none()).count();
        assert_eq!(lost, 1, "his own");
        assert!((99_992..100_000).all(|place| known.get(3, place, 100_001).is_some()), "the last ones stay");
    }
}
