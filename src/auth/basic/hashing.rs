//! Where slow hashes run: on threads of their own, and never more of them than there are processors.

use std::{sync::Arc, thread::available_parallelism, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout,
};

use super::{check::PasswordCheck, users::User};

/// Checks that may wait for one of those that run. A page's requests come together; more than this is no page.
const WAITING: usize = 64;

/// How long a check may wait.
const PATIENCE: Duration = Duration::from_secs(2);

/// The threads that hash. Its clones, which may be on other runtimes, share its limits.
#[derive(Clone, Debug)]
pub struct Hashing {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// More passwords came than can be hashed. Try again in a second or two.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("more passwords are waiting to be checked than can be")]
pub struct Overloaded;

impl Hashing {
    /// As many threads as the process has processors, its CPU quota taken into account. They start when needed.
    pub fn new() -> Self {
        Self::with(available_parallelism().map_or(1, usize::from), WAITING)
    }

    /// Checks a password. Needs a tokio runtime of either flavour.
    ///
    /// Who stops waiting for the answer does not stop the hash, nor makes room for another: the permit moves into
    /// the task and is free when the thread is.
    ///
    /// # Errors
    /// When too many others are waiting, or it had to wait for two seconds. It fails also while the runtime shuts
    /// down. No password was checked then.
    pub async fn run(&self, check: PasswordCheck) -> Result<Option<Arc<User>>, Overloaded> {
        self.spawn(|| check.run()).await
    }

    fn with(running: usize, waiting: usize) -> Self {
        Self { running: Arc::new(Semaphore::new(running)), waiting: Arc::new(Semaphore::new(waiting)) }
    }

    async fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Overloaded> {
        let permit = self.permit().await?;
        let task = spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        task.await.map_err(|_| Overloaded)
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, Overloaded> {
        if let Ok(permit) = self.running.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let _place = self.waiting.try_acquire().map_err(|_| Overloaded)?;
        match timeout(PATIENCE, self.running.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Overloaded),
        }
    }
}

impl Default for Hashing {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::{path::Path, sync::mpsc};

    use tokio::{runtime, sync::oneshot, task::yield_now, time::Instant};

    use super::*;
    use crate::auth::basic::{Credentials, Users, vectors};

    #[tokio::test]
    async fn a_password_is_checked_on_another_thread() {
        let users = Users::parse(Path::new("users"), format!("alice:{}", vectors::BCRYPT).as_bytes(), None).unwrap();
        let hashing = Hashing::new();
        let run =
            async |password| hashing.run(users.check(Credentials::new("alice", password).unwrap())).await.unwrap();
        assert_eq!(run("wrong").await, None);
        assert_eq!(&*run("correct horse").await.unwrap().name, "alice");
        let here = std::thread::current().id();
        assert_ne!(hashing.spawn(|| std::thread::current().id()).await, Ok(here));
    }

    #[tokio::test]
    async fn who_leaves_does_not_make_room_while_the_hash_goes_on() {
        let hashing = Hashing::with(1, 0);
        let (started, has_started) = oneshot::channel();
        let (finish, may_finish) = mpsc::channel::<()>();
        let work = hashing.spawn(move || {
            started.send(()).unwrap();
            may_finish.recv().unwrap();
        });
        tokio::select! {
            _ = work => unreachable!("it may not finish yet"),
            started = has_started => started.unwrap(),
        }
        assert_eq!(hashing.spawn(|| ()).await, Err(Overloaded));
        finish.send(()).unwrap();
        drop(hashing.running.acquire().await.unwrap());
        assert_eq!(hashing.spawn(|| ()).await, Ok(()));
    }

    /// Lets the other tasks of this thread run until each of them waits.
    async fn settle() {
        for _ in 0..10 {
            yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_is_bounded_in_number_and_time() {
        let hashing = Hashing::with(1, 2);
        let busy = hashing.running.clone().acquire_owned().await.unwrap();
        let start = Instant::now();
        let wait = || {
            let hashing = hashing.clone();
            tokio::spawn(async move { hashing.spawn(|| ()).await })
        };
        let (first, second) = (wait(), wait());
        settle().await;
        assert_eq!(hashing.waiting.available_permits(), 0);
        assert_eq!(hashing.spawn(|| ()).await, Err(Overloaded));
        assert_eq!(start.elapsed(), Duration::ZERO, "the third is refused at once");

        assert_eq!(first.await.unwrap(), Err(Overloaded));
        assert_eq!(second.await.unwrap(), Err(Overloaded));
        assert!((PATIENCE..PATIENCE + Duration::from_millis(10)).contains(&start.elapsed()), "{:?}", start.elapsed());

        let third = wait();
        settle().await;
        assert_eq!(hashing.waiting.available_permits(), 1);
        drop(busy);
        assert_eq!(third.await.unwrap(), Ok(()), "who waits is served when there is room");
        assert_eq!(hashing.waiting.available_permits(), 2);
    }

    #[test]
    fn runtimes_of_several_workers_share_the_limits() {
        let hashing = Hashing::with(1, 0);
        let (started, has_started) = mpsc::channel();
        let (finish, may_finish) = mpsc::channel::<()>();
        let other = hashing.clone();
        let worker = std::thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(other.spawn(move || {
                started.send(()).unwrap();
                may_finish.recv().unwrap();
            }))
        });
        has_started.recv().unwrap();
        let runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
        assert_eq!(runtime.block_on(hashing.spawn(|| ())), Err(Overloaded));
        finish.send(()).unwrap();
        assert_eq!(worker.join().unwrap(), Ok(()));
        assert_eq!(runtime.block_on(hashing.spawn(|| ())), Ok(()));
    }

    #[tokio::test]
    async fn work_that_panics_gives_its_place_back() {
        let hashing = Hashing::with(1, 0);
        assert_eq!(hashing.spawn(|| std::panic::resume_unwind(Box::new(()))).await, Err::<(), _>(Overloaded));
        assert_eq!(hashing.spawn(|| ()).await, Ok(()));
    }
}
