//! The question and the answer: `TokenReview` of `authentication.k8s.io/v1`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

/// What a token stands for, by the API server's word.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Proved {
    pub(super) user: String,
    pub(super) groups: Vec<String>,
    /// What else is told of the user: `uid`, and `extra` with the pod and the node.
    pub(super) claims: Value,
}

/// An answer that is none: it does not say whose the token is, and not that it is nobody's.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum NoAnswer {
    /// Something else than a TokenReview with a status.
    #[error("the answer is not a TokenReview: {0}")]
    Malformed(String),
    /// The API server could not find out.
    #[error("the API server could not review it: {0}")]
    Failed(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    api_version: String,
    kind: String,
    status: Status,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    authenticated: bool,
    user: Option<User>,
    #[serde(default)]
    audiences: Vec<String>,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
struct User {
    /// Absent where there is none: a refusal has a user without any member.
    #[serde(default)]
    username: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
}

/// Asks whose `token` is, meant for one of these audiences.
pub(super) fn question(token: &str, audiences: &[String]) -> Value {
    json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": { "token": token, "audiences": audiences },
    })
}

/// Reads the answer: `None` for a token that is nobody's, or is meant for others.
pub(super) fn read(body: &[u8], audiences: &[String]) -> Result<Option<Proved>, NoAnswer> {
    // Not the error itself, which repeats what was found, and that may be the token.
    let malformed = |error: serde_json::Error| format!("line {}, column {}", error.line(), error.column());
    let answer: Answer = serde_json::from_slice(body).map_err(|error| NoAnswer::Malformed(malformed(error)))?;
    if answer.api_version != "authentication.k8s.io/v1" || answer.kind != "TokenReview" {
        return Err(NoAnswer::Malformed("its kind is another".to_owned()));
    }
    let Status { authenticated, user, audiences: meant_for, error } = answer.status;
    if !authenticated {
        // An invalid token has an error too. Only the server knows which is which, and says so by its status code.
        return Ok(None);
    }
    if !error.is_empty() {
        return Err(NoAnswer::Failed(error));
    }
    let user = user.filter(|user| !user.username.is_empty());
    let Some(User { username, uid, groups, extra }) = user else {
        return Err(NoAnswer::Malformed("it names no user".to_owned()));
    };
    // A server that does not know audiences leaves them out, and would take a token that is meant for somebody else.
    if !meant_for.iter().any(|audience| audiences.contains(audience)) {
        return Ok(None);
    }
    Ok(Some(Proved { claims: json!({ "sub": username, "uid": uid, "extra": extra }), user: username, groups }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audiences() -> Vec<String> {
        vec!["orders".to_owned()]
    }

    fn answer(status: &Value) -> Result<Option<Proved>, NoAnswer> {
        let body = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status });
        read(body.to_string().as_bytes(), &audiences())
    }

    #[test]
    fn an_authenticated_user_is_read_with_all_that_is_told() {
        let extra = json!({ "authentication.kubernetes.io/pod-name": ["checkout-1"] });
        let user =
            json!({ "username": "system:serviceaccount:shop:checkout", "uid": "7", "groups": ["g"], "extra": extra });
        let proved = answer(&json!({ "authenticated": true, "audiences": ["orders"], "user": user }));
        let claims = json!({ "sub": "system:serviceaccount:shop:checkout", "uid": "7", "extra": extra });
        let expected =
            Proved { user: "system:serviceaccount:shop:checkout".to_owned(), groups: vec!["g".to_owned()], claims };
        assert_eq!(proved, Ok(Some(expected)));
    }

    #[test]
    fn a_token_that_is_nobodys_or_meant_for_others_proves_nothing() {
        let user = json!({ "username": "alice" });
        for status in [
            json!({}),
            json!({ "user": {}, "error": "[invalid bearer token, token lookup failed]" }),
            json!({ "authenticated": false, "error": "token expired" }),
            json!({ "authenticated": false, "user": user, "audiences": ["orders"] }),
            json!({ "authenticated": true, "user": user }),
            json!({ "authenticated": true, "user": user, "audiences": [] }),
            json!({ "authenticated": true, "user": user, "audiences": ["https://kubernetes.default.svc"] }),
        ] {
            assert_eq!(answer(&status), Ok(None), "{status}");
        }
    }

    #[test]
    fn what_is_no_answer_says_nothing_about_the_token() {
        for status in [
            json!({ "authenticated": true, "audiences": ["orders"] }),
            json!({ "authenticated": true, "audiences": ["orders"], "user": {} }),
            json!({ "authenticated": true, "audiences": ["orders"], "user": { "username": "" } }),
            json!({ "authenticated": true, "audiences": ["orders"], "user": { "username": 7 } }),
            json!({ "authenticated": "true", "audiences": ["orders"], "user": { "username": "alice" } }),
            json!({ "authenticated": true, "audiences": "orders", "user": { "username": "alice" } }),
            json!({ "authenticated": true, "audiences": ["orders"], "user": { "username": "a" }, "error": "webhook" }),
            json!(null),
        ] {
            assert!(answer(&status).is_err(), "{status}");
        }
        for body in ["", "{}", "[]", r#"{"apiVersion":"v1","kind":"Status","status":{"authenticated":true}}"#] {
            assert!(read(body.as_bytes(), &audiences()).is_err(), "{body}");
        }
    }

    #[test]
    fn what_was_found_instead_of_an_answer_is_not_repeated() {
        for body in [r#""s3cr3t-token""#, r#"{"apiVersion":"v1","kind":"TokenReview","status":"s3cr3t-token"}"#] {
            let error = read(body.as_bytes(), &audiences()).map_err(|error| error.to_string());
            assert!(error.is_err_and(|error| error.contains("column") && !error.contains("s3cr3t")), "{body}");
        }
    }
}
