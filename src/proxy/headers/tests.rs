//! Whatever a client sends, the app is told each thing once, and by us.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::Request;
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::{
    exchange::{Payload, Trail},
    identity::{Identity, Method},
    origin::Client,
    upstream::{Limits, Upload},
};

/// What we tell the app, whoever calls.
const TOLD: [(&str, &str); 6] = [
    ("host", "shop.example:8443"),
    ("x-forwarded-for", "192.0.2.1"),
    ("x-forwarded-host", "shop.example:8443"),
    ("x-forwarded-port", "8443"),
    ("x-forwarded-proto", "https"),
    ("x-request-id", "ours"),
];

/// What we tell the app about a caller whom we know; one without the last has no value for it.
const IDENTITY: [(&str, &str); 3] =
    [("x-forwarded-user", "alice"), ("x-tenant", "blue"), ("x-forwarded-email", "alice@example.com")];

/// What a client may say, and sees passed on.
const FREE: [&str; 7] = ["accept", "traceparent", "tracestate", "baggage", "x-custom", "x.custom", "content-type"];

/// What no client may say, beside that which we say.
const NEVER: [&str; 14] = [
    "authorization",
    "connection",
    "content-length",
    "forwarded",
    "keep-alive",
    "path-info",
    "remote-user",
    "script-name",
    "te",
    "transfer-encoding",
    "x-forwarded-prefix",
    "x-http-method-override",
    "x-original-url",
    "x-real-ip",
];

/// A name as an app may read it, whatever it folds.
fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

/// A header's name in some spelling that some app could take for it.
fn spelling() -> impl Strategy<Value = String> {
    let ours = TOLD.iter().chain(&IDENTITY).map(|(name, _)| *name);
    let names: Vec<_> = ours.chain(FREE).chain(NEVER).chain(["cookie"]).collect();
    (select(names), select(vec!['-', '-', '_', '.', '~', '!', '^']), any::<bool>(), any::<usize>()).prop_map(
        |(name, with, upper, at)| {
            let hyphens: Vec<_> = name.match_indices('-').map(|(i, _)| i).collect();
            let mut name = name.to_owned();
            if let Some(i) = hyphens.get(at % hyphens.len().max(1)) {
                name.replace_range(i..&(i + 1), &with.to_string());
            }
            if upper { name.to_uppercase() } else { name }
        },
    )
}

/// A header of a client: any of the names, or `Connection` with some of them.
fn header() -> impl Strategy<Value = (String, String)> {
    let nominated = vec(prop_oneof![spelling(), Just("close".to_owned()), Just(" ".to_owned())], 0..4);
    prop_oneof![
        4 => (spelling(), "[a-z0-9=;, ]{0,8}"),
        1 => nominated.prop_map(|names| ("Connection".to_owned(), names.join(", "))),
    ]
}

fn map(headers: &[(String, String)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value.trim()).unwrap());
    }
    map
}

fn caller(known: Option<bool>) -> Caller {
    let Some(with_email) = known else { return Caller::Anonymous };
    let told = IDENTITY.iter().filter(|(name, _)| with_email || *name != "x-forwarded-email");
    Caller::Known(Arc::new(Identity {
        user: "alice".into(),
        method: Method::Jwt,
        issuer: "corp".into(),
        account: None,
        groups: Vec::new(),
        assertion: None,
        expires: None,
        claims: Box::default(),
        headers: told.map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect(),
    }))
}

/// The headers that the app gets of a request with these: over HTTP/1.1, where a line is a line, and in a map, where those
/// of one name are together.
fn rewritten(headers: &HeaderMap, caller: &Caller) -> HeaderMap {
    let names = IDENTITY.map(|(name, _)| (name.to_owned(), "claim".to_owned()));
    let identity = config::Identity { headers: Some(names.into()), ..config::Identity::default() };
    let target = Target::parse(&Request::get("/").header("host", "shop.example:8443").body(()).unwrap()).unwrap();
    let client = Arc::new(Client::new(Some("192.0.2.1:5".parse().unwrap()), true));
    let origin = Origin::new(client, headers);
    let request_id = HeaderValue::from_static("ours");
    let told = Told { target: &target, origin: &origin, caller, shown: &Shown::Nothing, request_id: &request_id };
    let rewrite = Rewrite::new(&identity, &Sources::default());
    let (mut message, mut app) = (message(), HeaderMap::new());
    rewrite.to_app(headers, &told, &mut *message);
    rewrite.to_app(headers, &told, &mut app);
    assert_eq!(written(&message), app);
    app
}

/// A message without a header.
fn message() -> Box<Message> {
    let trail = Arc::new(Trail::new(&HeaderMap::new()));
    let limits = Limits { max_bytes: 0, idle_timeout: Duration::ZERO };
    Message::new(http::Method::GET, "/", None, Upload::new(Payload::none(), limits, trail))
}

/// The header lines of a message, read by whoever takes a line for a line.
fn written(message: &Message) -> HeaderMap {
    let text = str::from_utf8(message.head()).unwrap();
    let (first, lines) = text.split_once("\r\n").unwrap();
    assert_eq!(first, "GET / HTTP/1.1");
    let lines = lines.split_terminator("\r\n").map(|line| line.split_once(": ").unwrap());
    let parsed =
        lines.map(|(name, value)| (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap()));
    parsed.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_app_sees_each_thing_once_and_from_us(headers in vec(header(), 0..12), known in option::of(any::<bool>())) {
        let caller = caller(known);
        let app = rewritten(&map(&headers), &caller);

        let mut seen: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (name, value) in &app {
            prop_assert!(!name.as_str().contains('_'), "{name}");
            seen.entry(folded(name.as_str())).or_default().push(value.to_str().unwrap());
        }
        for (name, value) in TOLD {
            prop_assert_eq!(seen.get(name), Some(&vec![value]), "{}", name);
        }
        let identity: BTreeMap<_, _> =
            caller.identity().iter().flat_map(|identity| &identity.headers).map(|(n, v)| (n.as_str(), v)).collect();
        for (name, _) in IDENTITY {
            let ours = identity.get(name).map(|value| vec![value.to_str().unwrap()]);
            prop_assert_eq!(seen.get(name), ours.as_ref(), "{}", name);
        }
        for name in NEVER {
            prop_assert_eq!(seen.get(name), None, "{}", name);
        }
        prop_assert!(seen.get("cookie").is_none_or(|cookies| cookies.len() == 1), "{:?}", seen.get("cookie"));
        // Without an underscore or the like: what is nominated is a name, and not what it may be folded to.
        let connection = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("connection"));
        for name in connection.flat_map(|(_, names)| names.split(',').map(str::trim)) {
            let ours = TOLD.iter().chain(&IDENTITY).any(|(told, _)| name.eq_ignore_ascii_case(told));
            prop_assert!(ours || !app.contains_key(name), "{}", name);
        }
    }

    #[test]
    fn what_a_client_may_say_arrives_unchanged(
        headers in vec((select(FREE.to_vec()), "[ -~]{0,12}"), 0..8),
        cookies in vec("[a-z]=[a-z0-9]{1,4}", 0..4),
    ) {
        let cookies_sent = cookies.iter().map(|cookie| ("cookie".to_owned(), cookie.clone()));
        let sent: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).chain(cookies_sent).collect();
        let app = rewritten(&map(&sent), &Caller::Anonymous);
        for name in FREE {
            let values = |all: &HeaderMap| all.get_all(name).iter().cloned().collect::<Vec<_>>();
            prop_assert_eq!(values(&app), values(&map(&sent)), "{}", name);
        }
        let joined = (!cookies.is_empty()).then(|| cookies.join("; "));
        prop_assert_eq!(app.get(COOKIE).map(|value| value.to_str().unwrap().to_owned()), joined);
    }
}

#[test]
fn however_many_names_connection_has_only_those_that_are_there_are_kept_and_once() {
    let names = ["x-custom, ".repeat(10_000), (0..10_000).map(|i| format!("x-{i}, ")).collect()].concat();
    let headers = map(&[("connection".to_owned(), names), ("x-custom".to_owned(), "1".to_owned())]);
    assert_eq!(nominated(&headers), [HeaderName::from_static("x-custom")].into());
}
