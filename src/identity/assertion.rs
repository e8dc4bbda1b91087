//! What we say to the app about a caller under our signature, made when it is asked for and used for a while.

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwapOption;
use http::HeaderValue;

use super::Signer;

/// What can be said about one caller. A signature costs more than all else that is done for a request, so it is made anew
/// only when two thirds of the lifetime of the last one are over.
pub struct Assertion {
    signer: Arc<Signer>,
    /// JSON, up to where the times come.
    claims: Box<str>,
    /// Nothing, and nothing allocated, until it is asked for: many callers come once.
    last: ArcSwapOption<Minted>,
}

/// A token for the app.
pub struct Minted {
    /// The token.
    pub token: HeaderValue,
    /// The same, as `Authorization` has it.
    pub bearer: HeaderValue,
    /// In seconds since 1970, as the other.
    from: u64,
    /// Until when it is used.
    until: u64,
}

impl Assertion {
    pub(super) fn new(signer: Arc<Signer>, claims: Box<str>) -> Self {
        Self { signer, claims, last: ArcSwapOption::empty() }
    }

    /// The memory that it takes at the most, in bytes: the claims, and the token twice.
    pub fn size(&self) -> usize {
        self.claims.len() + size_of::<Minted>() + 2 * self.signer.length(&self.claims)
    }

    /// The token to send at `now` about a caller whose proof ends at `end`; it ends then at the latest. `None` if the
    /// cryptographic library fails, or the proof is over.
    ///
    /// Two requests at once may make two; both are good.
    pub(super) fn at(&self, now: SystemTime, end: Option<u64>) -> Option<Arc<Minted>> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if let Some(last) = self.last.load().as_ref().filter(|last| (last.from..last.until).contains(&now)) {
            return Some(last.clone());
        }
        let lifetime = self.signer.lifetime;
        let expires = end.map_or(now + lifetime, |end| end.min(now + lifetime));
        if expires <= now {
            return None;
        }
        // One that ends with the proof is not made better by another one.
        let until = if expires < now + lifetime { expires } else { expires - lifetime / 3 };
        let token = self.signer.sign(&format!(r#"{},"iat":{now},"exp":{expires}}}"#, self.claims))?;
        let sensitive = |text: String| {
            let mut value = HeaderValue::try_from(text).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        let bearer = sensitive(format!("Bearer {token}"))?;
        let minted = Arc::new(Minted { token: sensitive(token)?, bearer, from: now, until });
        self.last.store(Some(minted.clone()));
        Some(minted)
    }
}

impl fmt::Debug for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assertion").field("signer", &self.signer).finish_non_exhaustive()
    }
}

impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minted").field("token", &"***").field("until", &self.until).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::time::Duration;

    use serde_json::Value;

    use super::*;
    use crate::{
        config,
        identity::{Method, Subject},
    };

    fn assertion() -> Assertion {
        let config: config::Signed = serde_json::from_value(serde_json::json!({ "audience": "app" })).unwrap();
        let subject = Subject { user: "alice", method: Method::Jwt, issuer: "corp", groups: &[], claims: &Value::Null };
        Signer::load(&config).unwrap().assertion(subject, 8 * 1024).unwrap()
    }

    #[test]
    fn a_token_is_used_until_a_third_of_its_lifetime_is_left_or_its_proof_ends() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        for (end, again, anew) in [(None, 1039, 1040), (Some(1100), 1039, 1040), (Some(1050), 1049, 1050)] {
            let assertion = assertion();
            let first = assertion.at(at(1000), end).unwrap();
            assert_eq!(assertion.at(at(again), end).unwrap().token, first.token, "{end:?}");
            assert_ne!(
                assertion.at(at(anew), end).map(|minted| minted.token.clone()),
                Some(first.token.clone()),
                "{end:?}"
            );
        }
        // A clock that was put back: it would be one from the future.
        let assertion = assertion();
        let first = assertion.at(at(1000), None).unwrap();
        assert_ne!(assertion.at(at(900), None).unwrap().token, first.token);
        assert!(assertion.at(at(1000), Some(1000)).is_none(), "the proof is over");
    }

    #[test]
    fn what_is_secret_is_not_shown() {
        let assertion = assertion();
        let minted = assertion.at(SystemTime::now(), None).unwrap();
        let shown = format!("{assertion:?} {minted:?} {:?} {:?}", minted.token, minted.bearer);
        assert!(!shown.contains(minted.token.to_str().unwrap()) && shown.contains("***"), "{shown}");
    }
}
