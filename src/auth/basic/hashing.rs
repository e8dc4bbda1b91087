//! Where passwords are checked: the slow ones on threads of their own, each at most once at a time, and none in a
//! queue.
//!
//! A page's requests come together, before the first of them has made the password a remembered one. So **the same
//! credentials that are being checked already** are not checked again: who sends them waits for that one check. What is
//! the same is decided by the [`Fingerprint`] of what was sent, and by nothing else. Everybody else finds a free thread
//! or is refused at once: who waits in a queue for a quarter of a second of hashing each would hold it up for all.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, available_parallelism},
    time::Duration,
};

use tokio::sync::{Semaphore, watch};

use super::{
    cache::Fingerprint,
    check::{PasswordCheck, Remember},
    throttle::{Throttle, Throttled},
    users::User,
};
use crate::config;

/// How far a thread that hashes stands back, on the scale of nice(1). What serves requests comes before it, and still a
/// tenth of a processor is left for it where there is only one: nobody may wait for ever to log in.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Checks passwords. Its clones, which may be on other runtimes, share its limits.
#[derive(Clone, Debug)]
pub struct Hashing {
    threads: Arc<Semaphore>,
    under_way: Arc<UnderWay>,
    throttle: Arc<Throttle>,
}

/// Why a password was not checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unchecked {
    /// Every thread that may hash is hashing. Try again in a second or two.
    #[error("as many passwords as can be are being checked")]
    Overloaded,
    /// Too many were wrong before it. It was not looked at, or is not told to have been.
    #[error("too many passwords were wrong; the next one is looked at in {0:?}")]
    Throttled(Duration),
}

/// The user whose password it is, nobody when it is wrong; `None` while that is being found out.
type Outcome = Option<Option<Arc<User>>>;

/// The checks that are under way.
#[derive(Default)]
struct UnderWay(Mutex<HashMap<Fingerprint, watch::Receiver<Outcome>>>);

/// A place among the checks that are under way, for as long as it is held.
struct Place {
    under_way: Arc<UnderWay>,
    fingerprint: Fingerprint,
}

impl Hashing {
    /// One thread less than the process has processors, its CPU quota taken into account, and at least one. They start
    /// when they are needed.
    pub fn new(failures: &config::Failures) -> Self {
        Self::with(available_parallelism().map_or(1, |processors| processors.get().saturating_sub(1).max(1)), failures)
    }

    fn with(threads: usize, failures: &config::Failures) -> Self {
        Self {
            threads: Arc::new(Semaphore::new(threads)),
            under_way: Arc::default(),
            throttle: Arc::new(Throttle::new(failures)),
        }
    }

    /// Checks a password that a client sent. Needs no runtime, and none of a certain kind.
    ///
    /// Who stops waiting for the answer does not stop the hash, neither for those who wait too nor to make room for
    /// another: the permit moves into the thread and is free when the thread is.
    ///
    /// # Errors
    /// When there is no thread for it, or too many passwords were wrong before it. It was not checked then, or was
    /// wrong too.
    pub async fn run(&self, check: PasswordCheck, client: Option<IpAddr>) -> Result<Option<Arc<User>>, Unchecked> {
        self.run_with(check, client, PasswordCheck::run).await
    }

    /// Checks a password that is not slow ([`PasswordCheck::is_slow`]) on this thread.
    ///
    /// # Errors
    /// Too many passwords were wrong before it. It was not checked then, or was wrong too.
    pub fn run_now(&self, check: &PasswordCheck, client: Option<IpAddr>) -> Result<Option<Arc<User>>, Unchecked> {
        let has_guesses = self.throttle.has_guesses(client);
        let outcome = self.throttle.guess(check.name(), client).map_err(Unchecked::from).map(|guess| {
            let user = check.run();
            match user {
                Some(_) => self.throttle.was_right(check.name(), client),
                None => guess.wrong(),
            }
            user
        });
        answer(outcome, has_guesses)
    }

    async fn run_with(
        &self,
        check: PasswordCheck,
        client: Option<IpAddr>,
        work: impl FnOnce(&PasswordCheck) -> Option<Arc<User>> + Send + 'static,
    ) -> Result<Option<Arc<User>>, Unchecked> {
        let Some(remember) = check.remember.clone() else { return self.run_now(&check, client) };
        let name: Box<str> = check.name().into();
        // Before the check, which may use up the last guess; and here, since who joins a check never guesses.
        let has_guesses = self.throttle.has_guesses(client);
        let outcome = match self.start(check, &remember, client, work) {
            // Without an outcome the thread has panicked.
            Ok(mut outcome) => {
                let user = outcome.wait_for(Option::is_some).await.ok().and_then(|user| user.clone());
                user.ok_or(Unchecked::Overloaded)
            }
            Err(why) => Err(why),
        };
        if let Ok(Some(_)) = outcome {
            self.throttle.was_right(&name, client);
        }
        answer(outcome, has_guesses)
    }

    /// Starts a check, or finds the one of the same credentials.
    fn start(
        &self,
        check: PasswordCheck,
        remember: &Remember,
        client: Option<IpAddr>,
        work: impl FnOnce(&PasswordCheck) -> Option<Arc<User>> + Send + 'static,
    ) -> Result<watch::Receiver<Outcome>, Unchecked> {
        let mut under_way = self.under_way.lock();
        if let Some(outcome) = under_way.get(&remember.fingerprint) {
            return Ok(outcome.clone());
        }
        // A check that has ended since this one was planned has left here what it found, before it left.
        if let Some(user) = remember.find() {
            return Ok(watch::channel(Some(Some(user))).1);
        }
        let guess = self.throttle.guess(check.name(), client)?;
        let permit = self.threads.clone().try_acquire_owned().map_err(|_| Unchecked::Overloaded)?;
        let (sender, outcome) = watch::channel(None);
        under_way.insert(remember.fingerprint, outcome.clone());
        drop(under_way);

        let place = Place { under_way: self.under_way.clone(), fingerprint: remember.fingerprint };
        let thread = move || {
            stand_back();
            let user = work(&check);
            match user {
                Some(_) => drop(guess),
                None => guess.wrong(),
            }
            // Before the answer: who has it and comes again at once is to find a thread, and not this check.
            drop((place, permit));
            sender.send_replace(Some(user));
        };
        // A thread for each check costs some 30 µs where the cheapest hash takes a millisecond; in turn there is no
        // queue, none that idles, and none to end when the process does.
        thread::Builder::new().name("hash".to_owned()).spawn(thread).map_err(|_| Unchecked::Overloaded)?;
        Ok(outcome)
    }
}

impl UnderWay {
    /// Nothing panics while it holds the lock; if something did, the map would still be whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<Fingerprint, watch::Receiver<Outcome>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for UnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnderWay").field(&self.lock().len()).finish()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.under_way.lock().remove(&self.fingerprint);
    }
}

impl From<Throttled> for Unchecked {
    fn from(Throttled(wait): Throttled) -> Self {
        Self::Throttled(wait)
    }
}

/// What a client is told. One that had no guess left is told that and no more, unless the password was right: it would
/// see by anything else, be it `Overloaded`, that the name is known at its address.
fn answer(
    outcome: Result<Option<Arc<User>>, Unchecked>,
    has_guesses: Result<(), Throttled>,
) -> Result<Option<Arc<User>>, Unchecked> {
    match outcome {
        Ok(Some(user)) => Ok(Some(user)),
        Ok(None) | Err(_) => has_guesses.map_err(Unchecked::from).and(outcome),
    }
}

/// Lets the threads that serve requests go first. Where the system does not know the priority of a thread, it would be
/// that of the process, and stays as it is.
fn stand_back() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, NICENESS);
}

#[cfg(test)]
mod tests;
