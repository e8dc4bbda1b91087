//! A real OpenID provider: its tokens get in, its keys change under load and are missing for a while, and nobody notices
//! who need not.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::support::{Answer, Builder, Provider, Recorder, Sidegate, Wire, until};

#[test]
fn the_token_of_a_client_gets_in_by_discovery_alone() {
    let (provider, app) = (Provider::start(), Recorder::start());
    let sidegate = before(&app, &provider, json!({})).start();
    sidegate.wait_until_ready();
    let token = provider.token();
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&header).unwrap()["typ"], "at+jwt");
    assert_eq!(sidegate.get_with_token(&token).status, 200);
    let request = app.only_request();
    assert_eq!(request.header("X-Forwarded-User"), Some("billing"));
    assert_eq!(request.header("X-Forwarded-Email"), Some("billing@example.com"));
    assert_eq!(request.header("X-Forwarded-Groups"), Some("machines,billing"));
    assert_eq!(sidegate.access_log(1)[0]["auth_issuer"], "corp");
}

#[test]
fn keys_rotate_under_load_and_no_request_fails() {
    let (mut provider, app) = (Provider::start(), Recorder::start());
    let sidegate = before(&app, &provider, json!({ "min_refetch": "1s" })).start();
    sidegate.wait_until_ready();
    let (old, started) = (provider.token(), Instant::now());
    let (done, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        // Lets the load end when an assertion fails, too.
        let end = Ends(&done);
        for _ in 0..4 {
            scope.spawn(|| {
                let mut wire = sidegate.wire();
                while !done.load(Ordering::SeqCst) {
                    let answer = ask_over(&mut wire, &old);
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        until("the load, and the time that is kept between two fetches", || {
            (answered.load(Ordering::SeqCst) > 100 && started.elapsed() > Duration::from_secs(1)).then_some(())
        });
        provider.rotate();
        let (new, fetches, before) = (provider.token(), provider.key_fetches(), answered.load(Ordering::SeqCst));
        let answer = sidegate.get_with_token(&new);
        assert_eq!((answer.status, provider.key_fetches()), (200, fetches + 1), "{}", answer.text());
        // Now that it is known, nobody is asked again.
        assert_eq!((sidegate.get_with_token(&new).status, provider.key_fetches()), (200, fetches + 1));
        until("the load to go on", || (answered.load(Ordering::SeqCst) > before + 100).then_some(()));
        drop(end);
    });
    // The old key is still published beside the new one.
    assert_eq!(sidegate.get_with_token(&old).status, 200);
}

#[test]
fn a_key_that_is_withdrawn_takes_its_tokens_with_it() {
    let (mut provider, app) = (Provider::start(), Recorder::start());
    let sidegate = before(&app, &provider, json!({ "refresh": "1s", "min_refetch": "1s" })).start();
    sidegate.wait_until_ready();
    let old = provider.token();
    // Twice, so that it is remembered.
    assert_eq!((sidegate.get_with_token(&old).status, sidegate.get_with_token(&old).status), (200, 200));
    provider.rotate();
    let new = provider.token();
    until("the new key", || (sidegate.get_with_token(&new).status == 200).then_some(()));
    assert_eq!(sidegate.get_with_token(&old).status, 200);
    provider.withdraw();
    until("the old key to be gone", || (sidegate.get_with_token(&old).status == 401).then_some(()));
    sidegate.get_with_token(&old).assert_refused(401, "jwt_key_unknown");
    assert_eq!(sidegate.get_with_token(&new).status, 200);
}

#[test]
fn a_flood_of_unknown_keys_costs_the_provider_one_request() {
    let (mut provider, app) = (Provider::start(), Recorder::start());
    let sidegate = before(&app, &provider, json!({ "min_refetch": "1h", "refresh": "1h" })).start();
    sidegate.wait_until_ready();
    let (token, fetches) = (provider.token(), provider.key_fetches());
    thread::scope(|scope| {
        for connection in 0..10 {
            let (sidegate, token) = (&sidegate, &token);
            scope.spawn(move || {
                let mut wire = sidegate.wire();
                for request in 0..100 {
                    let answer = ask_over(&mut wire, &with_key_id(token, &format!("{connection}-{request}")));
                    answer.assert_refused(401, "jwt_key_unknown");
                }
            });
        }
    });
    let more = provider.key_fetches() - fetches;
    assert!(more <= 1, "{more} requests for keys");
    assert_eq!(app.requests().len(), 0);
    assert_eq!(sidegate.get_with_token(&token).status, 200);
}

#[test]
fn an_outage_is_bridged_for_as_long_as_was_said_and_then_told() {
    let (mut provider, app) = (Provider::start(), Recorder::start());
    let settings = json!({ "refresh": "1s", "min_refetch": "1s", "max_stale": "5s" });
    let sidegate = before(&app, &provider, settings).start();
    sidegate.wait_until_ready();
    let token = provider.token();
    assert_eq!(sidegate.get_with_token(&token).status, 200);
    provider.stop();
    sidegate.wait_for_key_fetch("corp", "failed", 1.0);
    let corp = [("issuer", "corp")];
    let age = sidegate.metrics().sum("sidegate_jwks_age_seconds", &corp);
    assert!(age > 1.0, "{age}");
    assert_eq!(sidegate.get_with_token(&token).status, 200);
    sidegate.wait_for_metric_above("sidegate_jwks_age_seconds", &corp, age);

    until("the keys to be too old", || (sidegate.get_with_token(&token).status != 200).then_some(()));
    let answer = sidegate.get_with_token(&token);
    answer.assert_refused(503, "keys_unavailable");
    assert_eq!(answer.header("Retry-After"), Some("1"));
    let probe = sidegate.ask_admin("/readyz?verbose");
    assert_eq!(probe.status, 503, "{}", probe.text());
    assert!(probe.text().contains("[-] keys of corp failed: "), "{}", probe.text());
    assert_eq!(sidegate.ask_admin("/livez").status, 200);

    provider.resume();
    until("the keys to be back", || (sidegate.get_with_token(&token).status == 200).then_some(()));
    let probe = sidegate.ask_admin("/readyz?verbose");
    assert_eq!(probe.status, 200, "{}", probe.text());
    assert!(probe.text().contains("[+] keys of corp ok"), "{}", probe.text());
}

/// Says that it is over when it is dropped.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Before the app, for the provider's tokens, whose keys are found by discovery; with further settings of these.
fn before(app: &Recorder, provider: &Provider, mut keys: Value) -> Builder {
    keys["discovery"] = json!(true);
    Sidegate::before(app).remote("corp", &provider.name, keys)
}

#[track_caller]
fn ask_over(wire: &mut Wire, token: &str) -> Answer {
    wire.send(format!("GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n")).answer()
}

/// The same token, which says to be signed with this key.
fn with_key_id(token: &str, id: &str) -> String {
    let (header, rest) = token.split_once('.').unwrap();
    let mut header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    header["kid"] = json!(id);
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
}
