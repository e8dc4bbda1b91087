//! Who may guess how often, at the tables themselves and from many threads.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::thread;

use super::*;

const MINUTE: u64 = 60_000_000_000;

fn throttle(per_client: u32, per_user: u32) -> Arc<Throttle> {
    Arc::new(Throttle::new(&config::Failures { per_client, per_user, window: Duration::from_secs(60) }))
}

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

/// Guesses wrong at time `now` until one more is refused, or a thousand times.
fn wrong_guesses(throttle: &Throttle, name: &str, client: Option<IpAddr>, now: u64) -> usize {
    let subject = throttle.subject(name, client);
    (0..1000).take_while(|_| throttle.counts().guess(subject, now).is_ok()).count()
}

/// A right guess at time `now`, if it is looked at.
fn logs_in(throttle: &Throttle, name: &str, client: Option<IpAddr>, now: u64) -> bool {
    let subject = throttle.subject(name, client);
    let guess = throttle.counts().guess(subject, now);
    if let Ok(counted) = guess {
        throttle.counts().take_back(subject, counted, now, now);
        throttle.counts().remember(subject, now);
    }
    guess.is_ok()
}

#[test]
fn a_client_may_be_wrong_as_often_as_the_limit_says_whatever_names_it_tries() {
    let throttle = throttle(20, 10);
    let tried: usize = (0..30).map(|i| wrong_guesses(&throttle, &format!("user{i}"), ip("192.0.2.1"), 0)).sum();
    assert_eq!(tried, 20);
    assert!(!logs_in(&throttle, "alice", ip("192.0.2.1"), 0), "nor is it told by a right one which one is right");
    assert!(logs_in(&throttle, "alice", ip("192.0.2.2"), 0));
    assert_eq!(wrong_guesses(&throttle, "carol", ip("192.0.2.1"), MINUTE / 2), 10, "half of them have drained");
}

#[test]
fn a_name_may_be_tried_as_often_as_the_limit_says_by_all_clients_together() {
    let throttle = throttle(20, 10);
    for name in ["alice", "nobody", ""] {
        let guess = |i| throttle.subject(name, ip(&format!("192.0.2.{i}")));
        assert_eq!((0..40).filter(|i| throttle.counts().guess(guess(i / 4), 0).is_ok()).count(), 10, "{name}");
    }
}

#[test]
fn a_client_of_ipv6_is_its_whole_network_and_a_mapped_address_is_the_one_it_maps() {
    let throttle = throttle(20, 0);
    assert_eq!(wrong_guesses(&throttle, "alice", ip("2001:db8:1:2::1"), 0), 20);
    assert_eq!(wrong_guesses(&throttle, "bob", ip("2001:db8:1:2:ffff:ffff:ffff:ffff"), 0), 0);
    assert_eq!(wrong_guesses(&throttle, "bob", ip("2001:db8:1:3::1"), 0), 20);
    assert_eq!(wrong_guesses(&throttle, "alice", ip("::ffff:192.0.2.1"), 0), 20);
    assert_eq!(wrong_guesses(&throttle, "bob", ip("192.0.2.1"), 0), 0);
}

#[test]
fn without_an_address_only_the_name_counts() {
    let throttle = throttle(1, 10);
    assert_eq!(wrong_guesses(&throttle, "alice", None, 0), 10);
    assert_eq!(wrong_guesses(&throttle, "bob", None, 0), 10);
}

#[test]
fn a_limit_of_nothing_is_no_limit() {
    assert_eq!(wrong_guesses(&throttle(0, 0), "alice", ip("192.0.2.1"), 0), 1000);
    assert_eq!(wrong_guesses(&throttle(20, 0), "alice", ip("192.0.2.1"), 0), 20);
    assert_eq!(wrong_guesses(&throttle(0, 10), "alice", ip("192.0.2.1"), 0), 10);
}

#[test]
fn a_right_password_does_not_count_and_does_not_take_back_what_wrong_ones_have_counted() {
    let throttle = throttle(20, 10);
    assert!((0..100).all(|_| logs_in(&throttle, "mallory", ip("192.0.2.1"), 0)));
    let mut wrong = 0;
    for i in 0..100 {
        let subject = throttle.subject(&format!("user{i}"), ip("192.0.2.1"));
        wrong += usize::from(throttle.counts().guess(subject, 0).is_ok());
        assert!(logs_in(&throttle, "mallory", ip("192.0.2.1"), 0), "from where he has logged in lately");
    }
    assert_eq!(wrong, 20);
}

#[test]
fn strangers_lock_nobody_out_from_where_they_have_logged_in() {
    let throttle = throttle(20, 10);
    assert!(logs_in(&throttle, "alice", ip("192.0.2.1"), 0));
    for i in 0..100 {
        wrong_guesses(&throttle, "alice", ip(&format!("203.0.113.{i}")), 0);
        wrong_guesses(&throttle, "nobody", ip("192.0.2.1"), 0); // behind the same address
    }
    assert!(!logs_in(&throttle, "alice", ip("198.51.100.1"), 0), "from where nobody knows her she has to wait");
    assert!(logs_in(&throttle, "alice", ip("192.0.2.1"), 0));
}

#[test]
fn a_stranger_behind_the_address_of_a_user_has_no_more_guesses_than_elsewhere() {
    let throttle = throttle(20, 10);
    assert!(logs_in(&throttle, "alice", ip("192.0.2.1"), 0));
    assert_eq!(wrong_guesses(&throttle, "alice", ip("192.0.2.1"), 0), 10);
    assert_eq!(wrong_guesses(&throttle, "alice", ip("192.0.2.1"), MINUTE / 10), 1);
}

#[test]
fn guesses_where_users_are_known_count_for_the_client_as_well_while_it_has_some() {
    let (throttle, client) = (throttle(20, 15), ip("192.0.2.1"));
    for name in ["alice", "bob"] {
        assert!(logs_in(&throttle, name, client, 0));
    }
    assert_eq!(wrong_guesses(&throttle, "alice", client, 0), 15);
    assert_eq!(wrong_guesses(&throttle, "nobody", client, 0), 5, "what is left of twenty");
    assert!(throttle.counts().client_wait(throttle.subject("", client).client, 0) > 0);
    assert!(logs_in(&throttle, "bob", client, 0), "a stranger behind his address does not lock him out");
    // Nor did that give the client a guess back, which it had not paid for.
    assert_eq!(wrong_guesses(&throttle, "nobody", client, 0), 0);
    assert_eq!(wrong_guesses(&throttle, "bob", client, 0), 15, "they are looked at, and not told to be");
    assert_eq!(wrong_guesses(&throttle, "nobody", client, MINUTE / 20), 1, "nor do they cost the client any");
}

#[test]
fn guesses_that_are_under_way_count() {
    let throttle = throttle(20, 0);
    let guess = |i: u32| throttle.guess(&format!("user{i}"), ip("192.0.2.1"));
    let under_way: Vec<_> = (0..100).filter_map(|i| guess(i).ok()).collect();
    assert_eq!(under_way.len(), 20);
    assert!(guess(0).is_err_and(|Throttled(wait)| wait <= Duration::from_secs(3)));
    drop(under_way);
    let looked_at = (0..100).filter_map(|i| guess(i).ok().map(Guess::wrong)).count();
    assert!(looked_at >= 19, "{looked_at}: none of them had been wrong, and little is kept of the time that they took");
}

#[test]
fn threads_that_guess_at_once_have_no_more_guesses_together() {
    let throttle = throttle(1_000, 0);
    let looked_at: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let throttle = &throttle;
                let guess = move |i| throttle.guess(&format!("{thread} {i}"), ip("192.0.2.1")).map(Guess::wrong);
                scope.spawn(move || (0..1_000).filter(|i| guess(*i).is_ok()).count())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    // What drains meanwhile, 17 in a second, comes on top.
    assert!((1_000..1_100).contains(&looked_at), "{looked_at}");
}

#[test]
fn no_two_processes_hash_names_alike() {
    assert_ne!(throttle(20, 10).subject("alice", None).user, throttle(20, 10).subject("alice", None).user);
}
