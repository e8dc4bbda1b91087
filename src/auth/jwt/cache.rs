//! Tokens whose signature was verified, so that a warm request pays for a lookup and not for a signature.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus_client::metrics::gauge::Gauge;

use self::weight::weight;
use crate::{config, identity::Identity};

mod weight;

/// How many entries that were used get another round before one is dropped although it was: a bound on how long an
/// insertion may hold the lock.
const SECOND_CHANCES: usize = 64;

/// The last bytes of a token: the end of its signature, which nobody can choose for a token that gets in. Hashing these
/// instead of a thousand bytes is half the cost of a hit.
type Tail = [u8; 16];

/// Verified tokens and whom they stand for.
///
/// A hit compares the whole token, so two tokens never share an entry; and an entry counts only while its issuer has the
/// keys that verified it. Only tokens that were verified get in, so nobody can push others out with what they made up.
/// The lock is held for a look-up or an insertion, never while a signature is checked.
///
/// The bound is exact, in entries and in bytes. What came first goes first, but for those that were used since: they get
/// another round.
#[derive(Debug)]
pub(super) struct Cache {
    entries: Mutex<Entries>,
    limit: Limit,
    gauges: CacheGauges,
}

/// Where it is shown how much the cache holds.
#[derive(Clone, Debug, Default)]
pub struct CacheGauges {
    /// Tokens.
    pub entries: Gauge,
    /// The memory that they take, as it is counted.
    pub bytes: Gauge,
}

/// What a verified token stands for.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) identity: Arc<Identity>,
    /// The issuer, by its place.
    pub(super) issuer: usize,
    /// Which of the issuer's key sets verified it.
    pub(super) generation: u64,
    /// Until when it is good, in seconds, with the leeway.
    pub(super) expires: u64,
}

#[derive(Clone, Copy, Debug)]
struct Limit {
    entries: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Entries {
    kept: HashMap<Tail, Kept>,
    /// Each that is kept, once; the one that is to be looked at next comes first.
    order: VecDeque<Tail>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    token: Box<str>,
    entry: Entry,
    bytes: usize,
    used: bool,
}

impl Cache {
    pub(super) fn new(config: &config::TokenCache) -> Self {
        let limit = Limit { entries: config.entries, bytes: usize::try_from(config.bytes).unwrap_or(usize::MAX) };
        Self { entries: Mutex::default(), limit, gauges: CacheGauges::default() }
    }

    /// From now on shows in `gauges` how much it holds.
    pub(super) fn show_in(&mut self, gauges: CacheGauges) {
        self.gauges = gauges;
    }

    /// What `token` stands for, when it was verified before, `now` (in seconds) is before its end, and `generation` says
    /// that its issuer still has the keys that verified it.
    pub(super) fn find(&self, token: &[u8], now: u64, generation: impl FnOnce(usize) -> u64) -> Option<Entry> {
        let mut entries = self.lock();
        let kept = entries.kept.get_mut(token.last_chunk::<16>()?)?;
        let known = kept.token.as_bytes() == token
            && now < kept.entry.expires
            && kept.entry.generation == generation(kept.entry.issuer);
        kept.used |= known;
        known.then(|| kept.entry.clone())
    }

    /// Remembers at `now` (in seconds) what `token`, which was verified, stands for.
    pub(super) fn insert(&self, token: &str, entry: Entry, now: u64) {
        let Some(tail) = token.as_bytes().last_chunk() else { return };
        let bytes = weight(token, &entry.identity);
        if self.limit.entries == 0 || bytes > self.limit.bytes {
            return;
        }
        let kept = Kept { token: token.into(), entry, bytes, used: false };
        let mut entries = self.lock();
        entries.insert(*tail, kept, self.limit, now);
        self.gauges.entries.set(i64::try_from(entries.order.len()).unwrap_or(i64::MAX));
        self.gauges.bytes.set(i64::try_from(entries.bytes).unwrap_or(i64::MAX));
    }

    /// Nothing panics while it holds the lock; if something did, the entries would still be whole.
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn insert(&mut self, tail: Tail, kept: Kept, limit: Limit, now: u64) {
        if let Some(old) = self.kept.get_mut(&tail) {
            // Its keys have gone, or it ends like this one, which takes its place in the order.
            self.bytes = self.bytes - old.bytes + kept.bytes;
            *old = kept;
            self.make_room(0, 0, limit, now);
        } else {
            self.drop_ended(now);
            self.make_room(1, kept.bytes, limit, now);
            self.order.push_back(tail);
            self.bytes += kept.bytes;
            self.kept.insert(tail, kept);
        }
    }

    /// Drops the first two, if they have ended: what nobody can use does not wait for the limit. More than one, so that
    /// those who come drop faster than they come; and no more, because it is done while others wait for the lock.
    fn drop_ended(&mut self, now: u64) {
        for _ in 0..2 {
            let first = self.order.front().and_then(|tail| self.kept.get(tail));
            if first.is_none_or(|kept| now < kept.entry.expires) {
                return;
            }
            let bytes = self.order.pop_front().and_then(|tail| self.kept.remove(&tail)).map_or(0, |kept| kept.bytes);
            self.bytes -= bytes;
        }
    }

    /// Drops as many as it takes until so many more fit in.
    fn make_room(&mut self, entries: usize, bytes: usize, limit: Limit, now: u64) {
        let full = |held: &Self| held.order.len() + entries > limit.entries || held.bytes + bytes > limit.bytes;
        while full(self) && !self.order.is_empty() {
            self.drop_one(now);
        }
    }

    /// Drops the first that was not used, or can be used no more, or has had its chances.
    fn drop_one(&mut self, now: u64) {
        for chances in (0..=SECOND_CHANCES).rev() {
            let Some(tail) = self.order.pop_front() else { return };
            match self.kept.get_mut(&tail) {
                Some(kept) if kept.used && chances > 0 && now < kept.entry.expires => {
                    kept.used = false;
                    self.order.push_back(tail);
                }
                _ => {
                    self.bytes -= self.kept.remove(&tail).map_or(0, |kept| kept.bytes);
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
