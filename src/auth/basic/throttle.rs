//! How often a password may be tried: too many wrong ones from one client, or for one name, and no more are looked at
//! for a while.
//!
//! - A guess is counted **before** it is hashed and taken back when it was right, so that a thousand guesses at once
//!   are not all under way before the first has counted. A right password never takes back what wrong ones have
//!   counted.
//! - A name counts as it was claimed. Whether there is such a user makes no difference.
//! - The names are hashed under a key that no other process has; nobody can choose two that count as one.
//! - A client is an IPv4 address or a /64 of IPv6, which is the least that one customer is given. Who comes through a
//!   Unix socket, or a proxy that cannot name its client, has no address: then only the name counts.
//! - A user is counted apart at a place from where he has logged in lately ([`Known`]), and not for the name then.
//!   What is remembered ([`Cache`](super::cache::Cache)) never comes here.
//! - At such a place a password is looked at even when its client has no guess left, or a stranger behind the same
//!   address could lock the user out. It counts for the client as far as the client has guesses left, and whoever asks
//!   answers a wrong one as if it had not been looked at ([`Throttle::has_guesses`]): or the answer would tell which
//!   names have an account.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    known::Known,
    sketch::{Rate, Sketch, nanoseconds},
};
use crate::config;

/// Counts wrong passwords.
pub(super) struct Throttle {
    random: RandomState,
    start: Instant,
    counts: Mutex<Counts>,
}

/// Too many were wrong: how long until one more is looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Throttled(pub(super) Duration);

/// A guess that counts as wrong while it is looked at. Dropped, it does not count: it was right, or not looked at.
#[must_use = "a wrong password has to be counted"]
pub(super) struct Guess {
    throttle: Arc<Throttle>,
    subject: Subject,
    counted: Counted,
    added: u64,
    wrong: bool,
}

/// Whose guess it is: what stands for them in the tables.
#[derive(Clone, Copy)]
struct Subject {
    user: u64,
    client: Option<u64>,
    /// The two together.
    place: Option<u64>,
}

/// Where a guess was counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Counted {
    /// For the user at a place that is known, and for the client if that had a guess left.
    Place { client: bool },
    /// For the client and for the name.
    Apart,
}

/// The tables. Pure: whoever asks says what time it is.
struct Counts {
    /// None = not limited.
    clients: Option<Sketch>,
    users: Option<(Sketch, Known)>,
}

impl Throttle {
    pub(super) fn new(config: &config::Failures) -> Self {
        Self { random: RandomState::new(), start: Instant::now(), counts: Mutex::new(Counts::new(config)) }
    }

    /// Counts a guess at the password of whoever is called `name`.
    pub(super) fn guess(self: &Arc<Self>, name: &str, client: Option<IpAddr>) -> Result<Guess, Throttled> {
        let (subject, added) = (self.subject(name, client), self.now());
        let counted = self.counts().guess(subject, added)?;
        Ok(Guess { throttle: self.clone(), subject, counted, added, wrong: false })
    }

    /// Whether this client may guess, wherever it is and whatever the name.
    pub(super) fn has_guesses(&self, client: Option<IpAddr>) -> Result<(), Throttled> {
        let (key, now) = (network(client).map(|network| self.random.hash_one(network)), self.now());
        refuse(self.counts().client_wait(key, now))
    }

    /// Notes that `name` had the right password at this client.
    pub(super) fn was_right(&self, name: &str, client: Option<IpAddr>) {
        let (subject, now) = (self.subject(name, client), self.now());
        self.counts().remember(subject, now);
    }

    fn subject(&self, name: &str, client: Option<IpAddr>) -> Subject {
        let network = network(client);
        Subject {
            user: self.random.hash_one(name),
            client: network.map(|network| self.random.hash_one(network)),
            place: network.map(|network| self.random.hash_one((name, network))),
        }
    }

    fn now(&self) -> u64 {
        nanoseconds(self.start.elapsed())
    }

    /// Nothing panics while it holds the lock; if something did, the counts would still be counts.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guess {
    /// It was wrong, and stays counted.
    pub(super) fn wrong(mut self) {
        self.wrong = true;
    }
}

impl Drop for Guess {
    fn drop(&mut self) {
        if !self.wrong {
            let now = self.throttle.now();
            self.throttle.counts().take_back(self.subject, self.counted, self.added, now);
        }
    }
}

impl Counts {
    fn new(config: &config::Failures) -> Self {
        let rate = |limit| Some(Rate::new(NonZeroU32::new(limit)?, config.window));
        Self {
            clients: rate(config.per_client).map(Sketch::new),
            users: rate(config.per_user).map(|rate| (Sketch::new(rate), Known::new(rate))),
        }
    }

    /// Counts a guess, unless there were too many.
    fn guess(&mut self, subject: Subject, now: u64) -> Result<Counted, Throttled> {
        let client_wait = self.client_wait(subject.client, now);
        let Self { clients, users } = self;
        let client = clients.as_mut().zip(subject.client);
        if let (Some((_, known)), Some(place)) = (users.as_mut(), subject.place)
            && let Some((rate, end)) = known.get(subject.user, place, now)
        {
            refuse(rate.wait(*end, now))?;
            *end = rate.add(*end, now);
            let client = client.filter(|_| client_wait == 0).map(|(clients, key)| clients.add(key, now));
            return Ok(Counted::Place { client: client.is_some() });
        }
        let user = users.as_mut().map(|(names, _)| names);
        refuse(client_wait)?;
        refuse(user.as_ref().map_or(0, |names| names.wait(subject.user, now)))?;
        if let Some((clients, key)) = client {
            clients.add(key, now);
        }
        if let Some(names) = user {
            names.add(subject.user, now);
        }
        Ok(Counted::Apart)
    }

    /// How long the client with this key has no guess left. 0 = it has.
    fn client_wait(&self, key: Option<u64>, now: u64) -> u64 {
        self.clients.as_ref().zip(key).map_or(0, |(clients, key)| clients.wait(key, now))
    }

    /// Takes back a guess that was counted at `added`.
    fn take_back(&mut self, subject: Subject, counted: Counted, added: u64, now: u64) {
        let Self { clients, users } = self;
        let client = match counted {
            Counted::Place { client } => {
                if let (Some((_, known)), Some(place)) = (users, subject.place)
                    && let Some((rate, end)) = known.get(subject.user, place, now)
                {
                    *end = rate.give_back(*end, added, now);
                }
                client
            }
            Counted::Apart => {
                if let Some((names, _)) = users {
                    names.give_back(subject.user, added, now);
                }
                true
            }
        };
        if let (true, Some(clients), Some(key)) = (client, clients, subject.client) {
            clients.give_back(key, added, now);
        }
    }

    fn remember(&mut self, subject: Subject, now: u64) {
        if let (Some((_, known)), Some(place)) = (&mut self.users, subject.place) {
            known.remember(subject.user, place, now);
        }
    }
}

/// What counts as one client.
fn network(client: Option<IpAddr>) -> Option<u128> {
    client.map(|address| match address.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address) >> 64 << 64,
    })
}

fn refuse(wait: u64) -> Result<(), Throttled> {
    if wait == 0 { Ok(()) } else { Err(Throttled(Duration::from_nanos(wait))) }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Throttle")
    }
}

#[cfg(test)]
mod tests;
