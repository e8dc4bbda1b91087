//! What the app cannot be told, or not so.

use super::refused::refused;

#[test]
fn identity_headers_must_be_ours_alone_to_set() {
    refused(&[
        (
            "identity: { headers: { X-Forwarded-For: sub } }",
            "1: identity.headers.X-Forwarded-For: `X-Forwarded-For` is set by sidegate",
        ),
        ("identity: { headers: { x-request-id: sub } }", "is set by sidegate itself"),
        ("identity: { headers: { Authorization: sub } }", "belongs to HTTP itself"),
        ("identity: { headers: { Transfer-Encoding: sub } }", "belongs to HTTP itself"),
        ("identity: { headers: { Proxy: sub } }", "belongs to HTTP itself"),
        ("identity: { headers: { X_Remote_User: sub } }", "WSGI and CGI take `_` and `-` for the same"),
        ("identity: { headers: { 'X User': sub } }", "is not the name of a header"),
        (
            "identity: { headers: { X-User: sub, x-user: email } }",
            "identity.headers.x-user: `x-user` and `X-User` are the same header",
        ),
        ("identity: { headers: { X-User: sub, X.User: email } }", "are the same header to an app"),
        ("identity: { headers: { X-User: '' } }", "is no path to a claim"),
        ("identity: { headers: { X-User: } }", "this must be a string, not nothing"),
        ("identity: { group_separator: \"\\n\" }", "identity.group_separator: a header cannot carry this separator"),
        ("identity: { group_separator: '' }", "would be the group `ab`"),
        ("identity: { headers: }", "identity.headers: this must be a map, not nothing"),
        ("identity: { preset: remote_user }", "did you mean `remote-user`?"),
        ("identity: { headers: { X-All: $payloads } }", "`$payloads` stands for nothing; did you mean `$payload`?"),
        (
            "identity: { add_headers: { x.forwarded.user: email } }",
            "1: identity.add_headers.x.forwarded.user: `x.forwarded.user` and `X-Forwarded-User` are the same header",
        ),
        ("identity: { add_headers: { X-Real-IP: sub } }", "is set by sidegate itself"),
    ]);
}

#[test]
fn a_signed_identity_says_for_whom_and_for_how_long() {
    refused(&[
        ("identity: { signed: { lifetime: 60s } }", "1: identity.signed: `audience` is missing"),
        ("identity: { signed: { audience: '' } }", "identity.signed.audience: it is empty"),
        ("identity: { signed: { audience: a, issuer: '' } }", "identity.signed.issuer: it is empty"),
        ("identity: { signed: { audience: a, lifetime: 4s } }", "is not a number of seconds from 5s to 1h"),
        ("identity: { signed: { audience: a, lifetime: 5500ms } }", "is not a number of seconds from 5s to 1h"),
        ("identity: { signed: { audience: a, lifetime: 2h } }", "is not a number of seconds from 5s to 1h"),
        (
            "identity: { signed: { audience: a, claims: [email, sub] } }",
            "claims[1]: `sub` is a claim that sidegate makes",
        ),
        (
            "identity: { signed: { audience: a, header: Authorization } }",
            "signed.header: `Authorization` belongs to HTTP",
        ),
        ("identity: { signed: { audience: a, header: x-forwarded-user } }", "are the same header to an app"),
        ("identity: { signed: { audience: a, lifetme: 60s } }", "did you mean `lifetime`?"),
    ]);
}

#[test]
fn forwarded_credentials_are_one_of_four() {
    refused(&[
        ("identity: { forward_credentials: yes }", "`yes` is none of `true`, `false`, `signed`, `{ file: PATH }`"),
        ("identity: { forward_credentials: }", "identity.forward_credentials: "),
        ("identity: { forward_credentials: { fil: a } }", "did you mean `file`?"),
        ("identity: { forward_credentials: {} }", "identity.forward_credentials"),
        ("identity: { forward_credentials: signed }", "there is no signed identity to forward; set `identity.signed:"),
        (
            "rules: [{ allow: authenticated, forward_credentials: signed }]\nauth: { basic: { users_file: u } }",
            "1: rules[0].forward_credentials: there is no signed identity to forward",
        ),
        (
            "identity: { signed: { audience: a } }\nrules: [{ allow: anyone, forward_credentials: signed }]",
            "2: rules[0].forward_credentials: a rule that lets anyone through knows no caller",
        ),
    ]);
}
