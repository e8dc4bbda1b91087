//! What the settings of keys must keep to, so that they do what they are for.

use std::time::Duration;

use super::{Keys, Remote};
use crate::config::{
    Url,
    findings::{Findings, member},
};

/// The longest that a fetch may take: while it lasts, no other is begun.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest that a request waits for a key: anybody can make up a `kid`, and have requests wait.
const MAX_UNKNOWN_KEY_WAIT: Duration = Duration::from_secs(10);

impl Keys {
    /// Checks the keys, at `key`, of an issuer of this name.
    pub(in crate::config) fn check(&self, issuer: Option<&str>, key: &str, findings: &mut Findings<'_>) {
        if let Self::Discovery(_) = self
            && let Err(why) = issuer.map_or(Err("there is no `issuer`".to_owned()), Url::parse)
        {
            let what = format!("the issuer cannot be asked where its keys are: {why}");
            findings.push(key, what, "set `issuer` to an https URL, or `keys` to a `url` or `file`");
        }
        match self {
            Self::Discovery(remote) | Self::Url(_, remote) | Self::Kubernetes(_, remote) => {
                remote.check(key, findings);
            }
            Self::TokenReview(_, review) => {
                check_timeout(review.server.timeout, key, findings);
            }
            Self::File(_) | Self::PemFile(_) | Self::SecretFile(_) => {}
        }
    }
}

impl Remote {
    fn check(&self, key: &str, findings: &mut Findings<'_>) {
        let Self { refresh, min_refetch, unknown_key_wait, max_stale, .. } = *self;
        check_timeout(self.server.timeout, key, findings);
        for (name, value, remedy) in
            [("refresh", refresh, "set it to 5m"), ("min_refetch", min_refetch, "set it to 10s")]
        {
            if value.is_zero() {
                findings.push(member(key, name), "with no time between, the issuer is asked without end", remedy);
            }
        }
        if min_refetch > refresh && !refresh.is_zero() {
            let what = "this is longer than `refresh`, which could not be kept";
            findings.push(member(key, "min_refetch"), what, "set it to `refresh` or less");
        }
        if unknown_key_wait > MAX_UNKNOWN_KEY_WAIT {
            let what = "a request waits for 10s at the most: anybody can name a key that is not there";
            findings.push(member(key, "unknown_key_wait"), what, "set it to 2s");
        }
        // One fetch may come late, and one may fail: neither is a reason to refuse everybody.
        if max_stale < refresh.max(min_refetch) * 2 {
            let what = "the keys would go before they are fetched anew, although the issuer is there";
            findings.push(member(key, "max_stale"), what, "set it to twice `refresh` or more");
        }
    }
}

fn check_timeout(timeout: Duration, key: &str, findings: &mut Findings<'_>) {
    if timeout.is_zero() {
        findings.push(member(key, "timeout"), "with no time nothing is fetched", "set it to 3s");
    } else if timeout > MAX_TIMEOUT {
        findings.push(member(key, "timeout"), "a server that is silent for a minute will not answer", "set it to 3s");
    }
}
