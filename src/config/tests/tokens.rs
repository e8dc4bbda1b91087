//! What an issuer's tokens cannot be asked for, and how many of them cannot be remembered.

use super::refused::refused;

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
