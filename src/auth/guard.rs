//! The layer that decides: the only code that can make a [`Permitted`].

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use http::header::COOKIE;
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, Service};

use super::{
    basic::Hashing,
    need::{Learned, Need, Unmet},
    policy::{Decision, Pending, Policy},
};
use crate::{
    cors::preflight,
    denial::Denial,
    exchange::{Exchange, Payload, Verdict},
    identity::{Caller, Method},
    reason::Reason,
    target::Target,
};

/// A request that the rules allow, with the caller whom they allow. There is no other way to make one than to pass the
/// [`Guard`], and `proxy::forward` takes nothing else.
#[derive(Debug)]
pub struct Permitted {
    caller: Caller,
    target: Target,
    exchange: Box<Exchange>,
    shown_by: Option<usize>,
}

/// What the app may see of the credentials in a request.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Shows {
    /// What the rule says that let it through.
    ByRule,
    /// Nothing: nobody has looked at them.
    Nothing,
}

impl Permitted {
    /// The request's method.
    pub fn method(&self) -> &http::Method {
        self.exchange.request.method()
    }

    /// The request as it arrived.
    pub fn request(&self) -> &http::Request<Payload> {
        &self.exchange.request
    }

    /// The rule that says what the app sees of the credentials; without one it sees nothing of them.
    pub fn shown_by(&self) -> Option<usize> {
        self.shown_by
    }

    /// Takes it apart, to be forwarded.
    pub fn into_parts(self) -> (Caller, Target, Box<Exchange>) {
        (self.caller, self.target, self.exchange)
    }
}

/// Decides about each request, and hands on those that are allowed.
#[derive(Clone, Debug)]
pub struct Guard<S> {
    judge: Judge,
    inner: S,
}

/// What decides, and what it takes.
#[derive(Clone, Debug)]
pub struct Judge {
    /// The rules, and who may prove what.
    pub policy: Arc<Policy>,
    /// Where passwords are checked.
    pub hashing: Hashing,
    /// The places for requests that wait for something to be found out. They are fewer than those for requests in flight:
    /// whoever makes sidegate ask somebody slow, an issuer or an API server, must not take the places of all others.
    pub waiting: Arc<Semaphore>,
}

impl Guard<()> {
    /// The layer that decides as `judge` does.
    pub fn layer<S>(judge: Judge) -> impl Layer<S, Service = Guard<S>> + Clone {
        tower::layer::layer_fn(move |inner| Guard { judge: judge.clone(), inner })
    }
}

impl<S: Service<Permitted, Error = Denial> + Clone + Send + 'static> Service<Box<Exchange>> for Guard<S> {
    type Response = S::Response;
    type Error = Denial;
    type Future = ResponseFuture<S>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Denial>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut exchange: Box<Exchange>) -> Self::Future {
        let request = &exchange.request;
        let mut target = match exchange.origin.valid().and_then(|()| Target::parse(request)) {
            Ok(target) => target,
            Err(reason) => {
                exchange.trail.decided(refusal(reason, Method::None, None));
                return ResponseFuture::denied(reason.into(), exchange);
            }
        };
        let client = exchange.origin.ip();
        if let Some(method) = preflight(request)
            && let Some(decision) = self.judge.policy.decide_preflight(&method, &mut target, client)
        {
            // Browsers send none, and nobody has looked at these: neither they nor what stands for them is shown.
            exchange.request.headers_mut().remove(COOKIE);
            return ResponseFuture::decided(decision, exchange, target, Shows::Nothing, &mut self.inner);
        }
        let policy = &self.judge.policy;
        let headers = request.headers();
        let mut learned = Learned::default();
        let mut step = policy.decide(request.method(), &mut target, headers, client, SystemTime::now());
        loop {
            let Pending { need, rule } = match step {
                Ok(decision) => {
                    return ResponseFuture::decided(decision, exchange, target, Shows::ByRule, &mut self.inner);
                }
                Err(pending) => pending,
            };
            let method = need.method();
            match need.meet_now(&self.judge.hashing, client, &mut learned) {
                Ok(()) => step = policy.resume(rule, &target, headers, SystemTime::now(), &learned),
                Err(Unmet::Refused(denial)) => step = Ok(refused(denial, method, rule)),
                Err(Unmet::Later(need)) => {
                    let Ok(place) = self.judge.waiting.clone().try_acquire_owned() else {
                        step = Ok(refused(Reason::Overloaded.into(), method, rule));
                        continue;
                    };
                    let waiting = Waiting { exchange, target, learned, guard: self.clone(), _place: place };
                    return ResponseFuture { state: State::Waiting { end: Box::pin(waiting.end(need, rule)) } };
                }
            }
        }
    }
}

pin_project! {
    /// The future of [`Guard`].
    pub struct ResponseFuture<S: Service<Permitted>> {
        #[pin]
        state: State<S, S::Future>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<S, F> {
        Denied { denial: Option<Denial> },
        // Boxed: it is large, rare, and would be carried by every request.
        Waiting { end: Pin<Box<dyn Future<Output = (Decision, Waiting<S>)> + Send>> },
        Forwarding { #[pin] inner: F },
    }
}

/// A request that waits for something to be found out. The policy that asks for it also decides.
struct Waiting<S> {
    exchange: Box<Exchange>,
    target: Target,
    learned: Learned,
    guard: Guard<S>,
    _place: OwnedSemaphorePermit,
}

impl<S> Waiting<S> {
    /// Finds out what is needed, one thing after the other, until there is a decision.
    async fn end(mut self, mut need: Need, mut rule: usize) -> (Decision, Self) {
        loop {
            let (method, client) = (need.method(), self.exchange.origin.ip());
            if let Err(denial) = need.meet(&self.guard.judge.hashing, client, &mut self.learned).await {
                return (refused(denial, method, rule), self);
            }
            let headers = self.exchange.request.headers();
            match self.guard.judge.policy.resume(rule, &self.target, headers, SystemTime::now(), &self.learned) {
                Ok(decision) => return (decision, self),
                Err(pending) => Pending { need, rule } = pending,
            }
        }
    }
}

impl<S: Service<Permitted, Error = Denial>> ResponseFuture<S> {
    fn denied(denial: Denial, exchange: Box<Exchange>) -> Self {
        exchange.refuse();
        Self { state: State::Denied { denial: Some(denial) } }
    }

    /// Does what was decided. This is where a [`Permitted`] comes from.
    fn decided(decision: Decision, exchange: Box<Exchange>, target: Target, shows: Shows, inner: &mut S) -> Self {
        match decision {
            Decision::Deny(denial, verdict) => {
                exchange.trail.decided(verdict);
                Self::denied(denial, exchange)
            }
            Decision::Permit(caller, verdict) => {
                let rule = verdict.rule.filter(|_| shows == Shows::ByRule);
                exchange.trail.decided(verdict);
                let permitted = Permitted { caller, target, exchange, shown_by: rule };
                Self { state: State::Forwarding { inner: inner.call(permitted) } }
            }
        }
    }
}

impl<S: Service<Permitted, Error = Denial> + Clone> Future for ResponseFuture<S> {
    type Output = Result<S::Response, Denial>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut this = self.as_mut().project();
            let next = match this.state.as_mut().project() {
                Projected::Denied { denial } => {
                    return Poll::Ready(Err(denial.take().unwrap_or(Reason::NoRule.into())));
                }
                Projected::Forwarding { inner } => return inner.poll(cx),
                Projected::Waiting { end } => {
                    let (decision, Waiting { exchange, target, mut guard, .. }) = ready!(end.as_mut().poll(cx));
                    Self::decided(decision, exchange, target, Shows::ByRule, &mut guard.inner)
                }
            };
            this.state.set(next.state);
        }
    }
}

/// What could not be found out is refused.
fn refused(denial: Denial, method: Method, rule: usize) -> Decision {
    let verdict = refusal(denial.reason, method, Some(rule));
    Decision::Deny(denial, verdict)
}

fn refusal(reason: Reason, method: Method, rule: Option<usize>) -> Verdict {
    Verdict { method, identity: None, rule, refusal: Some(reason), remembered: false }
}
