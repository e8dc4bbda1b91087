//! An issuer that answers, or does not, over hours and days of paused time.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::{Mutex, PoisonError};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData};
use serde_json::json;
use tokio::time::sleep;

use super::*;
use crate::{
    auth::jwt::ring::KeyState,
    config::{Server, Url},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// An issuer whose answers the test chooses.
#[derive(Clone, Default)]
struct Issuer(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    /// What it answers. Nothing = it is down.
    jwks: Option<String>,
    max_age: Option<Duration>,
    /// When it was asked, and whether for a key that was wanted.
    asked: Vec<(Instant, bool)>,
    results: Vec<Refreshed>,
}

impl Publish for Issuer {
    async fn fetch(&mut self, wanted: bool) -> Result<Published, PublishError> {
        let url = Url::parse("https://login.example.com/keys").unwrap();
        let mut script = self.script();
        script.asked.push((Instant::now(), wanted));
        match &script.jwks {
            Some(jwks) => Ok(Published { jwks: jwks.clone().into(), max_age: script.max_age, url }),
            None => Err(PublishError::Unusable(url, "down\nand out".to_owned())),
        }
    }
}

impl Issuer {
    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publishes(&self, jwks: &str) {
        self.script().jwks = Some(jwks.to_owned());
    }

    fn goes_down(&self) {
        self.script().jwks = None;
    }

    /// The times between the questions since the last call.
    fn intervals(&self) -> Vec<Duration> {
        let asked = std::mem::take(&mut self.script().asked);
        asked.windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
    }

    fn last(&self) -> Option<Refreshed> {
        self.script().results.last().copied()
    }
}

fn terms() -> Remote {
    Remote {
        refresh: 5 * MINUTE,
        min_refetch: 10 * SECOND,
        unknown_key_wait: 2 * SECOND,
        max_stale: 24 * HOUR,
        store: None,
        server: Server { timeout: 3 * SECOND, ca: None, bearer_token_file: None },
    }
}

/// Starts the rounds to `issuer`.
fn start(issuer: &Issuer, terms: Remote) -> Arc<KeyRing> {
    let ring = Arc::new(KeyRing::fetched("corp".into(), terms.min_refetch, terms.unknown_key_wait));
    let store = terms.store.as_deref().map(|folder| Store::new(folder, "corp".to_owned()));
    let (publisher, algorithms) = (issuer.clone(), vec![Algorithm::EdDSA]);
    let rounds = Rounds {
        ring: ring.clone(),
        publisher,
        algorithms,
        terms,
        store,
        current: None,
        ends: None,
        ended: false,
        trouble: None,
    };
    let issuer = issuer.clone();
    tokio::spawn(rounds.run(move |refreshed| issuer.script().results.push(refreshed)));
    ring
}

fn key(id: &str) -> Value {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": URL_SAFE_NO_PAD.encode(key.der_bytes())})
}

fn jwks(keys: &[&Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// The keys that there are: their number, and which set they are.
fn keys(ring: &KeyRing) -> (usize, u64) {
    let keys = ring.load();
    (keys.count(), keys.generation())
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_outage_is_not_noticed() {
    let issuer = Issuer::default();
    issuer.publishes(&jwks(&[&key("a")]));
    let ring = start(&issuer, terms());
    sleep(SECOND).await;
    let before = keys(&ring);
    assert_eq!(before.0, 1);
    issuer.goes_down();
    sleep(HOUR).await;
    assert_eq!((keys(&ring), ring.state()), (before, Some(KeyState::There)));
    assert_eq!(issuer.last(), Some(Refreshed::Failed));
    // Some six while it doubles, and then one in a minute.
    let asked = issuer.intervals().len();
    assert!((50..80).contains(&asked), "{asked}");

    issuer.publishes(&jwks(&[&key("b")]));
    sleep(MINUTE + 7 * SECOND).await;
    assert_eq!(issuer.last(), Some(Refreshed::Changed));
    assert_ne!(keys(&ring), before);
}

#[tokio::test(start_paused = true)]
async fn keys_go_when_they_are_too_old_and_come_back_with_the_issuer() {
    let issuer = Issuer::default();
    let same = jwks(&[&key("a")]);
    issuer.publishes(&same);
    let ring = start(&issuer, terms());
    sleep(SECOND).await;
    let before = keys(&ring);
    issuer.goes_down();
    sleep(24 * HOUR - 2 * SECOND).await;
    assert_eq!(keys(&ring), before, "fetched less than 24 h ago");
    sleep(2 * SECOND).await;
    assert_eq!((keys(&ring).0, ring.age()), (0, None));
    let Some(KeyState::Missing { why, before: true }) = ring.state() else { panic!("there are keys") };
    assert_eq!(why, "too old: not fetched for 86400s; https://login.example.com/keys: down\u{fffd}and out");
    sleep(2 * MINUTE).await;
    assert_eq!(ring.state(), Some(KeyState::Missing { why, before: true }), "and so after the next fetch that fails");

    issuer.publishes(&same);
    sleep(MINUTE + 7 * SECOND).await;
    assert_eq!(ring.state(), Some(KeyState::There));
    assert_ne!(keys(&ring).1, before.1, "what they had verified is not remembered");
}

#[tokio::test(start_paused = true)]
async fn keys_that_end_before_the_next_fetch_are_told_to_be_too_old() {
    let issuer = Issuer::default();
    issuer.publishes(&jwks(&[&key("a")]));
    let ring = start(&issuer, Remote { max_stale: MINUTE, ..terms() });
    sleep(2 * MINUTE).await;
    let told = "too old: not fetched for 60s".to_owned();
    let missing = KeyState::Missing { why: told, before: true };
    assert_eq!((ring.state(), issuer.last()), (Some(missing), Some(Refreshed::Changed)));
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_down_at_the_start_is_asked_sooner_and_later() {
    let issuer = Issuer::default();
    let ring = start(&issuer, terms());
    sleep(10 * MINUTE).await;
    for (interval, expected) in issuer.intervals().into_iter().zip([1, 2, 4, 8, 16, 32, 60, 60, 60]) {
        let (least, most) = (0.9 * f64::from(expected), 1.1 * f64::from(expected) + 0.01);
        assert!((least..most).contains(&interval.as_secs_f64()), "{interval:?} {expected}");
    }
    assert!(matches!(ring.state(), Some(KeyState::Missing { .. })));
    issuer.publishes(&jwks(&[&key("a")]));
    sleep(MINUTE + 7 * SECOND).await;
    assert_eq!(ring.state(), Some(KeyState::There));
}

#[tokio::test(start_paused = true)]
async fn the_same_keys_in_another_order_are_no_news() {
    let issuer = Issuer::default();
    let (a, b) = (key("a"), key("b"));
    issuer.publishes(&jwks(&[&a, &b]));
    let ring = start(&issuer, terms());
    sleep(SECOND).await;
    let before = keys(&ring);
    issuer.publishes(&json!({"keys": [b, a], "served": "just now"}).to_string());
    sleep(6 * MINUTE).await;
    assert_eq!((keys(&ring), issuer.last()), (before, Some(Refreshed::Unchanged)));
    issuer.publishes(&jwks(&[&a]));
    sleep(6 * MINUTE).await;
    assert_eq!((keys(&ring).0, issuer.last()), (1, Some(Refreshed::Changed)));
    assert_ne!(keys(&ring).1, before.1);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_set_of_keys_does_not_replace_one() {
    let issuer = Issuer::default();
    issuer.publishes(&jwks(&[&key("a")]));
    let ring = start(&issuer, terms());
    sleep(SECOND).await;
    let before = keys(&ring);
    let deep = format!("{{\"keys\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let unusable = json!({"keys": [{"kty": "oct", "k": "AAAA"}, {"kty": "AKP"}, 1, null, {}]}).to_string();
    for wrong in ["", "<html>", "null", "{}", r#"{"keys":{}}"#, r#"{"keys":[]}"#, &unusable, &deep] {
        issuer.publishes(wrong);
        sleep(6 * MINUTE).await;
        assert_eq!((keys(&ring), issuer.last()), (before, Some(Refreshed::Failed)), "{wrong:.20}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_issuer_may_want_to_be_asked_more_often_but_not_at_any_rate() {
    for (max_age, expected) in [(None, 300), (Some(3600), 300), (Some(60), 60), (Some(1), 10), (Some(0), 10)] {
        let issuer = Issuer::default();
        issuer.publishes(&jwks(&[&key("a")]));
        issuer.script().max_age = max_age.map(Duration::from_secs);
        let _ring = start(&issuer, terms());
        sleep(HOUR).await;
        let expected = f64::from(expected);
        for interval in issuer.intervals() {
            let interval = interval.as_secs_f64();
            assert!(interval >= 10.0 && (0.9 * expected..1.1 * expected + 0.01).contains(&interval), "{interval}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_keys_do_not_put_off_the_regular_fetch() {
    let issuer = Issuer::default();
    issuer.publishes(&jwks(&[&key("a")]));
    let ring = start(&issuer, terms());
    sleep(SECOND).await;
    for i in 0..3600 {
        if let Some(refetch) = ring.want(Some(&i.to_string())) {
            refetch.done().await;
        }
        sleep(SECOND).await;
    }
    let asked = std::mem::take(&mut issuer.script().asked);
    let regular = asked.iter().filter(|(_, wanted)| !wanted).count();
    let wanted = asked.len() - regular;
    assert!((11..=15).contains(&regular), "{regular}");
    assert!((300..=360).contains(&wanted), "{wanted}: once in ten seconds");
}

#[tokio::test(start_paused = true)]
async fn keys_kept_on_disk_are_used_for_what_is_left_of_their_time() {
    let folder = tempfile::tempdir().unwrap();
    let kept = jwks(&[&key("a")]);
    let start_with = |age: Duration| {
        Store::new(folder.path(), "corp".to_owned()).save(kept.as_bytes(), now() - age.as_secs()).unwrap();
        start(&Issuer::default(), Remote { store: Some(folder.path().to_owned()), ..terms() })
    };
    let ring = start_with(23 * HOUR);
    sleep(SECOND).await;
    assert_eq!(ring.state(), Some(KeyState::There));
    assert!(ring.age().unwrap() >= 23 * HOUR);
    sleep(HOUR - MINUTE).await;
    assert_eq!(ring.state(), Some(KeyState::There));
    sleep(2 * MINUTE).await;
    assert!(matches!(ring.state(), Some(KeyState::Missing { .. })));

    let ring = start_with(24 * HOUR);
    sleep(SECOND).await;
    assert!(matches!(ring.state(), Some(KeyState::Missing { .. })));
}

#[test]
fn what_an_issuer_sends_is_shown_on_one_line_and_not_for_ever() {
    assert_eq!(shown("a\r\n\u{1b}[31mb"), "a\u{fffd}\u{fffd}\u{fffd}[31mb");
    assert_eq!(shown(&"é".repeat(1 << 20)).chars().count(), MAX_SHOWN);
}
