//! Keys that are fetched: without them at the start, with them over a restart, with others than before, and ever again.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Builder, Issuer, JwksServer, Recorder, Reply, Sidegate, now, until};

#[test]
fn a_sidecar_starts_without_its_issuer_and_recovers_by_itself() {
    let (mut server, app) = (JwksServer::down(), Recorder::start());
    let (issuer, local) = (Issuer::new(), Issuer::new().named("https://local.test/"));
    server.publish(&issuer.jwks());
    let sidegate = before(&app, &issuer, &server, json!({}))
        .jwt(&local)
        .rule(json!({ "path": "/healthz", "allow": "anyone" }))
        .rule(json!({ "allow": "authenticated" }))
        .start();
    sidegate.wait_for_key_fetch("corp", "failed", 0.0);
    let answer = sidegate.get_with_token(&issuer.token("alice"));
    answer.assert_refused(503, "keys_unavailable");
    assert_eq!(answer.header("Retry-After"), Some("1"));
    let probe = sidegate.ask_admin("/readyz?verbose");
    assert_eq!(probe.status, 503);
    assert!(probe.text().contains("[-] keys of corp failed: "), "{}", probe.text());
    // Everything that does not need these keys goes on.
    assert_eq!(sidegate.get_with_token(&local.token("bob")).status, 200);
    assert_eq!(sidegate.get("/healthz", &[]).status, 200);
    assert_eq!(sidegate.ask_admin("/livez").status, 200);
    assert_eq!(sidegate.ask_admin("/startupz").status, 200);

    server.resume();
    until("the keys", || (sidegate.get_with_token(&issuer.token("alice")).status == 200).then_some(()));
    let probe = sidegate.ask_admin("/readyz?verbose");
    assert_eq!(probe.status, 200, "{}", probe.text());
    assert!(probe.text().contains("[+] keys of corp ok"), "{}", probe.text());
}

#[test]
fn a_fetch_that_fails_changes_nothing() {
    let (server, app, issuer) = (JwksServer::start(), Recorder::start(), Issuer::new());
    server.publish(&issuer.jwks());
    let sidegate = before(&app, &issuer, &server, json!({ "refresh": "1s", "min_refetch": "1s" })).start();
    sidegate.wait_until_ready();
    for reply in [Reply::status(500), Reply::json(&json!({ "keys": [] })), Reply::body("text/html", "<html>")] {
        server.put("/jwks", reply);
        let failures = sidegate.key_fetches("corp", "failed");
        sidegate.wait_for_key_fetch("corp", "failed", failures);
        assert_eq!(sidegate.get_with_token(&issuer.token("alice")).status, 200);
        assert_eq!(sidegate.ask_admin("/readyz").status, 200);
    }
}

#[test]
fn keys_are_kept_over_a_restart_while_the_issuer_is_away() {
    let (mut server, app, issuer) = (JwksServer::start(), Recorder::start(), Issuer::new());
    server.publish(&issuer.jwks());
    let folder = store();
    let start = || before(&app, &issuer, &server, json!({ "store": folder.path() })).start();
    let sidegate = start();
    sidegate.wait_until_ready();
    let kept = kept_in(folder.path());
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    drop(sidegate);

    server.stop();
    let sidegate = before(&app, &issuer, &server, json!({ "store": folder.path() })).start();
    sidegate.wait_until_ready();
    assert_eq!(sidegate.get_with_token(&issuer.token("alice")).status, 200);
    sidegate.wait_for_key_fetch("corp", "failed", 0.0);
    assert_eq!(sidegate.get_with_token(&issuer.token("alice")).status, 200);
    assert_eq!(sidegate.get_with_token(&issuer.impostor().token("root")).status, 401);
}

#[test]
fn a_store_that_cannot_keep_anything_is_refused_at_the_start() {
    let (server, app, issuer) = (JwksServer::start(), Recorder::start(), Issuer::new());
    let folder = store();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for (store, says) in [
        (folder.path().join("none"), "there is no folder"),
        (file, "is no folder"),
        // Nobody may, not even root.
        (PathBuf::from("/proc"), "nothing can be written into /proc"),
    ] {
        let mut builder = before(&app, &issuer, &server, json!({ "store": &store }));
        let path = store.display().to_string();
        for refused in [builder.run(&["check", "--config"]), builder.run(&["serve", "--config"])] {
            refused.assert_failed(64, &["auth.jwt[0].keys.store", says, &path, "emptyDir", "PersistentVolumeClaim"]);
        }
    }
    let mut builder = before(&app, &issuer, &server, json!({ "store": folder.path() }));
    builder.run(&["check", "--config"]).succeeded();
    assert_eq!(only_file(folder.path()), folder.path().join("file"), "nothing is left there");
}

#[test]
fn kept_keys_that_are_too_old_are_not_used() {
    let (mut server, app, issuer) = (JwksServer::start(), Recorder::start(), Issuer::new());
    server.publish(&issuer.jwks());
    let folder = store();
    let sidegate = before(&app, &issuer, &server, json!({ "store": folder.path() })).start();
    let file = kept_in(folder.path());
    drop(sidegate);
    server.stop();
    // As if it had been fetched so many seconds ago.
    let fetched = |ago: u64| {
        let mut kept: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        kept["fetched"] = json!(now() - ago);
        fs::write(&file, kept.to_string()).unwrap();
        now() - ago
    };
    let settings = json!({ "store": folder.path(), "refresh": "1s", "max_stale": "60s" });
    fetched(61);
    let sidegate = before(&app, &issuer, &server, settings.clone()).start();
    sidegate.wait_for_key_fetch("corp", "failed", 0.0);
    sidegate.get_with_token(&issuer.token("alice")).assert_refused(503, "keys_unavailable");

    // What is left of their time is theirs, and no more: it does not begin again with the process.
    let at = fetched(50);
    let sidegate = before(&app, &issuer, &server, settings).start();
    sidegate.wait_until_ready();
    until("the keys to be too old", || (sidegate.get_with_token(&issuer.token("alice")).status == 503).then_some(()));
    assert!((60..70).contains(&(now() - at)), "they were used for {} s", now() - at);
}

#[test]
fn nothing_else_than_the_issuers_own_kept_keys_is_used() {
    let (mut server, app) = (JwksServer::start(), Recorder::start());
    let (ours, theirs) = (Issuer::new(), Issuer::new().rotated().named("https://theirs.test/"));
    server.publish(&ours.jwks());
    server.put("/theirs", Reply::json(&theirs.jwks()));
    let (our_store, their_store) = (store(), store());
    let start = |server: &JwksServer, store: &Path| before(&app, &ours, server, json!({ "store": store })).start();
    let settings = json!({ "url": server.url("/theirs"), "store": their_store.path() });
    let both =
        [start(&server, our_store.path()), Sidegate::before(&app).remote("theirs", &theirs.name, settings).start()];
    let (ours_kept, theirs_kept) = (kept_in(our_store.path()), kept_in(their_store.path()));
    drop(both);
    server.stop();

    let good = fs::read(&ours_kept).unwrap();
    let foreign = fs::read(&theirs_kept).unwrap();
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    let cut = good[..good.len() / 2].to_vec();
    for (what, content) in [
        ("another issuer's", foreign),
        ("nothing", Vec::new()),
        ("half of it", cut),
        ("bytes", vec![0xff; 4096]),
        ("brackets", deep),
    ] {
        fs::write(&ours_kept, content).unwrap();
        let sidegate = start(&server, our_store.path());
        sidegate.wait_for_key_fetch("corp", "failed", 0.0);
        for issuer in [&ours, &theirs] {
            let token = issuer.token_with("alice", json!({ "iss": ours.name }));
            assert_eq!(sidegate.get_with_token(&token).reason().as_deref(), Some("keys_unavailable"), "{what}");
        }
        until(&format!("a word about {what}"), || sidegate.log().contains("kept on disk").then_some(()));
    }
    fs::write(&ours_kept, good).unwrap();
    assert_eq!(start(&server, our_store.path()).get_with_token(&ours.token("alice")).status, 200);
}

#[test]
fn what_was_remembered_lasts_as_long_as_the_set_of_keys() {
    let (server, app, issuer) = (JwksServer::start(), Recorder::start(), Issuer::new());
    let other = Issuer::with(Algorithm::EdDSA).jwk();
    server.publish(&json!({ "keys": [issuer.jwk(), other] }));
    let sidegate = before(&app, &issuer, &server, json!({ "refresh": "1s", "min_refetch": "1s" })).start();
    sidegate.wait_until_ready();
    let token = issuer.token("alice");
    assert_eq!((sidegate.get_with_token(&token).status, sidegate.get_with_token(&token).status), (200, 200));
    let looked_up = |result| sidegate.metrics().sum("sidegate_token_cache_total", &[("result", result)]);
    assert_eq!((looked_up("miss"), looked_up("hit")), (1.0, 1.0));
    // The same keys in another order and with white space are no news.
    let keys = json!({ "keys": [other, issuer.jwk()] });
    server.put("/jwks", Reply::body("application/json", format!("\n{keys:#}\n")));
    let unchanged = sidegate.key_fetches("corp", "unchanged");
    sidegate.wait_for_key_fetch("corp", "unchanged", unchanged + 1.0);
    assert_eq!(sidegate.get_with_token(&token).status, 200);
    assert_eq!((looked_up("miss"), looked_up("hit")), (1.0, 2.0));

    let (rotated, changes) = (issuer.rotated(), sidegate.key_fetches("corp", "changed"));
    server.publish(&rotated.jwks());
    sidegate.wait_for_key_fetch("corp", "changed", changes);
    sidegate.get_with_token(&token).assert_refused(401, "jwt_key_unknown");
    assert_eq!(sidegate.get_with_token(&rotated.token("alice")).status, 200);
    // Another key under an id that is known is another set, too.
    let changes = sidegate.key_fetches("corp", "changed");
    let impostor = rotated.impostor();
    let before = rotated.token("bob");
    assert_eq!((sidegate.get_with_token(&before).status, sidegate.get_with_token(&before).status), (200, 200));
    server.publish(&impostor.jwks());
    sidegate.wait_for_key_fetch("corp", "changed", changes);
    sidegate.get_with_token(&before).assert_refused(401, "jwt_signature");
    assert_eq!(sidegate.get_with_token(&impostor.token("bob")).status, 200);
}

#[test]
fn keys_are_fetched_as_soon_as_the_issuer_says_but_not_at_its_whim() {
    let (server, app, issuer) = (JwksServer::start(), Recorder::start(), Issuer::new());
    for (reply, least) in [
        (Reply::json(&issuer.jwks()).header("Cache-Control: public, max-age=1"), 1),
        (Reply::json(&issuer.jwks()).header("Cache-Control: max-age=0"), 2),
    ] {
        server.put("/jwks", reply);
        let asked = server.asked_at_all();
        let settings = json!({ "refresh": "1h", "min_refetch": format!("{least}s"), "max_stale": "2h" });
        let _sidegate = before(&app, &issuer, &server, settings).start();
        server.wait_for("/jwks", asked + 3);
        for pause in &server.pauses()[asked..] {
            assert!(*pause >= Duration::from_secs(least), "{pause:?}");
        }
    }
}

#[test]
fn requests_with_an_unknown_key_share_one_fetch_and_wait_for_it_only_so_long() {
    let (server, app, issuer) = (JwksServer::start(), Recorder::start(), Issuer::new());
    server.publish(&issuer.jwks());
    let settings = json!({ "min_refetch": "1h", "refresh": "1h", "unknown_key_wait": "1s", "timeout": "10s" });
    let sidegate = before(&app, &issuer, &server, settings).start();
    sidegate.wait_until_ready();
    let rotated = issuer.rotated();
    server
        .put("/jwks", Reply::json(&json!({ "keys": [issuer.jwk(), rotated.jwk()] })).after(Duration::from_millis(300)));
    let statuses = at_once(20, || sidegate.get_with_token(&rotated.token("alice")).status);
    assert_eq!((statuses, server.asked("/jwks")), (vec![200; 20], 2));

    // Nobody answers this one; and after it nobody is asked for a while.
    let sidegate =
        before(&app, &issuer, &server, json!({ "min_refetch": "1s", "unknown_key_wait": "1s", "timeout": "10s" }));
    let sidegate = sidegate.start();
    sidegate.wait_until_ready();
    server.put("/jwks", Reply::silence());
    let asked = server.asked("/jwks");
    let other = Issuer::new().rotated().rotated();
    let started = Instant::now();
    let reasons = at_once(20, || sidegate.get_with_token(&other.token("alice")).reason());
    let elapsed = started.elapsed();
    assert!(reasons.iter().all(|reason| reason.as_deref() == Some("jwt_key_unknown")), "{reasons:?}");
    assert!(elapsed >= Duration::from_secs(1) && elapsed < Duration::from_secs(5), "{elapsed:?}");
    assert_eq!(server.asked("/jwks"), asked + 1);
    // Meanwhile the others are let in as ever.
    assert_eq!(sidegate.get_with_token(&issuer.token("alice")).status, 200);
}

#[test]
fn who_waits_for_a_slow_issuer_leaves_room_for_all_others() {
    let (server, app, issuer) = (JwksServer::start(), Recorder::start(), Issuer::new());
    server.publish(&issuer.jwks());
    let settings = json!({ "min_refetch": "1s", "refresh": "1h", "unknown_key_wait": "5s", "timeout": "10s" });
    let sidegate = before(&app, &issuer, &server, settings)
        .rule(json!({ "path": "/public", "allow": "anyone" }))
        .rule(json!({ "allow": "authenticated" }))
        .set(json!({ "limits": { "max_in_flight": 20 } }))
        .start();
    sidegate.wait_until_ready();
    assert_eq!(sidegate.get_with_token(&issuer.token("alice")).status, 200);
    server.put("/jwks", Reply::silence());
    let unknown = issuer.rotated().token("mallory");
    let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {unknown}\r\n\r\n");
    let mut crowd: Vec<_> = (0..30).map(|_| sidegate.wire()).collect();
    for wire in &mut crowd {
        wire.send(&request);
    }
    // Half of the places are taken by those who wait; who comes beyond is refused at once.
    sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 10.0);
    sidegate.wait_for_metric("sidegate_requests_total", &[("code", "503")], 20.0);
    assert_eq!(sidegate.get("/public", &[]).status, 200);
    assert_eq!(sidegate.get_with_token(&issuer.token("alice")).status, 200);
    assert_eq!(sidegate.get_with_token(&issuer.token("bob")).status, 200);
}

#[test]
fn nobody_is_asked_about_a_token_that_the_rule_would_not_take() {
    let (server, app, issuer) = (JwksServer::start(), Recorder::start(), Issuer::new());
    server.publish(&issuer.jwks());
    server.put("/review", Reply::status(500));
    let sidegate = before(&app, &issuer, &server, json!({ "min_refetch": "1h", "refresh": "1h" }))
        .set(json!({ "auth": { "basic": null } }))
        .remote("other", "https://other.test/", json!({ "url": server.url("/other"), "refresh": "1h" }))
        .remote("cluster", "https://cluster.test/", json!({ "token_review": true, "url": server.url("/review") }))
        .rule(json!({ "path": "/corp/**", "credentials": "corp", "allow": "authenticated" }))
        .rule(json!({ "allow": "authenticated" }))
        .start();
    server.wait_for("/other", 1);
    until("keys", || (sidegate.get_with_token(&issuer.token("alice")).status == 200).then_some(()));
    let of = |name: &str| issuer.token_with("mallory", json!({ "iss": name }));
    let asked = server.asked("/other");
    for name in ["https://other.test/", "https://cluster.test/"] {
        let line = format!("Authorization: Bearer {}", of(name));
        sidegate.get("/corp/", &[&line]).assert_refused(401, "jwt_issuer");
    }
    assert_eq!((server.asked("/other"), server.asked("/review")), (asked, 0));
    // Where they are taken, they are asked.
    sidegate.get_with_token(&of("https://cluster.test/")).assert_refused(503, "review_unavailable");
    assert_eq!(server.asked("/review"), 1);
}

#[test]
fn an_issuer_that_was_there_and_is_gone_for_long_does_not_take_the_others_callers_with_it() {
    let (mut server, app) = (JwksServer::start(), Recorder::start());
    let (issuer, local) = (Issuer::new(), Issuer::new().named("https://local.test/"));
    server.publish(&issuer.jwks());
    let settings = json!({ "refresh": "1s", "min_refetch": "1s", "max_stale": "2s" });
    let sidegate = before(&app, &issuer, &server, settings).jwt(&local).start();
    sidegate.wait_until_ready();
    server.stop();
    let gone = || sidegate.get_with_token(&issuer.token("alice")).reason().as_deref() == Some("keys_unavailable");
    until("the keys to go", || gone().then_some(()));
    let probe = sidegate.ask_admin("/readyz?verbose");
    assert_eq!(probe.status, 200, "{}", probe.text());
    assert!(probe.text().contains("[-] keys of corp failed: "), "{}", probe.text());
    assert_eq!(sidegate.get_with_token(&local.token("bob")).status, 200);
}

#[test]
fn a_token_that_names_no_key_is_tried_with_those_that_fit() {
    let (server, app) = (JwksServer::start(), Recorder::start());
    let issuers = [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256].map(Issuer::with);
    let second = issuers[0].rotated();
    let keys: Vec<_> = issuers.iter().chain([&second]).map(Issuer::jwk).collect();
    server.publish(&json!({ "keys": keys }));
    let sidegate = before(&app, &issuers[0], &server, json!({})).start();
    sidegate.wait_until_ready();
    for issuer in issuers.iter().chain([&second]) {
        let header = json!({ "alg": format!("{:?}", issuer.algorithm) });
        let token = issuer.sign_raw(&header, &issuer.claims("alice").to_string());
        assert_eq!(sidegate.get_with_token(&token).status, 200, "{:?}", issuer.algorithm);
    }
    let impostor = issuers[0].impostor();
    let token = impostor.sign_raw(&json!({ "alg": "ES256" }), &impostor.claims("root").to_string());
    assert_eq!(sidegate.get_with_token(&token).status, 401);
}

/// Before the app, for the issuer's tokens, with the keys at `/jwks` of this server.
fn before(app: &Recorder, issuer: &Issuer, server: &JwksServer, mut keys: Value) -> Builder {
    keys["url"] = json!(server.url("/jwks"));
    Sidegate::before(app).remote("corp", &issuer.name, keys)
}

fn store() -> TempDir {
    tempfile::Builder::new().prefix("store-").tempdir().unwrap()
}

/// The file in this folder that has keys in it, once they are kept there, which is a moment after they are used.
fn kept_in(folder: &Path) -> PathBuf {
    let whole = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    until("the keys to be kept", || {
        let mut files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files.next().filter(|path| whole(path) && files.next().is_none())
    })
}

/// The one file in this folder.
fn only_file(folder: &Path) -> PathBuf {
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

/// What so many clients get that ask at the same time.
fn at_once<T: Send>(count: usize, ask: impl Fn() -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let clients: Vec<_> = (0..count).map(|_| scope.spawn(&ask)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    })
}
