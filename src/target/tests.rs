//! What has one reading passes, what has several passes where it is configured to, and no way leads past a rule.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use super::*;
use crate::config::{Handling, PathPattern};

mod apps;

use Handling::{Normalize, Pass, Reject};

const STRICT: Paths = Paths { ambiguous: Reject, encoded_slash: Reject };

fn parse(target: &str) -> Result<Target, Reason> {
    Target::parse(&Request::get(target).header("host", "app.example").body(()).unwrap())
}

/// What is matched and what is forwarded, when one rule is for every path.
fn settle(target: &str, paths: Paths) -> Result<(String, String), Reason> {
    let mut target = parse(target)?;
    target.settle(|_, _| Some(0), |_| paths).map_err(|unsettled| unsettled.reason)?;
    Ok((target.path().to_owned(), target.forwarded().to_string()))
}

fn paths(ambiguous: Handling, encoded_slash: Handling) -> Paths {
    Paths { ambiguous, encoded_slash }
}

#[test]
fn what_has_one_reading_is_matched_decoded_and_forwarded_as_written() {
    for (target, path) in [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a/", "/a/"),
        ("/a?x=/../b&y=%2f", "/a"),
        ("/caf%C3%A9", "/café"),
        ("/a%20b", "/a b"),
        ("/100%25", "/100%"),
        ("/100%25zz", "/100%zz"),
        ("/a%2520b", "/a%20b"),
        ("/...", "/..."),
        ("/..a/.b", "/..a/.b"),
        ("/.well-known/x", "/.well-known/x"),
        ("/a%3bb", "/a;b"),
        ("/a;b", "/a;b"),
        ("/c%23", "/c#"),
        ("/a%3fb", "/a?b"),
        ("/~user/a:b@c!$&'()*+,=-_", "/~user/a:b@c!$&'()*+,=-_"),
    ] {
        for setting in [Reject, Normalize, Pass] {
            let settled = settle(target, paths(setting, setting));
            assert_eq!(settled, Ok((path.to_owned(), target.to_owned())), "{setting:?}");
        }
    }
}

#[test]
fn the_plain_path_is_not_copied() {
    for target in ["/", "/a/b", "/a/?x=%2f//", "/.well-known/x", "/a.b/..c"] {
        assert!(parse(target).unwrap().decoded.is_none(), "{target}");
    }
}

#[test]
fn what_never_passes_is_refused_whatever_the_settings() {
    for target in [
        "/a%00",
        "/a%0a",
        "/a%0d%0ab",
        "/a%01b",
        "/a%7f",
        "/a%",
        "/a%2",
        "/a%zz",
        "/a%+1",
        "/%252e%252e/a",
        "/a%252fb",
        "/a%25%32%66",
        "/a%255cb",
        "/a%253bb",
        "/a%2500",
        "/a%252500",
        "/%ff",
        "/%c0%af",
        "/%c3",
        "/%ed%a0%80",
        // Above the root there is nothing.
        "/..",
        "/../a",
        "/a/../../b",
        "/%2e%2e/a",
        "/a/..//../b",
        "/..%2fa",
        "/%5c../a",
        // What is a dot segment to some only.
        "/a/..;/b",
        "/a/.;x/b",
        "/a/%2e%2e;/b",
        "/a/..%3b/b",
        "/..;/a",
    ] {
        for ambiguous in [Reject, Normalize, Pass] {
            for encoded_slash in [Reject, Normalize, Pass] {
                let settled = settle(target, paths(ambiguous, encoded_slash));
                assert_eq!(settled, Err(Reason::PathAmbiguous), "{target} {ambiguous:?} {encoded_slash:?}");
            }
        }
    }
}

#[test]
fn what_has_several_readings_is_refused_unless_configured() {
    for target in [
        "//a",
        "/a//b",
        "/a//",
        "//",
        "/./a",
        "/a/.",
        "/.",
        "/a/..",
        "/a/../b",
        "/%2e/a",
        "/a/%2e%2E/b",
        "/a/.%2e",
        "/a%2fb",
        "/a%2Fb",
        "/%2f",
        "/a%5cb",
        "/a%5Cb",
        "/a\\b",
        "/a;/../b",
        "/a/;x/b",
        "/;/a",
        "/a/%3b/b",
    ] {
        assert_eq!(settle(target, STRICT), Err(Reason::PathAmbiguous), "{target}");
    }
}

#[test]
fn a_normalised_path_is_matched_and_forwarded_in_its_canonical_form() {
    for (target, path, forwarded) in [
        ("//a", "/a", "/a"),
        ("/a//b///c//", "/a/b/c/", "/a/b/c/"),
        ("//", "/", "/"),
        ("/./a/./", "/a/", "/a/"),
        ("/a/.", "/a/", "/a/"),
        ("/a/..", "/", "/"),
        ("/a/b/..", "/a/", "/a/"),
        ("/a/b/../c", "/a/c", "/a/c"),
        ("/a//../b", "/b", "/b"),
        ("/a/%2e%2E/b?x=%2e%2e//", "/b", "/b?x=%2e%2e//"),
        ("/a%2fb", "/a/b", "/a/b"),
        ("/a%5C%2f\\b", "/a/b", "/a/b"),
        ("/x/a%2f..%2fb", "/x/b", "/x/b"),
        // The rest stays as it was written: what is encoded may mean something else than what is not.
        ("/%61//caf%c3%a9%3b;x/..a", "/a/café;;x/..a", "/%61/caf%c3%a9%3b;x/..a"),
        ("/a//100%25", "/a/100%", "/a/100%25"),
    ] {
        let settled = settle(target, paths(Normalize, Normalize));
        assert_eq!(settled, Ok((path.to_owned(), forwarded.to_owned())), "{target}");
    }
    // Each setting is about its own.
    assert_eq!(settle("/a//b%2fc", paths(Normalize, Reject)), Err(Reason::PathAmbiguous));
    assert_eq!(settle("/a//b%2fc", paths(Reject, Normalize)), Err(Reason::PathAmbiguous));
    assert_eq!(settle("/a%2fb", paths(Reject, Normalize)).unwrap().1, "/a/b");
    assert_eq!(settle("/a%2f%2fb", paths(Reject, Normalize)), Err(Reason::PathAmbiguous));
    assert_eq!(settle("/a/../b%2fc", paths(Normalize, Pass)).unwrap().1, "/b%2fc");
    assert_eq!(settle("/a//b%2fc", paths(Pass, Normalize)).unwrap().1, "/a//b/c");
    // Without its parameter there would be a gap again.
    assert_eq!(settle("/a//;x/b", paths(Normalize, Reject)), Err(Reason::PathAmbiguous));
}

#[test]
fn what_is_passed_is_forwarded_as_it_was_written() {
    for target in
        ["/a//b", "/a//", "/web/http://app.example/x", "/a%2fb", "/%40scope%2Fname", "/a%5Cb", "/a%2f%2fb//", "/a/;x/b"]
    {
        assert_eq!(settle(target, paths(Pass, Pass)).unwrap().1, target);
    }
    for target in [
        // No dot segment in any reading, no beginning that looks like a host, no bare backslash, and no separator that
        // may be part of a parameter or not.
        "/a/../b",
        "/a/.",
        "/a%2f..%2fb",
        "/a/..%2fb",
        "/a%5c.%5cb",
        "/a%2f..;x",
        "//a",
        "///",
        "/%2fa",
        "/;x/a",
        "/;/a",
        "/a\\b",
        "/a;x%2fb",
        "/a;x%5cb",
    ] {
        assert_eq!(settle(target, paths(Pass, Pass)), Err(Reason::PathAmbiguous), "{target}");
    }
    assert_eq!(settle("/a//b", paths(Reject, Pass)), Err(Reason::PathAmbiguous));
    assert_eq!(settle("/a%2f%2fb", paths(Reject, Pass)), Err(Reason::PathAmbiguous));
    assert_eq!(settle("/a%2fb", paths(Pass, Reject)), Err(Reason::PathAmbiguous));
}

#[test]
fn every_reading_must_lead_to_the_rule_that_decides() {
    let rules = ["/admin/**", "/a/b", "/public/**", "/files/*", "/a;b", "/x;b/c", "/**"];
    let rules = rules.map(|path| PathPattern::parse(path).unwrap());
    let settle = |target: &str, settings: Paths| {
        let mut target = parse(target).unwrap();
        target.settle(|_, path| rules.iter().position(|rule| rule.matches(path)), |_| settings)
    };
    let ambiguous = |rule| Err(Unsettled { rule: Some(rule), reason: Reason::PathAmbiguous });
    for (target, settings, expected) in [
        // To Flask this is a path like any other, for which the last rule is meant; to Tomcat it is /admin/users.
        ("/admin;x/users", STRICT, ambiguous(6)),
        ("/admin%3bx/users", STRICT, ambiguous(6)),
        ("/a/b;x", STRICT, ambiguous(6)),
        ("/a;b", STRICT, ambiguous(4)),
        ("/cart;jsessionid=1", STRICT, Ok(Some(6))),
        // With all parameters or with none it is for the last rule; with that at the end cut off it is not.
        ("/x;b/c;d", STRICT, ambiguous(6)),
        ("/y;b/c;d", STRICT, Ok(Some(6))),
        ("/public/a;b%3bc", STRICT, Ok(Some(2))),
        ("/public/a//b", paths(Pass, Reject), Ok(Some(2))),
        ("/public//a", paths(Pass, Reject), Ok(Some(2))),
        ("/a//b", paths(Pass, Reject), ambiguous(1)),
        ("/public%2fa", paths(Reject, Pass), ambiguous(2)),
        ("/public/a%2fb", paths(Reject, Pass), Ok(Some(2))),
        ("/files/a%2fb", paths(Reject, Pass), ambiguous(6)),
        ("/admin%5cx", paths(Reject, Pass), ambiguous(0)),
        ("/public/../admin", paths(Normalize, Reject), Ok(Some(0))),
        ("/public/..%2fadmin", paths(Normalize, Pass), ambiguous(0)),
        ("/public%2f..%2fadmin", paths(Normalize, Normalize), Ok(Some(0))),
    ] {
        assert_eq!(settle(target, settings), expected, "{target} {settings:?}");
    }
}

#[test]
fn what_is_no_path_is_refused() {
    for (method, target) in [
        ("CONNECT", "app.example:443"),
        ("CONNECT", "/"),
        ("OPTIONS", "*"),
        ("GET", "app.example:80"),
        ("GET", "ftp://app.example/"),
        ("GET", "ws://app.example/"),
    ] {
        let request = Request::builder().method(method).uri(target).header("host", "app.example").body(()).unwrap();
        assert_eq!(Target::parse(&request).err(), Some(Reason::PathAmbiguous), "{method} {target}");
    }
    assert_eq!(parse("http://app.example/a").unwrap().forwarded(), "/a");
    assert_eq!(parse("HTTPS://app.example").unwrap().forwarded(), "/");
}

#[test]
fn a_method_has_one_spelling() {
    for (method, expected) in [
        ("POST", None),
        ("PROPFIND", None),
        ("VERSION-CONTROL", None),
        ("post", Some(Reason::MethodInvalid)),
        ("Post", Some(Reason::MethodInvalid)),
        ("gET", Some(Reason::MethodInvalid)),
    ] {
        let request = Request::builder().method(method).uri("/").header("host", "app.example").body(()).unwrap();
        assert_eq!(Target::parse(&request).err(), expected, "{method}");
    }
}
