//! Takes the requests of one connection, and hands each to the stack.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project_lite::pin_project;

use super::{
    activity::{Activity, Busy, Watched},
    http1::Answers,
};
use crate::{
    body::Body,
    exchange::{Exchange, Payload},
    http1::incoming::Incoming,
    origin::Client,
    reason::Reason,
    stack::HttpService,
    telemetry::Observed,
};

/// What all requests of a connection have in common.
#[derive(Clone, Debug)]
pub(super) struct Reception<S> {
    pub(super) activity: Arc<Activity>,
    pub(super) client: Arc<Client>,
    pub(super) service: S,
}

impl<S: HttpService> Reception<S> {
    /// Has a request answered. With a `refusal` that is its answer.
    pub(super) fn take(&mut self, request: Request<Payload>, refusal: Option<Reason>) -> Answering<S::Future> {
        let busy = self.activity.request();
        let mut exchange = Exchange::new(request, self.client.clone());
        exchange.refusal = refusal;
        Answering { inner: self.service.call(exchange), busy: Some(busy) }
    }
}

impl<S: HttpService> Answers for Reception<S> {
    type Body = Watched<Observed<Body>>;
    type Future = Answering<S::Future>;

    fn answer(&mut self, request: Request<Incoming>, refusal: Option<Reason>) -> Self::Future {
        if let Some(reason) = refusal {
            self.activity.refuse(reason);
        }
        self.take(request.map(Payload::Http1), refusal)
    }

    fn ended(&mut self, begun: bool) {
        self.activity.rest(begun);
    }
}

pin_project! {
    /// A request that the stack is answering.
    pub(super) struct Answering<F> {
        #[pin]
        inner: F,
        busy: Option<Busy>,
    }
}

impl<F: Future<Output = Result<Response<Observed<Body>>, Infallible>>> Future for Answering<F> {
    type Output = Result<Response<Watched<Observed<Body>>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        // A future is not asked again once it is ready.
        let Some(busy) = this.busy.take() else { return Poll::Pending };
        Poll::Ready(Ok(busy.watch(response)))
    }
}
