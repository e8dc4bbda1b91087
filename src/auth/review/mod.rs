//! Tokens that only a Kubernetes API server can judge: it is asked, in a `TokenReview`, once for all who come with the same
//! token, and its answer is good for a while.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::StatusCode;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};

use self::{
    answer::Proved,
    cache::{Cache, Fingerprint, Known, Terms},
};
use super::{claims::Mapping, cluster};
use crate::{
    config::{Problem, Review, Url},
    fetch::{Client, FetchError},
    identity::{Identity, Method, ServiceAccount},
    reason::Reason,
};

mod answer;
mod cache;

/// Where the API server takes a question.
const PATH: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// Questions that are asked at once. What comes beyond is refused, and does not wait.
const AT_ONCE: usize = 32;

/// So many of them may be about tokens that were never anybody's.
const STRANGERS: usize = 24;

/// How long a refusal is good: a token may be asked for again when its account has come to be.
const REFUSED: Duration = Duration::from_secs(10);

/// How long after it failed to answer it is left alone by those who have an older answer: nobody waits for it in vain twice.
const PAUSE: Duration = Duration::from_secs(5);

/// How long after that nobody is asked about at all of whom nothing is known: those who wait in vain would fill the places
/// of all who wait.
const BREATH: Duration = Duration::from_secs(1);

/// More time than the question itself may take, for the way to the thread that asks and back.
const MARGIN: Duration = Duration::from_secs(1);

/// What an API server says of a token. `None` is no answer.
type Outcome = Option<Said>;

/// Whose a token was; nobody's, or meant for others, where there is none.
#[derive(Clone, Debug)]
struct Said {
    proved: Option<Arc<Proved>>,
    since: Instant,
}

/// The tokens that an API server judges.
pub(super) struct Reviews {
    label: Arc<str>,
    cache: Cache,
    timeout: Duration,
    questions: mpsc::Sender<Question>,
    down: Arc<Down>,
    /// What is being asked.
    flights: Mutex<HashMap<Fingerprint, watch::Receiver<Option<Outcome>>>>,
}

/// Asks the API server. It is to be run on another thread than requests.
#[derive(Debug)]
pub struct Reviewer {
    label: Arc<str>,
    url: Url,
    client: Client,
    audiences: Arc<[String]>,
    questions: mpsc::Receiver<Question>,
    down: Arc<Down>,
}

/// When the API server last failed to answer, whatever it was asked.
#[derive(Debug, Default)]
struct Down(Mutex<Option<Instant>>);

struct Question {
    token: String,
    answer: watch::Sender<Option<Outcome>>,
}

/// An answer that a request waits for.
#[must_use = "nothing is known yet"]
pub struct Asked {
    answer: watch::Receiver<Option<Outcome>>,
    timeout: Duration,
}

/// An answer that came, or did not.
#[derive(Clone, Debug)]
pub struct Answer(Outcome);

/// What became of a question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reviewed {
    /// The token is somebody's.
    Proved,
    /// It is nobody's, or meant for others.
    Refused,
    /// There was no answer.
    Failed,
}

/// What is known of a token's caller.
pub(super) enum Judged {
    Known { identity: Arc<Identity>, remembered: bool },
    Refused(Reason),
    Asked(Asked),
}

impl Reviews {
    /// The tokens for these audiences that the cluster judges, and what asks it.
    ///
    /// # Errors
    /// This is no pod, or its files are not there; `key` is where the cluster was asked for.
    pub(super) fn load(
        url: Option<&Url>,
        config: &Review,
        label: Arc<str>,
        audiences: &[String],
        key: &str,
    ) -> Result<(Self, Reviewer), Problem> {
        let (url, client) = cluster::resource(url, PATH, &config.server, key)?;
        let terms = Terms { proved: config.cache, refused: REFUSED.min(config.cache), stale: config.max_stale };
        let cache = Cache::new(terms)
            .map_err(|_| Problem::new(key, "the system gives no random numbers", "check the kernel's getrandom"))?;
        let (sender, receiver) = mpsc::channel(AT_ONCE);
        let down = Arc::<Down>::default();
        let reviews = Self {
            label: label.clone(),
            cache,
            timeout: config.server.timeout + MARGIN,
            questions: sender,
            down: down.clone(),
            flights: Mutex::default(),
        };
        let reviewer = Reviewer { label, url, client, audiences: audiences.into(), questions: receiver, down };
        Ok((reviews, reviewer))
    }

    /// Who the caller with `token` is at `seconds` since 1970, or what has to be asked to know it. `answer` is what came when
    /// it was asked for this request; `expires` is when the token ends by its own word, which can only make it end sooner.
    pub(super) fn judge(
        &self,
        token: &str,
        seconds: u64,
        expires: Option<u64>,
        answer: Option<&Answer>,
        mapping: &Mapping,
    ) -> Judged {
        let fingerprint = self.cache.fingerprint(token.as_bytes());
        let known = self.cache.find(&fingerprint, Instant::now(), seconds);
        match (answer, known) {
            (None, Known::Stale(identity)) if self.down.is_within(PAUSE) => {
                Judged::Known { identity, remembered: true }
            }
            (None, Known::Nothing) if self.down.is_within(BREATH) => Judged::Refused(Reason::ReviewUnavailable),
            (None, Known::Fresh(Some(identity))) => Judged::Known { identity, remembered: true },
            (None, Known::Fresh(None)) => Judged::Refused(Reason::JwtReviewDenied),
            (None, known @ (Known::Stale(_) | Known::Nothing)) => match (self.ask(fingerprint, token), known) {
                (Some(asked), _) => Judged::Asked(asked),
                // Better the answer of a while ago than none.
                (None, Known::Stale(identity)) => Judged::Known { identity, remembered: true },
                (None, Known::Fresh(_) | Known::Nothing) => Judged::Refused(Reason::Overloaded),
            },
            (Some(Answer(Some(Said { proved: Some(proved), since }))), _) => {
                let Some(identity) = self.identity(proved, expires, mapping) else {
                    return Judged::Refused(Reason::JwtClaim);
                };
                let identity = Arc::new(identity);
                self.cache.store(fingerprint, Some(identity.clone()), *since);
                Judged::Known { identity, remembered: false }
            }
            (Some(Answer(Some(Said { proved: None, since }))), _) => {
                self.cache.store(fingerprint, None, *since);
                Judged::Refused(Reason::JwtReviewDenied)
            }
            (Some(Answer(None)), Known::Stale(identity) | Known::Fresh(Some(identity))) => {
                Judged::Known { identity, remembered: true }
            }
            (Some(Answer(None)), Known::Fresh(None) | Known::Nothing) => Judged::Refused(Reason::ReviewUnavailable),
        }
    }

    /// Asks, or joins who asks about the same token; `None` where too much is being asked. Whoever makes tokens up does not
    /// keep those from being asked about again that were somebody's.
    fn ask(&self, fingerprint: Fingerprint, token: &str) -> Option<Asked> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, answer| answer.has_changed().is_ok() && answer.borrow().is_none());
        if let Some(answer) = flights.get(&fingerprint) {
            return Some(Asked { answer: answer.clone(), timeout: self.timeout });
        }
        if flights.len() >= STRANGERS && !self.cache.has_proved(&fingerprint) {
            return None;
        }
        let (sender, answer) = watch::channel(None);
        self.questions.try_send(Question { token: token.to_owned(), answer: sender }).ok()?;
        flights.insert(fingerprint, answer.clone());
        Some(Asked { answer, timeout: self.timeout })
    }

    fn identity(&self, proved: &Proved, expires: Option<u64>, mapping: &Mapping) -> Option<Identity> {
        let Proved { user, groups, claims } = proved;
        let account = ServiceAccount::from_user(user);
        let mut identity = mapping.identify(Method::Jwt, self.label.clone(), user, groups.clone(), account, claims)?;
        identity.expires = expires;
        Some(identity)
    }
}

impl Down {
    /// Notes a failure, if it is the server's and not one of the question: else one bad token would keep all others away.
    fn note(&self, error: &FetchError) {
        let of_the_question = |status: &StatusCode| {
            matches!(
                *status,
                StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY
            )
        };
        if matches!(error, FetchError::Status(status) if of_the_question(status)) {
            return;
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn is_within(&self, time: Duration) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at.elapsed() < time)
    }
}

impl Asked {
    /// Waits for the answer, but not longer than one may take.
    pub async fn answer(mut self) -> Answer {
        let came = timeout(self.timeout, self.answer.wait_for(Option::is_some)).await;
        let outcome = came.ok().and_then(Result::ok).and_then(|outcome| outcome.clone());
        Answer(outcome.flatten())
    }
}

impl Reviewer {
    /// The issuer's name in logs and metrics.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Asks whatever is to be asked, for ever. `observe` is told of every answer.
    pub async fn run(mut self, observe: impl Fn(Reviewed) + Clone + Send + 'static) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        while let (Some(Question { token, answer }), Ok(place)) =
            (self.questions.recv().await, places.clone().acquire_owned().await)
        {
            let (url, client, audiences) = (self.url.clone(), self.client.clone(), self.audiences.clone());
            let (label, observe, down) = (self.label.clone(), observe.clone(), self.down.clone());
            tokio::spawn(async move {
                let _place = place;
                let outcome = match client.post(&url, &answer::question(&token, &audiences)).await {
                    Ok(fetched) => answer::read(&fetched.body, &audiences).map_err(|error| error.to_string()),
                    Err(error) => {
                        down.note(&error);
                        Err(error.to_string())
                    }
                };
                observe(match &outcome {
                    Ok(Some(_)) => Reviewed::Proved,
                    Ok(None) => Reviewed::Refused,
                    Err(_) => Reviewed::Failed,
                });
                if let Err(error) = &outcome {
                    // It may be the word of an authenticator that repeats what it does not like.
                    let error = error.replace(&token, "***");
                    tracing::warn!(issuer = &*label, %url, error, "no answer to a token review");
                }
                // Who asked may have left.
                let said = |proved: Option<Proved>| Said { proved: proved.map(Arc::new), since: Instant::now() };
                let _ = answer.send(Some(outcome.ok().map(said)));
            });
        }
    }
}

impl fmt::Debug for Reviews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reviews").field("label", &self.label).field("cache", &self.cache).finish_non_exhaustive()
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Question")
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asked")
    }
}
