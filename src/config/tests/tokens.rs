//! What an issuer's tokens cannot be asked for, and how many of them cannot be remembered.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use super::{Case, Keys, SMALLEST, refused::refused, render};

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
            "required_claims.a: a map that is not `{ present: true }`; for a claim within a claim, write its path: `a.present`",
        ),
        ("auth: { jwt: [{ required_claims: { a..b: c }, keys: { file: a } }] }", "`a..b` is no path to a claim"),
        ("auth: { token_cache: { entries: 10000001 } }", "auth.token_cache.entries: 10000001 are more than 10000000"),
        ("auth: { token_cache: { bytes: 65GiB } }", "auth.token_cache.bytes: more than 64GiB"),
        ("auth: { token_cache: { size: 1 } }", "auth.token_cache.size"),
    ]);
}

#[test]
fn times_of_an_issuer_that_defeat_their_purpose_are_refused() {
    refused(&[
        (
            "auth: { jwt: [{ keys: { url: 'https://h/', refresh: 5m, max_stale: 599s } }] }",
            "keys.max_stale: the keys would go before they are fetched anew, although the issuer is there; set it to twice",
        ),
        (
            "auth: { jwt: [{ keys: { url: 'https://h/', min_refetch: 1h, max_stale: 1h } }] }",
            "keys.max_stale: the keys would go before",
        ),
        (
            "auth: { jwt: [{ keys: { url: 'https://h/', refresh: 5m, min_refetch: 6m } }] }",
            "keys.min_refetch: this is longer than `refresh`, which could not be kept",
        ),
        ("auth: { jwt: [{ keys: { url: 'https://h/', min_refetch: 0 } }] }", "keys.min_refetch: with no time between"),
        (
            "auth: { jwt: [{ keys: { url: 'https://h/', unknown_key_wait: 11s } }] }",
            "keys.unknown_key_wait: a request waits for 10s at the most",
        ),
        ("auth: { jwt: [{ keys: { url: 'https://h/', timeout: 61s } }] }", "keys.timeout: a server that is silent"),
        (
            "auth: { jwt: [{ audiences: [a], keys: { token_review: true, url: 'https://h/', timeout: 61s } }] }",
            "keys.timeout: a server that is silent",
        ),
        (
            "auth: { jwt: [{ leeway: 301s, keys: { file: a } }] }",
            "1: auth.jwt[0].leeway: tokens would be good for longer than 5m after their end",
        ),
    ]);
}

#[test]
fn no_algorithm_is_suggested_that_makes_a_public_key_a_shared_secret() {
    let told = |name: &str| {
        let yaml = format!("auth: {{ jwt: [{{ algorithms: [{name}], keys: {{ file: a }} }}] }}\n{SMALLEST}");
        Case::yaml(yaml).problems().concat()
    };
    for name in ["ES512", "es512", "ES5122", "PS265", "RS521"] {
        let told = told(name);
        assert!(told.contains("is none of") && !told.contains("did you mean `HS"), "{told}");
    }
    assert!(told("HS265").contains("did you mean `HS256`?"));
    assert!(told("RS265").contains("did you mean `RS256`?"));
}

#[test]
fn nothing_is_asked_of_a_clusters_tokens_that_would_not_be_looked_at() {
    let beside = "typ: at+jwt, max_lifetime: 1h, required_claims: { a: b }, algorithms: [RS256], subject_claim: a, groups_claim: b";
    let problems = |source: &str| {
        let yaml = format!("auth: {{ jwt: [{{ audiences: [a], {beside}, keys: {{ {source}: true }} }}] }}\n{SMALLEST}");
        Case::yaml(yaml).problems()
    };
    let reviewed = problems("token_review");
    for name in ["typ", "max_lifetime", "required_claims", "algorithms", "subject_claim", "groups_claim"] {
        let expected = format!("jwt[0].{name}: `{name}` does not belong to `token_review`: the API server judges");
        assert_eq!(reviewed.iter().filter(|problem| problem.contains(&expected)).count(), 1, "{name}: {reviewed:#?}");
    }
    assert_eq!(reviewed.len(), 6, "{reviewed:#?}");
    let signed = problems("kubernetes");
    for name in ["subject_claim", "groups_claim"] {
        let expected =
            format!("jwt[0].{name}: `{name}` does not belong to `kubernetes`: the user is the service account");
        assert_eq!(signed.iter().filter(|problem| problem.contains(&expected)).count(), 1, "{name}: {signed:#?}");
    }
    assert_eq!(signed.len(), 2, "{signed:#?}");
}

#[test]
fn what_is_shown_of_a_clusters_issuer_can_be_loaded() {
    for source in ["token_review", "kubernetes"] {
        let yaml = format!("auth: {{ jwt: [{{ audiences: [a], keys: {{ {source}: true }} }}] }}\n{SMALLEST}");
        let shown = render(&Case::yaml(yaml).config()).unwrap();
        assert_eq!(render(&Case::yaml(&shown).config()).unwrap(), shown);
    }
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

#[test]
fn what_a_rule_asks_of_a_claim_must_mean_something() {
    for (claims, complaint) in [
        ("{ a: }", "claims.a: there is no value; for whatever value it has, write `{ present: true }`"),
        ("{ a: '' }", "claims.a: the value is empty"),
        ("{ a: [] }", "claims.a: the list is empty"),
        ("{ a: [b, null] }", "claims.a: there is no value"),
        ("{ a: [{ b: c }] }", "claims.a: a value in the list is itself a list or a map"),
        ("{ a: {} }", "claims.a: a map that is not `{ present: true }`"),
        ("{ realm_access: { roles: [x] } }", "for a claim within a claim, write its path: `realm_access.roles`"),
        ("{ a.b: { c: { d: 1 } } }", "write its path: `a.b.c.d`"),
        ("{ a.b: { 'c.d/e': 1 } }", "write its path: `/a/b/c.d~1e`"),
        ("{ 'https://h/c': { d: 1 } }", "write its path: `/https:~1~1h~1c/d`"),
        ("{ /a~1b: { c: 1 } }", "write its path: `/a~1b/c`"),
    ] {
        let rule = format!("rules: [{{ allow: {{ all: [{{ claims: {claims} }}] }} }}]");
        refused(&[(&format!("{rule};auth: {{ basic: {{ users_file: u }} }}"), complaint)]);
    }
    let good = "{ a: x, b: [x, 1, true], c: { present: true }, d: 1.5 }";
    let rule = format!("listen: {{ plaintext: true }}\nrules: [{{ allow: {{ claims: {good} }} }}]\n");
    let config = Case::yaml(format!("{rule}auth: {{ basic: {{ users_file: u }} }}")).config();
    assert_eq!(config.rules.len(), 1);
}
