//! Tokens elsewhere than in `Authorization`: who may put them where, and that no app and no log sees them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{
    support::{Answer, Builder, H2, Issuer, Recorder, Sidegate, Users, password},
    websocket::{echo, handshake},
};

#[test]
fn the_header_of_a_token_is_taken_out_in_every_spelling() {
    let (app, issuer) = (Recorder::start(), Issuer::new());
    let sidegate = Sidegate::before(&app)
        .jwt_with(&issuer, json!({ "token_from": [{ "header": "X-Api-Token" }] }))
        .rule(json!({ "allow": "anyone" }))
        .start();
    assert_eq!(sidegate.get("/", &["X-Api-Token: one", "X.Api.Token: two", "X~Api~Token: three"]).status, 200);
    assert_eq!(app.only_request().lookalikes("X-Api-Token"), Vec::<&str>::new());
}

#[test]
fn a_token_is_taken_from_where_it_may_be_and_the_app_does_not_see_it() {
    let sources = json!([
        { "header": "Authorization" }, { "header": "X-Api-Token" }, { "cookie": "session-token" },
        { "query": "token" }, { "websocket_protocol": true },
    ]);
    let (sidegate, app, issuer) = before(echo(), sources, |builder| builder);
    let token = issuer.token("alice");
    let encoded = URL_SAFE_NO_PAD.encode(&token);
    let protocol = |offer: &str| format!("Sec-WebSocket-Protocol: {offer}\r\n");
    let same = "Origin: https://localhost\r\n";
    for (target, lines, seen, protocols, cookies) in [
        ("/a?x=1", format!("Authorization: Bearer {token}\r\n"), "/a?x=1", vec![], vec![]),
        ("/b", format!("X-Api-Token: {token}\r\n"), "/b", vec![], vec![]),
        ("/c", format!("x-api-token: bearer {token}\r\n"), "/c", vec![], vec![]),
        ("/d", format!("{same}Cookie: a=1; session-token={token}; b=\"2\"\r\n"), "/d", vec![], vec!["a=1; b=\"2\""]),
        ("/e", format!("{same}Cookie: session-token={token}\r\n"), "/e", vec![], vec![]),
        (&format!("/f?x=%20&token={token}&y"), String::new(), "/f?x=%20&y", vec![], vec![]),
        (&format!("/g?token={token}"), String::new(), "/g", vec![], vec![]),
        ("/h", protocol(&format!("chat, bearer, {token}")), "/h", vec!["chat"], vec![]),
        ("/i", protocol(&format!("base64url.bearer.authorization.k8s.io.{encoded}, v1")), "/i", vec!["v1"], vec![]),
    ] {
        let answer = sidegate.wire().send(handshake(target, &lines)).answer();
        assert_eq!(answer.status, 101, "{target}: {}", answer.text());
        let received = app.last_request();
        assert_eq!((received.target(), received.header("X-Forwarded-User")), (seen, Some("alice")));
        assert_eq!(received.header_values("Sec-WebSocket-Protocol"), protocols, "{target}");
        assert_eq!(received.header_values("Cookie"), cookies, "{target}");
        let all = format!("{received:?} {answer:?}");
        assert!(!all.contains(&token) && !all.contains(&encoded), "{all}");
    }
    let logged = sidegate.access_lines(9).concat() + &sidegate.log() + &sidegate.ask_admin("/metrics").text();
    let signature = token.rsplit('.').next().unwrap();
    assert!(!logged.contains(signature) && !logged.contains(&encoded[encoded.len() - 20..]), "{logged}");
}

#[test]
fn tokens_that_no_source_was_used_for_are_taken_out_as_well() {
    let sources = json!([{ "header": "Authorization" }, { "cookie": "t" }, { "query": "t" }, { "header": "X-T" },
                         { "websocket_protocol": true }]);
    let (sidegate, app, issuer) = before(echo(), sources, |builder| builder);
    let lines = format!(
        "Authorization: Bearer {}\r\nX-T: old\r\nCookie: t=old\r\nSec-WebSocket-Protocol: bearer, old\r\n",
        issuer.token("alice")
    );
    assert_eq!(sidegate.wire().send(handshake("/ws?t=old", &lines)).answer().status, 101);
    assert!(!format!("{:?}", app.last_request()).contains("old"), "{:?}", app.last_request());
    // And where nobody has to say who they are.
    assert_eq!(sidegate.wire().send(handshake("/public?t=old", &lines)).answer().status, 101);
    assert!(!format!("{:?}", app.last_request()).contains("old"), "{:?}", app.last_request());
}

#[test]
fn the_query_and_the_protocols_are_for_websockets_only() {
    let sources = json!([{ "query": "token" }, { "websocket_protocol": true }]);
    let (sidegate, app, issuer) = before(Recorder::start(), sources, |builder| builder);
    let token = issuer.token("alice");
    let (target, protocol) = (format!("/ws?token={token}"), format!("Sec-WebSocket-Protocol: bearer, {token}"));
    sidegate.get(&target, &[]).assert_refused(401, "credentials_missing");
    sidegate.get("/ws", &[&protocol]).assert_refused(401, "credentials_missing");
    for not_an_upgrade in ["Upgrade: h2c\r\nConnection: Upgrade", "Upgrade: websocket", "Connection: Upgrade"] {
        sidegate.get(&target, &[not_an_upgrade]).assert_refused(401, "credentials_missing");
        sidegate.get("/ws", &[&protocol, not_an_upgrade]).assert_refused(401, "credentials_missing");
    }
    let mut h2 = H2::connect(&sidegate);
    h2.send("GET", &target, &[], b"").assert_refused(401, "credentials_missing");
    sidegate.get("/ws", &[&format!("Authorization: Bearer {token}")]).assert_refused(401, "credentials_missing");
    assert!(app.requests().is_empty());

    // A parameter of that name is the app's own business elsewhere.
    assert_eq!(sidegate.get("/public?token=mine", &[]).status, 200);
    assert_eq!(app.only_request().target(), "/public?token=mine");
    // The handshake may be refused by the app all the same.
    assert_eq!(sidegate.wire().send(handshake(&target, "")).answer().status, 200);
    assert_eq!(app.last_request().target(), "/ws");
}

#[test]
fn headers_and_cookies_are_for_every_request() {
    let sources = json!([{ "header": "X-Api-Token" }, { "cookie": "token" }]);
    let (sidegate, app, issuer) = before(Recorder::start(), sources, |builder| builder);
    let token = issuer.token("alice");
    assert_eq!(sidegate.get("/", &[&format!("X-Api-Token: {token}")]).status, 200);
    assert_eq!(
        (app.last_request().header("X-Api-Token"), app.last_request().header("X-Forwarded-User")),
        (None, Some("alice"))
    );
    // HTTP/2 sends cookies one by one; the app gets one line, without the token.
    let cookies = [("cookie", "a=1"), ("cookie", &format!("token={token}")), ("cookie", "b=2")];
    assert_eq!(H2::connect(&sidegate).send("POST", "/", &cookies, b"x").status, 200);
    assert_eq!(app.last_request().header("Cookie"), Some("a=1; b=2"));
}

#[test]
fn two_tokens_in_one_place_are_ambiguous_and_the_first_place_counts() {
    let sources = json!([{ "header": "X-T" }, { "cookie": "t" }, { "query": "t" }, { "websocket_protocol": true }]);
    let (sidegate, app, issuer) = before(echo(), sources, |builder| builder);
    let (alice, bob) = (issuer.token("alice"), issuer.token("bob"));
    let ask = |target: &str, lines: &str| sidegate.wire().send(handshake(target, lines)).answer();
    for (target, lines) in [
        ("/", format!("X-T: {alice}\r\nX-T: {alice}\r\n")),
        ("/", format!("Cookie: t={alice}; t={bob}\r\n")),
        ("/", format!("Cookie: t={alice}\r\nCookie: t={bob}\r\n")),
        (&format!("/?t={alice}&t={alice}"), String::new()),
        (&format!("/?t={alice}&%74={bob}"), String::new()),
        ("/", format!("Sec-WebSocket-Protocol: bearer, {alice}, bearer, {bob}\r\n")),
        ("/", format!("Sec-WebSocket-Protocol: bearer, {alice}\r\nSec-WebSocket-Protocol: bearer, {bob}\r\n")),
    ] {
        ask(target, &lines).assert_refused(401, "credentials_ambiguous");
    }
    assert!(app.requests().is_empty());

    assert_eq!(ask(&format!("/?t={bob}"), &format!("X-T: {alice}\r\n")).status, 101);
    assert_eq!(app.last_request().header("X-Forwarded-User"), Some("alice"));
    // One that is there and bad is not passed over for one that is good.
    ask(&format!("/?t={bob}"), "X-T: nonsense\r\n").assert_refused(401, "jwt_malformed");
    assert_eq!(app.requests().len(), 1);
}

#[test]
fn what_is_empty_holds_nothing() {
    let sources = json!([
        { "cookie": "t" }, { "header": "X-T" }, { "query": "t" }, { "websocket_protocol": true },
        { "header": "Authorization" },
    ]);
    let (sidegate, app, issuer) = before(echo(), sources, |builder| builder);
    let alice = issuer.token("alice");
    for empty in
        ["Cookie: t=", "Cookie: t=\"\"; x=1", "Cookie: t", "X-T:", "X-T: Bearer", "Sec-WebSocket-Protocol: bearer"]
    {
        let ask = |rest: &str| sidegate.wire().send(handshake("/?t=", &format!("{empty}\r\n{rest}"))).answer();
        assert_eq!(ask(&format!("Authorization: Bearer {alice}\r\n")).status, 101, "{empty}");
        assert_eq!(app.last_request().header("X-Forwarded-User"), Some("alice"), "{empty}");
        ask("").assert_refused(401, "credentials_missing");
        ask("Authorization: Bearer\r\n").assert_refused(401, "credentials_missing");
    }
    // There, and bad, is not empty; nor are two of which one is empty one.
    let good = format!("Authorization: Bearer {alice}\r\n");
    let ask = |lines: &str| sidegate.wire().send(handshake("/", &format!("{lines}\r\n{good}"))).answer();
    ask("Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.***").assert_refused(401, "jwt_malformed");
    ask("Cookie: t=; t=x").assert_refused(401, "credentials_ambiguous");
    assert_eq!(app.requests().len(), 6);
}

#[test]
fn an_app_that_sees_credentials_sees_none_that_were_not_checked() {
    let sources = json!([{ "header": "Authorization" }, { "cookie": "t" }, { "header": "X-T" }]);
    let users = |builder: Builder| builder.set(json!({ "identity": { "forward_credentials": true } }));
    let (sidegate, app, issuer) = before(Recorder::start(), sources, users);
    let (alice, admin) = (issuer.token("alice"), "e30.e30.");
    for lines in [
        [format!("Cookie: t={alice}"), "Authorization: Basic YWRtaW46eA==".to_owned()],
        [format!("Cookie: t={alice}"), "Authorization: Digest x".to_owned()],
        [format!("Cookie: t={alice}"), format!("X-T: {admin}")],
        [format!("Authorization: Bearer {alice}"), format!("Cookie: t={admin}")],
        [format!("X-T: {alice}"), "Authorization: Basic YWRtaW46eA==".to_owned()],
    ] {
        sidegate.get("/", &[&lines[0], &lines[1]]).assert_refused(401, "credentials_ambiguous");
    }
    assert!(app.requests().is_empty());
    for line in [format!("Authorization: Bearer {alice}"), format!("Cookie: t={alice}"), format!("X-T: {alice}")] {
        assert_eq!(sidegate.get("/", &[&line, "Cookie: a=b"]).status, 200, "{line}");
        assert_eq!(app.last_request().header("X-Forwarded-User"), Some("alice"));
    }
    assert!(format!("{:?}", app.last_request()).contains(&alice));
}

#[test]
fn each_issuers_tokens_are_taken_from_its_own_places_only() {
    let app = Recorder::start();
    let (web, machines) = (Issuer::new(), Issuer::new().named("https://machines.test/"));
    let sidegate = Sidegate::before(&app)
        .jwt_with(&web, json!({ "token_from": [{ "cookie": "token" }] }))
        .jwt_with(&machines, json!({ "token_from": [{ "header": "Authorization" }, { "header": "X-T" }] }))
        .rule(json!({ "allow": "authenticated" }))
        .start();
    let (alice, robot) = (web.token("alice"), machines.token("robot"));
    // Twice: the second time both are known already.
    for _ in 0..2 {
        assert_eq!(sidegate.get("/", &[&format!("Cookie: token={alice}")]).status, 200);
        assert_eq!(sidegate.get("/", &[&format!("Authorization: Bearer {robot}")]).status, 200);
        assert_eq!(sidegate.get("/", &[&format!("X-T: {robot}")]).status, 200);
        for (line, token) in [("Authorization: Bearer ", &alice), ("X-T: ", &alice), ("Cookie: token=", &robot)] {
            sidegate.get("/", &[&format!("{line}{token}")]).assert_refused(401, "jwt_issuer");
        }
    }
    assert_eq!(app.requests().len(), 6);
}

#[test]
fn bearer_is_chosen_for_a_browser_that_offers_nothing_else() {
    let silent = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let app = Recorder::answering(*silent);
    let (sidegate, _app, issuer) = before(app, json!([{ "websocket_protocol": true }]), |builder| builder);
    let token = issuer.token("alice");
    let encoded = format!("base64url.bearer.authorization.k8s.io.{}", URL_SAFE_NO_PAD.encode(&token));
    for (offer, chosen) in [
        (format!("bearer, {token}"), Some("bearer")),
        (format!("chat, bearer, {token}"), None),
        (encoded.clone(), None),
        (format!("{encoded}, chat"), None),
    ] {
        let answer = sidegate.wire().send(handshake("/", &format!("Sec-WebSocket-Protocol: {offer}\r\n"))).answer();
        assert_eq!((answer.status, answer.header("Sec-WebSocket-Protocol")), (101, chosen), "{offer}");
    }
    // What the app chooses stays.
    let (sidegate, _app, issuer) = before(echo(), json!([{ "websocket_protocol": true }]), |builder| builder);
    let lines = format!("Sec-WebSocket-Protocol: bearer, {}\r\n", issuer.token("alice"));
    assert_eq!(sidegate.wire().send(handshake("/", &lines)).answer().header("Sec-WebSocket-Protocol"), Some("chat"));
}

#[test]
fn a_page_of_another_origin_opens_no_websocket_with_what_the_browser_adds_by_itself() {
    let sources = json!([{ "header": "Authorization" }, { "cookie": "token" }, { "query": "token" }]);
    let trusted = json!({ "auth": { "trusted_origins": ["https://trusted.example"] } });
    let (sidegate, app, issuer) =
        before(echo(), sources, |builder| builder.users(&Users::one("bob", "correct-horse")).set(trusted));
    let token = issuer.token("alice");
    let cookie = format!("Cookie: token={token}\r\n");
    let basic = format!("{}\r\n", password("bob", "correct-horse"));
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let ask = |target: &str, lines: &str| -> Answer { sidegate.wire().send(handshake(target, lines)).answer() };
    for origin in [
        "Origin: https://evil.example\r\n",
        "Origin: https://localhost:1\r\n",
        "Origin: null\r\n",
        "Origin: https://localhost\r\nOrigin: https://evil.example\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
    ] {
        for ambient in [&cookie, &basic] {
            ask("/", &format!("{origin}{ambient}")).assert_refused(403, "origin_denied");
        }
        // Another page cannot know these.
        assert_eq!(ask("/", &format!("{origin}{bearer}")).status, 101, "{origin}");
        assert_eq!(ask(&format!("/?token={token}"), origin).status, 101, "{origin}");
    }
    let before = app.requests().len();
    for origin in
        ["", "Origin: https://localhost\r\n", "Origin: https://trusted.example\r\n", "Sec-Fetch-Site: same-origin\r\n"]
    {
        for ambient in [&cookie, &basic] {
            assert_eq!(ask("/", &format!("{origin}{ambient}")).status, 101, "{origin}");
        }
    }
    assert_eq!(app.requests().len(), before + 8);
    // A request that is none for a WebSocket is under the browser's own rules.
    let lines = format!("GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n{cookie}\r\n");
    assert_eq!(sidegate.wire().send(lines).answer_or_end().map(|answer| answer.status), Some(502));
}

#[test]
fn an_app_that_is_to_see_credentials_sees_them_where_they_were() {
    let sources = json!([{ "cookie": "token" }, { "query": "token" }, { "websocket_protocol": true }]);
    let (sidegate, app, issuer) =
        before(echo(), sources, |builder| builder.set(json!({ "identity": { "forward_credentials": true } })));
    let token = issuer.token("alice");
    let protocol = format!("bearer, {token}");
    let lines = format!("Sec-WebSocket-Protocol: {protocol}\r\n");
    let target = format!("/?token={token}");
    assert_eq!(sidegate.wire().send(handshake(&target, &lines)).answer().status, 101);
    let received = app.last_request();
    assert_eq!((received.target(), received.header("Sec-WebSocket-Protocol")), (&*target, Some(&*protocol)));
}

/// Before `app`, with an issuer whose tokens may be in `sources`; `/public` is for everybody.
fn before(app: Recorder, sources: Value, settings: impl FnOnce(Builder) -> Builder) -> (Sidegate, Recorder, Issuer) {
    let issuer = Issuer::new();
    let builder = Sidegate::before(&app)
        .jwt_with(&issuer, json!({ "token_from": sources }))
        .rule(json!({ "path": "/public", "allow": "anyone" }))
        .rule(json!({ "allow": "authenticated" }));
    (settings(builder).start(), app, issuer)
}
