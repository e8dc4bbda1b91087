//! What a decision may have to wait for, and what came of it.

use std::{net::IpAddr, sync::Arc};

use super::{
    basic::{Hashing, PasswordCheck, Unchecked, User},
    jwt::Refetch,
    review::{Answer, Asked},
};
use crate::{denial::Denial, identity::Method, reason::Reason};

/// What has to be found out before a request can be decided about, and takes too long, or asks somebody else.
#[derive(Debug)]
#[must_use = "nothing is decided until it is met"]
pub enum Need {
    /// A password that has to be hashed.
    Password(PasswordCheck),
    /// A key that is being fetched.
    Key(Refetch),
    /// What an API server says of a token.
    Review(Asked),
}

/// What was found out for one request. Each answer is there at most once, so that the same thing is never asked twice.
#[derive(Debug, Default)]
pub struct Learned {
    /// Whose the password is; nobody's when it is wrong.
    pub(super) password: Option<Option<Arc<User>>>,
    /// Whether a key that was not there was waited for.
    pub(super) key: bool,
    /// What the API server said of the token.
    pub(super) review: Option<Answer>,
}

/// Why a need was not met at once.
#[derive(Debug)]
pub enum Unmet {
    /// It takes longer; it is handed back.
    Later(Need),
    /// It could not be met, which says nothing about the credentials.
    Refused(Denial),
}

impl Need {
    /// What it is about.
    pub const fn method(&self) -> Method {
        match self {
            Self::Password(_) => Method::Basic,
            Self::Key(_) | Self::Review(_) => Method::Jwt,
        }
    }

    /// Meets it, where that takes less time than a hop to another thread and back. `client` is where the request comes
    /// from, as far as that is known.
    ///
    /// # Errors
    /// It takes longer, or is refused.
    pub fn meet_now(self, hashing: &Hashing, client: Option<IpAddr>, learned: &mut Learned) -> Result<(), Unmet> {
        match self {
            Self::Password(check) if !check.is_slow() => {
                learned.password = Some(hashing.run_now(&check, client).map_err(|why| Unmet::Refused(why.into()))?);
                Ok(())
            }
            Self::Password(_) | Self::Key(_) | Self::Review(_) => Err(Unmet::Later(self)),
        }
    }

    /// Meets it; passwords are hashed by `hashing`.
    ///
    /// # Errors
    /// It could not be met now, which says nothing about the credentials.
    pub async fn meet(self, hashing: &Hashing, client: Option<IpAddr>, learned: &mut Learned) -> Result<(), Denial> {
        match self {
            Self::Password(check) => learned.password = Some(hashing.run(check, client).await?),
            Self::Key(refetch) => {
                refetch.done().await;
                learned.key = true;
            }
            Self::Review(asked) => learned.review = Some(asked.answer().await),
        }
        Ok(())
    }
}

impl From<Unchecked> for Denial {
    fn from(why: Unchecked) -> Self {
        match why {
            Unchecked::Overloaded => Reason::Overloaded.into(),
            Unchecked::Throttled(wait) => Self::for_now(Reason::PasswordThrottled, wait),
        }
    }
}
