//! What an issuer's tokens cannot be asked for, and how many of them cannot be remembered.

#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use super::{Case, Keys, SMALLEST, refused::refused};

#[test]
fn what_tokens_are_asked_for_must_mean_something() {
    refused(&[
        ("auth: { jwt: [{ subject_claim: a..b, keys: { file: a } }] }", "subject_claim: `a..b` is no path to a claim"),
        (
            "auth: { jwt: [{ typ: 'at jwt', keys: { file: a } }] }",
            "1: auth.jwt[0].typ: this is not a media type; write it",
        ),
        ("auth: { jwt: [{ typ: '', keys: { file: a } }] }", "typ: this is not a media type"),
        ("auth: { jwt: [{ typ: application/, keys: { file: a } }] }", "typ: this is not a media type"),
        ("auth: { jwt: [{ typ: , keys: { file: a } }] }", "auth.jwt[0].typ: this must be a string, not nothing"),
        ("auth: { jwt: [{ max_lifetime: 10ms, keys: { file: a } }] }", "no token would be accepted; set it to 1s"),
        ("auth: { jwt: [{ required_claims: , keys: { file: a } }] }", "auth.jwt[0].required_claims"),
        (
            "auth: { jwt: [{ required_claims: { a: }, keys: { file: a } }] }",
            "1: auth.jwt[0].required_claims.a: there is no value; for whatever value it has, write `{ present: true }`",
        ),
        ("auth: { jwt: [{ required_claims: { a: '' }, keys: { file: a } }] }", "required_claims.a: the value is empty"),
        ("auth: { jwt: [{ required_claims: { a: [] }, keys: { file: a } }] }", "required_claims.a: the list is empty"),
        (
            "auth: { jwt: [{ required_claims: { a: [b, ''] }, keys: { file: a } }] }",
            "required_claims.a: the value is empty",
        ),
        ("auth: { jwt: [{ required_claims: { a: [[b]] }, keys: { file: a } }] }", "is itself a list or a map"),
        (
            "auth: { jwt: [{ required_claims: { a: { present: false } }, keys: { file: a } }] }",
            "required_claims.a: a map that is not `{ present: true }`",
        ),
        ("auth: { jwt: [{ required_claims: { a..b: c }, keys: { file: a } }] }", "`a..b` is no path to a claim"),
        ("auth: { token_cache: { entries: 10000001 } }", "auth.token_cache.entries: 10000001 are more than 10000000"),
        ("auth: { token_cache: { bytes: 65GiB } }", "auth.token_cache.bytes: more than 64GiB"),
        ("auth: { token_cache: { size: 1 } }", "auth.token_cache.size"),
    ]);
}

#[test]
fn the_default_of_one_time_between_fetches_makes_way_for_the_other() {
    for (written, refresh, min_refetch) in [
        ("", 300, 10),
        (", refresh: 5s", 5, 5),
        (", min_refetch: 1h", 3600, 3600),
        (", min_refetch: 1m", 300, 60),
        (", refresh: 1h, min_refetch: 1h", 3600, 3600),
    ] {
        let yaml = format!("auth: {{ jwt: [{{ keys: {{ url: 'https://h/'{written} }} }}] }}\n{SMALLEST}");
        let config = Case::yaml(yaml).config();
        let Keys::Url(_, remote) = &config.auth.jwt[0].keys else { panic!("{:?}", config.auth.jwt) };
        let expected = (Duration::from_secs(refresh), Duration::from_secs(min_refetch));
        assert_eq!((remote.refresh, remote.min_refetch), expected, "{written}");
    }
}
