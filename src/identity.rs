//! Who is calling: what was proved, in the form in which rules, logs and the app need it.

use std::{sync::Arc, time::SystemTime};

use http::{HeaderName, HeaderValue};
use serde_json::Value;

pub use self::{
    account::ServiceAccount,
    assertion::{Assertion, Minted},
    signer::{Signer, Subject},
};

mod account;
mod assertion;
mod signer;

/// How a caller proved who they are. The order is that of the metric's label values.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// Not at all: the rule asks for nothing, or nothing (usable) was presented.
    None,
    /// A bearer token (RFC 6750, RFC 7519).
    Jwt,
    /// A user name and a password (RFC 7617).
    Basic,
}

impl Method {
    /// Every method, in the order of [`Method::index`].
    pub const ALL: [Self; 3] = [Self::None, Self::Jwt, Self::Basic];

    /// The label in metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Jwt => "jwt",
            Self::Basic => "basic",
        }
    }

    /// The place in [`Method::ALL`].
    pub const fn index(self) -> usize {
        match self {
            Self::None => 0,
            Self::Jwt => 1,
            Self::Basic => 2,
        }
    }
}

/// A caller whom we know. Made once when the proof is checked, then shared.
#[derive(Debug)]
pub struct Identity {
    /// The `sub` of the token, or the name of Basic.
    pub user: Box<str>,
    /// How it was proved.
    pub method: Method,
    /// The name of the issuer, or of the password file's realm.
    pub issuer: Arc<str>,
    /// The service account that the user is, where a Kubernetes cluster says so.
    pub account: Option<ServiceAccount>,
    /// The groups that the issuer, or the groups file, says the caller is in.
    pub groups: Vec<String>,
    /// The claims that rules ask for, in the places that the policy gave them.
    pub claims: Box<[Option<Value>]>,
    /// What the app is told, ready to be sent. Holds each configured header at most once.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What the app is told by a signature, if it is.
    pub assertion: Option<Assertion>,
    /// When the proof ends, with the leeway that its issuer is given, in seconds since 1970. A password has no end.
    pub expires: Option<u64>,
}

impl Identity {
    /// What the app is told by a signature at `now`, if it is.
    pub fn signed(&self, now: SystemTime) -> Option<Arc<Minted>> {
        self.assertion.as_ref()?.at(now, self.expires)
    }
}

/// Who is behind a request.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Nobody was asked.
    Anonymous,
    /// We have proof.
    Known(Arc<Identity>),
}

impl Caller {
    /// The identity, where there is one.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        match self {
            Self::Anonymous => None,
            Self::Known(identity) => Some(identity),
        }
    }
}
