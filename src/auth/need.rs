//! What a decision may have to wait for, and what came of it.

use std::sync::Arc;

use super::{
    basic::{Hashing, Overloaded, PasswordCheck, User},
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

impl Need {
    /// What it is about.
    pub const fn method(&self) -> Method {
        match self {
            Self::Password(_) => Method::Basic,
            Self::Key(_) | Self::Review(_) => Method::Jwt,
        }
    }

    /// Meets it, where that takes less time than a hop to another thread and back.
    ///
    /// # Errors
    /// It takes longer; it is handed back.
    pub fn meet_now(self, learned: &mut Learned) -> Result<(), Self> {
        match self {
            Self::Password(check) if !check.is_slow() => learned.password = Some(check.run()),
            Self::Password(_) | Self::Key(_) | Self::Review(_) => return Err(self),
        }
        Ok(())
    }

    /// Meets it; passwords are hashed by `hashing`.
    ///
    /// # Errors
    /// It could not be met now, which is no fault of the credentials.
    pub async fn meet(self, hashing: &Hashing, learned: &mut Learned) -> Result<(), Denial> {
        match self {
            Self::Password(check) => {
                let user = hashing.run(check).await.map_err(|Overloaded| Reason::Overloaded)?;
                learned.password = Some(user);
            }
            Self::Key(refetch) => {
                refetch.done().await;
                learned.key = true;
            }
            Self::Review(asked) => learned.review = Some(asked.answer().await),
        }
        Ok(())
    }
}
