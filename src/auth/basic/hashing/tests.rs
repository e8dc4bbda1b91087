//! One check for the same credentials, no queue for others, and who leaves changes nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::Ipv4Addr, path::Path, sync::mpsc};

use tokio::{
    runtime::{self, Runtime},
    sync::oneshot,
    task::JoinHandle,
};

use super::*;
use crate::auth::basic::{Credentials, Users, cache::Cache, vectors};

const CLIENT: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));

fn users() -> Users {
    let (alice, bob) = (vectors::BCRYPT, vectors::BCRYPT);
    Users::parse(Path::new("users"), format!("alice:{alice}\nbob:{bob}\n").as_bytes(), None).unwrap()
}

fn check(users: &Users, name: &str, password: &str) -> PasswordCheck {
    users.check(Credentials::new(name, password).unwrap())
}

fn hashing(threads: usize) -> Hashing {
    Hashing::with(threads, &config::Failures { per_client: 0, per_user: 0, ..config::Failures::default() })
}

/// Whose password it is, by the name.
fn name(outcome: Result<Option<Arc<User>>, Unchecked>) -> Result<Option<String>, Unchecked> {
    outcome.map(|user| user.map(|user| user.name.to_string()))
}

/// A check that has started, and goes on when it is told to.
struct Held {
    go_on: mpsc::Sender<()>,
    outcome: JoinHandle<Result<Option<Arc<User>>, Unchecked>>,
}

/// Starts a check that hashes only when it is told to.
async fn hold(hashing: &Hashing, check: PasswordCheck) -> Held {
    hold_from(hashing, check, CLIENT).await
}

async fn hold_from(hashing: &Hashing, check: PasswordCheck, client: Option<IpAddr>) -> Held {
    let (started, has_started) = oneshot::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let hashing = hashing.clone();
    let outcome = tokio::spawn(async move {
        let work = move |check: &PasswordCheck| {
            started.send(()).unwrap();
            may_go_on.recv().unwrap();
            check.run()
        };
        hashing.run_with(check, client, work).await
    });
    has_started.await.unwrap();
    Held { go_on, outcome }
}

/// Never to be called: the answer comes from elsewhere.
fn no_work(_: &PasswordCheck) -> Option<Arc<User>> {
    unreachable!("it is being checked, or was")
}

async fn free(hashing: &Hashing) {
    drop(hashing.threads.acquire().await.unwrap());
}

#[tokio::test]
async fn a_password_is_checked_on_another_thread_that_stands_back() {
    let (users, hashing) = (users(), hashing(1));
    assert_eq!(name(hashing.run(check(&users, "alice", "wrong"), CLIENT).await), Ok(None));
    let (tell, told) = oneshot::channel();
    let look = |check: &PasswordCheck| {
        #[cfg(target_os = "linux")]
        assert_eq!(rustix::process::getpriority_process(None).unwrap(), NICENESS);
        tell.send(thread::current().id()).unwrap();
        check.run()
    };
    let outcome = hashing.run_with(check(&users, "alice", "correct horse"), CLIENT, look).await;
    assert_eq!(name(outcome), Ok(Some("alice".to_owned())));
    assert_ne!(told.await.unwrap(), thread::current().id());
    #[cfg(target_os = "linux")]
    assert_eq!(rustix::process::getpriority_process(None).unwrap(), 0, "this one does not");
}

#[tokio::test]
async fn the_same_credentials_are_checked_once_for_all_who_send_them_together() {
    for (password, expected) in [("correct horse", Some("alice".to_owned())), ("wrong", None)] {
        let (users, hashing) = (users(), hashing(1));
        let held = hold(&hashing, check(&users, "alice", password)).await;
        let others: Vec<_> =
            (0..30).map(|_| hashing.join(check(&users, "alice", password))).collect::<Result<_, _>>().unwrap();
        held.go_on.send(()).unwrap();
        assert_eq!(name(held.outcome.await.unwrap()), Ok(expected.clone()));
        for mut outcome in others {
            let user = outcome.wait_for(Option::is_some).await.unwrap().clone().unwrap();
            assert_eq!(name(Ok(user)), Ok(expected.clone()));
        }
    }
}

#[tokio::test]
async fn whether_a_check_is_shared_does_not_tell_who_has_an_account() {
    assert!(!told_apart_by_sharing(|_| {}).await);
    // If what stands for the credentials came from what the file has for the name, it is found.
    let of_the_entry = |check: &mut PasswordCheck| {
        if let (None, Some(remember)) = (&check.entry, &mut check.remember) {
            remember.fingerprint = Cache::new().unwrap().fingerprint(&check.credentials);
        }
    };
    assert!(told_apart_by_sharing(of_the_entry).await);
}

/// Whether two who send the same wrong password together share its check for one name and not for another.
async fn told_apart_by_sharing(alter: fn(&mut PasswordCheck)) -> bool {
    let mut shared = Vec::new();
    for who in ["alice", "nobody"] {
        let (users, hashing) = (users(), hashing(1));
        let altered = || {
            let mut check = check(&users, who, "wrong");
            alter(&mut check);
            check
        };
        let held = hold(&hashing, altered()).await;
        shared.push(hashing.join(altered()).is_ok());
        held.go_on.send(()).unwrap();
        assert_eq!(name(held.outcome.await.unwrap()), Ok(None));
    }
    shared[0] != shared[1]
}

#[tokio::test]
async fn other_credentials_are_not_told_what_came_of_these() {
    let (users, hashing) = (users(), hashing(1));
    let held = hold(&hashing, check(&users, "alice", "correct horse")).await;
    for (other, password) in [
        ("alice", "wrong"),
        ("bob", "correct horse"),
        ("alic", "ecorrect horse"),
        ("alicec", "orrect horse"),
        ("", "alicecorrect horse"),
        ("nobody", "correct horse"),
    ] {
        let outcome = hashing.join(check(&users, other, password));
        assert_eq!(outcome.err(), Some(Unchecked::Overloaded), "{other}:{password} waits for nobody's answer");
    }
    held.go_on.send(()).unwrap();
    assert_eq!(name(held.outcome.await.unwrap()), Ok(Some("alice".to_owned())));
}

#[tokio::test]
async fn a_file_that_was_loaded_again_does_not_take_its_answers_from_the_old_one() {
    let hashing = hashing(1);
    let held = hold(&hashing, check(&users(), "alice", "correct horse")).await;
    let outcome = hashing.join(check(&users(), "alice", "correct horse"));
    assert_eq!(outcome.err(), Some(Unchecked::Overloaded));
    held.go_on.send(()).unwrap();
    assert!(held.outcome.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_check_that_was_planned_before_another_had_its_answer_takes_that() {
    let (users, hashing) = (users(), hashing(1));
    let late = check(&users, "alice", "correct horse");
    assert!(hashing.run(check(&users, "alice", "correct horse"), CLIENT).await.unwrap().is_some());
    assert_eq!(name(hashing.run_with(late, CLIENT, no_work).await), Ok(Some("alice".to_owned())));
}

#[tokio::test]
async fn who_leaves_neither_stops_the_hash_for_others_nor_makes_room_for_another() {
    let (users, hashing) = (users(), hashing(1));
    let held = hold(&hashing, check(&users, "alice", "correct horse")).await;
    held.outcome.abort();
    assert!(held.outcome.await.unwrap_err().is_cancelled());
    assert_eq!(name(hashing.run(check(&users, "bob", "wrong"), CLIENT).await), Err(Unchecked::Overloaded));
    let mut outcome = hashing.join(check(&users, "alice", "correct horse")).unwrap();
    held.go_on.send(()).unwrap();
    assert!(outcome.wait_for(Option::is_some).await.unwrap().clone().unwrap().is_some());
    free(&hashing).await;
    assert_eq!(name(hashing.run(check(&users, "bob", "wrong"), CLIENT).await), Ok(None));
}

#[test]
fn runtimes_of_several_workers_share_the_threads() {
    let runtime = || -> Runtime { runtime::Builder::new_current_thread().build().unwrap() };
    let (users, hashing) = (users(), hashing(1));
    let one = runtime();
    let held = one.block_on(hold(&hashing, check(&users, "alice", "correct horse")));
    let other = hashing.clone();
    let bob = check(&users, "bob", "wrong");
    let refused = thread::spawn(move || runtime().block_on(other.run(bob, CLIENT))).join().unwrap();
    assert_eq!(name(refused), Err(Unchecked::Overloaded));
    held.go_on.send(()).unwrap();
    assert_eq!(name(one.block_on(held.outcome).unwrap()), Ok(Some("alice".to_owned())));
}

#[tokio::test]
async fn a_check_that_panics_lets_nobody_in_and_gives_everything_back() {
    let (users, hashing) = (users(), Hashing::with(1, &config::Failures { per_user: 1, ..Default::default() }));
    for _ in 0..3 {
        let panics = |_: &PasswordCheck| std::panic::resume_unwind(Box::new(()));
        let outcome = hashing.run_with(check(&users, "alice", "correct horse"), CLIENT, panics).await;
        assert_eq!(name(outcome), Err(Unchecked::Overloaded));
        free(&hashing).await;
    }
    let right = hashing.run(check(&users, "alice", "correct horse"), CLIENT).await;
    assert_eq!(name(right), Ok(Some("alice".to_owned())));
}

#[tokio::test]
async fn after_too_many_wrong_passwords_nothing_is_hashed_for_whoever_is_named() {
    for who in ["alice", "nobody"] {
        let (users, hashing) = (users(), Hashing::with(1, &config::Failures { per_user: 3, ..Default::default() }));
        for i in 0..3 {
            assert_eq!(name(hashing.run(check(&users, who, &i.to_string()), CLIENT).await), Ok(None));
        }
        let outcome = hashing.run_with(check(&users, who, "correct horse"), CLIENT, no_work).await;
        assert!(matches!(outcome, Err(Unchecked::Throttled(wait)) if wait <= Duration::from_secs(20)), "{outcome:?}");
        let other = hashing.run(check(&users, "bob", "correct horse"), CLIENT).await;
        assert_eq!(name(other), Ok(Some("bob".to_owned())));
    }
}

#[tokio::test]
async fn wrong_passwords_that_find_no_thread_do_not_count() {
    let (users, hashing) = (users(), Hashing::with(1, &config::Failures { per_user: 1, ..Default::default() }));
    let held = hold(&hashing, check(&users, "bob", "correct horse")).await;
    for i in 0..10 {
        let outcome = hashing.run(check(&users, "alice", &i.to_string()), CLIENT).await;
        assert_eq!(name(outcome), Err(Unchecked::Overloaded));
    }
    held.go_on.send(()).unwrap();
    assert!(held.outcome.await.unwrap().unwrap().is_some());
    assert!(hashing.run(check(&users, "alice", "correct horse"), CLIENT).await.unwrap().is_some());
}

#[tokio::test]
async fn everybody_who_waited_for_a_right_password_is_known_from_then_on() {
    let elsewhere = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    let (users, hashing) = (users(), Hashing::with(1, &config::Failures { per_user: 1, ..Default::default() }));
    let held = hold(&hashing, check(&users, "alice", "correct horse")).await;
    let second = hashing.clone();
    let joined = tokio::spawn({
        let check = check(&users, "alice", "correct horse");
        async move { second.run_with(check, elsewhere, no_work).await }
    });
    tokio::task::yield_now().await;
    held.go_on.send(()).unwrap();
    assert!(held.outcome.await.unwrap().unwrap().is_some() && joined.await.unwrap().unwrap().is_some());
    let stranger = Some(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)));
    assert_eq!(name(hashing.run(check(&users, "alice", "wrong"), stranger).await), Ok(None));
    for (client, looked_at) in [(CLIENT, true), (elsewhere, true), (Some(Ipv4Addr::BROADCAST.into()), false)] {
        let outcome = hashing.run(check(&users, "alice", "wrong too"), client).await;
        assert_eq!(outcome.is_ok(), looked_at, "{client:?}");
    }
}

#[tokio::test]
async fn a_client_without_a_guess_left_is_told_the_same_of_every_name_unless_the_password_is_right() {
    let failures = config::Failures { per_client: 3, per_user: 100, ..Default::default() };
    let (users, hashing) = (users(), Hashing::with(1, &failures));
    assert!(hashing.run(check(&users, "alice", "correct horse"), CLIENT).await.unwrap().is_some());
    for i in 0..3 {
        assert_eq!(name(hashing.run(check(&users, "alice", &i.to_string()), CLIENT).await), Ok(None));
    }
    let told = |outcome| matches!(outcome, Err(Unchecked::Throttled(wait)) if wait <= Duration::from_secs(20));
    for who in ["alice", "bob", "nobody"] {
        assert!(told(hashing.run(check(&users, who, "wrong"), CLIENT).await), "{who}");
        assert!(told(hashing.run_now(&check(&users, who, "wrong"), CLIENT)), "{who} at once");
    }
    free(&hashing).await;
    // Who comes while the thread is busy is told nothing else, nor who joins a check of somebody else.
    let elsewhere = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    let held = hold_from(&hashing, check(&users, "nobody", "wrong too"), elsewhere).await;
    for who in ["alice", "bob", "nobody"] {
        assert!(told(hashing.run(check(&users, who, "wrong"), CLIENT).await), "{who} while another is checked");
    }
    let joined = tokio::spawn({
        let (hashing, check) = (hashing.clone(), check(&users, "nobody", "wrong too"));
        async move { hashing.run_with(check, CLIENT, no_work).await }
    });
    tokio::task::yield_now().await;
    held.go_on.send(()).unwrap();
    assert_eq!(name(held.outcome.await.unwrap()), Ok(None));
    assert!(told(joined.await.unwrap()));
    // Another file has remembered nothing.
    let users = self::users();
    let right = hashing.run(check(&users, "alice", "correct horse"), CLIENT).await;
    assert_eq!(name(right), Ok(Some("alice".to_owned())), "from where she is known");
    assert!(told(hashing.run(check(&users, "bob", "correct horse"), CLIENT).await));
}

impl Hashing {
    /// What comes of a check that must not be the one that hashes.
    fn join(&self, check: PasswordCheck) -> Result<watch::Receiver<Outcome>, Unchecked> {
        let remember = check.remember.clone().unwrap();
        self.start(check, &remember, CLIENT, no_work)
    }
}
