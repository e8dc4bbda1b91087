//! Each of an issuer's terms: a token that keeps it, and those that do not.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

use super::*;
use crate::config::{Jwt, Keys};

const NOW: u64 = 1_800_000_000;

fn issuer() -> Jwt {
    Jwt { leeway: Duration::from_secs(30), ..Jwt::new(Keys::File("unused".into())) }
}

/// What is made of a token with these claims, besides `exp` and `sub`; `null` takes one away.
fn judged(config: &Jwt, typ: &Value, changes: Value) -> Result<(u64, String), Reason> {
    let mut claims = json!({ "sub": "alice", "exp": NOW + 300 });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let mut header = json!({ "alg": "ES256", "typ": typ });
    header.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let text = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".") + ".c2ln";
    let token = Token::parse(&text)?;
    let terms = Terms::new(config);
    let expires = terms.check(&token, NOW)?;
    Ok((expires, terms.subject(&token)?.user.to_owned()))
}

#[track_caller]
fn assert_verdicts(config: &Jwt, cases: &[(Value, Result<(), Reason>)]) {
    for (changes, verdict) in cases {
        assert_eq!(judged(config, &Value::Null, changes.clone()).map(|_| ()), *verdict, "{changes}");
    }
}

#[test]
fn the_type_is_looked_at_where_one_is_wanted() {
    let wanted = Jwt { typ: Some("application/AT+JWT".to_owned()), ..issuer() };
    for (typ, verdict) in [
        (json!("at+jwt"), Ok(())),
        (json!("AT+JWT"), Ok(())),
        (json!("application/at+jwt"), Ok(())),
        (json!("JWT"), Err(Reason::JwtType)),
        (json!("at+jwt "), Err(Reason::JwtType)),
        (json!("text/at+jwt"), Err(Reason::JwtType)),
        (json!(""), Err(Reason::JwtType)),
        (Value::Null, Err(Reason::JwtType)),
    ] {
        assert_eq!(judged(&wanted, &typ, json!({})).map(|_| ()), verdict, "{typ}");
        assert!(judged(&issuer(), &typ, json!({})).is_ok(), "{typ}, where none is wanted");
    }
}

#[test]
fn a_token_is_good_from_its_first_second_to_its_last_with_the_leeway_and_no_longer() {
    let refused = Err(Reason::JwtExpired);
    let early = Err(Reason::JwtNotYetValid);
    assert_verdicts(
        &issuer(),
        &[
            (json!({ "exp": NOW - 29 }), Ok(())),
            (json!({ "exp": NOW - 30 }), refused),
            (json!({ "exp": 0 }), refused),
            (json!({ "exp": null }), refused),
            (json!({ "nbf": NOW + 30 }), Ok(())),
            (json!({ "nbf": NOW + 31 }), early),
            (json!({ "iat": NOW + 30 }), Ok(())),
            (json!({ "iat": NOW + 31 }), early),
            (json!({ "iat": 0, "nbf": 0 }), Ok(())),
            (json!({ "nbf": NOW + 20, "exp": NOW + 20 }), Ok(())),
            (json!({ "nbf": NOW + 20, "exp": NOW + 19 }), Err(Reason::JwtClaim)),
        ],
    );
    assert_eq!(judged(&issuer(), &Value::Null, json!({})), Ok((NOW + 330, "alice".to_owned())));
}

#[test]
fn a_time_of_the_wrong_type_is_refused_whichever_it_is() {
    for claim in ["exp", "nbf", "iat"] {
        for value in [json!("0"), json!(0.5), json!(-1), json!(1e20), json!(true), json!([0]), json!({}), json!("")] {
            let verdict = judged(&issuer(), &Value::Null, json!({ claim: value }));
            assert_eq!(verdict, Err(Reason::JwtClaim), "{claim} {value}");
        }
    }
}

#[test]
fn a_token_that_lasts_too_long_is_refused_where_that_is_limited() {
    let limited = Jwt { max_lifetime: Duration::from_secs(600), ..issuer() };
    let (long, unknown) = (Err(Reason::JwtLifetime), Err(Reason::JwtClaim));
    assert_verdicts(
        &limited,
        &[
            (json!({ "iat": NOW, "exp": NOW + 600 }), Ok(())),
            (json!({ "iat": NOW, "exp": NOW + 601 }), long),
            (json!({ "iat": NOW - 400, "exp": NOW + 300 }), long),
            (json!({ "iat": 0 }), long),
            (json!({ "iat": null }), unknown),
            (json!({ "iat": NOW + 10, "exp": NOW + 5 }), unknown),
            // Who could say that it was issued tomorrow could make it last for as long as they like.
            (json!({ "iat": NOW + 86_400, "exp": NOW + 86_700 }), Err(Reason::JwtNotYetValid)),
        ],
    );
    assert_verdicts(&issuer(), &[(json!({ "exp": NOW + 315_360_000 }), Ok(()))]);
}

#[test]
fn each_required_claim_has_to_be_met() {
    let required = json!({
        "email_verified": true, "scope": ["orders:read", "orders:write"], "/realm_access/roles": "staff",
        "https://example.com/tenant": { "present": true },
    });
    let config = Jwt { required_claims: serde_json::from_value(required).unwrap(), ..issuer() };
    let good = json!({
        "email_verified": true, "scope": "openid orders:write", "realm_access": { "roles": ["staff", "x"] },
        "https://example.com/tenant": 0,
    });
    assert_verdicts(&config, &[(good.clone(), Ok(()))]);
    for (claim, values) in [
        ("email_verified", json!([null, false, "true", 1, [false]])),
        ("scope", json!([null, "", "orders:write-all", "openid,orders:write", ["openid"], 1])),
        ("realm_access", json!([null, "staff", { "roles": [["staff"]] }, { "roles": { "staff": true } }])),
        ("https://example.com/tenant", json!([null, ""])),
    ] {
        for value in values.as_array().unwrap() {
            let mut claims = good.clone();
            claims[claim] = value.clone();
            let verdict = judged(&config, &Value::Null, claims).map(|_| ());
            assert_eq!(verdict, Err(Reason::JwtClaim), "{claim} {value}");
        }
    }
}

#[test]
fn the_user_is_whom_the_subject_claim_names() {
    let claims = json!({
        "email": "alice@example.com", "id": 7, "empty": "", "profile": { "name.first": "Alice", "logins": ["al", "ice"] },
        "https://example.com/user": "namespaced",
    });
    for (path, user) in [
        ("sub", Some("alice")),
        ("email", Some("alice@example.com")),
        ("/profile/name.first", Some("Alice")),
        ("/profile/logins/1", Some("ice")),
        ("https://example.com/user", Some("namespaced")),
        ("profile.name.first", None),
        ("profile.logins", None),
        ("id", None),
        ("empty", None),
        ("missing", None),
        ("/", None),
    ] {
        let config = Jwt { subject_claim: path.to_owned(), ..issuer() };
        let verdict = judged(&config, &Value::Null, claims.clone()).map(|(_, user)| user);
        assert_eq!(verdict, user.map(str::to_owned).ok_or(Reason::JwtClaim), "{path}");
    }
}

#[test]
fn groups_are_text() {
    for (groups, verdict) in [
        (json!(["a", "b"]), Ok(())),
        (json!("a"), Ok(())),
        (json!([]), Ok(())),
        (json!(["a", 1]), Err(Reason::JwtClaim)),
        (json!({ "a": true }), Err(Reason::JwtClaim)),
        (json!(1), Err(Reason::JwtClaim)),
    ] {
        assert_verdicts(&issuer(), &[(json!({ "groups": groups }), verdict)]);
    }
}
