//! What no log may hold: every credential that a test sends, and whatever looks like one. Each sidegate of the suite runs at
//! trace level, and what it wrote is searched when it ends.

use std::{cell::RefCell, collections::BTreeSet};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

/// Headers whose values are nobody's business.
const HEADERS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "x-api-token"];

/// Shorter ones are found in ordinary words.
const SHORTEST: usize = 8;

/// So many are looked for; a test that sends more sends the same kinds again and again.
const MOST: usize = 500;

/// What begins like this is a token (`{"` in base64), or a hash of a users file.
const MARKS: [&str; 6] = ["eyJ", "$2b$", "$2y$", "$apr1$", "$argon2id$", "-----BEGIN PRIVATE"];

thread_local! {
    /// A test is a thread.
    static SENT: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// A secret that nobody had before.
pub(crate) fn secret() -> String {
    let mut bytes = [0; 24];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    let secret = URL_SAFE_NO_PAD.encode(bytes);
    remember(&secret);
    secret
}

/// Remembers what is secret in this header field.
pub(super) fn field(name: &str, value: &str) {
    if !HEADERS.contains(&name.trim().to_ascii_lowercase().as_str()) {
        return;
    }
    for part in value.split([' ', ';', ',']) {
        remember(part.split_once('=').map_or(part, |(_, value)| value));
        remember(part);
        // The password by itself, and not only as it is sent.
        let decoded = STANDARD.decode(part).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some((_, password)) = decoded.as_deref().and_then(|text| text.split_once(':')) {
            remember(password);
        }
    }
}

/// Remembers what is secret in a request as it is written over HTTP/1.
pub(super) fn request(bytes: &[u8]) {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(16 * 1024)]);
    for (name, value) in text.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':')) {
        field(name, value.trim());
    }
}

/// The first line of `log` that tells a secret.
pub(super) fn told(log: &str) -> Option<String> {
    let marked = |line: &&str| MARKS.iter().any(|mark| line.contains(mark));
    let line = log.lines().find(marked).or_else(|| {
        SENT.with_borrow(|sent| sent.iter().find(|secret| log.contains(secret.as_str())).cloned())
            .and_then(|secret| log.lines().find(|line| line.contains(&secret)))
    });
    line.map(str::to_owned)
}

/// Remembers a secret.
pub(super) fn remember(secret: &str) {
    SENT.with_borrow_mut(|sent| {
        if secret.len() >= SHORTEST && sent.len() < MOST {
            sent.insert(secret.to_owned());
        }
    });
}

#[test]
fn a_secret_that_was_sent_in_a_header_is_found_in_the_line_that_tells_it() {
    let basic = STANDARD.encode("alice:battery-staple");
    let ordinary = "INFO answered status=401 reason=password_wrong user=alice path=/orders";
    for (header, value, secret) in [
        ("Authorization", format!("Basic {basic}"), "battery-staple"),
        ("authorization", format!("Basic {basic}"), &*basic),
        ("Proxy-Authorization", "Bearer opaque-token-7".to_owned(), "opaque-token-7"),
        ("X-Api-Token", "opaque-token-8".to_owned(), "opaque-token-8"),
        ("Cookie", "theme=dark; session=cookie-value-9".to_owned(), "cookie-value-9"),
    ] {
        let line = format!("DEBUG looked at {secret:?} of somebody");
        let log = format!("{ordinary}\n{line}\n{ordinary}");
        SENT.take();
        assert_eq!(told(&log), None, "{header} was not sent yet");
        request(format!("GET /orders HTTP/1.1\r\n{header}: {value}\r\nAccept: text/html\r\n\r\nbody").as_bytes());
        assert_eq!(told(&log), Some(line), "{header}: {value}");
        assert_eq!(told(ordinary), None, "{header}: {value}");
        SENT.take();
        field(header, &value);
        assert!(told(&log).is_some(), "{header} over HTTP/2");
    }
}

#[test]
fn what_looks_like_a_token_or_a_hash_is_found_although_nobody_sent_it() {
    for mark in MARKS {
        assert_eq!(told(&format!("INFO started\nWARN read {mark}abc\n")), Some(format!("WARN read {mark}abc")));
    }
    let hash = super::sha("battery-staple");
    super::Users::default().and("alice", &hash);
    assert_eq!(told(&format!("WARN users:1 {hash}")), Some(format!("WARN users:1 {hash}")));
}

#[test]
fn what_is_no_secret_is_not_looked_for() {
    field("Accept", "application/json");
    field("Authorization", "Basic short");
    assert_eq!(told("INFO GET application/json, Basic, short"), None);
}
