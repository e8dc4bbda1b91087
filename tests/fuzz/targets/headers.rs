//! Whatever a client's headers are, the app is told by us who calls and from where, once, and by nobody else.
#![no_main]

use std::sync::{Arc, LazyLock};

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use libfuzzer_sys::fuzz_target;
use sidegate::{
    config,
    identity::{Caller, Identity, Method},
    origin::{Client, Origin},
    proxy::{Rewrite, Shown, Told},
    sources::Sources,
    target::Target,
};

/// What only we say, as every app may fold the name.
const OURS: [(&str, &str); 6] = [
    ("host", "app.example"),
    ("x-forwarded-for", "192.0.2.1"),
    ("x-forwarded-host", "app.example"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-user", "alice"),
    ("x-request-id", "ours"),
];

static REWRITE: LazyLock<Rewrite> = LazyLock::new(|| Rewrite::new(&config::Identity::default(), &Sources::default()));

static CALLER: LazyLock<Caller> = LazyLock::new(|| {
    Caller::Known(Arc::new(Identity {
        user: "alice".into(),
        method: Method::Jwt,
        issuer: "corp".into(),
        account: None,
        assertion: None,
        expires: None,
        groups: Vec::new(),
        claims: Box::default(),
        headers: vec![(HeaderName::from_static("x-forwarded-user"), HeaderValue::from_static("alice"))],
    }))
});

fuzz_target!(|text: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in text.split(|byte| *byte == b'\n').take(100) {
        let at = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(at + 1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..at]), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let request = Request::get("/").header("host", "app.example").body(()).expect("a request");
    let target = Target::parse(&request).expect("a target");
    let client = Arc::new(Client::new(Some(([192, 0, 2, 1], 4711).into()), true));
    let origin = Origin::new(client, &headers);
    let request_id = HeaderValue::from_static("ours");
    let told =
        Told { target: &target, origin: &origin, caller: &CALLER, shown: &Shown::Nothing, request_id: &request_id };
    let mut app = HeaderMap::new();
    REWRITE.to_app(&headers, &told, &mut app);

    for (ours, value) in OURS {
        let fold = |name: &HeaderName| name.as_str().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let values: Vec<_> = app.iter().filter(|(name, _)| fold(name) == ours).map(|(_, value)| value).collect();
        assert_eq!(values, [value], "{ours}");
    }
    assert!(app.get_all("cookie").iter().count() <= 1);
    for name in app.keys() {
        assert!(!name.as_str().contains('_'), "{name}");
        let never = ["authorization", "connection", "content-length", "forwarded", "script-name", "te", "upgrade"];
        assert!(!never.contains(&name.as_str()), "{name}");
    }
});
