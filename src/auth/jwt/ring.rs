//! An issuer's keys as they are now, and the wish for newer ones.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};

use super::keys::KeySet;
use crate::live::Live;

/// Key ids that are remembered as unknown. More are not: an attacker can make up any number.
const MAX_ABSENT: usize = 1024;

/// The longest key id that is remembered.
const MAX_ID: usize = 256;

/// How long one that was not there is not looked for again, at the most: an issuer may sign with a key before every copy of its
/// key set has it.
const ABSENT: Duration = Duration::from_secs(60);

/// The keys of one issuer. What is read from a file stays as it is; what is fetched is replaced by a task in the background,
/// and never by a request.
#[derive(Debug)]
pub struct KeyRing {
    /// The issuer's name in logs and metrics.
    label: Arc<str>,
    live: Live<KeySet>,
    /// Absent where nothing is fetched.
    source: Option<Source>,
}

/// What is known of the place where the keys come from.
#[derive(Debug)]
struct Source {
    /// When the keys that we have were fetched, in seconds since 1970. 0 = there are none.
    fetched: AtomicU64,
    /// Whether there have been keys since the start.
    had_some: AtomicBool,
    /// Why the last fetch failed, or that the keys have ended.
    trouble: Mutex<Option<String>>,
    wish: Mutex<Wish>,
    wished: Notify,
    /// How many fetches have ended.
    ended: watch::Sender<u64>,
    min_refetch: Duration,
    wait: Duration,
}

/// The wish for a key that is not there.
#[derive(Debug, Default)]
struct Wish {
    /// When a fetch was last begun because of it.
    begun: Option<Instant>,
    /// Whether a fetch is under way, for whatever reason.
    under_way: bool,
    /// Ids that were looked for and were not there, and when that was.
    absent: HashMap<Box<str>, Instant>,
}

/// A fetch that a request waits for.
#[derive(Debug)]
#[must_use = "nothing is known yet"]
pub struct Refetch {
    ended: watch::Receiver<u64>,
    wait: Duration,
}

/// How the keys of an issuer are, for a probe.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeyState {
    /// They are there.
    There,
    /// They are not.
    Missing {
        /// Why.
        why: String,
        /// Whether they have been there since the start.
        before: bool,
    },
}

impl KeyRing {
    /// Keys that stay as they are.
    pub(super) fn fixed(label: Arc<str>, keys: KeySet) -> Self {
        Self { label, live: Live::new(keys), source: None }
    }

    /// Keys that are still to be fetched. For one that is not known they are fetched again, but not within `min_refetch` of
    /// the last time; a request waits for it no longer than `wait`.
    pub(super) fn fetched(label: Arc<str>, min_refetch: Duration, wait: Duration) -> Self {
        let source = Source {
            fetched: AtomicU64::new(0),
            had_some: AtomicBool::new(false),
            trouble: Mutex::default(),
            wish: Mutex::default(),
            wished: Notify::new(),
            ended: watch::Sender::new(0),
            min_refetch,
            wait,
        };
        Self { label, live: Live::new(KeySet::none()), source: Some(source) }
    }

    /// The issuer's name in logs and metrics.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The keys as they are now.
    pub(super) fn load(&self) -> arc_swap::Guard<Arc<KeySet>> {
        self.live.load()
    }

    /// How long ago the keys were fetched, where they were.
    pub fn age(&self) -> Option<Duration> {
        let fetched = self.source.as_ref().map(|source| source.fetched.load(Relaxed)).filter(|at| *at > 0)?;
        Some(Duration::from_secs(now().saturating_sub(fetched)))
    }

    /// How the keys are, where they are fetched.
    pub fn state(&self) -> Option<KeyState> {
        let source = self.source.as_ref()?;
        if self.live.load().count() > 0 {
            return Some(KeyState::There);
        }
        let why = source.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let why = why.unwrap_or_else(|| "not fetched yet".to_owned());
        Some(KeyState::Missing { why, before: source.had_some.load(Relaxed) })
    }

    /// Asks for the key `id`, or, without one, for whatever is new: `None` where that is of no use now.
    pub(super) fn want(&self, id: Option<&str>) -> Option<Refetch> {
        let source = self.source.as_ref()?;
        let mut wish = source.wish();
        if id.and_then(|id| wish.absent.get(id)).is_some_and(|at| at.elapsed() < ABSENT) {
            return None;
        }
        // Before it is begun, so that its end is not missed.
        let refetch = Refetch { ended: source.ended.subscribe(), wait: source.wait };
        if !wish.under_way {
            if wish.begun.is_some_and(|begun| begun.elapsed() < source.min_refetch) {
                return None;
            }
            wish.begun = Some(Instant::now());
            wish.under_way = true;
            source.wished.notify_one();
        }
        Some(refetch)
    }

    /// Remembers that the key `id` was looked for and is not there.
    pub(super) fn lacks(&self, id: Option<&str>) {
        let (Some(source), Some(id)) = (&self.source, id) else { return };
        let mut wish = source.wish();
        if id.len() <= MAX_ID && wish.absent.len() < MAX_ABSENT {
            wish.absent.insert(id.into(), Instant::now());
        }
    }

    /// Waits until somebody wants a key that is not there.
    pub(super) async fn wanted(&self) {
        let Some(source) = &self.source else { return std::future::pending().await };
        loop {
            source.wished.notified().await;
            // Not where a fetch that was begun for another reason has ended meanwhile: it was the one to wait for.
            if source.wish().under_way {
                return;
            }
        }
    }

    /// Notes that a fetch begins: who wants a key now waits for this one.
    pub(super) fn begin(&self) {
        let Some(source) = &self.source else { return };
        source.wish().under_way = true;
    }

    /// Notes how a fetch that was begun has ended, after what it brought is in place.
    pub(super) fn end(&self, trouble: Option<String>) {
        let Some(source) = &self.source else { return };
        let mut wish = source.wish();
        wish.under_way = false;
        // What nobody had then somebody may have now.
        wish.absent.clear();
        drop(wish);
        self.tell(trouble);
        source.ended.send_modify(|count| *count += 1);
    }

    /// Notes why there are no keys, or will be none: for a probe.
    pub(super) fn tell(&self, trouble: Option<String>) {
        let Some(source) = &self.source else { return };
        *source.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Puts these keys in the place of those that are there.
    pub(super) fn replace(&self, keys: KeySet) {
        self.live.store(keys);
    }

    /// Notes that the keys that are there were fetched at `time`, in seconds since 1970; 0 that there are none.
    pub(super) fn fetched_at(&self, time: u64) {
        if let Some(source) = &self.source {
            source.fetched.store(time, Relaxed);
            source.had_some.fetch_or(time > 0, Relaxed);
        }
    }
}

impl Source {
    /// Nothing panics while it holds the lock.
    fn wish(&self) -> MutexGuard<'_, Wish> {
        self.wish.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refetch {
    /// Waits for its end, but not longer than a request may.
    pub async fn done(mut self) {
        // If it takes longer, what is known by then decides.
        let _ = timeout(self.wait, self.ended.changed()).await;
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ring() -> KeyRing {
        KeyRing::fetched("corp".into(), 10 * SECOND, 2 * SECOND)
    }

    #[tokio::test(start_paused = true)]
    async fn unknown_keys_cause_one_fetch_in_a_window_however_many_they_are() {
        let ring = ring();
        let mut begun = 0;
        for second in 0..100 {
            for i in 0..100 {
                if let Some(refetch) = ring.want(Some(&format!("{second}-{i}"))) {
                    // Whoever comes while it is under way waits for the same.
                    let other = ring.want(Some("another")).unwrap();
                    ring.wanted().await;
                    begun += 1;
                    ring.end(None);
                    refetch.done().await;
                    other.done().await;
                }
            }
            tokio::time::advance(SECOND).await;
        }
        assert_eq!(begun, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_was_looked_for_is_not_looked_for_again_until_the_next_fetch() {
        let ring = ring();
        let refetch = ring.want(Some("old")).unwrap();
        ring.end(None);
        refetch.done().await;
        ring.lacks(Some("old"));
        tokio::time::advance(20 * SECOND).await;
        assert!(ring.want(Some("old")).is_none());
        assert!(ring.want(Some("new")).is_some());
        ring.end(None);
        tokio::time::advance(20 * SECOND).await;
        assert!(ring.want(Some("old")).is_some(), "the issuer may have it by now");
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_came_later_than_its_first_token_is_found_without_another_reason_to_look() {
        let ring = ring();
        let refetch = ring.want(Some("late")).unwrap();
        ring.end(None);
        refetch.done().await;
        ring.lacks(Some("late"));
        tokio::time::advance(ABSENT - SECOND).await;
        assert!(ring.want(Some("late")).is_none());
        tokio::time::advance(SECOND).await;
        assert!(ring.want(Some("late")).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wish_that_another_fetch_has_met_causes_none() {
        let ring = ring();
        let refetch = ring.want(Some("new")).unwrap();
        // The regular one begins at that moment.
        ring.begin();
        ring.end(None);
        refetch.done().await;
        assert!(timeout(SECOND, ring.wanted()).await.is_err());
        tokio::time::advance(10 * SECOND).await;
        let _ = ring.want(Some("newer")).unwrap();
        assert!(timeout(SECOND, ring.wanted()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_of_unknown_keys_is_bounded() {
        let ring = ring();
        for i in 0..2 * MAX_ABSENT {
            ring.lacks(Some(&i.to_string()));
        }
        ring.lacks(Some(&"x".repeat(MAX_ID + 1)));
        assert_eq!(ring.source.as_ref().unwrap().wish().absent.len(), MAX_ABSENT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_no_longer_than_it_may() {
        let ring = ring();
        let start = Instant::now();
        ring.want(Some("new")).unwrap().done().await;
        assert_eq!(start.elapsed(), 2 * SECOND);
    }

    #[test]
    fn what_is_read_from_a_file_is_not_asked_for_again() {
        let ring = KeyRing::fixed("corp".into(), KeySet::none());
        assert!(ring.want(Some("new")).is_none());
        assert_eq!((ring.age(), ring.state()), (None, None));
    }
}
